"""Files to arrays: one image as 8-bit RGB, and the digest of a file's bytes.

A path may end in a region of the image (`src.data.region`): then it stands for that part alone.
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from src.data.region import parted
from src.images import BadImage, OutOfReach

PIXELS = 2**30  # as many as OpenCV decodes; 3 GiB as 8-bit RGB
Image.MAX_IMAGE_PIXELS = None  # Pillow would warn from 2**26 pixels on and refuse twice as many: `_open` has the limit

WAY_OUT = "data.convert=true turns it into 8-bit RGB"
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
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, UserWarning)
BITS_PER_SAMPLE, PLANAR = 258, 284  # TIFF tags


def read(path: str | os.PathLike[str], convert: bool = False) -> UInt8[np.ndarray, "height width 3"]:
    """The image as RGB, 0..255; of a file with several pages the first; EXIF's orientation is not applied.

    An image that is not 8-bit RGB is refused, unless `convert`: grey is repeated, alpha laid over white, 16 bits are
    scaled by 1/257 and rounded, palette, CMYK and YCbCr go the way Pillow takes them.

    Raises BadImage: missing, unreadable, truncated, more than 2**30 pixels, or not 8-bit RGB.
    """
    file, region = parted(path)
    with _open(file) as image:
        kind = _kind(image)
        if kind and not convert:
            raise BadImage(f"the image is {kind}: {WAY_OUT}")
        bits = _bits(image)  # decoding forgets them
        with _decoding():
            image.load()
        pixels = _converted(image, bits, kind, file) if kind else np.array(image)
    return region.of(pixels) if region else pixels


def size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height in pixels, from the file's header alone; BadImage as of `read`."""
    file, region = parted(path)
    with _open(file) as image:
        return (region.width, region.height) if region else image.size


def check_sizes(paths: Iterable[Path], width: int, height: int, whose: str, way_out: str, any_size: str) -> None:
    """Raise `ValueError` for the first image that is unreadable or of another size; 0 stands for any.

    `whose` images they are, the `way_out` of both, and what takes `any_size` are for the message.
    """
    for path in paths if width or height else ():
        try:
            found = size(path)
        except BadImage as error:
            raise ValueError(f"{path}: {error}; {way_out}") from error
        if found != (width or found[0], height or found[1]):
            raise ValueError(
                f"{whose} images have {width} x {height} pixels, but {path} has {found[0]} x {found[1]}: {way_out}; "
                f"{any_size} takes any size"
            )


def digest(path: str | os.PathLike[str]) -> str:
    """The BLAKE2b of the file's bytes, with the region if there is one, 64 hexadecimal digits. OSError where it cannot
    be read."""
    name, region = parted(path)
    with open(name, "rb") as file:
        hashed = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32))
    if region:
        hashed.update(str(region).encode())
    return hashed.hexdigest()


def _open(path: str | os.PathLike[str]) -> Image.Image:
    with _decoding():
        image = Image.open(path)
    width, height = image.size
    if width * height > PIXELS:
        image.close()
        raise BadImage(f"the image has {width} x {height} pixels, more than {PIXELS}: cut it into tiles")
    return image


@contextmanager
def _decoding() -> Iterator[None]:
    """Around what Pillow decodes, and nothing else: a damaged file can end in many kinds of errors."""
    try:
        yield
    except UNREADABLE as error:
        # The system's errors carry a number, a decoder's do not.
        kind = OutOfReach if isinstance(error, OSError) and error.errno else BadImage
        raise kind(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Why a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image that can be read: empty, damaged, or of a kind that Pillow does not know"
    if isinstance(error, OSError) and error.strerror:
        return f"the file cannot be opened: {error.strerror}"
    return f"the image is truncated or damaged ({error})"


def _kind(image: Image.Image) -> str:
    """What the image is if not 8-bit RGB, else empty. 16-bit RGB opens as RGB too, and Pillow drops the low byte."""
    mode = "I;16" if image.mode.startswith("I;16") else image.mode
    if mode in ("RGB", "RGBA", "LA", "CMYK") and _bits(image) > 8:
        return f"{_bits(image)}-bit {mode}, not 8-bit RGB"
    if mode == "RGB":
        return "RGB with a transparent colour" if "transparency" in image.info else ""
    return KINDS.get(mode, f"of Pillow's mode {mode}, not 8-bit RGB")


def _bits(image: Image.Image) -> int:
    tags = getattr(image, "tag_v2", {})
    tiles = getattr(image, "tile", [])
    raw = str(tiles[0].args) if tiles else ""  # the codec's raw mode, as in "RGB;16B"
    return max([16 if ";16" in raw else 8, *map(int, tags.get(BITS_PER_SAMPLE, ()))])


def _converted(image: Image.Image, bits: int, kind: str, path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    if bits > 8 and image.mode not in ("I", "F"):
        pixels = _from_16_bits(image, kind, path)
    elif image.mode in KINDS or image.mode == "RGB":
        alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        pixels = np.array(image.convert("RGBA" if alpha else "RGB"))
    else:
        raise BadImage(f"the image is {kind}, and its values have no known range: save it as 8-bit RGB")
    return _over_white(pixels) if pixels.shape[2] == 4 else pixels


def _from_16_bits(image: Image.Image, kind: str, path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """8-bit RGB or RGBA, by OpenCV: Pillow has no 16-bit RGB."""
    if image.mode == "CMYK" or getattr(image, "tag_v2", {}).get(PLANAR) == 2:
        raise BadImage(f"the image is {kind}, stored in a way that cannot be converted: save it as 8-bit RGB")
    pixels = np.array(image) if image.mode.startswith("I;16") else cv2.imread(os.fspath(path), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise BadImage(f"the image is {kind} and cannot be decoded: save it as 8-bit RGB")
    pixels = np.round(pixels / np.float32(257)).astype(np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB).astype(np.uint8)


def _over_white(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.round(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
