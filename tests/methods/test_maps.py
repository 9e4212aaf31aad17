"""What the models of a method look at, for the cases that a run shows."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from src.encoders.encoder import Extractor
from src.images.augment import NoAugment
from src.images.crop import Centre, Crop, Whole
from src.images.stain import NoStain
from src.methods.frozen.frozen import Frozen
from src.methods.maps import explain_descriptors, explain_networks, hidden_maps, window_maps, with_hidden
from src.training.network import NetworkWithHead
from tests.support.cells import cell
from tests.support.frozen import examples, explained, predict
from tests.support.images import folder_of_images

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"), 8)


def test_frozen_descriptors_give_a_map_of_each_class_that_matters(images: Path, tmp_path: Path) -> None:
    one = cell(images, seeds=[3, 0])
    task, found = explained(one, tmp_path)
    shown = task.manifest
    assert [each.sample for each in found] == shown["sample"].tolist()
    assert set(shown["seed"]) == {3}
    for each, row in zip(found, shown.to_dict("records"), strict=True):
        wanted = list(dict.fromkeys([row["predicted"], row["label"]]))
        assert list(each.maps) == [f"probability of {name}" for name in wanted]
        assert each.image.shape == (50, 65, 3)
        assert "one by one, by a model that learnt from pooled ones" in each.note
        for values in each.maps.values():
            assert values.shape == (50, 65)
            assert 0 <= values.min() <= values.max() <= 1
        if len(each.maps) == 2:  # all classes there are
            np.testing.assert_allclose(sum(each.maps.values()), 1, rtol=1e-5)
    assert any(not row["right"] for row in shown.to_dict("records"))


def test_a_map_holds_what_the_model_says_of_each_window(images: Path, tmp_path: Path) -> None:
    """Windows that do not overlap show their own probabilities, encoded and predicted here one by one."""
    one = cell(images, crop=Crop(size=40, scale=0.5, count=1, orient=False), augment=NoAugment(), stain=NoStain())
    outcome = predict(one, tmp_path)
    task = examples(one, outcome.predictions, tmp_path)
    shown = task.manifest
    network = one.encoder.load()
    for each, row in zip(
        Frozen(batch=4, device="cpu").explain(task, dict(outcome.models)),
        shown.to_dict("records"),
        strict=True,
    ):
        corner = torch.from_numpy(each.image[:40, :40]).permute(2, 0, 1)
        model = outcome.models[f"fold{row['fold']:02d}-seed0"]
        (probabilities,) = model.predict(network(corner[None]).numpy())
        code = shown["label"].cat.categories.get_loc(row["predicted"])
        np.testing.assert_allclose(
            each.maps[f"probability of {row['predicted']}"][0, 0], probabilities[code], rtol=1e-3
        )


def test_a_model_of_one_window_shows_what_it_loses(images: Path, tmp_path: Path) -> None:
    for crop in (Whole(size=40), Centre(size=40, shorter=60)):
        task, found = explained(cell(images, crop=crop), tmp_path)
        assert len(found) == len(task.manifest)
        for each in found:
            assert all("lost where hidden" in name for name in each.maps)
            for values in each.maps.values():
                assert values.shape == each.image.shape[:2]
                assert np.isnan(values).sum() == values.size - 40 * 40
                assert 0 <= np.nanmin(values) <= np.nanmax(values) <= 1


def brightest(crops: Iterable[torch.Tensor]) -> np.ndarray:
    """A model that finds class 1 where any pixel is bright."""
    found = np.array([float(crop.max()) / 255 for crop in crops])
    return np.stack([1 - found, found], axis=1)


def test_windows_and_hiding_both_find_the_spot() -> None:
    image = torch.zeros((3, 96, 128), dtype=torch.uint8)
    image[:, 70:74, 20:24] = 255
    places = [(top, left) for top in (0, 32, 64) for left in (0, 32, 64, 96)]
    asked = brightest(image[:, top : top + 32, left : left + 32] for top, left in places)
    values = window_maps(asked, places, 32, (96, 128), {"bright": 1})["probability of bright"]
    assert set(values[64:, :32].flatten()) == {1}
    assert values[:64].max() == values[64:, 32:].max() == 0
    asked = brightest(with_hidden(image[:, :, :96]))
    ((name, lost),) = hidden_maps(asked, (0, 0), 96, (96, 96), {"bright": 1}).items()
    assert name.startswith("probability of bright lost where hidden, 0.9")
    assert lost[72, 22] == lost.max() == 1
    assert lost[:40].max() == lost[:, 60:].max() == 0


def test_what_changes_nothing_is_not_blown_up() -> None:
    image = torch.full((3, 32, 32), 100, dtype=torch.uint8)
    ((name, lost),) = hidden_maps(brightest(with_hidden(image)), (0, 0), 32, (32, 32), {"bright": 1}).items()
    assert name.endswith("0.00 at most")
    assert not lost.any()


def refused() -> Extractor:
    raise AssertionError("the encoder is loaded")


def test_what_was_explained_once_is_not_encoded_again(images: Path, tmp_path: Path) -> None:
    for crop in (Crop(size=40, scale=0.5, count=2), Whole(size=40)):
        one = cell(images, crop=crop)
        task, first = explained(one, tmp_path)
        models = dict(predict(one, tmp_path).models)
        again = list(explain_descriptors(task, models, refused, 4))
        for each, before in zip(again, first, strict=True):
            assert list(each.maps) == list(before.maps)
            for name, values in each.maps.items():
                np.testing.assert_array_equal(values, before.maps[name])
        other = replace(task, cell=replace(one, crop=replace(crop, size=32)))
        with pytest.raises(AssertionError, match="is loaded"):
            next(explain_descriptors(other, models, refused, 4))


def test_views_have_models_of_their_own_unless_shared(tmp_path: Path) -> None:
    from src.data.sets.table import Table

    root = folder_of_images(tmp_path / "images", 8)
    rows = [
        (f"{('one', 'two')[n % 2]}/{n:03d}.png", f"case{n % 4}", ("cc", "mlo")[n // 4], "ab"[n % 2]) for n in range(8)
    ]
    pd.DataFrame(rows, columns=["sample", "case", "view", "label"]).to_csv(root / "manifest.csv", index=False)
    for views in ("separate", "shared"):
        one = cell(root, data=Table(path=str(root / "manifest.csv"), root=str(root)), views=views)
        task, found = explained(one, tmp_path / views)
        shown = task.manifest
        assert [each.sample for each in found] == shown["sample"].tolist()
        assert shown.groupby("case")["view"].apply(sorted).map(lambda found: found == ["cc", "mlo"]).all()


class Trained:
    """A fine-tuned network that was not trained."""

    def __init__(self, encoder: object) -> None:
        self.encoder = encoder

    def network(self, device: str = "cpu") -> NetworkWithHead:
        torch.manual_seed(0)
        return NetworkWithHead(self.encoder.load(device), 2).eval().requires_grad_(False)


def test_networks_are_explained_by_their_gradients(images: Path, tmp_path: Path) -> None:
    one = cell(images, crop=Crop(size=40, scale=0.5, count=1))
    manifest = one.data.manifest()
    table = manifest.assign(label=manifest["label"].astype(str), model="run", fold=1, seed=0, p_one=0.7, p_two=0.3)
    found = list(explain_networks(examples(one, table, tmp_path), {"fold01-seed0": Trained(one.encoder)}, "cpu"))
    assert [sorted(each.maps) for each in found] == [
        ["Grad-CAM for one", "integrated gradients for one"],
        ["Grad-CAM for one", "Grad-CAM for two", "integrated gradients for one"],
    ]
    for each in found:
        assert all(values.shape == (50, 65) for values in each.maps.values())
        assert each.note == ""


def test_an_example_is_read_as_the_models_saw_it(tmp_path: Path) -> None:
    """Scaled and stained, so that a map lies on the image that it is of."""
    root = folder_of_images(tmp_path / "images", 8)
    one = cell(root)
    task, found = explained(one, tmp_path / "store")
    raw = np.asarray(Image.open(root / task.manifest["sample"].iloc[0]))
    expected = one.stain(one.crop.rescale(raw))
    np.testing.assert_array_equal(found[0].image, expected)
