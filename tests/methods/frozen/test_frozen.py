"""Frozen descriptors and a classifier: a predictions table without leaks, whatever the order of work."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.cell import Cell
from src.classifiers.classifier import Classifier, Model, Parts, join_parts
from src.classifiers.lightgbm import LightGBM
from src.classifiers.logistic import Logistic
from src.data.splits import assign_roles
from src.images.augment import StainJitter
from src.images.crop import Crop
from src.images.stain import NoStain
from src.methods.finetune.finetune import FineTune
from src.methods.frozen.frozen import Frozen, fit_fold
from src.methods.method import Fitted, Method
from src.storage.store import Store
from tests.support.cells import cell, task_of
from tests.support.frozen import predict
from tests.support.images import folder_of_images, spoil, tissue


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"), 8)


def of_sizes(root: Path) -> Path:
    """Images of 130 x 100 pixels, but for three smaller ones, of 90 x 60 and less."""
    folder_of_images(root, 8)
    for side, name in zip((60, 56, 50), ("one/000", "one/002", "two/001"), strict=True):
        Image.fromarray(tissue(seed=side, shape=(side, 90))).save(root / f"{name}.png")
    return root


@pytest.mark.parametrize("method", [Frozen, FineTune])
def test_images_that_are_too_small_are_all_named_before_any_work(tmp_path: Path, method: type[Method]) -> None:
    one = cell(of_sizes(tmp_path / "images"))
    task = task_of(one, tmp_path / "store")
    with pytest.raises(ValueError, match="3 of 8 images are too small") as told:
        method(device="cpu").predict(task, one.protocol.split(task.manifest))
    assert str(told.value) == (
        "3 of 8 images are too small for crop.size=40 at crop.scale=0.5: one/000.png (90 x 60), one/002.png (90 x 56), "
        "two/001.png (90 x 50); take crop.size=25 or less, crop.scale=0.8 or more, crop.fit=true, which scales such "
        "images up to the crop, crop=whole, which resizes all, or on_bad_image=skip, which leaves them out"
    )
    kept = {recipe["operator"] for recipe in task.store.recipes().values()}
    assert kept == {"PerceptualHash", "Keypoints"}  # of the first reading: nothing was encoded


def test_small_images_are_seen_at_the_scale_that_fits_and_counted(tmp_path: Path) -> None:
    one = cell(of_sizes(tmp_path / "images"), crop=Crop(size=40, scale=0.5, count=3, fit=True), stain=NoStain())
    outcome = predict(one, tmp_path / "store")
    assert len(outcome.predictions) == 8
    assert outcome.notes == [
        "3 of 8 images are too small for crop.size=40 at crop.scale=0.5, and are seen at the scale at which it fits "
        "(crop.fit)"
    ]


def test_what_fits_at_no_scale_is_said_without_advice_that_is_taken(tmp_path: Path) -> None:
    root = of_sizes(tmp_path / "images")
    Image.fromarray(tissue(seed=1, shape=(1, 1))).save(root / "one" / "001.png")
    one = cell(root, crop=Crop(size=40, scale=0.5, count=3, fit=True), stain=NoStain())
    said = "even at 8 times their size, which is the most: one/001.png (1 x 1); take crop.size=8 or less, crop=whole, "
    with pytest.raises(ValueError, match=re.escape(f"1 of 9 images are too small for crop.size=40 {said}")):
        predict(one, tmp_path / "store")


def test_predicts_every_sample_once_per_seed(images: Path, tmp_path: Path) -> None:
    outcome = predict(cell(images, seeds=[0, 3]), tmp_path)
    table = outcome.predictions
    assert list(table) == ["sample", "case", "patient", "view", "label", "fold", "seed", "p_one", "p_two"]
    assert table.groupby("sample")["seed"].apply(sorted).tolist() == [[0, 3]] * 8
    np.testing.assert_allclose(table[["p_one", "p_two"]].sum(axis=1), 1)
    assert sorted(outcome.models) == ["fold01-seed0", "fold01-seed3", "fold02-seed0", "fold02-seed3"]


def test_workers_do_not_change_a_byte(images: Path, tmp_path: Path) -> None:
    one = cell(images, classifier=LightGBM(rounds=5, min_data_in_leaf=2), seeds=[0, 1])
    first, second = (predict(one, tmp_path / str(workers), workers).predictions for workers in (1, 4))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_second_run_and_a_sweep_of_p_encode_nothing(images: Path, tmp_path: Path) -> None:
    from src.encoders.pooling import PowerMean

    outcomes = [predict(cell(images, pool=PowerMean(p=p)), tmp_path) for p in (3.0, 3.0, 1.0, float("inf"))]
    assert [outcome.facts["encoded_crops"] for outcome in outcomes] == [8 * 2 * 3, 0, 0, 0]
    pd.testing.assert_frame_equal(outcomes[0].predictions, outcomes[1].predictions, check_exact=True)
    assert not outcomes[0].predictions.equals(outcomes[2].predictions)


def test_a_new_image_costs_itself_only(images: Path, tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "images", 6)
    predict(cell(root), tmp_path / "store")
    folder_of_images(root, 8)
    assert predict(cell(root), tmp_path / "store").facts["encoded_crops"] == 2 * 2 * 3


class Remembering(Classifier):
    """Remembers what it was shown, and knows nothing."""

    def __init__(self) -> None:
        self.seen: dict[int, np.ndarray] = {}

    def fit(
        self,
        features: Parts,
        labels: np.ndarray,
        classes: int,
        fold: int,
        seeds: list[int],
        threads: int = 1,
        groups: np.ndarray | None = None,
    ) -> list[Model]:
        self.seen[fold] = join_parts(features)
        return Logistic().fit(features, labels, classes, fold, seeds)


@pytest.mark.parametrize("most", [None, 2])
def test_no_model_sees_what_it_is_judged_on(most: int | None) -> None:
    """Every descriptor is different, so one in both parts would be found; augmentations of a sample stay together."""
    features = np.arange(12 * 3 * 4, dtype=np.float32).reshape(12, 3, 4)
    labels = pd.Categorical(["a", "b"] * 6)
    names = [f"s{number}" for number in range(12)]
    rows = pd.DataFrame({"sample": names, "case": names, "patient": "", "view": "", "label": labels})
    fold_of = np.arange(12) // 2 % 3  # folds 0 (never held out), 1 and 2
    part = assign_roles(rows, pd.DataFrame({"case": names, "repeat": 1, "fold": fold_of}))
    memory = Remembering()
    one = cell(Path("unused"), classifier=memory)
    for fold in (1, 2):
        _, _, table = fit_fold(one, "", rows, features, part, fold, most=most)
        held_out = features[fold_of == fold].reshape(-1, 4)
        assert table["sample"].tolist() == rows.loc[fold_of == fold, "sample"].tolist()
        np.testing.assert_array_equal(memory.seen[fold], features[fold_of != fold, :most].reshape(-1, 4))
        assert not set(map(tuple, held_out)) & set(map(tuple, memory.seen[fold]))


class TestLearnFrom:
    def test_the_mean_of_augmentations_is_one_row_to_learn_from_and_to_predict(self, tmp_path: Path) -> None:
        one = cell(folder_of_images(tmp_path / "images", 8), classifier=Remembering(), augment=StainJitter(count=3))
        task = task_of(one, tmp_path / "store")
        splits, seen = one.protocol.split(task.manifest), {}
        for way in ("rows", "mean", "subsample:2"):
            method = Frozen(batch=4, device="cpu", learn_from=way)
            outcome = method.predict(task, splits)
            seen[way] = one.classifier.seen[1]
            applied = method.apply(task, Fitted(outcome.models, outcome.known, one.encoder.load))
            both = outcome.predictions.merge(applied.predictions, on=["sample", "fold", "seed"])
            np.testing.assert_allclose(both["p_one_x"], both["p_one_y"], atol=1e-6)
        rows = seen["rows"].reshape(4, 3, -1)
        np.testing.assert_allclose(seen["mean"], rows.mean(axis=1), rtol=1e-5)
        np.testing.assert_array_equal(seen["subsample:2"], rows[:, :2].reshape(8, -1))

    @pytest.mark.parametrize("given", ["median", "subsample", "subsample:0", "subsample:-1", "mean:3"])
    def test_what_it_may_be_is_said(self, given: str) -> None:
        with pytest.raises(ValueError, match=f"rows, mean or subsample:N .* but got method.learn_from={given}"):
            Frozen(learn_from=given)


def by_two_views(folder: Path, folds: dict[str, int]) -> Cell:
    """Cases of two images, of which those with a letter have none of the second view; `folds` are theirs."""
    from src.data.sets.table import Table
    from src.data.splits import Published

    root = folder_of_images(folder / "images", 12)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    pairs = [(case, view) for case in folds for view in ("cc", "mlo") if view == "cc" or case.isdigit()]
    rows = [(name, case, view, "ab"[ord(case) % 2]) for name, (case, view) in zip(names, pairs, strict=False)]
    pd.DataFrame(rows, columns=["sample", "case", "view", "label"]).to_csv(root / "manifest.csv", index=False)
    pd.DataFrame({"case": list(folds), "fold": list(folds.values())}).to_csv(root / "folds.csv", index=False)
    table = Table(path=str(root / "manifest.csv"), root=str(root))
    return cell(root, data=table, protocol=Published(path=str(root / "folds.csv")))


def test_a_view_without_held_out_images_has_no_models(tmp_path: Path) -> None:
    one = by_two_views(tmp_path, {"0": 0, "1": 0, "2": 0, "3": 0, "a": 1, "b": 1})
    outcome = predict(one, tmp_path / "store")
    assert sorted(outcome.models) == ["cc-fold01-seed0"]
    assert sorted(outcome.predictions["case"]) == ["a", "b"]


def test_a_model_per_view(tmp_path: Path) -> None:
    from src.data.sets.table import Table

    root = folder_of_images(tmp_path / "images", 8)
    manifest = pd.DataFrame(
        [
            (f"{('one', 'two')[n % 2]}/{n:03d}.png", f"case{n % 4}", ("cc", "mlo")[n // 4], "ab"[n % 2])
            for n in range(8)
        ],
        columns=["sample", "case", "view", "label"],
    )
    manifest.to_csv(root / "manifest.csv", index=False)
    one = cell(root, data=Table(path=str(root / "manifest.csv"), root=str(root)))
    outcome = predict(one, tmp_path / "store")
    assert sorted(outcome.models) == [f"{view}-fold{fold:02d}-seed0" for view in ("cc", "mlo") for fold in (1, 2)]
    assert outcome.predictions.groupby("case")["view"].apply(sorted).tolist() == [["cc", "mlo"]] * 4


def test_bad_images_are_named_each_time(tmp_path: Path) -> None:
    one = cell(spoil(tmp_path / "images"), on_bad_image="skip")
    for encoded in (6 * 2 * 3, 0):
        outcome = predict(one, tmp_path / "store")
        assert outcome.facts["encoded_crops"] == encoded
        assert outcome.bad["sample"].tolist() == ["one/white.png", "two/truncated.png"]
        assert set(outcome.bad["outcome"]) == {"left out"}
        assert len(outcome.predictions) == 6
    one.on_bad_image = "fail"
    with pytest.raises(ValueError, match="one/white.png: nearly no tissue"):
        predict(one, tmp_path / "store")


def test_nothing_but_bad_images_is_named(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(4):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((100, 130, 3), 250 + number, np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"all 4 images are bad; first a/0.png left out nearly no tissue"):
        predict(cell(tmp_path / "images", on_bad_image="skip"), tmp_path / "store")


def test_passed_images_are_predicted_and_named(tmp_path: Path) -> None:
    outcome = predict(cell(spoil(tmp_path / "images"), on_bad_image="pass"), tmp_path / "store")
    assert dict(outcome.bad[["sample", "outcome"]].to_numpy()) == {
        "one/white.png": "passed",
        "two/truncated.png": "left out",
    }
    assert len(outcome.predictions) == 7


def test_a_passed_image_whose_descriptors_did_not_get_through_is_encoded(tmp_path: Path) -> None:
    one = cell(spoil(tmp_path / "images"), on_bad_image="pass")
    whole = predict(one, tmp_path / "store")
    store, name = Store(tmp_path / "store"), str(whole.facts["recipe"])
    manifest = task_of(one, tmp_path / "store").manifest
    (white,) = manifest["content"][manifest["sample"] == "one/white.png"]
    (tmp_path / "store" / name / f"{white}.safetensors").unlink()  # its note is there
    assert white in store.held(store.recipe(name)).notes
    again = predict(one, tmp_path / "store")
    pd.testing.assert_frame_equal(again.predictions, whole.predictions, check_exact=True)
    pd.testing.assert_frame_equal(again.bad, whole.bad)


def test_a_gpu_that_is_not_there_is_named(images: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    one = cell(images)
    task = task_of(one, tmp_path)
    with pytest.raises(ValueError, match="device=cuda, but PyTorch finds no such GPU"):
        Frozen(device="cuda").predict(task, one.protocol.split(task.manifest))


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"batch": 0}])
def test_parameters_check_themselves(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must hold, but got"):
        Frozen(**wrong)


@pytest.mark.parametrize("wrong", [{"seeds": []}, {"seeds": [1, 1]}, {"on_bad_image": "ignore"}])
def test_a_cell_checks_itself(images: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="but got"):
        cell(images, **wrong)


def test_frozen_is_a_method() -> None:
    assert issubclass(Frozen, Method)
