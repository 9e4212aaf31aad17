"""Windows cover an image, and their maps become one that keeps what they say."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.images.crop import Centre, Crop, Whole
from src.maps.windows import average_windows, place_grid, place_windows, scale_to_percentile

shapes = st.tuples(st.integers(1, 40), st.integers(0, 120), st.integers(0, 120)).map(
    lambda drawn: (drawn[0], drawn[0] + drawn[1], drawn[0] + drawn[2])
)


def covered(places: list[tuple[int, int]], size: int, height: int, width: int) -> np.ndarray:
    seen = np.zeros((height, width), bool)
    for top, left in places:
        assert top >= 0
        assert left >= 0
        assert top + size <= height
        assert left + size <= width
        seen[top : top + size, left : left + size] = True
    return seen


@given(shapes)
def test_windows_half_apart_cover_every_pixel(shape: tuple[int, int, int]) -> None:
    size, height, width = shape
    places = place_grid(height, width, size, most=10**6)
    assert covered(places, size, height, width).all()
    assert len(set(places)) == len(places)
    for side in zip(*places, strict=True):
        gaps = np.diff(sorted(set(side)))
        assert gaps.size == 0 or gaps.max() <= np.ceil(size / 2)


@given(shapes, st.integers(1, 50))
def test_windows_are_no_more_than_asked_for(shape: tuple[int, int, int], most: int) -> None:
    size, height, width = shape
    places = place_grid(height, width, size, most)
    assert 1 <= len(places) <= most
    covered(places, size, height, width)


def test_a_limit_spreads_windows_evenly_and_covers_where_it_can() -> None:
    assert covered(place_grid(768, 1024, 400), 400, 768, 1024).all()
    assert len(place_grid(768, 1024, 224)) == 35
    assert covered(place_grid(768, 1024, 224), 224, 768, 1024).all()
    assert len(place_grid(460, 700, 224, 12)) == 12
    assert covered(place_grid(460, 700, 224, 12), 224, 460, 700).all()
    large = place_grid(4000, 3000, 100)
    assert {large[0], large[-1]} == {(0, 0), (3900, 2900)}


@pytest.mark.parametrize("wrong", [(10, 20, 11, 5), (10, 20, 0, 5), (10, 20, 5, 0)])
def test_impossible_grids_are_named(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"size={wrong[2]}, height=10, width=20, most={wrong[3]}"):
        place_grid(*wrong)


def test_models_of_one_window_have_that_window() -> None:
    image = torch.arange(3 * 60 * 81).remainder(251).to(torch.uint8).reshape(3, 60, 81)
    centre = Centre(size=20, shorter=60)
    ((top, left),) = place_windows(centre, 60, 81)
    (crop,) = centre(image, 0, "content", 0)
    assert torch.equal(image[:, top : top + 20, left : left + 20], crop)
    assert place_windows(Whole(size=50), 50, 50) == [(0, 0)]
    assert len(place_windows(Crop(size=20), 60, 81)) > 1


@given(shapes, st.integers(1, 50))
def test_windows_of_a_map_assemble_to_it(shape: tuple[int, int, int], most: int) -> None:
    size, height, width = shape
    whole = np.random.default_rng(0).random((height, width), np.float32)
    places = place_grid(height, width, size, most)
    maps = np.stack([whole[top : top + size, left : left + size] for top, left in places])
    found = average_windows(places, maps, height, width)
    seen = covered(places, size, height, width)
    np.testing.assert_allclose(found[seen], whole[seen], rtol=1e-6)
    assert np.isnan(found[~seen]).all()


def test_between_two_windows_their_values_are_mixed() -> None:
    maps = np.stack([np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)])
    row = average_windows([(0, 0), (0, 2)], maps, 4, 6)[1]
    np.testing.assert_allclose(row, [0, 0, 1 / 3, 2 / 3, 1, 1], rtol=1e-6)


def test_relative_maps_reach_one_and_nothing_stays_nothing() -> None:
    values = np.array([[0, 2], [np.nan, 4]], np.float32)
    np.testing.assert_array_equal(scale_to_percentile(values), np.array([[0, 0.5], [np.nan, 1]], np.float32))
    assert scale_to_percentile(values, 50).max(initial=0, where=~np.isnan(values)) == 1
    assert not scale_to_percentile(np.zeros((2, 2), np.float32)).any()
