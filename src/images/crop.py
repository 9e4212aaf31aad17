"""Scaling, and random square crops with rotations by 90 degrees and flips."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
from jaxtyping import Float64, Int, UInt8
from PIL import Image

from src.images import BadImage
from src.system.checks import at_least, holds, one_of
from src.system.random_draws import keyed_generator
from src.system.transfers import send

if TYPE_CHECKING:
    from torch import Tensor

Place = tuple[int, int, bool, bool, bool]
"""Top, left, whether transposed, flipped up-down, and flipped left-right."""

WHOLE: Place = (0, 0, False, False, False)
"""The place of a crop that is the whole image."""

LARGEST = 8
"""The largest scale."""

EXACT, MAP = SHARING = "exact", "map"
AREAS, ANTIALIASED = RESAMPLING = "areas", "antialiased"


@dataclass(kw_only=True)
class Crop:
    """`count` random squares of `size` pixels, cut from the image scaled by `scale` (Rakhlin et al. 2018, section 3).

    Each is rotated by a random multiple of 90 degrees and flipped up-down and left-right with probability 1/2.

    - `sharing` exact encodes every crop by itself. map encodes the whole image once per augmentation, and a crop's
      descriptor is the mean over its window of the encoder's feature maps: many times faster, and not quite the same,
      as a window's borders see what lies beyond them. The crops of an augmentation are turned and flipped together,
      and their places are multiples of the encoder's stride.
    - `fit` takes an image that is too small for its crops at the scale at which they fit, instead of refusing it.
    - `together` other sizes that the same pass of sharing=map serves: their descriptors are stored as if they had been
      asked for, so that a sweep over sizes, one after the other, encodes once.
    """

    size: int = 224
    scale: float = 0.5
    count: int = 20
    orient: bool = True
    """Whether crops are rotated and flipped."""
    fit: bool = False
    sharing: str = EXACT
    together: list[int] = field(default_factory=list)
    revision: ClassVar[int] = 1
    outside_recipe: ClassVar[tuple[str, ...]] = ("together",)
    """Parameters that change no descriptor."""
    added: ClassVar[dict[str, str | bool]] = {"sharing": EXACT, "fit": False}
    """Parameters that a recipe names only where they differ from this: descriptors that are stored keep their names."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        at_least(1, size=self.size, count=self.count)
        holds(f"0 < scale <= {LARGEST}", 0 < self.scale <= LARGEST, scale=self.scale)
        one_of(SHARING, sharing=self.sharing)
        if self.together and (self.sharing != MAP or min(self.together) < 1):
            raise ValueError(
                "`together` must hold crop sizes from 1 on that sharing=map serves in one pass, but got "
                f"together={self.together}, sharing={self.sharing}"
            )
        if self.together and self.fit:
            raise ValueError("`fit` scales an image as crops of one size need it, so that `together` needs fit=false")

    @property
    def drawn(self) -> bool:
        """Whether a seed makes other crops."""
        return True

    @property
    def sizes(self) -> list[int]:
        """The sizes whose descriptors are made together."""
        return sorted({self.size, *self.together})

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width in pixels that an image of this size is scaled to."""
        scale = min(max(self.scale, self.size / min(height, width)), LARGEST) if self.fit else self.scale
        return round(height * scale), round(width * scale)

    def rescale(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "scaled_height scaled_width 3"]:
        """Return the image scaled with OpenCV's cubic interpolation, as released; too small a one is a `BadImage`."""
        height, width = self.scaled(*image.shape[:2])
        if min(height, width) < self.size:
            raise BadImage(
                f"{image.shape[1]} x {image.shape[0]} pixels are {width} x {height} at crop.scale={self.scale}, "
                f"too small for crop.size={self.size}; take a smaller crop.size or a larger crop.scale"
            )
        if (height, width) == image.shape[:2]:
            return image
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)

    def __call__(
        self, image: "UInt8[Tensor, '3 height width']", seed: int, content: str, augmentation: int
    ) -> "Iterator[UInt8[Tensor, '3 size size']]":
        """Yield the crops of one augmented image; draws are keyed by names and number."""
        yield from self.cut(image, seed, content, augmentation)

    def cut(self, image: "UInt8[Tensor, '3 height width']", seed: int, content: str, augmentation: int) -> "Cut":
        """Return the crops of one augmented image, to be written where they are wanted."""
        draws = keyed_generator(seed, content, "crop", augmentation).random((self.count, 5))
        return Cut(image, self.size, [self.place(tuple(image.shape[1:]), row) for row in draws])

    def place(self, shape: tuple[int, ...], draws: Float64[np.ndarray, "5"]) -> Place:
        """Return top, left, whether transposed, flipped up-down and flipped left-right, of draws from [0, 1).

        The eight orientations of a square are equally likely, as after a random rotation and two random flips.
        """
        top, left = (int(draw * (side - self.size + 1)) for draw, side in zip(draws, shape, strict=False))
        turned, vertical, horizontal = (draws[2:] < 0.5) & self.orient
        return top, left, bool(turned), bool(vertical), bool(horizontal)

    def turn(
        self, image: "UInt8[Tensor, '3 height width']", seed: int, content: str, augmentation: int
    ) -> "UInt8[Tensor, '3 _ _']":
        """Return an augmented image in the orientation that sharing=map gives all its crops: that of the first."""
        first = keyed_generator(seed, content, "crop", augmentation).random(5)
        turned, *flips = (first[2:] < 0.5) & self.orient
        axes = [axis for axis, flip in zip((1, 2), flips, strict=True) if flip]
        return (image.transpose(1, 2) if turned else image).flip(axes)

    def cells(
        self, grid: tuple[int, int], seed: int, content: str, augmentation: int
    ) -> "tuple[Int[np.ndarray, ' count'], Int[np.ndarray, ' count']]":
        """Return rows and columns of the crops with sharing=map, among so many places that are equally likely."""
        draws = keyed_generator(seed, content, "crop", augmentation).random((self.count, 5))
        rows, columns = (draws[:, :2] * grid).astype(int).T
        return rows, columns


