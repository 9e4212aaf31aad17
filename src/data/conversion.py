"""What an image is if not upright 8-bit RGB, and how it becomes that: what it means is kept, or it is refused."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from src.images import BadImage

REVISION = 2  # raise it whenever a conversion gives other pixels
WAY_OUT = "data.convert=true (of src.predict convert=true) turns it into 8-bit RGB"
SAVE = "save it as 8-bit RGB"
DEPTHS = (8, 10, 12, 14)  # bits that instruments store in 16
QUARTER = 2**14  # 16 bits without any value from here on may be fewer
KINDS = {
    "1": "black and white, not RGB",
    "L": "grey, not RGB",
    "I;16": "16-bit grey, not 8-bit RGB",
    "P": "a palette image, not RGB",
    "RGBA": "RGB with an alpha channel",
    "LA": "grey with an alpha channel",
    "PA": "a palette image with an alpha channel",
    "CMYK": "CMYK, not RGB",
    "YCbCr": "stored as YCbCr, not RGB",
}
STRETCHED = ("PPM", "JPEG2000")  # formats that state their range, which Pillow stretches to 16 bits
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, UserWarning)
"""What decoding a damaged file can end in."""
SUBFILE, WIDTH, HEIGHT, BITS_PER_SAMPLE, PHOTOMETRIC = 254, 256, 257, 258, 262  # TIFF tags
ORIENTATION, PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT = 274, 284, 338, 339
REDUCED, MASK = 1, 4  # bits of SUBFILE
WHITE_IS_ZERO, SEPARATE, PREMULTIPLIED = 0, 2, 1  # values of PHOTOMETRIC, PLANAR, EXTRA_SAMPLES
NUMBERS = {2: "signed numbers", 3: "floating-point numbers"}  # by SAMPLE_FORMAT
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by EXIF's orientation."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """What an image is, empty where it is 8-bit RGB; why it cannot be converted, empty where it can; bits a channel."""

    name: str = ""
    obstacle: str = ""
    bits: int = 8

    def refuse(self, convert: bool) -> None:
        """Raise BadImage unless the image is 8-bit RGB, or may and can be converted into it."""
        if self.obstacle:
            raise BadImage(f"the image is {self.name}{self.obstacle}")
        if self.name and not convert:
            raise BadImage(f"the image is {self.name}: {WAY_OUT}")


def stored_form(image: Image.Image) -> Form:
    """What an image is that was opened, but not decoded: that forgets how it was stored. See `exif_orientation`."""
    if pages := _pages(image):
        what = f"the first of {pages} that its file holds"
        return Form(name=what, obstacle=": save the one that is meant, or channels together, as an image of its own")
    if numbers := _numbers(image):
        return Form(name=f"of {numbers}", obstacle=f", whose range is not known: {SAVE}")
    mode = "I;16" if image.mode.startswith("I") else image.mode
    bits = _bits(image)
    if bits > 8 and mode != "I;16":
        name = f"{bits}-bit {mode}, not 8-bit RGB"
    elif mode == "RGB":
        name = _rgb(image)
    else:
        name = KINDS.get(mode, f"of Pillow's mode {mode}, not 8-bit RGB")
    unknown = mode != "RGB" and mode not in KINDS
    stuck = bits > 8 and _stuck(image)
    return Form(
        name=name, bits=bits, obstacle=f", stored in a way that cannot be converted: {SAVE}" * (unknown or stuck)
    )


def exif_orientation(image: Image.Image) -> int:
    """EXIF's orientation of an image that was decoded, 1 where it is upright. Pillow turns TIFF images by itself."""
    try:
        found = 1 if image.format == "TIFF" else image.getexif().get(ORIENTATION, 1)
    except UNREADABLE:  # EXIF that cannot be read says nothing of the pixels
        return 1
    return int(found) if found in TURNS else 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an image that was opened, as it is when upright."""
    late = image.format == "PNG" and "exif" not in image.info  # it would be decoded for EXIF behind its pixels
    turned = not late and exif_orientation(image) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size


def turn_upright(pixels: npt.NDArray[np.uint8], turn: int) -> npt.NDArray[np.uint8]:
    """Return the pixels, turned by EXIF's orientation."""
    return np.array(Image.fromarray(pixels).transpose(TURNS[turn])) if turn in TURNS else pixels


def convert_pixels(image: Image.Image, found: Form, bits: int, content: bytes) -> npt.NDArray[np.uint8]:
    """A decoded image of a form that can be converted, as 8-bit RGB; `bits` of 16 are used (0: all, or it is asked)."""
    if found.bits > 8:
        pixels = _from_16_bits(image, found, bits, content)
    else:
        alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        pixels = np.array(image.convert("RGBA" if alpha else "RGB"))
    return _over_white(pixels) if pixels.shape[2] == 4 else pixels


