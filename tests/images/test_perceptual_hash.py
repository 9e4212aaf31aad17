"""Near-identical images: what keeps a hash, what changes it, and that no pair is lost in the search."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from src.data import image_file
from src.data.leaks import DISTANCE
from src.images import BadImage, perceptual_hash
from src.images.perceptual_hash import PerceptualHash, find_near_pairs
from tests.support.images import tissue

Pixels = np.ndarray


def saved(pixels: Pixels, quality: int = 75) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def resized(pixels: Pixels, factor: float) -> Pixels:
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def brighter(pixels: Pixels, factor: float) -> Pixels:
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


ALTERATIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "saved again": lambda pixels: saved(pixels, 50),
    "half": lambda pixels: resized(pixels, 0.5),
    "double": lambda pixels: resized(pixels, 2),
    "square": lambda pixels: cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_AREA),
    "brighter": lambda pixels: brighter(pixels, 1.1),
    "darker": lambda pixels: brighter(pixels, 0.9),
    "mirrored and saved again at half the size": lambda pixels: saved(resized(pixels[:, ::-1].copy(), 0.5)),
    "turned": lambda pixels: np.rot90(pixels).copy(),
    "turned and mirrored": lambda pixels: np.rot90(pixels, 3)[::-1].copy(),
}


def different(first: np.ndarray, second: np.ndarray) -> int:
    """The bits by which an image, in its nearest orientation, differs from another as it is."""
    return int(np.bitwise_count(first ^ second[0]).sum(axis=1, dtype=int).min())


@pytest.mark.parametrize("name", ALTERATIONS)
def test_a_copy_is_near_and_another_image_is_far(name: str) -> None:
    pixels = [tissue(seed=seed, shape=(150, 200)) for seed in (1, 2)]
    one, other = map(PerceptualHash(), pixels)
    copy = PerceptualHash()(ALTERATIONS[name](pixels[0]))
    assert different(copy, one) <= DISTANCE
    assert different(copy, other) > 2 * DISTANCE


def test_the_first_hash_is_that_of_the_image_as_it_is() -> None:
    pixels = tissue(seed=1, shape=(128, 128))
    hashes = PerceptualHash()(pixels)
    assert hashes.shape == (8, 32)
    assert len({each.tobytes() for each in hashes}) == 8
    turned = {PerceptualHash()(np.rot90(pixels, turns).copy())[0].tobytes() for turns in range(4)}
    mirrored = {PerceptualHash()(np.rot90(pixels[::-1], turns).copy())[0].tobytes() for turns in range(4)}
    assert turned | mirrored == {each.tobytes() for each in hashes}


def test_a_flat_image_has_no_hash() -> None:
    with pytest.raises(BadImage, match="flat"):
        PerceptualHash()(np.full((50, 60, 3), 243, np.uint8))
    noise = np.random.default_rng(0).normal(240, 3, (600, 600, 3)).astype(np.uint8)
    with pytest.raises(BadImage, match="flat"):
        PerceptualHash()(noise)


def test_the_size_checks_itself() -> None:
    for size in (0, 4, 12):
        with pytest.raises(ValueError, match=f"size={size}"):
            PerceptualHash(size=size)


def real_images(shared: Path) -> dict[str, Pixels]:
    folders = {"histology_sample": "*/*.png", "mini_mias": "*/*.jpg", "cbis_ddsm_pairs": "*.png"}
    files = [file for folder, names in folders.items() for file in sorted((shared / "data" / folder).glob(names))]
    return {f"{file.parent.name}/{file.name}": image_file.read(file, convert=True) for file in files}


def test_real_images_are_told_apart_and_their_copies_found(shared: Path) -> None:
    """mini-MIAS has one mammogram twice, under two labels, and left and right breasts that mirror each other."""
    images = real_images(shared)
    hashes = np.stack([PerceptualHash()(pixels) for pixels in images.values()])
    assert len(images) == 137
    names = list(images)
    pairs = [
        (names[first], names[second]) for first, second, _ in np.concatenate(list(find_near_pairs(hashes, DISTANCE)))
    ]
    assert pairs == [("benign/mdb144.jpg", "malignant/mdb144.jpg")]
    chosen = range(0, len(names), 4)
    for name, alter in ALTERATIONS.items():
        bits = [different(PerceptualHash()(alter(images[names[number]])), hashes[number]) for number in chosen]
        assert max(bits) <= DISTANCE, name


def brute_force(hashes: np.ndarray, distance: int) -> list[list[int]]:
    pairs = [(one, other) for one in range(len(hashes)) for other in range(one + 1, len(hashes))]
    rows = [[one, other, different(hashes[one], hashes[other])] for one, other in pairs]
    return [row for row in rows if row[2] <= distance]


@st.composite
def hash_tables(draw: st.DrawFn) -> np.ndarray:
    """Up to 40 images; some are an orientation of an earlier one with a few bits changed."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, changed = draw(st.integers(0, 40)), draw(st.integers(1, 60))
    hashes = generator.integers(0, 256, (count, 8, 32), dtype=np.uint8)
    for number in range(1, count):
        if generator.random() < 0.6:
            bits = np.zeros(256, np.uint8)
            bits[generator.permutation(256)[: generator.integers(0, changed)]] = 1
            hashes[number, 0] = hashes[generator.integers(number), generator.integers(8)] ^ np.packbits(bits)
    return hashes


@settings(max_examples=40)
@given(
    hashes=hash_tables(),
    distance=st.integers(0, 40),
    block=st.integers(1, 50),
    candidates=st.integers(1, 50),
    radius=st.integers(0, 1),
)
def test_the_search_finds_what_brute_force_finds(
    hashes: np.ndarray, distance: int, block: int, candidates: int, radius: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perceptual_hash, "BLOCK", block)
        patch.setattr(perceptual_hash, "CANDIDATES", candidates)
        patch.setattr(perceptual_hash, "RADII", (radius,))
        assert np.concatenate(list(find_near_pairs(hashes, distance))).tolist() == brute_force(hashes, distance)


def test_of_many_images_few_are_compared() -> None:
    """With more images the work of each grows little, as what is looked up may differ in a bit."""
    for count, grown in ((1_000, 1), (100_000, 7), (1_000_000, 13)):
        assert (
            min(perceptual_hash.estimate_work(count, 256, DISTANCE, radius) for radius in perceptual_hash.RADII)
            < 400 * grown
        )


def test_many_equal_hashes_are_all_found() -> None:
    hashes = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 8, 32), dtype=np.uint8), 600, axis=0)
    pairs = np.concatenate(list(find_near_pairs(hashes, DISTANCE)))
    assert len(pairs) == 600 * 599 // 2
    assert not pairs[:, 2].any()
