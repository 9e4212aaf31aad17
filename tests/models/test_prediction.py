"""Fitted cells on new images: the run's own probabilities on copies, their mean, distances, and bad images."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from src.classifiers.classifier import Classifier
from src.classifiers.knn import Knn
from src.classifiers.lightgbm import LightGBM
from src.classifiers.logistic import Logistic
from src.config import rebuild_operator
from src.data.image_file import file_digest
from src.data.new_images import list_images
from src.data.sets.table import Table
from src.encoders.handcrafted import Handcrafted
from src.evaluation.chosen_threshold import parse_rule
from src.evaluation.two_classes import Binary
from src.images.crop import Crop
from src.methods.likeness import distance_threshold
from src.methods.method import Outcome
from src.models import prediction
from src.models.prediction import fuse_answers, fuse_thresholds, predict_new
from src.models.saved import ModelThreshold, load_all_fitted, load_fitted
from src.storage.store import Store
from src.system.progress import Progress
from tests.support.cells import cell
from tests.support.finetuning import cell as trained_cell
from tests.support.finetuning import tuned
from tests.support.images import folder_of_images, tissue
from tests.support.models import FROZEN, TRAINED, asked, copied, kept

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"), 12)


def beside(outcome: Outcome, each: pd.DataFrame) -> pd.DataFrame:
    """What models said of held-out samples in the run, and say of the samples' copies."""
    said = outcome.predictions.assign(name=outcome.predictions["sample"].map(lambda sample: Path(sample).name))
    says = each.assign(name=each["sample"].map(lambda sample: Path(sample).name.removeprefix("copy of ")))
    return said.merge(says, on=["name", "view", "fold", "seed"], suffixes=("", "_new"), validate="one_to_one")


class TestCopiesOfTheImages:
    @pytest.mark.parametrize(
        "classifier",
        [Logistic(), LightGBM(rounds=5, min_data_in_leaf=2), Knn(neighbours=2)],
        ids=["logistic", "lightgbm", "knn"],
    )
    def test_are_predicted_as_in_the_run(self, images: Path, tmp_path: Path, classifier: Classifier) -> None:
        outcome, folder = kept(cell(images, classifier=classifier, seeds=[0, 3]), FROZEN, tmp_path)
        predicted = asked([load_fitted(folder, rebuild_operator)], copied(images, tmp_path / "new"))
        both = beside(outcome, predicted.members)
        assert len(both) == len(outcome.predictions) == 24
        for name in ("p_one", "p_two"):
            np.testing.assert_allclose(both[f"{name}_new"], both[name], rtol=0, atol=1e-6)
        assert len(predicted.members) == 12 * 2 * 2
        assert predicted.copies == 12
        contents = {file_digest(file): str(file.relative_to(images)) for file in images.rglob("*.png")}
        named = asked([load_fitted(folder, rebuild_operator)], images, names=contents).table
        assert named["nearest_1"].tolist() == named["case"].tolist()
        assert named["nearest_1_label"].tolist() == [case.split("/")[0] for case in named["case"]]
        assert not named["nearest_1_distance"].any()
        assert named["nearest_2_distance"].between(0, named["nearest_3_distance"]).all()
        digests = {digest[:12] for digest in contents}
        assert set(predicted.table["nearest_1"]) == digests  # of names that nobody told it says none

    def test_are_predicted_as_in_the_run_by_trained_networks(self, images: Path, tmp_path: Path) -> None:
        outcome, folder = kept(trained_cell(images), TRAINED, tmp_path)
        shutil.rmtree(tmp_path / "store")  # the folder holds the networks
        predicted = asked([load_fitted(folder, rebuild_operator)], copied(images, tmp_path / "new"))
        both = beside(outcome, predicted.members)
        assert len(both) == 12
        np.testing.assert_allclose(both["p_one_new"], both["p_one"], rtol=0, atol=1e-6)
        one = asked([load_fitted(folder, rebuild_operator)], tmp_path / "new" / "copy of 003.png").table.iloc[0]
        among = predicted.table.set_index("case").loc["copy of 003.png"]
        np.testing.assert_allclose([one["p_one"], one["distance"]], [among["p_one"], among["distance"]], atol=1e-6)

    def test_are_predicted_as_in_the_run_where_nothing_can_be_trained(self, images: Path, tmp_path: Path) -> None:
        one = cell(images, encoder=Handcrafted(label="Features"), crop=Crop(size=32, scale=0.5, count=2))
        outcome, folder = kept(one, TRAINED, tmp_path)
        both = beside(outcome, asked([load_fitted(folder, rebuild_operator)], copied(images, tmp_path / "new")).members)
        np.testing.assert_allclose(both["p_one_new"], both["p_one"], rtol=0, atol=1e-6)

    def test_are_as_far_as_they_were(self, images: Path, tmp_path: Path) -> None:
        _, folder = kept(cell(images), FROZEN, tmp_path)
        member = load_fitted(folder, rebuild_operator)
        table = asked([member], copied(images, tmp_path / "new")).table
        own = member.known["all"].table()["distance"]
        np.testing.assert_allclose(sorted(table["distance"]), sorted(own / distance_threshold(own)))
        assert not table["unlike"].any()