def _pages(image: Image.Image) -> int:
    """How many images the file holds, 0 where that is one: previews, masks and levels of a pyramid do not count."""
    if image.format != "TIFF":
        frames = getattr(image, "n_frames", 1)
        return frames if frames > 1 and image.format != "MPO" else 0  # by definition a photograph and its previews
    (width, height, _), *rest = directories = list(_directories(image))
    image.seek(0)
    others = [each for each in rest if not (each[2] & (REDUCED | MASK) or (each[0] < width and each[1] < height))]
    return len(directories) if others else 0


def _directories(image: Image.Image) -> Iterator[tuple[int, int, int]]:
    """Yield width, height and kind of each page of a TIFF image."""
    for number in count():
        try:
            image.seek(number)
        except EOFError:
            return
        except SyntaxError:
            if image.tell() != number:
                raise
            # else of a form that Pillow does not know, and its tags have been read
        width, height, kind = (_tag(image, tag) for tag in (WIDTH, HEIGHT, SUBFILE))
        yield width[0], height[0], sum(kind)


def _numbers(image: Image.Image) -> str:
    """Return what the image's values are if not unsigned whole numbers of 16 bits at most, else empty."""
    kinds = set(_tag(image, SAMPLE_FORMAT)) - {1, 4}  # 4: not said
    if kinds:
        return NUMBERS.get(min(kinds), "complex numbers")
    if image.mode == "I" and image.format not in STRETCHED:
        return "32-bit numbers"
    return NUMBERS[3] if image.mode == "F" else ""


def _rgb(image: Image.Image) -> str:
    """Return what an 8-bit RGB image is besides, else empty."""
    if "transparency" in image.info:
        return "RGB with a transparent colour"
    further = len(_tag(image, EXTRA_SAMPLES))
    return f"RGB with {further} further channel{'s' * (further > 1)} of no stated meaning" if further else ""


def _bits(image: Image.Image) -> int:
    """Bits a channel. 16-bit RGB opens as RGB, too, and Pillow drops the low byte."""
    tiles = getattr(image, "tile", [])
    raw = str(tiles[0].args) if tiles else ""  # the codec's raw mode, as in "RGB;16B"
    deep = ";16" in raw or image.mode.startswith("I")
    return max(_tag(image, BITS_PER_SAMPLE), default=16 if deep else 8)


def _stuck(image: Image.Image) -> bool:
    """Whether an image of more than 8 bits is stored in a way for which neither Pillow nor OpenCV has 16 bits."""
    return (
        image.mode in ("CMYK", "LA")
        or "transparency" in image.info
        or _tag(image, PLANAR) == (SEPARATE,)
        or PREMULTIPLIED in _tag(image, EXTRA_SAMPLES)
        or (image.format == "TIFF" and _tag(image, ORIENTATION) not in ((), (1,)))
    )


def _tag(image: Image.Image, tag: int) -> tuple[int, ...]:
    """Return the values of a TIFF image's tag; none where it has none."""
    value = getattr(image, "tag_v2", {}).get(tag, ())
    return tuple(map(int, value)) if isinstance(value, tuple) else (int(value),)


def _from_16_bits(image: Image.Image, found: Form, bits: int, content: bytes) -> npt.NDArray[np.uint8]:
    """8-bit RGB or RGBA, colours by OpenCV: Pillow has no 16-bit RGB."""
    grey = image.mode.startswith("I")
    read = np.array(image) if grey else cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype == np.uint8:
        raise BadImage(f"the image is {found.name}, and cannot be decoded: {SAVE}")
    pixels = read.astype(np.int32)  # of either byte order
    top = 2**16 - 1 if image.format in STRETCHED else _top(pixels, found.bits, bits)
    if _tag(image, PHOTOMETRIC) == (WHITE_IS_ZERO,):
        pixels = top - pixels
    scaled = np.round(pixels / np.float32(top / 255)).astype(np.uint8)
    if grey:
        return np.repeat(scaled[..., None], 3, axis=2)
    rgb = scaled[..., 2::-1]
    return np.dstack([rgb, scaled[..., 3]]) if image.mode == "RGBA" else np.ascontiguousarray(rgb)


def _top(pixels: npt.NDArray[np.integer], stored: int, bits: int) -> int:
    """Return the value of white; BadImage where that is not known, or some value is above it."""
    peak = int(pixels.max())
    if stored == 16 and not bits and peak < QUARTER:
        guess = next(depth for depth in DEPTHS if peak < 2**depth)
        raise BadImage(
            f"the image has 16 bits, but no value above {peak} of 65535: data.bits={guess} (of src.predict "
            f"bits={guess}) if no more of them are used, 16 if it is as dark as that"
        )
    top = 2 ** min(stored, bits or 16) - 1
    if peak > top:
        raise BadImage(f"the image has a value of {peak}, more than {bits} bits hold: correct data.bits={bits}")
    return top


def _over_white(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.round(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
