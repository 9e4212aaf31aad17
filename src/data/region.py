"""Regions of images: a sample may be a part of a file, named as a media fragment is, `a.png#xywh=160,120,320,240`.

Source of the notation: https://www.w3.org/TR/media-frags/#naming-space (column and row of the first pixel from the top
left, width, height).
"""

import os
import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from src.images import BadImage

FRAGMENT = re.compile(r"(?P<file>.+)#xywh=(?P<x>\d+),(?P<y>\d+),(?P<width>[1-9]\d*),(?P<height>[1-9]\d*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle of pixels: column and row of the first, counted from the top left, and its size."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        """Return what stands behind a file's name."""
        return f"#xywh={self.x},{self.y},{self.width},{self.height}"

    def of(self, pixels: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "rows columns 3"]:
        """Return the region's pixels, copied; BadImage where some of it lies outside of the image."""
        height, width, _ = pixels.shape
        if self.x + self.width > width or self.y + self.height > height:
            raise BadImage(f"the region {self} reaches beyond the image's {width} x {height} pixels")
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width].copy()


def split_region(path: str | os.PathLike[str]) -> tuple[str, Region | None]:
    """Return the file's path, and the region if `path` ends in one."""
    match = FRAGMENT.fullmatch(os.fspath(path))
    if match is None:
        return os.fspath(path), None
    return match["file"], Region(**{name: int(match[name]) for name in ("x", "y", "width", "height")})


def square_around(x: float, y: float, radius: float, *, size: tuple[int, int], margin: float, least: float) -> Region:
    """Return the square around a circle in an image of `size` (width, height), all in pixels from the top left.

    Its side is `margin` times the diameter, or `least` where that is more, and at most the image's shorter side. Where
    it would leave the image it is moved inwards, so that it stays square and shows nothing but the image.
    """
    side = min(max(round(max(2 * radius * margin, least)), 1), *size)
    left, top = (min(max(round(centre - side / 2), 0), end - side) for centre, end in zip((x, y), size, strict=True))
    return Region(x=left, y=top, width=side, height=side)