def threshold(value: float, **changes: Any) -> ModelThreshold:
    given = {"rule": "sensitivity:0.9", "folds": {"1": value, "2": value}, "positive": ["two"], "reduce": "max"}
    cases = pd.DataFrame({"fold": [1], "case": ["a"], "label": ["two"], "p_one": [1 - value], "p_two": [value]})
    return ModelThreshold(**(given | {"value": value, "cases": cases} | changes))


def chosen(scores: list[list[float]], rule: str = "youden") -> ModelThreshold:
    """What a rule chooses on the training parts of two folds, the first half of whose cases are positive."""
    cases = [
        {"fold": fold, "case": f"case {k}", "label": "two" if k < len(part) / 2 else "one", "p_one": 1 - p, "p_two": p}
        for fold, part in enumerate(scores, start=1)
        for k, p in enumerate(part)
    ]
    return ModelThreshold.choose(parse_rule(rule), pd.DataFrame(cases), Binary(positive=["two"]))


class TestThreshold:
    def test_calls_cases_by_the_mean_of_the_models(self, images: Path, tmp_path: Path) -> None:
        _, folder = kept(cell(images), FROZEN, tmp_path)
        new = copied(images, tmp_path / "new")
        plain = asked([load_fitted(folder, rebuild_operator)], new).table
        value = float(np.sort(plain["p_two"])[4:6].mean())
        _, folder = kept(cell(images), FROZEN, tmp_path, "called", threshold(value))
        predicted = asked([load_fitted(folder, rebuild_operator)], new)
        assert predicted.threshold is not None
        assert predicted.threshold.value == value
        assert sorted(set(predicted.table) - set(plain)) == ["called", "score"]
        pd.testing.assert_frame_equal(predicted.table[list(plain)], plain)
        np.testing.assert_allclose(predicted.table["score"], predicted.table["p_two"])
        assert predicted.table["called"].tolist() == np.where(plain["p_two"] > value, "positive", "negative").tolist()
        assert predicted.table["called"].value_counts().to_dict() == {"positive": 7, "negative": 5}

    def test_an_image_without_probabilities_is_called_nothing(self, images: Path, tmp_path: Path) -> None:
        _, folder = kept(cell(images), FROZEN, tmp_path, threshold=threshold(0.5))
        new = copied(images, tmp_path / "new")
        (new / "copy of 000.png").write_bytes(b"no image")
        first = asked([load_fitted(folder, rebuild_operator)], new).table.set_index("case").loc["copy of 000.png"]
        assert first["called"] == ""
        assert np.isnan(first["score"])

    def test_of_several_cells_is_chosen_on_the_mean_of_theirs(self, images: Path, tmp_path: Path) -> None:
        both = (
            chosen([[0.9, 0.5, 0.1, 0.2], [0.8, 0.6, 0.3, 0.2]]),
            chosen([[0.5, 0.9, 0.4, 0.1], [0.4, 0.8, 0.7, 0.2]]),
        )
        folders = [kept(cell(images), FROZEN, tmp_path, name, each)[1] for name, each in zip("ab", both, strict=True)]
        members = load_all_fitted(folders, rebuild_operator)
        assert [member.threshold for member in members] == [*both]  # but for the names of cases
        assert "case 0" not in members[0].threshold.cases["case"].tolist()
        fused = fuse_thresholds(members)
        mean = chosen([[0.7, 0.7, 0.25, 0.15], [0.6, 0.7, 0.5, 0.2]])
        assert fused.folds == pytest.approx(mean.folds)
        assert fused.value == pytest.approx((0.475 + 0.55) / 2)
        members[1].threshold = chosen([[0.5, 0.9, 0.4, 0.1]])
        assert fuse_thresholds(members) is None  # other folds
        members[1].threshold = chosen([[0.9, 0.5, 0.1, 0.2], [0.8, 0.6, 0.3, 0.2]], "cost:2")
        assert fuse_thresholds(members) is None
        members[1].threshold = None
        assert fuse_thresholds(members) is None


