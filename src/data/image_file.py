"""Files to arrays: one image as 8-bit RGB, and the digest of a file's bytes.

A path may end in a region of the image (`src.data.region`): then it stands for that part alone. Where the file was read
already, its bytes are given as `content`, and it is not opened again.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from src.data.conversion import (
    UNREADABLE,
    Form,
    convert_pixels,
    exif_orientation,
    stored_form,
    turn_upright,
    upright_size,
)
from src.data.region import split_region
from src.images import BadImage, OutOfReach

PIXELS = 2**30  # as many as OpenCV decodes; 3 GiB as 8-bit RGB
Image.MAX_IMAGE_PIXELS = None  # Pillow would warn from 2**26 pixels on and refuse twice as many: `_open` has the limit


def read(
    path: str | os.PathLike[str], convert: bool = False, bits: int = 0, content: bytes | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image as RGB, 0..255, upright.

    An image that is not 8-bit RGB is refused, unless `convert`: grey is repeated, alpha laid over white, EXIF's
    orientation applied, 16 bits are scaled and rounded, of which `bits` are used, and palette, CMYK and YCbCr go the
    way Pillow takes them. With 0 bits all 16 are, and an image without any value in the upper three quarters of that
    range is refused, as it may have fewer. A file of several images is refused whatever `convert` is, unless the others
    are smaller, or said to be masks or previews: which is meant, and whether they are channels of one, is not known.

    Raises BadImage: missing, unreadable, truncated, more than 2**30 pixels, not 8-bit RGB, or numbers without a known
    range (signed, 32-bit, floating-point).
    """
    file, region = split_region(path)
    if content is None:
        with _decoding():
            content = read_bytes(file)
    with _open(io.BytesIO(content)) as image:
        with _decoding():
            found = stored_form(image)
        found.refuse(convert)
        with _decoding():
            image.load()
            turn = exif_orientation(image)
        if turn != 1:
            Form(name=f"stored on its side or mirrored (EXIF's orientation {turn})").refuse(convert)
        pixels = turn_upright(convert_pixels(image, found, bits, content) if found.name else np.array(image), turn)
    return region.of(pixels) if region else pixels


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the file; OSError where it cannot be read."""
    return Path(split_region(path)[0]).read_bytes()


def size(path: str | os.PathLike[str], content: bytes | None = None) -> tuple[int, int]:
    """Return width and height in pixels, from the file's header alone; BadImage as of `read`."""
    file, region = split_region(path)
    with _open(file if content is None else io.BytesIO(content)) as image, _decoding():
        return (region.width, region.height) if region else upright_size(image)


@dataclass(frozen=True, kw_only=True)
class SizeRule:
    """The width and height that images must have, 0 for any; `whose` they are, the `way_out` of others, and what takes
    `any_size` are for the message."""

    width: int
    height: int
    whose: str
    way_out: str
    any_size: str

    def check(self, path: str | os.PathLike[str], content: bytes | None = None) -> None:
        """Raise `ValueError` where an image is unreadable or of another size."""
        if not (self.width or self.height):
            return
        path = split_region(path)[0]
        try:
            found = size(path, content)
        except BadImage as error:
            raise ValueError(f"{path}: {error}; {self.way_out}") from error
        if found != (self.width or found[0], self.height or found[1]):
            raise ValueError(
                f"{self.whose} images have {self.width} x {self.height} pixels, but {path} has {found[0]} x "
                f"{found[1]}: {self.way_out}; {self.any_size} takes any size"
            )


def file_digest(path: str | os.PathLike[str], content: bytes | None = None) -> str:
    """The BLAKE2b of the file's bytes, with the region if there is one, 64 hexadecimal digits. OSError where it cannot
    be read."""
    name, region = split_region(path)
    with open(name, "rb") if content is None else io.BytesIO(content) as file:
        hashed = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32))
    if region:
        hashed.update(str(region).encode())
    return hashed.hexdigest()


def _open(file: str | io.BytesIO) -> Image.Image:
    with _decoding():
        image = Image.open(file)
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
    """Return why a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    if isinstance(error, UnidentifiedImageError):
        return "the file is not an image that can be read: empty, damaged, or of a kind that Pillow does not know"
    if isinstance(error, OSError) and error.strerror:
        return f"the file cannot be opened: {error.strerror}"
    return f"the image is truncated or damaged ({error})"
