"""Keypoints: where they are, how they are spread, and what they are in a mirror image."""

import cv2
import numpy as np
import pytest

from src.images.keypoints import GRID, NO_POINTS, Keypoints, rank_within
from tests.support.images import tissue

IMAGE = tissue(shape=(300, 400))


def bits_apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The bits in which descriptors differ, each with each."""
    return np.bitwise_count(one[:, None, 2:] ^ other[None, :, 2:]).sum(axis=2)


def test_each_has_a_place_and_a_descriptor_and_another_one_in_the_mirror_image() -> None:
    points = Keypoints()(IMAGE)
    assert points.shape == (2, 256, 34)
    assert points.dtype == np.uint8
    assert points[..., 1].max() < GRID * 3 / 4  # the image is three quarters as high as it is wide
    sides = points[..., :2].astype(int)
    np.testing.assert_array_equal(sides[0, :, 1], sides[1, :, 1])
    np.testing.assert_allclose(sides[0, :, 0] + sides[1, :, 0], GRID - 1, atol=1)


def test_a_mirror_image_has_the_descriptors_that_were_foretold() -> None:
    points, mirrored = Keypoints()(IMAGE), Keypoints()(np.ascontiguousarray(IMAGE[:, ::-1]))
    assert (bits_apart(points[1], mirrored[0]).min(axis=1) < 32).mean() > 0.8
    assert (bits_apart(points[0], mirrored[0]).min(axis=1) < 32).mean() < 0.1


def test_a_turned_image_has_the_same_descriptors() -> None:
    points, turned = Keypoints()(IMAGE), Keypoints()(np.ascontiguousarray(np.rot90(IMAGE)))
    assert (bits_apart(points[0], turned[0]).min(axis=1) < 32).mean() > 0.8


def test_a_strong_mark_does_not_have_them_all() -> None:
    """Faint tissue with a printed mark, whose corners are far stronger."""
    image = (120 + (IMAGE.astype(float) - IMAGE.mean()) * 0.5).clip(0, 255).astype(np.uint8)
    image[20:80, 20:80] = np.random.default_rng(0).choice([0, 255], (10, 10, 1)).repeat(6, 0).repeat(6, 1)
    places = Keypoints()(image)[0, :, :2] * (400 / GRID)
    strongest = cv2.ORB.create(256).detect(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    assert np.mean([max(each.pt) < 85 for each in strongest]) > 0.6
    assert (places < 85).all(axis=1).mean() < 0.35
    assert len(np.unique(places // 50, axis=0)) > 30  # of 48 squares


def test_the_first_ones_are_as_widely_spread() -> None:
    some = Keypoints()(IMAGE)[0, :64, :2] // 32
    assert len(np.unique(some, axis=0)) > 30  # of 48 squares


@pytest.mark.parametrize("shape", [(1, 1), (8, 900), (40, 40)])
def test_an_image_without_any_has_none(shape: tuple[int, int]) -> None:
    assert Keypoints()(np.full((*shape, 3), 128, np.uint8)).shape == NO_POINTS.shape


def test_a_large_image_has_those_of_a_smaller_one() -> None:
    large = IMAGE.repeat(4, axis=0).repeat(4, axis=1)
    assert (bits_apart(Keypoints()(large)[0], Keypoints()(large)[0]).min(axis=1) == 0).all()
    assert Keypoints()(large)[..., 1].max() < GRID * 3 / 4


def test_ranks_within_groups() -> None:
    groups, order = np.array([0, 1, 0, 1, 0]), np.array([4, 3, 2, 1, 0])
    assert rank_within(groups, order).tolist() == [2, 1, 1, 0, 0]
