"""Scaling, and random square crops with rotations by 90 degrees and flips."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from src.images import BadImage
from src.images.draws import generator

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True)
class Crop:
    """`count` random squares of `size` pixels, cut from the image scaled by `scale` (Rakhlin et al. 2018, section 3).

    Each is rotated by a random multiple of 90 degrees and flipped up-down and left-right with probability 1/2.
    """

    size: int = 224
    scale: float = 0.5
    count: int = 20
    orient: bool = True
    """Whether crops are rotated and flipped."""
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.size < 1 or self.count < 1:
            raise ValueError(f"`size >= 1` and `count >= 1` must hold, but got size={self.size}, count={self.count}")
        if not 0 < self.scale <= 8:
            raise ValueError(f"`0 < scale <= 8` must hold, but got scale={self.scale}")

    def rescale(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "scaled_height scaled_width 3"]:
        """Return the image scaled with OpenCV's cubic interpolation, as released; too small a one is a `BadImage`."""
        height, width = (round(side * self.scale) for side in image.shape[:2])
        if min(height, width) < self.size:
            raise BadImage(
                f"{image.shape[1]} x {image.shape[0]} pixels are {width} x {height} at crop.scale={self.scale}, "
                f"too small for crop.size={self.size}; take a smaller crop.size or a larger crop.scale"
            )
        if self.scale == 1:
            return image
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)

    def __call__(
        self, image: "UInt8[Tensor, '3 height width']", seed: int, content: str, augmentation: int
    ) -> "Iterator[UInt8[Tensor, '3 size size']]":
        """Yield the crops of one augmented image, views where they can be; draws are keyed by names and number."""
        # A window turned by 90 degrees is a window of the transposed image, flipped: rows stay contiguous to copy.
        transposed = image.transpose(1, 2).contiguous()
        draws = generator(seed, content, "crop", augmentation).random((self.count, 5))
        for top, left, turned, *flips in (self.place(image.shape[1:], row) for row in draws):
            source, row, column = (transposed, left, top) if turned else (image, top, left)
            window = source[:, row : row + self.size, column : column + self.size]
            axes = [axis for axis, flip in zip((1, 2), flips, strict=True) if flip]
            yield window.flip(axes) if axes else window

    def place(self, shape: tuple[int, ...], draws: Float64[np.ndarray, "5"]) -> tuple[int, int, bool, bool, bool]:
        """Return top, left, whether transposed, flipped up-down and flipped left-right, of draws from [0, 1).

        The eight orientations of a square are equally likely, as after a random rotation and two random flips.
        """
        top, left = (int(draw * (side - self.size + 1)) for draw, side in zip(draws, shape, strict=False))
        turned, vertical, horizontal = (draws[2:] < 0.5) & self.orient
        return top, left, bool(turned), bool(vertical), bool(horizontal)


@dataclass(kw_only=True)
class Whole(Crop):
    """The whole image, resized to `size` x `size` pixels whatever its shape."""

    scale: float = 1.0
    count: int = 1
    orient: bool = False

    def rescale(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "size size 3"]:
        """Return the image resized, averaging areas where it shrinks."""
        return resize(image, self.size, self.size)


@dataclass(kw_only=True)
class Centre(Crop):
    """The centre of `size` x `size` pixels of the image whose shorter side is resized to `shorter`."""

    scale: float = 1.0
    count: int = 1
    orient: bool = False
    shorter: int = 256

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        if self.shorter < self.size:
            raise ValueError(f"`shorter >= size` must hold, but got shorter={self.shorter}, size={self.size}")

    def rescale(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "scaled_height scaled_width 3"]:
        """Return the image resized, averaging areas where it shrinks."""
        factor = self.shorter / min(image.shape[:2])
        return resize(image, *(round(side * factor) for side in image.shape[:2]))

    def place(self, shape: tuple[int, ...], draws: Float64[np.ndarray, "5"]) -> tuple[int, int, bool, bool, bool]:
        """Return the place of the centre, and the orientation that the draws give."""
        top, left = ((side - self.size) // 2 for side in shape)
        return top, left, *super().place(shape, draws)[2:]


def resize(image: UInt8[np.ndarray, "height width 3"], height: int, width: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """Return an image of another size, by areas where it shrinks and by cubic interpolation where it grows."""
    shrinks = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