class TestTwoViews:
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path, Path]:
        place = tmp_path_factory.mktemp("views")
        root = folder_of_images(place / "images", 8)
        rows = [
            (f"{('one', 'two')[n % 2]}/{n:03d}.png", f"case{n % 4}", ("cc", "mlo")[n // 4], ("one", "two")[n % 2])
            for n in range(8)
        ]
        manifest = pd.DataFrame(rows, columns=["sample", "case", "view", "label"])
        manifest.to_csv(root / "manifest.csv", index=False)
        one = cell(root, data=Table(path=str(root / "manifest.csv"), root=str(root)))
        return (*kept(one, FROZEN, place), root)

    def test_a_row_per_case(self, model: tuple[Outcome, Path, Path]) -> None:
        outcome, folder, root = model
        predicted = asked([load_fitted(folder, rebuild_operator)], root / "manifest.csv")
        assert predicted.table["case"].tolist() == ["case0", "case1", "case2", "case3"]
        both = beside(outcome, predicted.members)
        assert len(both) == 8
        np.testing.assert_allclose(both["p_one_new"], both["p_one"], rtol=0, atol=1e-6)

    def test_a_case_with_one_view_uses_it(self, model: tuple[Outcome, Path, Path], tmp_path: Path) -> None:
        _, folder, root = model
        rows = pd.read_csv(root / "manifest.csv")
        rows[rows["sample"] != "one/004.png"].to_csv(root / "fewer.csv", index=False)
        all_views, fewer = (
            asked([load_fitted(folder, rebuild_operator)], root / name) for name in ("manifest.csv", "fewer.csv")
        )
        own = all_views.members[all_views.members["sample"] == "one/000.png"]["p_one"].mean()
        assert fewer.table.loc[0, "p_one"] == pytest.approx(own, abs=1e-12)
        pd.testing.assert_frame_equal(fewer.table.drop(0)[["p_one"]], all_views.table.drop(0)[["p_one"]])

    def test_one_bad_image_leaves_the_other_view(self, model: tuple[Outcome, Path, Path]) -> None:
        _, folder, root = model
        rows = pd.read_csv(root / "manifest.csv").replace("one/004.png", "gone.png")
        rows.to_csv(root / "gone.csv", index=False)
        first = asked([load_fitted(folder, rebuild_operator)], root / "gone.csv").table.iloc[0]
        assert (first["outcome"], first["reason"]) == ("predicted", "gone.png: the file is missing")
        assert first["p_one"] + first["p_two"] == pytest.approx(1)

    def test_images_without_a_view_are_refused(self, model: tuple[Outcome, Path, Path]) -> None:
        with pytest.raises(ValueError, match="has models of the views cc and mlo, but one/000.png is of view ''"):
            asked([load_fitted(model[1], rebuild_operator)], model[2])


class TestBadImages:
    def test_are_named_and_cost_nobody_else(self, images: Path, tmp_path: Path) -> None:
        _, folder = kept(cell(images, on_bad_image="fail"), FROZEN, tmp_path)
        new = copied(images, tmp_path / "new")
        (new / "letter.png").write_text("Dear Sir")
        Image.fromarray(np.full((100, 130, 3), 250, np.uint8)).save(new / "white.png")
        Image.fromarray(tissue(seed=99, shape=(20, 20))).save(new / "small.png")
        table = asked([load_fitted(folder, rebuild_operator)], new).table.set_index("case")
        bad = table[table["outcome"] != "predicted"]
        assert bad["reason"].map(lambda reason: reason.partition(": ")[2][:22]).to_dict() == {
            "letter.png": "the file is not an ima",
            "small.png": "20 x 20 pixels are 10 ",
            "white.png": "nearly no tissue: 0.00",
        }
        assert set(bad["outcome"]) == {"left out"}
        assert bad[["p_one", "distance"]].isna().all(axis=None)
        assert set(bad["label"]) == {""}
        good = asked([load_fitted(folder, rebuild_operator)], copied(images, tmp_path / "good")).table.set_index("case")
        pd.testing.assert_frame_equal(table.drop(bad.index), good)

    def test_alone_are_a_table_without_figures(self, images: Path, tmp_path: Path) -> None:
        models = [kept(cell(images), FROZEN, tmp_path)[1], kept(trained_cell(images), TRAINED, tmp_path / "other")[1]]
        (tmp_path / "letter.png").write_text("Dear Sir")
        for model in models:
            for name in ("letter.png", "absent.csv"):
                (tmp_path / "absent.csv").write_text("sample\nabsent.png\n")
                row = asked([load_fitted(model, rebuild_operator)], tmp_path / name).table.iloc[0]
                assert (row["outcome"], row["label"]) == ("left out", "")
                assert pd.isna(row["unlike"])

    def test_pass_where_the_run_let_them(self, images: Path, tmp_path: Path) -> None:
        _, folder = kept(cell(images, on_bad_image="pass"), FROZEN, tmp_path)
        Image.fromarray(np.full((100, 130, 3), 250, np.uint8)).save(tmp_path / "white.png")
        row = asked([load_fitted(folder, rebuild_operator)], tmp_path / "white.png").table.iloc[0]
        assert row["outcome"] == "passed"
        assert row["label"] in ("one", "two")
        assert row["unlike"]


class Counted(Progress):
    """Counts the crops that are encoded."""

    crops = 0

    @contextmanager
    def counting(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        def count(steps: int) -> None:
            self.crops += steps if description == "encoding crops" else 0

        yield count


class TestSeveralCells:
    def test_give_their_mean_and_share_descriptors(self, images: Path, tmp_path: Path) -> None:
        from src.encoders.pooling import PowerMean

        cells = [cell(images, pool=PowerMean(p=p)) for p in (1.0, 3.0)]
        folders = [kept(one, FROZEN, tmp_path / str(number))[1] for number, one in enumerate(cells)]
        new, count = copied(images, tmp_path / "new"), Counted()
        listing = list_images(new)
        alone = [asked([load_fitted(folder, rebuild_operator)], new).table for folder in folders]
        together = predict_new(load_all_fitted(folders, rebuild_operator), listing.images, listing.root, count)
        assert count.crops == 12 * 2 * 3
        np.testing.assert_allclose(together.table["p_one"], (alone[0]["p_one"] + alone[1]["p_one"]) / 2)
        assert sorted(together.members["model"].unique()) == ["one (1)", "one (2)"]

    def test_of_other_classes_are_refused(self, images: Path, tmp_path: Path) -> None:
        folder = kept(cell(images), FROZEN, tmp_path)[1]
        member = load_fitted(folder, rebuild_operator)
        other = replace(member, name="other", classes=["one", "three"])
        with pytest.raises(ValueError, match="one has one, two and other has one, three"):
            asked([member, other], images)


def test_fold_models_may_have_different_heads(images: Path, tmp_path: Path) -> None:
    """As tuning may choose them."""
    members = []
    for name, hidden, dropout in (("plain", [], 0.0), ("hidden", [4], 0.0), ("dropped", [4], 0.5)):
        one = trained_cell(images, finetune=tuned(hidden=hidden, dropout=dropout, epochs=1))
        members.append(load_fitted(kept(one, TRAINED, tmp_path / name)[1], rebuild_operator))
    names = sorted(members[0].models)
    mixed = {name: members[number].models[name] for number, name in enumerate(names[:3])}
    together = asked([replace(members[0], models=mixed)], images).members
    for number, name in enumerate(mixed):
        alone = asked([replace(members[number], models={name: mixed[name]})], images).members
        same = together[together["fold"] == alone["fold"].iloc[0]]
        np.testing.assert_array_equal(same["p_one"], alone["p_one"])


def test_blocks_of_images_change_nothing(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = kept(cell(images), FROZEN, tmp_path)
    new = copied(images, tmp_path / "new")
    (new / "letter.png").write_text("Dear Sir")
    at_once = asked([load_fitted(folder, rebuild_operator)], new)
    monkeypatch.setattr(prediction, "BLOCK", 5)
    by_block = asked([load_fitted(folder, rebuild_operator)], new)
    pd.testing.assert_frame_equal(by_block.table, at_once.table, rtol=1e-9)
    assert list(by_block.members) == ["sample", "case", "view", "fold", "seed", "p_one", "p_two", "model"]
    assert len(by_block.members) == len(at_once.members) == 24


class TestStore:
    def test_is_not_written_unless_asked(self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = kept(cell(images), FROZEN, tmp_path)[1]
        monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
        before = sorted((tmp_path / "store").rglob("*"))
        table = asked([load_fitted(folder, rebuild_operator)], images).table
        assert sorted((tmp_path / "store").rglob("*")) == before
        count = Counted()
        new = list_images(images)
        kept_ones = predict_new(
            [load_fitted(folder, rebuild_operator)], new.images, new.root, count, store=Store(tmp_path / "store")
        )
        assert count.crops == 0
        pd.testing.assert_frame_equal(kept_ones.table, table)


@st.composite
def said(draw: st.DrawFn) -> pd.DataFrame:
    """What models of folds and seeds say of samples of cases, some with one view and some with two."""
    views = draw(st.lists(st.sampled_from([("",), ("cc",), ("cc", "mlo")]), min_size=1, max_size=4))
    shape = [draw(st.integers(1, 3)) for _ in range(3)]
    rows = [
        (f"case{case}", f"case{case}{view}", view, f"model{model}", fold, seed)
        for case, of_case in enumerate(views)
        for view in of_case
        for model in range(shape[0])
        for fold in range(shape[1])
        for seed in range(shape[2])
    ]
    table = pd.DataFrame(rows, columns=["case", "sample", "view", "model", "fold", "seed"])
    first = draw(st.lists(st.floats(0, 1), min_size=len(rows), max_size=len(rows)))
    return table.assign(p_a=first, p_b=1 - np.array(first))


@given(said(), st.integers(0, 100))
@settings(max_examples=25)
def test_the_fusion_is_a_mean_whatever_the_order(each: pd.DataFrame, seed: int) -> None:
    table = fuse_answers(each, ["a", "b"])
    pd.testing.assert_frame_equal(
        fuse_answers(each.sample(frac=1, random_state=seed), ["a", "b"]), table, check_exact=True
    )
    np.testing.assert_allclose(table["p_a"], each.groupby("case")["p_a"].mean(), atol=1e-12)  # every case is balanced
    np.testing.assert_allclose(table["p_a"] + table["p_b"], 1)
    assert (table["label"] == np.where(table["p_a"] >= table["p_b"], "a", "b")).all()
    assert table["agreement"].between(0, 1).all()
    answers = each.groupby(["case", "model", "fold", "seed"])["p_a"].mean()
    np.testing.assert_allclose(table["spread"], answers.groupby("case").std(ddof=0), atol=1e-9)


def test_agreement_counts_models() -> None:
    each = pd.DataFrame({"case": "c", "sample": "s", "view": "", "model": "m", "fold": [1, 2, 3, 4], "seed": 0})
    row = fuse_answers(each.assign(p_a=[0.9, 0.8, 0.7, 0.2], p_b=[0.1, 0.2, 0.3, 0.8]), ["a", "b"]).iloc[0]
    assert (row["label"], row["agreement"], row["p_a"]) == ("a", 0.75, pytest.approx(0.65))
