"""Extraction: the same bytes however it is done, bounded memory, and defined outcomes for bad images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.cell import Cell
from src.classifiers.knn import Knn
from src.encoders.pooling import PowerMean
from src.encoders.timm import Timm
from src.images.crop import Crop
from src.methods.crop_batches import crop_batches, encode_batches, in_parts
from src.methods.finetune.finetune import FineTune
from src.methods.frozen.extraction import Extraction, pooled_descriptors
from src.methods.frozen.extraction_work import extract_descriptors
from src.methods.frozen.frozen import Frozen
from src.methods.method import Method
from src.methods.preparation import Sample
from src.recipes import descriptor_recipe
from src.storage.store import Store
from src.system.memory import OutOfMemory
from tests.support.cells import cell, task_of
from tests.support.frozen import extract_all, samples
from tests.support.images import folder_of_images, spoil


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"))


def test_one_worker_or_four_give_the_same_bytes(images: Path, tmp_path: Path) -> None:
    one = cell(images)
    results = [extract_all(one, tmp_path / str(workers), samples(one), workers=workers) for workers in (1, 4)]
    assert len(results[0]) == 6
    assert results[0] == results[1]


def test_in_one_go_or_in_parts_give_the_same_bytes(images: Path, tmp_path: Path) -> None:
    one = cell(images)
    whole = extract_all(one, tmp_path / "whole", samples(one), batch=4)
    for end in (1, 4, 6):  # 6 crops a sample: batches of 4 fall differently on the samples each time
        parts = extract_all(one, tmp_path / "parts", samples(one)[:end], batch=4)
    assert parts == whole


def test_descriptors_are_those_of_the_operators_called_by_hand(images: Path, tmp_path: Path) -> None:
    one = cell(images)
    sample = samples(one)[0]
    extract_all(one, tmp_path, [sample])
    image = one.stain(one.crop.rescale(one.data.read(sample.name)))
    network = one.encoder.load()
    planes = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    expected = [
        network(torch.stack(list(one.crop(augmented, 0, sample.content, number)))).numpy()
        for number, augmented in enumerate(one.augment(planes, 0, sample.content))
    ]
    stored = Store(tmp_path).read(descriptor_recipe(one, one.encoder.digest()), sample.content)
    np.testing.assert_allclose(stored, np.stack(expected), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_pooled_ends_the_first_batch(images: Path, tmp_path: Path) -> None:
    """Of an encoder whose descriptors can be negative; the mean can be had of them."""
    encoder = Timm(architecture="test_convnext", weights="random")
    one = cell(images, encoder=encoder)
    wanted, done = descriptor_recipe(one, encoder.digest()), []
    work = Extraction(cell=one, store=Store(tmp_path), wanted=wanted, batch=4, workers=2)
    with pytest.raises(ValueError, match=r"with p=3, but the least is -.*choose pool\.p=1"):
        done.extend(extract_descriptors(work, samples(one), encoder.load()))
    assert not done
    assert len(extract_all(cell(images, encoder=encoder, pool=PowerMean(p=1)), tmp_path, samples(one))) == 6


@pytest.mark.parametrize("method", [Frozen(workers=1), FineTune(workers=1)], ids=["frozen", "finetune"])
def test_a_size_that_the_encoder_cannot_take_is_refused_before_any_image_is_read(
    images: Path, tmp_path: Path, method: Method
) -> None:
    encoder = Timm(architecture="test_vit", weights="random", input_size=0)
    one = cell(images, encoder=encoder)
    task = task_of(one, tmp_path)
    missing = replace(one, data=replace(one.data, root=str(tmp_path / "gone")))
    with pytest.raises(ValueError, match=r"test_vit cannot take crops of 40 pixels .*encoder\.input_size=160"):
        method.predict(replace(task, cell=missing), one.protocol.split(task.manifest))


@given(st.integers(0, 30), st.integers(1, 7))
def test_batches_keep_crops_and_their_order(count: int, size: int) -> None:
    crops = torch.arange(count, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    seen = [(len(buffer), buffer[:counted, 0, 0, 0].tolist()) for buffer, counted in crop_batches(crops, size)]
    assert [length for length, _ in seen] == [size] * -(-count // size)
    assert [number for _, numbers in seen for number in numbers] == list(range(count))


@given(st.lists(st.integers(1, 9), max_size=6), st.integers(1, 7))
def test_batches_span_images(counts: list[int], size: int) -> None:
    image = torch.arange(3 * 20 * 20, dtype=torch.uint8).reshape(3, 20, 20)
    cuts = [Crop(size=4, count=count).cut(image, 0, "content", number) for number, count in enumerate(counts)]
    seen = [buffer[:counted].clone() for buffer, counted in crop_batches(cuts, size)]
    expected = [crop for cut in cuts for crop in cut]
    assert sum(map(len, seen)) == len(expected)
    assert all(
        torch.equal(one, other) for one, other in zip((crop for part in seen for crop in part), expected, strict=True)
    )


class Small:
    """A device whose memory holds so many crops."""

    length = 1
    device = torch.device("cpu")

    def __init__(self, holds: int, error: RuntimeError) -> None:
        self.holds, self.error = holds, error
        self.batches: list[int] = []

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        if len(crops) > self.holds:
            raise self.error
        self.batches.append(len(crops))
        return crops.float().mean(dim=(1, 2, 3), keepdim=False)[:, None]


LACKING = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("GET was unable to find an engine to execute this computation"),  # cuDNN's words for it
]


@pytest.mark.parametrize("error", LACKING, ids=["torch", "cudnn"])
def test_a_batch_that_does_not_fit_is_halved(caplog: pytest.LogCaptureFixture, error: RuntimeError) -> None:
    crops = torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1).expand(20, 3, 2, 2)
    network = Small(3, error)
    encoded = torch.cat(list(encode_batches(network, crop_batches(crops, 8))))
    assert encoded[:, 0].tolist() == list(range(20))
    assert set(network.batches) == {2}
    assert "batches of 2 crops from here on" in caplog.text


def test_a_crop_that_does_not_fit_at_all_is_named() -> None:
    with pytest.raises(OutOfMemory, match="one crop of 2 pixels does not fit"):
        list(encode_batches(Small(0, LACKING[0]), [(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), 4)]))


def test_other_errors_of_the_device_are_not_taken_for_a_lack_of_memory() -> None:
    def broken(crops: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        in_parts(broken, torch.zeros(4, 3, 2, 2, dtype=torch.uint8), 4, 4, torch.device("cpu"))


def test_descriptors_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    work = Extraction(cell=cell(tmp_path), store=Store(tmp_path), wanted={}, batch=4, workers=1)
    with pytest.raises(ValueError, match="a.png: its descriptors are not finite: take encoder.precision=bfloat16"):
        work.keep(Sample("a.png", "0"), "", np.full((1, 1, 2), np.inf, np.float32))
    assert not list(tmp_path.iterdir())


def test_bad_images_fail_by_name(tmp_path: Path) -> None:
    one = cell(spoil(tmp_path / "images"))
    with pytest.raises(ValueError, match=r"one/white.png: nearly no tissue.*on_bad_image=skip"):
        extract_all(one, tmp_path / "store", samples(one), workers=1)


def test_an_extraction_that_ends_early_forgets_no_image_that_is_passed(tmp_path: Path) -> None:
    one = cell(spoil(tmp_path / "images"), on_bad_image="pass")
    store, wanted = Store(tmp_path / "store"), descriptor_recipe(one, one.encoder.digest())
    work = Extraction(cell=one, store=store, wanted=wanted, batch=4, workers=1)
    steps = extract_descriptors(work, samples(one), one.encoder.load())
    (white,) = (sample for sample in samples(one) if sample.name == "one/white.png")
    for _ in steps:  # wherever it is killed, the image is still to be encoded, or has its descriptors
        assert white.content not in store.held(wanted) or store.holds(wanted, white.content)
    assert store.holds(wanted, white.content)
    assert "no tissue" in store.held(wanted).notes[white.content]


@pytest.mark.parametrize("sharing", ["exact", "map"])
def test_a_file_that_cannot_be_read_now_is_no_bad_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharing: str
) -> None:
    """A network drive fails for a moment: the image is not taken for bad ever after."""
    root = folder_of_images(tmp_path / "images")
    one = cell(root, on_bad_image="skip", crop=Crop(size=40, scale=0.5, count=3, sharing=sharing))
    read, store, wanted = Path.read_bytes, Store(tmp_path / "store"), samples(one)

    def fail(path: Path) -> bytes:
        if path.name == "003.png":
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(ValueError, match=r"two/003.png: the file cannot be opened: Input/output error.*run again"):
        extract_all(one, tmp_path / "store", wanted, workers=1)
    monkeypatch.undo()
    extract_all(one, tmp_path / "store", samples(one), workers=1)
    held = store.held(descriptor_recipe(one, one.encoder.digest()))
    assert len(held.samples) == 6
    assert not held.notes


@pytest.mark.parametrize(("on_bad_image", "stored"), [("skip", 6), ("pass", 7)])
def test_bad_images_are_skipped_or_passed_and_noted(tmp_path: Path, on_bad_image: str, stored: int) -> None:
    one = cell(spoil(tmp_path / "images"), on_bad_image=on_bad_image)
    assert len(extract_all(one, tmp_path / "store", samples(one))) == stored
    store, wanted = Store(tmp_path / "store"), descriptor_recipe(one, one.encoder.digest())
    held = store.held(wanted)
    notes = {each.name: held.notes[each.content] for each in samples(one) if each.content in held.notes}
    assert set(notes) == {"one/white.png", "two/truncated.png"}
    assert "truncated" in notes["two/truncated.png"]


def test_pooled_descriptors_are_those_of_the_pool_and_the_samples_that_are_asked_for(tmp_path: Path) -> None:
    one = cell(folder_of_images(tmp_path / "images"))
    chosen, store = samples(one), Store(tmp_path / "store")
    extract_all(one, tmp_path / "store", chosen)
    wanted = descriptor_recipe(one, one.encoder.digest())
    stored = {sample.content: store.read(wanted, sample.content) for sample in chosen}

    def pooled(cell: Cell, asked: list[Sample]) -> np.ndarray:
        found = pooled_descriptors(cell, store, wanted, asked)
        np.testing.assert_array_equal(found, [cell.pool(stored[sample.content]) for sample in asked])
        return found

    first = pooled(one, chosen)
    for _, path in zip(range(2), (tmp_path / "store").rglob("*.safetensors"), strict=False):
        path.rename(path.with_suffix(".away"))
    assert pooled(replace(one, classifier=Knn()), chosen) is first  # what the last cell pooled
    for path in (tmp_path / "store").rglob("*.away"):
        path.rename(path.with_suffix(".safetensors"))
    assert len(pooled(one, chosen[1:])) == len(chosen) - 1
    pooled(replace(one, pool=PowerMean(p=2)), chosen)
