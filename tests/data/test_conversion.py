"""What files hold, form by form: what it means is kept, or it is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from src.data import image_file
from src.data.conversion import TURNS
from src.data.sets.folder import Folder
from src.images import BadImage

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RGB[..., 0]
ALPHA = np.dstack([RGB // 2, np.full((20, 30), 128, np.uint8)])
DEEP = np.random.default_rng(1).integers(0, 2**16, (20, 30, 4), dtype=np.uint16)
TWELVE = DEEP[..., 0] >> 4
CHANNELS = np.moveaxis(RGB, 2, 0)

CONVERTS = r"data\.convert=true \(of src\.predict convert=true\) turns it into 8-bit RGB$"
STUCK = "stored in a way that cannot be converted: save it as 8-bit RGB$"
SEVERAL = "that its file holds: save the one that is meant, or channels together, as an image of its own$"
NUMBERS = "numbers, whose range is not known: save it as 8-bit RGB$"

Write = Callable[[Path], Any]


def tiff(pixels: np.ndarray, photometric: str = "minisblack", **options: Any) -> Write:
    return lambda path: tifffile.imwrite(path, pixels, photometric=photometric, **options)


def pages(*rest: tuple[np.ndarray, dict[str, Any]]) -> Write:
    """A TIFF of an RGB image and others behind it."""

    def write(path: Path) -> None:
        with tifffile.TiffWriter(path) as file:
            for pixels, options in ((RGB, {}), *rest):
                file.write(pixels, **{"photometric": "rgb" if pixels.ndim == 3 else "minisblack"} | options)

    return write


def pillow(pixels: np.ndarray, mode: str = "", **options: Any) -> Write:
    made = Image.fromarray(pixels)
    return lambda path: (made.convert(mode) if mode else made).save(path, **options)


def portable(magic: str, top: int, pixels: np.ndarray) -> Write:
    head = f"{magic}\n{pixels.shape[1]} {pixels.shape[0]}\n{top}\n".encode()
    return lambda path: path.write_bytes(head + pixels.astype(">u2" if top > 255 else np.uint8).tobytes())


def animated(**options: Any) -> Write:
    return pillow(RGB, save_all=True, append_images=[Image.fromarray(255 - RGB)], **options)


def turned(orientation: int, **options: Any) -> Write:
    exif = Image.Exif()
    exif[274] = orientation
    return pillow(RGB, exif=exif, **options)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None].astype(np.float32) / 255
    return np.round(colours * share + 255 * (1 - share)).astype(np.uint8)


def scaled(pixels: np.ndarray) -> np.ndarray:
    return np.round(pixels / 257).astype(np.uint8)


# What is 8-bit RGB as it lies there, and what it reads as.
PLAIN: dict[str, tuple[str, Write, np.ndarray]] = {
    "png": ("png", pillow(RGB), RGB),
    "webp": ("webp", pillow(RGB, lossless=True), RGB),
    "jpeg 2000": ("jp2", pillow(RGB, irreversible=False), RGB),
    "planar": ("tif", tiff(CHANNELS, "rgb", planarconfig="separate"), RGB),
    "turned, which Pillow turns": ("tif", tiff(RGB, "rgb", extratags=[(274, "H", 1, 3, True)]), RGB[::-1, ::-1]),
    "smaller pages": ("tif", pages((RGB[::2, ::2], {}), (GREY[::4, ::4], {})), RGB),
    "a flagged preview": ("tif", pages((255 - RGB, {"subfiletype": 1})), RGB),
    "a flagged mask": ("tif", pages((GREY > 127, {"subfiletype": 4, "photometric": "mask"})), RGB),
}

# What can be converted, its name, and what it becomes.
CONVERTED: dict[str, tuple[str, Write, str, np.ndarray]] = {
    "grey": ("png", pillow(GREY), "grey, not RGB", grey(GREY)),
    "grey of 4 bits": ("pgm", portable("P5", 15, GREY >> 4), "grey", grey((GREY >> 4) * 17)),
    "white is 0": ("tif", tiff(GREY, "miniswhite"), "grey", grey(255 - GREY)),
    "white is 0, 16 bits": ("tif", tiff(DEEP[..., 0], "miniswhite"), "16-bit grey", grey(scaled(65535 - DEEP[..., 0]))),
    "white is 0, packed": (
        "tif",
        tiff(DEEP[..., 0], "miniswhite", compression="zlib"),
        "16-bit grey",
        grey(scaled(65535 - DEEP[..., 0])),
    ),
    "16 bits": ("png", pillow(DEEP[..., 0]), "16-bit grey", grey(scaled(DEEP[..., 0]))),
    "16 bits, TIFF": ("tif", tiff(DEEP[..., 0]), "16-bit grey", grey(scaled(DEEP[..., 0]))),
    "16 bits, the other end first": (
        "tif",
        tiff(DEEP[..., 0], byteorder=">"),
        "16-bit grey",
        grey(scaled(DEEP[..., 0])),
    ),
    "16 bits, portable": ("pgm", portable("P5", 65535, DEEP[..., 0]), "16-bit grey", grey(scaled(DEEP[..., 0]))),
    "12 bits that the file states": ("pgm", portable("P5", 4095, TWELVE), "grey", grey(np.round(TWELVE / 4095 * 255))),
    "colour of 16 bits": ("tif", tiff(DEEP[..., :3], "rgb"), "16-bit RGB", scaled(DEEP[..., :3])),
    "colour of 16 bits, PNG": (
        "png",
        lambda path: cv2.imwrite(str(path), DEEP[..., 2::-1]),
        "16-bit RGB",
        scaled(DEEP[..., :3]),
    ),
    "alpha": ("png", pillow(ALPHA), "RGB with an alpha", over_white(ALPHA[..., :3], ALPHA[..., 3])),
    "alpha, TIFF": (
        "tif",
        tiff(ALPHA, "rgb", extrasamples=["unassalpha"]),
        "RGB with an alpha",
        over_white(ALPHA[..., :3], ALPHA[..., 3]),
    ),
    "colours multiplied by alpha": (
        "tif",
        tiff(ALPHA, "rgb", extrasamples=["assocalpha"]),
        "RGB with an alpha",
        ALPHA[..., :3] + np.uint8(127),
    ),
    "alpha of 16 bits": (
        "tif",
        tiff(DEEP, "rgb", extrasamples=["unassalpha"]),
        "16-bit RGBA",
        over_white(scaled(DEEP[..., :3]), scaled(DEEP[..., 3])),
    ),
    "a fourth channel": ("tif", tiff(ALPHA, "rgb", extrasamples=["unspecified"]), "1 further channel", ALPHA[..., :3]),
    "two more channels": ("tif", tiff(np.dstack([RGB, ALPHA[..., :2]]), "rgb"), "2 further channels of no", RGB),
    "a fourth channel of 16 bits": (
        "tif",
        tiff(DEEP, "rgb", extrasamples=["unspecified"]),
        "16-bit RGB",
        scaled(DEEP[..., :3]),
    ),
    "grey and alpha": (
        "tif",
        tiff(ALPHA[..., 2:], extrasamples=["unassalpha"], planarconfig="contig"),
        "grey with an alpha",
        over_white(grey(ALPHA[..., 2]), ALPHA[..., 3]),
    ),
    "a transparent grey": (
        "png",
        pillow(GREY, transparency=int(GREY[0, 0])),
        "grey",
        np.where(grey(GREY) == GREY[0, 0], np.uint8(255), grey(GREY)),
    ),
    "a transparent colour": (
        "png",
        pillow(RGB, transparency=tuple(map(int, RGB[0, 0]))),
        "a transparent colour",
        np.where((RGB == RGB[0, 0]).all(axis=2)[..., None], np.uint8(255), RGB),
    ),
    "palette": (
        "tif",
        tiff(GREY, "palette", colormap=np.arange(768, dtype=np.uint16).reshape(3, 256) * 85),
        "a palette",
        np.stack([(GREY.astype(int) + 256 * channel) * 85 // 256 for channel in range(3)], axis=2).astype(np.uint8),
    ),
    "black and white": (
        "tif",
        pillow(GREY, "1"),
        "black and white",
        grey(np.array(Image.fromarray(GREY).convert("1")) * 255),
    ),
    "inks": ("tif", tiff(np.dstack([255 - RGB, 0 * GREY]), "separated"), "CMYK", RGB),
    "one picture": ("gif", pillow(GREY), "a palette|grey", grey(GREY)),
} | {
    f"turned as {turn} says": (
        "png",
        turned(turn),
        f"stored on its side or mirrored .EXIF's orientation {turn}.",
        np.array(Image.fromarray(RGB).transpose(TURNS[turn])),
    )
    for turn in range(2, 9)
}

# What is refused, with and without convert, and why.
REFUSED: dict[str, tuple[str, Write, str]] = {
    "channels as pages": ("tif", tiff(CHANNELS), f"the first of 3 {SEVERAL}"),
    "channels of ImageJ": ("tif", lambda path: tifffile.imwrite(path, CHANNELS, imagej=True), SEVERAL),
    "a stack": ("tif", pages((RGB, {})), f"the first of 2 {SEVERAL}"),
    "a larger page": ("tif", pages((np.tile(RGB, (2, 2, 1)), {})), SEVERAL),
    "animated GIF": ("gif", animated(), SEVERAL),
    "animated PNG": ("png", animated(), SEVERAL),
    "animated WebP": ("webp", animated(lossless=True), SEVERAL),
    "signed 8 bits": ("tif", tiff(GREY.view(np.int8)), f"of signed {NUMBERS}"),
    "signed 16 bits": ("tif", tiff(DEEP[..., 0].view(np.int16)), f"of signed {NUMBERS}"),
    "signed 32 bits": ("tif", tiff(DEEP[..., 0].astype(np.int32)), f"of signed {NUMBERS}"),
    "32 bits": ("tif", tiff(DEEP[..., 0].astype(np.uint32)), f"of 32-bit {NUMBERS}"),
    "floating point": ("tif", tiff(DEEP[..., 0].astype(np.float32)), f"of floating-point {NUMBERS}"),
    "planes of 16 bits": ("tif", tiff(np.moveaxis(DEEP[..., :3], 2, 0), "rgb", planarconfig="separate"), STUCK),
    "inks of 16 bits": ("tif", tiff(DEEP, "separated"), f"16-bit CMYK.*{STUCK}"),
    "16 bits multiplied by alpha": ("tif", tiff(DEEP, "rgb", extrasamples=["assocalpha"]), STUCK),
    "16 bits and a transparent grey": ("png", pillow(DEEP[..., 0], transparency=7), STUCK),
    "16 bits turned": ("tif", tiff(DEEP[..., 0], extratags=[(274, "H", 1, 6, True)]), STUCK),
    "lightness and colour": ("tif", tiff(RGB, "cielab"), f"mode LAB.*{STUCK}"),
    "three greys": (
        "tif",
        tiff(RGB, planarconfig="contig"),
        "not an image that can be read: .* that Pillow does not know",
    ),
    "double precision": ("tif", tiff(DEEP[..., 0].astype(np.float64)), "not an image that can be read"),
}


def written(folder: Path, ending: str, write: Write) -> Path:
    path = folder / f"a.{ending}"
    write(path)
    return path


@pytest.mark.parametrize("form", PLAIN)
def test_8_bit_rgb_is_read_as_it_is(form: str, tmp_path: Path) -> None:
    ending, write, expected = PLAIN[form]
    path = written(tmp_path, ending, write)
    for convert in (False, True):
        np.testing.assert_array_equal(image_file.read(path, convert), expected)
    assert image_file.size(path) == expected.shape[1::-1]


@pytest.mark.parametrize("form", CONVERTED)
def test_what_can_be_converted_keeps_its_meaning(form: str, tmp_path: Path) -> None:
    ending, write, name, expected = CONVERTED[form]
    path = written(tmp_path, ending, write)
    with pytest.raises(BadImage, match=rf"^the image is .*({name}).*: {CONVERTS}"):
        image_file.read(path)
    pixels = image_file.read(path, convert=True)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels.astype(int), expected.astype(int), atol=1)  # of rounding
    assert image_file.size(path) == expected.shape[1::-1]


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_converted_is_refused_and_nothing_else_is_advised(form: str, tmp_path: Path) -> None:
    ending, write, said = REFUSED[form]
    path = written(tmp_path, ending, write)
    for convert in (False, True):
        with pytest.raises(BadImage, match=said) as error:
            image_file.read(path, convert)
        assert "convert=true" not in str(error.value)


def test_a_photograph_with_its_previews_is_one_image(tmp_path: Path) -> None:
    """Cameras put previews behind a JPEG image, which Pillow calls MPO then."""
    animated(format="MPO")(tmp_path / "a.jpg")
    pillow(RGB)(tmp_path / "b.jpg")
    with Image.open(tmp_path / "a.jpg") as opened:
        assert getattr(opened, "n_frames", 1) == 2
    np.testing.assert_array_equal(image_file.read(tmp_path / "a.jpg"), image_file.read(tmp_path / "b.jpg"))


def test_exif_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    pillow(RGB, exif=b"Exif\x00\x00rubbish")(tmp_path / "a.png")
    np.testing.assert_array_equal(image_file.read(tmp_path / "a.png"), RGB)


class TestBits:
    """Of 16 bits fewer may be used, and no file says so."""

    @pytest.mark.parametrize(("bits", "top"), [(8, 255), (10, 1000), (12, 4095), (12, 1024), (14, 16383)])
    @pytest.mark.parametrize("colour", [False, True])
    def test_are_asked_for_where_they_are_not_known(self, tmp_path: Path, bits: int, top: int, colour: bool) -> None:
        pixels = (DEEP[..., :3] % top).astype(np.uint16)
        pixels[0, 0] = top
        path = tmp_path / "a.tif"
        tiff(pixels if colour else pixels[..., 0], "rgb" if colour else "minisblack")(path)
        said = rf"no value above {top} of 65535: data\.bits={bits} \(of src\.predict bits={bits}\) if no more .*, 16 if"
        with pytest.raises(BadImage, match=said):
            image_file.read(path, convert=True)
        expected = pixels if colour else np.repeat(pixels[..., :1], 3, axis=2)
        for given in (bits, 16):
            read = image_file.read(path, convert=True, bits=given)
            np.testing.assert_allclose(read, expected / (2**given - 1) * 255, atol=0.51)

    def test_are_those_of_white_where_white_is_0(self, tmp_path: Path) -> None:
        tiff(TWELVE, "miniswhite")(tmp_path / "a.tif")
        read = image_file.read(tmp_path / "a.tif", convert=True, bits=12)[..., 0]
        np.testing.assert_allclose(read, (4095.0 - TWELVE) / 4095 * 255, atol=0.51)

    def test_that_are_too_few_are_refused(self, tmp_path: Path) -> None:
        tiff(DEEP[..., 0])(tmp_path / "a.tif")
        with pytest.raises(BadImage, match=r"a value of \d+, more than 12 bits hold: correct data\.bits=12"):
            image_file.read(tmp_path / "a.tif", convert=True, bits=12)

    def test_belong_to_the_recipe(self) -> None:
        readers = [Folder(root="", bits=12), *(Folder(root="", convert=True, bits=bits) for bits in (0, 12, 16))]
        made = [reader.decoding() for reader in readers]
        assert made[0] == Folder(root="").decoding() == {"convert": False}
        assert [each.get("bits") for each in made[1:]] == [None, 12, 16]

    @pytest.mark.parametrize("bits", [-1, 7, 17])
    def test_are_8_to_16(self, bits: int) -> None:
        with pytest.raises(ValueError, match=f"8 <= bits <= 16. must hold, but got bits={bits}"):
            Folder(root="", bits=bits)
