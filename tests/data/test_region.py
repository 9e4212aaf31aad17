from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from src.data import image_file
from src.data.region import Region, split_region, square_around
from src.images import BadImage


def test_a_path_may_end_in_a_region() -> None:
    region = Region(x=1, y=2, width=30, height=4)
    assert split_region(f"a/b.png{region}") == ("a/b.png", region)
    assert split_region(Path("a/b#1.png#xywh=1,2,30,4")) == ("a/b#1.png", region)
    for plain in (
        "a/b.png",
        "a#b.png",
        "a.png#xywh=1,2,3",
        "a.png#xywh=1,2,0,4",
        "a.png#xywh=-1,2,3,4",
        "#xywh=1,2,3,4",
    ):
        assert split_region(plain) == (plain, None)


@given(
    centre=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    radius=st.floats(0, 400),
    margin=st.floats(1, 4),
    least=st.floats(1, 200),
)
def test_a_square_around_a_circle_lies_in_the_image(
    centre: tuple[float, float], size: tuple[int, int], radius: float, margin: float, least: float
) -> None:
    x, y = centre[0] * size[0], centre[1] * size[1]
    region = square_around(x, y, radius, size=size, margin=margin, least=least)
    assert region.width == region.height == min(round(max(2 * radius * margin, least)), *size)
    assert 0 <= region.x <= size[0] - region.width
    assert 0 <= region.y <= size[1] - region.height
    assert region.of(np.zeros((size[1], size[0], 3), np.uint8)).shape == (region.height, region.width, 3)
    assert region.x - 0.5 <= x <= region.x + region.width + 0.5  # and has the circle's centre


def test_a_region_is_read_sized_and_told_apart(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    path = tmp_path / "a.png#xywh=3,5,7,11"
    np.testing.assert_array_equal(image_file.read(path), pixels[5:16, 3:10])
    assert image_file.read(path).flags.owndata
    assert image_file.size(path) == (7, 11)
    assert (
        len(
            {
                image_file.file_digest(path),
                image_file.file_digest(tmp_path / "a.png"),
                image_file.file_digest(f"{tmp_path}/a.png#xywh=3,5,7,12"),
            }
        )
        == 3
    )
    with pytest.raises(BadImage, match=r"#xywh=3,5,28,11 reaches beyond the image's 30 x 20 pixels"):
        image_file.read(tmp_path / "a.png#xywh=3,5,28,11")
    with pytest.raises(BadImage, match="missing"):
        image_file.read(tmp_path / "b.png#xywh=3,5,7,11")
