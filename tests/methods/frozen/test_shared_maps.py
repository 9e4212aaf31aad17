"""Crops that share one map: the same bytes however it is done, several sizes by one pass, and clear refusals."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from src.config import rebuild_operator
from src.data.new_images import list_images
from src.encoders.encoder import Encoder, Extractor
from src.encoders.handcrafted import Handcrafted
from src.encoders.modules.window_means import Windows
from src.encoders.timm import Timm
from src.images.crop import Crop
from src.methods.finetune.finetune import FineTune
from src.methods.frozen.extraction import Extraction
from src.methods.frozen.extraction_work import extract_descriptors
from src.methods.frozen.frozen import Frozen
from src.methods.frozen.shared_maps import batches_of_shape
from src.methods.preparation import prepare_tensor
from src.models.prediction import predict_new
from src.models.saved import load_fitted, save_fitted
from src.recipes import descriptor_recipe, operator_recipe
from src.storage.store import Store
from src.system.progress import Progress
from tests.support.cells import cell, task_of
from tests.support.frozen import explained, extract_all, predict, samples
from tests.support.images import folder_of_images, spoil, tissue
from tests.support.networks import Unpadded

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(kw_only=True)
class Bare(Encoder):
    """The encoder whose crops have the same descriptors by themselves and by a map."""

    label: str = "Bare"

    def digest(self) -> str:
        return "bare"

    def check_size(self, size: int) -> None:
        """It takes any."""

    def load(self, device: str = "cpu") -> Extractor:
        return Unpadded()


def sharing(size: int = 32, *together: int, count: int = 3) -> Crop:
    return Crop(size=size, scale=0.5, count=count, sharing="map", together=list(together))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images, of two shapes."""
    root = folder_of_images(tmp_path_factory.mktemp("images"), 8)
    for seed, name in enumerate(("one/000.png", "two/003.png")):
        Image.fromarray(tissue(seed=30 + seed, shape=(110, 98))).save(root / name)
    return root


@pytest.mark.parametrize("batch", [1, 12])
def test_workers_and_kills_do_not_change_a_byte(images: Path, tmp_path: Path, batch: int) -> None:
    from src.images.augment import StainJitter

    one = cell(images, crop=sharing(32, 40), augment=StainJitter(count=5))
    extract_all(one, tmp_path / "whole", samples(one), batch, workers=1)
    for end in (1, 4, 8):
        extract_all(one, tmp_path / "parts", samples(one)[:end], batch, workers=4)
    whole, parts = (contents(tmp_path / name) for name in ("whole", "parts"))
    assert len(whole) == 16
    assert parts == whole


def contents(root: Path) -> dict[str, bytes]:
    """The bytes of a store's descriptors, of whatever recipe."""
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*.safetensors")}