@dataclass(kw_only=True)
class Whole(Crop):
    """The whole image, resized to `size` x `size` pixels whatever its shape."""

    scale: float = 1.0
    count: int = 1
    orient: bool = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        check_alone(self)

    @property
    def drawn(self) -> bool:
        """Whether a seed makes another crop: its place is given, its orientation may be drawn."""
        return self.orient

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the crop, whatever that of the image."""
        return self.size, self.size

    def rescale(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "size size 3"]:
        """Return the image resized, averaging areas where it shrinks."""
        return resize_image(image, self.size, self.size)


@dataclass(kw_only=True)
class Centre(Crop):
    """The centre of `size` x `size` pixels of the image whose shorter side is resized to `shorter`.

    `resampling` areas averages areas where the image shrinks, as OpenCV does. antialiased makes the pixels of
    torchvision's `Resize(shorter)` and `CenterCrop(size)`, by which most encoders are judged: a triangle as wide as
    what becomes one pixel, the longer side rounded down, and the centre to the nearer pixel, a half to the even one.
    """

    scale: float = 1.0
    count: int = 1
    orient: bool = False
    shorter: int = 256
    resampling: str = AREAS
    added: ClassVar[dict[str, str | bool]] = Crop.added | {"resampling": AREAS}

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        check_alone(self)
        holds("shorter >= size", self.shorter >= self.size, shorter=self.shorter, size=self.size)
        one_of(RESAMPLING, resampling=self.resampling)

    @property
    def drawn(self) -> bool:
        """Whether a seed makes another crop: its place is given, its orientation may be drawn."""
        return self.orient

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the image whose shorter side is `shorter`."""
        if self.resampling == ANTIALIASED:
            return self.shorter * height // min(height, width), self.shorter * width // min(height, width)
        factor = self.shorter / min(height, width)
        return round(height * factor), round(width * factor)

    def rescale(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "scaled_height scaled_width 3"]:
        """Return the image resized."""
        resize = resize_antialiased if self.resampling == ANTIALIASED else resize_image
        return resize(image, *self.scaled(*image.shape[:2]))

    def place(self, shape: tuple[int, ...], draws: Float64[np.ndarray, "5"]) -> Place:
        """Return the place of the centre, and the orientation that the draws give."""
        half = round if self.resampling == ANTIALIASED else int
        top, left = (half((side - self.size) / 2) for side in shape)
        return top, left, *super().place(shape, draws)[2:]


