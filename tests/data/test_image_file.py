from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data import image_file
from src.images import BadImage

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEEP = np.random.default_rng(0).integers(0, 2**16, (20, 30, 4), dtype=np.uint16)


def saved(path: Path, pixels: np.ndarray, mode: str = "RGB") -> Path:
    """Saved by Pillow in another mode than RGB, or with 16 bits by OpenCV."""
    if pixels.dtype == np.uint8:
        Image.fromarray(pixels).convert(mode).save(path)
    else:
        order = {1: pixels[..., 0], 3: pixels[..., 2::-1], 4: pixels[..., [2, 1, 0, 3]]}[
            {"L": 1, "RGB": 3, "RGBA": 4}[mode]
        ]
        cv2.imwrite(str(path), order)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_8_bit_rgb_comes_as_it_is(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, RGB)
    np.testing.assert_array_equal(image_file.read(path), RGB)
    np.testing.assert_array_equal(image_file.read(path, convert=True), RGB)
    assert image_file.size(path) == (30, 20)


@pytest.mark.parametrize(
    ("name", "pixels", "mode", "reason"),
    [
        ("grey.png", RGB, "L", "grey"),
        ("grey.jpg", RGB, "L", "grey"),
        ("bits.png", RGB, "1", "black and white"),
        ("palette.png", RGB, "P", "palette"),
        ("alpha.png", RGB, "RGBA", "alpha"),
        ("alpha.tif", RGB, "RGBA", "alpha"),
        ("grey_alpha.png", RGB, "LA", "grey with an alpha"),
        ("cmyk.tif", RGB, "CMYK", "CMYK"),
        ("cmyk.jpg", RGB, "CMYK", "CMYK"),
        ("ycc.tif", RGB, "YCbCr", "YCbCr"),
        ("grey16.png", DEEP, "L", "16-bit grey"),
        ("grey16.tif", DEEP, "L", "16-bit grey"),
        ("rgb16.png", DEEP, "RGB", "16-bit RGB"),
        ("rgb16.tif", DEEP, "RGB", "16-bit RGB"),
        ("rgba16.png", DEEP, "RGBA", "16-bit RGBA"),
    ],
)
def test_other_kinds_are_refused_by_name_or_converted(
    tmp_path: Path, name: str, pixels: np.ndarray, mode: str, reason: str
) -> None:
    path = saved(tmp_path / name, pixels, mode)
    with pytest.raises(BadImage, match=rf"{reason}.*data\.convert=true"):
        image_file.read(path)
    converted = image_file.read(path, convert=True)
    assert converted.shape == (20, 30, 3)
    assert converted.dtype == np.uint8


def test_grey_is_repeated(tmp_path: Path) -> None:
    converted = image_file.read(saved(tmp_path / "a.png", RGB, "L"), convert=True)
    np.testing.assert_array_equal(converted, np.repeat(np.array(Image.fromarray(RGB).convert("L"))[..., None], 3, 2))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_16_bits_are_scaled_and_rounded(tmp_path: Path, name: str, mode: str) -> None:
    expected = np.round(DEEP[..., [0, 0, 0] if mode == "L" else [0, 1, 2]] / 257).astype(np.uint8)
    np.testing.assert_array_equal(image_file.read(saved(tmp_path / name, DEEP, mode), convert=True), expected)


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.dstack([RGB, np.full((20, 30), 51, np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        image_file.read(tmp_path / "a.png", convert=True), np.round(RGB * 0.2 + 204).astype(np.uint8)
    )


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "lzw.tif"])
@pytest.mark.parametrize("convert", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_a_truncated_image_is_refused_wherever_it_ends(tmp_path: Path, name: str, convert: bool) -> None:
    path = tmp_path / name
    Image.fromarray(RGB).save(path, **({"compression": "tiff_lzw"} if name == "lzw.tif" else {}))
    content = path.read_bytes()
    for length in range(0, len(content) - 16, max(len(content) // 25, 1)):
        path.write_bytes(content[:length])
        with pytest.raises(BadImage, match=r"truncated or damaged|not an image"):
            image_file.read(path, convert)


def test_a_truncated_16_bit_image_is_not_filled_up(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", DEEP, "RGB")
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(BadImage, match="truncated"):
        image_file.read(path, convert=True)


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    for name, reason in (("none.png", "missing"), ("text.png", "not an image"), ("folder.png", "cannot be opened")):
        with pytest.raises(BadImage, match=reason):
            image_file.read(tmp_path / name)
        with pytest.raises(BadImage, match=reason):
            image_file.size(tmp_path / name)


def test_large_images_are_read_and_huge_ones_refused(tmp_path: Path) -> None:
    large, huge = tmp_path / "large.png", tmp_path / "huge.png"
    Image.new("1", (20000, 20000)).save(large)
    assert image_file.size(large) == (20000, 20000)  # no warning, which the tests would raise
    Image.new("1", (40000, 30000)).save(huge)
    with pytest.raises(BadImage, match="40000 x 30000 pixels"):
        image_file.read(huge)


def test_floating_point_has_no_known_range(tmp_path: Path) -> None:
    Image.fromarray(RGB[..., 0].astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(BadImage, match=r"floating-point numbers, whose range is not known: save it as 8-bit RGB$"):
        image_file.read(tmp_path / "a.tif")
    with pytest.raises(BadImage, match="whose range is not known"):
        image_file.read(tmp_path / "a.tif", convert=True)


def test_digest_is_of_the_bytes(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    for path, content in ((one, b"x" * 10**6), (same, b"x" * 10**6), (other, b"y")):
        path.write_bytes(content)
    assert image_file.file_digest(one) == image_file.file_digest(same) != image_file.file_digest(other)
    assert len(image_file.file_digest(one)) == 64


def test_the_real_samples_are_8_bit_rgb_and_the_mammograms_16_bit(shared: Path) -> None:
    slides = sorted((shared / "data" / "histology_sample").glob("*/*.png"))
    assert len(slides) == 16
    for path in slides:
        np.testing.assert_array_equal(image_file.read(path), cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))
    mammogram = sorted((shared / "data" / "cbis_ddsm_pairs").glob("*.png"))[0]
    with pytest.raises(BadImage, match="16-bit grey"):
        image_file.read(mammogram)
    expected = np.round(cv2.imread(str(mammogram), cv2.IMREAD_UNCHANGED) / 257).astype(np.uint8)
    np.testing.assert_array_equal(image_file.read(mammogram, convert=True)[..., 1], expected)