def test_descriptors_are_those_of_the_crops_at_their_places(images: Path, tmp_path: Path) -> None:
    """Of an encoder without padding, the crops of the turned image have the same descriptors by themselves."""
    one = cell(images, crop=sharing(25), encoder=Bare())
    extract_all(one, tmp_path, samples(one))
    network, store = one.encoder.load(), Store(tmp_path)
    for sample in samples(one):
        image, _ = prepare_tensor(one, sample)
        assert image is not None
        stored = store.read(descriptor_recipe(one, "bare"), sample.content)
        for number, augmented in enumerate(one.augment(image, one.seed, sample.content)):
            turned = one.crop.turn(augmented, one.seed, sample.content, number)
            grid = ((turned.shape[1] - 25) // 6 + 1, (turned.shape[2] - 25) // 6 + 1)
            rows, columns = one.crop.cells(grid, one.seed, sample.content, number)
            places = zip(6 * rows, 6 * columns, strict=True)
            own = torch.stack([turned[:, top : top + 25, left : left + 25] for top, left in places])
            np.testing.assert_allclose(stored[number], network(own), rtol=1e-5, atol=1e-6)


def test_a_second_size_finds_its_descriptors(images: Path, tmp_path: Path) -> None:
    first, second, alone = (cell(images, crop=crop) for crop in (sharing(32, 32, 40), sharing(40, 32, 40), sharing(40)))
    outcomes = [predict(one, tmp_path / "together") for one in (first, second, alone)]
    assert [outcome.facts["encoded_crops"] for outcome in outcomes] == [8 * 2 * 3, 0, 0]
    apart = predict(alone, tmp_path / "apart")
    assert apart.facts["encoded_crops"] == 8 * 2 * 3
    pd.testing.assert_frame_equal(apart.predictions, outcomes[1].predictions, check_exact=True)
    assert not outcomes[0].predictions.equals(outcomes[1].predictions)


def test_an_image_too_small_for_one_size_serves_the_other(images: Path, tmp_path: Path) -> None:
    Image.fromarray(tissue(seed=50, shape=(70, 130))).save(folder_of_images(tmp_path / "images", 6) / "one" / "low.png")
    one, other = (cell(tmp_path / "images", crop=sharing(size, 32, 40), on_bad_image="skip") for size in (32, 40))
    assert len(predict(one, tmp_path / "store").predictions) == 7
    outcome = predict(other, tmp_path / "store")
    assert outcome.facts["encoded_crops"] == 0
    assert outcome.bad["sample"].tolist() == ["one/low.png"]
    assert "too small for crop.size=40" in outcome.bad["reason"].iloc[0]


def test_passed_images_are_noted_for_every_size(tmp_path: Path) -> None:
    one, other = (
        cell(spoil(tmp_path / "images"), crop=sharing(size, 32, 40), on_bad_image="pass") for size in (32, 40)
    )
    outcomes = [predict(each, tmp_path / "store") for each in (one, other)]
    assert [outcome.facts["encoded_crops"] for outcome in outcomes] == [7 * 2 * 3, 0]
    for outcome in outcomes:
        assert dict(outcome.bad[["sample", "outcome"]].to_numpy()) == {
            "one/white.png": "passed",
            "two/truncated.png": "left out",
        }


def test_what_is_stored_of_exact_crops_keeps_its_address() -> None:
    before = {"operator": "Crop", "revision": 1, "size": 224, "scale": 0.5, "count": 20, "orient": True}
    assert operator_recipe(Crop()) == before
    assert operator_recipe(sharing(224, 400, count=20)) == before | {"sharing": "map"}
    assert rebuild_operator(operator_recipe(sharing(224, 400))) == sharing(224)


def test_what_cannot_be_pooled_ends_the_first_image(images: Path, tmp_path: Path) -> None:
    one = cell(images, crop=sharing(), encoder=Timm(architecture="test_efficientnet", weights="random", input_size=0))
    with pytest.raises(ValueError, match=r"with p=3, but the least is -.*choose pool\.p=1"):
        extract_all(one, tmp_path, samples(one))
    assert not contents(tmp_path)


def test_an_encoder_without_maps_is_named_before_any_image_is_read(images: Path, tmp_path: Path) -> None:
    one = cell(images, crop=sharing(), encoder=Handcrafted(label="Texture"))
    gone = [type(each)("gone.png", each.content) for each in samples(one)]
    recipe = descriptor_recipe(one, "")
    work = Extraction(cell=one, store=Store(tmp_path), wanted=recipe, batch=4, workers=1)
    with pytest.raises(ValueError, match="Texture is none: take crop.sharing=exact"):
        list(extract_descriptors(work, gone, one.encoder.load()))
    assert not list(tmp_path.iterdir())


def test_training_shares_no_maps(images: Path, tmp_path: Path) -> None:
    one = cell(images, crop=sharing())
    task = task_of(one, tmp_path)
    with pytest.raises(ValueError, match="crop.sharing=map is for frozen descriptors"):
        FineTune(device="cpu").predict(task, one.protocol.split(task.manifest))


def test_buffers_hold_images_of_one_shape_each_once() -> None:
    shapes = [(4, 6), (6, 4), (4, 6), (4, 6), (6, 4)]
    images = [torch.full((3, *shape), number, dtype=torch.uint8) for number, shape in enumerate(shapes)]
    found = [
        (tuple(buffer.shape), numbers, buffer[:, 0, 0, 0].tolist()) for buffer, numbers in batches_of_shape(images, 2)
    ]
    assert [(shape, numbers) for shape, numbers, _ in found] == [
        ((2, 3, 4, 6), [0, 2]),
        ((2, 3, 6, 4), [1, 4]),
        ((2, 3, 4, 6), [3]),
    ]
    assert [values[: len(numbers)] for _, numbers, values in found] == [[0, 2], [1, 4], [3]]


class Small(Windows):
    """A device whose memory holds one image, or none."""

    holds = 1

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        if len(crops) > self.holds:
            raise torch.OutOfMemoryError("out of memory")
        return super().__call__(crops)


def test_images_that_do_not_fit_are_halved_or_named(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = cell(images, crop=sharing())
    single = extract_all(one, tmp_path / "single", samples(one), batch=3)
    monkeypatch.setattr("src.methods.frozen.shared_maps.Windows", Small)
    assert extract_all(one, tmp_path / "halved", samples(one), batch=6) == single
    assert "batches of 1" in caplog.text
    monkeypatch.setattr(Small, "holds", 0)
    with pytest.raises(ValueError, match="does not fit the memory of cpu; take crop.sharing=exact"):
        extract_all(one, tmp_path / "none", samples(one), batch=6)


def test_maps_of_probabilities_hold_what_the_model_says_of_shared_windows(images: Path, tmp_path: Path) -> None:
    one = cell(images, crop=sharing(32))
    task, found = explained(one, tmp_path)
    shown = task.manifest
    windows = Windows(one.encoder.load(), [32], "SqueezeNet")
    outcome = predict(one, tmp_path)
    for each, row in zip(found, shown.to_dict("records"), strict=True):
        image = torch.from_numpy(each.image).permute(2, 0, 1)
        grid = windows.split(windows(image[None]), each.image.shape[:2])[32][0]
        model = outcome.models[f"fold{row['fold']:02d}-seed0"]
        (said,) = model.predict(grid[0, 0][None].numpy())
        values = each.maps[f"probability of {row['predicted']}"]
        code = shown["label"].cat.categories.get_loc(row["predicted"])
        np.testing.assert_allclose(values[0, 0], said[code], rtol=1e-4)
        assert values.shape == each.image.shape[:2]


def test_new_images_get_descriptors_the_same_way(images: Path, tmp_path: Path) -> None:
    one = cell(images, crop=sharing(32, 40))
    outcome = predict(one, tmp_path / "store")
    save_fitted(tmp_path / "model", "cell", one, Frozen(workers=2, batch=4, device="cpu"), outcome, ["one", "two"])
    member = load_fitted(tmp_path / "model", rebuild_operator)
    new = list_images(images)
    answer = predict_new([member], new.images, new.root, Progress())
    ours = answer.members.set_index(["sample", "fold"])[["p_one", "p_two"]]
    theirs = outcome.predictions.set_index(["sample", "fold"])[["p_one", "p_two"]]
    pd.testing.assert_frame_equal(ours.loc[theirs.index], theirs, check_exact=True)