def check_alone(crop: Crop) -> None:
    """Raise `ValueError` where a crop that is an image's only one is to share something, or what would change none."""
    name = type(crop).__name__.lower()
    if crop.scale != 1:
        raise ValueError(
            f"crop={name} resizes each image as its crop needs, so that crop.scale={crop.scale} would change nothing: "
            "leave it out"
        )
    if crop.fit:
        raise ValueError(f"crop={name} fits every image, so that crop.fit=true would change nothing: leave it out")
    if crop.count > 1 and not crop.orient:
        raise ValueError(
            f"crop={name} takes the same pixels of an image each time, so that crop.count={crop.count} would change "
            "nothing: leave it out, or take crop.orient=true too"
        )
    if crop.sharing != EXACT:
        raise ValueError(
            f"`sharing=exact` must hold for crop={name}, whose images have one crop each, but "
            f"got sharing={crop.sharing}: take it with crop=half400, or any crop.size=, crop.scale= and crop.count="
        )


@dataclass
class Cut:
    """Squares of `size` pixels of an 8-bit image (3, height, width), at places: a sequence of (3, size, size)."""

    image: "Tensor"
    size: int
    places: list[Place]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> "Iterator[UInt8[Tensor, '3 size size']]":
        for number in range(len(self)):
            out = self.empty(1)
            self.write(out, number)
            yield out[0]

    def empty(self, count: int) -> "Tensor":
        """Return room for crops (count, 3, size, size), whose channels lie side by side, as networks take them."""
        return self.image.new_empty((count, self.size, self.size, 3)).permute(0, 3, 1, 2)

    def write(self, out: "UInt8[Tensor, 'count 3 size size']", first: int) -> None:
        """Write the crops from number `first` on into `out`, which `empty` made, until it is full."""
        places = self.places[first : first + len(out)]
        if not out.is_cpu:
            out.copy_(self.gather(places))
            return
        for (top, left, turned, vertical, horizontal), crop in zip(places, out, strict=True):
            # A window turned by 90 degrees is a window of the transposed image, flipped.
            source, row, column = (self.transposed, left, top) if turned else (self.pixels, top, left)
            window = source[row : row + self.size, column : column + self.size]
            target = crop.permute(1, 2, 0).numpy()
            if horizontal:
                # OpenCV flips both axes three times as fast as this one.
                cv2.flip(window if vertical else cv2.flip(window, 0), -1, target)
            elif vertical:
                cv2.flip(window, 0, target)
            else:
                np.copyto(target, window)

    def gather(self, places: list[Place]) -> "UInt8[Tensor, 'count 3 size size']":
        """Return the crops at places by one look-up of all their pixels, as a GPU does it best."""
        import torch

        top, left, turned, vertical, horizontal = send(torch.tensor(places), self.image.device).T[:, :, None, None]
        along = torch.arange(self.size, device=self.image.device)
        down = torch.where(vertical.bool(), self.size - 1 - along, along).mT  # of the crop's rows, and its columns
        right = torch.where(horizontal.bool(), self.size - 1 - along, along)
        rows = top + torch.where(turned.bool(), right, down)
        columns = left + torch.where(turned.bool(), down, right)
        return self.image.flatten(1)[:, rows * self.image.shape[2] + columns].transpose(0, 1)

    @cached_property
    def pixels(self) -> UInt8[np.ndarray, "height width 3"]:
        """The image with its channels side by side."""
        return interleave_channels(self.image)

    @cached_property
    def transposed(self) -> UInt8[np.ndarray, "width height 3"]:
        """The image with rows and columns exchanged."""
        # Plane by plane OpenCV transposes faster.
        return np.asarray(cv2.merge([cv2.transpose(plane) for plane in cv2.split(self.pixels)]), np.uint8)


def interleave_channels(image: "UInt8[Tensor, '3 height width']") -> UInt8[np.ndarray, "height width 3"]:
    """Return an image on the CPU with its channels side by side, as OpenCV takes it; a view where they lie so."""
    pixels = image.permute(1, 2, 0).numpy()
    if pixels.flags.c_contiguous:
        return pixels
    return cv2.merge([plane.numpy() for plane in image]).astype(np.uint8, casting="safe", copy=False)


def resize_image(image: UInt8[np.ndarray, "height width 3"], height: int, width: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """Return an image of another size, by areas where it shrinks and by cubic interpolation where it grows."""
    shrinks = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def resize_antialiased(
    image: UInt8[np.ndarray, "height width 3"], height: int, width: int
) -> UInt8[np.ndarray, "_ _ 3"]:
    """Return an image of another size by Pillow's bilinear filter, which torchvision's follows: within 1 of 255."""
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
