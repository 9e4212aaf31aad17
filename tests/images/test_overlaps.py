"""Overlaps: crops and fields of one image are found, whatever was done to them, and others are not."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.images import overlaps
from src.images.keypoints import NO_POINTS, Keypoints
from src.images.overlaps import find_candidates, find_overlaps, pair_equal
from src.images.perceptual_hash import PerceptualHash
from tests.support.images import read, tissue

SIDE = 360
WHOLE = tissue(shape=(SIDE, SIDE))
OTHERS = [tissue(seed=seed, shape=(SIDE, SIDE)) for seed in range(1, 5)]


def found(*images: np.ndarray) -> list[list[int]]:
    sizes = np.array([image.shape[:2] for image in images])
    return find_overlaps([Keypoints()(image) for image in images], sizes).tolist()


def saved(image: np.ndarray, quality: int = 80) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def cut(image: np.ndarray, share: float) -> np.ndarray:
    """The middle of an image, of so much of its sides."""
    height, width = (round(length * (1 - share) / 2) for length in image.shape[:2])
    return image[height : image.shape[0] - height, width : image.shape[1] - width]


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    "crop",
    [
        pytest.param(cut(WHOLE, 0.95), id="5 %"),
        pytest.param(cut(WHOLE, 0.9), id="10 %"),
        pytest.param(WHOLE[18:, 18:], id="a corner of 5 %"),
        pytest.param(scaled(cut(WHOLE, 0.95), 0.6), id="smaller"),
        pytest.param(scaled(cut(WHOLE, 0.95), 1.4), id="larger"),
        pytest.param(np.rot90(cut(WHOLE, 0.95)), id="turned"),
        pytest.param(cut(WHOLE, 0.95)[::-1], id="mirrored"),
        pytest.param(np.rot90(cut(WHOLE, 0.95)[:, ::-1]), id="mirrored and turned"),
        pytest.param((cut(WHOLE, 0.95) * 0.85).astype(np.uint8), id="darker"),
        pytest.param(cut(WHOLE, 0.7), id="30 %"),
    ],
)
def test_a_crop_is_found_among_others(crop: np.ndarray) -> None:
    ((first, second, percent),) = found(WHOLE, OTHERS[0], saved(crop), OTHERS[1])
    assert (first, second) == (0, 2)
    assert percent > 95


@pytest.mark.parametrize("share", [0.75, 0.5])
@pytest.mark.parametrize("down", [False, True])
def test_overlapping_fields_are_found_with_how_much_they_share(share: float, down: bool) -> None:
    slide = tissue(seed=9, shape=(900, 900))
    step = round(SIDE * (1 - share))
    one, other = slide[:SIDE, :SIDE], slide[step:, :SIDE] if down else slide[:, step:]
    ((first, second, percent),) = found(saved(one), *OTHERS, saved(other[:SIDE, :SIDE], 70))
    assert (first, second) == (0, 5)
    assert percent == pytest.approx(100 * share, abs=3)


def test_neighbours_without_a_common_place_are_not_found() -> None:
    slide = tissue(seed=9, shape=(SIDE, 4 * SIDE))
    assert found(*np.split(slide, 4, axis=1), *OTHERS) == []


def test_a_mark_that_several_images_bear_is_no_overlap() -> None:
    mark = np.random.default_rng(0).choice([0, 255], (12, 12, 1)).astype(np.uint8).repeat(6, 0).repeat(6, 1)
    marked = [image.copy() for image in OTHERS]
    for image in marked:
        image[10:82, 10:82] = mark
    assert found(*marked) == []


def test_images_without_keypoints_and_none_at_all_have_no_overlap() -> None:
    flat = np.full((60, 60, 3), 200, np.uint8)
    assert found(flat, flat, WHOLE) == []
    assert find_overlaps([], np.empty((0, 2), np.int64)).shape == (0, 3)
    assert find_overlaps([NO_POINTS] * 3, np.ones((3, 2), np.int64)).shape == (0, 3)


def test_an_image_is_compared_with_those_that_share_most(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [Keypoints()(WHOLE[:, shift : shift + 200]) for shift in range(0, 150, 10)]
    assert len(find_candidates(points)) > 60
    monkeypatch.setattr(overlaps, "COMPARED", 1)
    pairs = find_candidates(points)[:, :2]
    assert len(points) / 2 <= len(pairs) < len(points)
    assert np.unique(pairs).tolist() == list(range(len(points)))


def test_of_many_images_only_the_first_keypoints_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [Keypoints()(image) for image in (WHOLE, *OTHERS, saved(cut(WHOLE, 0.95)))]
    monkeypatch.setattr(overlaps, "SEARCHED", 2 * 64 * len(points))
    assert find_candidates(points)[:, :2].tolist() == [[0, 5]]
    monkeypatch.setattr(overlaps, "SEARCHED", 0)
    assert find_candidates(points).shape == (0, 3)


def test_equal_words_are_paired_each_with_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.array([5, 3, 5, 3, 5, 5, 7])
    every = {(place, other) for some, others in pair_equal(words) for place, other in zip(some, others, strict=True)}
    assert every == {(1, 3), (0, 2), (0, 4), (0, 5), (2, 4), (2, 5), (4, 5)}
    monkeypatch.setattr(overlaps, "SHARING", 1)
    assert sum(len(some) for some, _ in pair_equal(words)) == 4


@pytest.mark.slow
def test_real_crops_and_fields_are_found_and_other_images_are_not(shared: Path) -> None:
    """At least 90 % of 5 % crops and of fields that overlap by 75 %; at most 1 % of the images with a false partner."""
    folder = shared / "data"
    paths = [*sorted((folder / "bach_half").glob("*/*.jpg"))[::8], *sorted(folder.glob("mini_mias/*/*.jpg"))[::4]]
    paths += sorted(folder.glob("histology_sample/*/*.png"))
    wholes = [image for path in paths for image in [read(path)]]
    crops = [saved(scaled(cut(image, 0.95), 0.8)) for image in wholes]
    pairs = np.array(found(*wholes, *crops))[:, :2]
    right = pairs[:, 1] - pairs[:, 0] == len(wholes)
    assert right.sum() >= 0.9 * len(wholes)
    assert len(np.unique(pairs[~right])) <= 0.01 * 2 * len(wholes)
    fields = []
    for step in (0, 1):
        for image in wholes:
            top, wide = image.shape[0] // 4, image.shape[1] // 2
            left = round(step * wide / 4)
            fields.append(saved(image[top : top + image.shape[0] // 2, left : left + wide], 85 - 5 * step))
    pairs = np.array(found(*fields))[:, :2]
    right = pairs[:, 1] - pairs[:, 0] == len(wholes)
    assert right.sum() >= 0.9 * len(wholes)
    assert len(np.unique(pairs[~right])) <= 0.01 * 2 * len(wholes)


def test_the_hash_alone_misses_a_crop() -> None:
    """What keypoints are for."""
    bits = [np.unpackbits(PerceptualHash()(image)[0]) for image in (WHOLE, saved(cut(WHOLE, 0.95)))]
    assert (bits[0] != bits[1]).sum() > 24
