"""Augmentation: an 8-bit RGB image gives several, on whatever device it lies."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, UInt8

from src.images.crop import interleave_channels
from src.images.stain import DENSITY, WHITE, split_strips
from src.system.checks import at_least, holds
from src.system.random_draws import keyed_generator
from src.system.transfers import send

if TYPE_CHECKING:
    from torch import Tensor

    Image = UInt8[Tensor, "3 height width"]


@dataclass(kw_only=True)
class Augment(ABC):
    """An augmentation that gives `count` images."""

    count: int = 1
    revision: ClassVar[int] = 1
    drawn: ClassVar[bool] = True
    """Whether a seed makes other images."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        at_least(1, count=self.count)

    @abstractmethod
    def __call__(self, image: "Image", seed: int, content: str) -> "Iterator[Image]":
        """Yield `count` images of the same size; draws are keyed by seed, content digest and number."""


@dataclass(kw_only=True)
class NoAugment(Augment):
    """The image itself, once."""

    drawn: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.count != 1:
            raise ValueError(f"`count == 1` must hold without augmentation, but got count={self.count}")

    def __call__(self, image: "Image", seed: int, content: str) -> "Iterator[Image]":
        """Yield the image."""
        yield image


@dataclass(kw_only=True)
class StainJitter(Augment):
    """Haematoxylin and eosin are multiplied by independent uniform draws (Rakhlin et al. 2018, section 3)."""

    count: int = 50
    low: float = 0.7
    high: float = 1.3
    revision: ClassVar[int] = 2

    # The published (rounded) Ruifrok matrix, and its inverse as printed: C = (D OD')', OD' = C M on rows.
    UNMIX: ClassVar[npt.NDArray[np.float64]] = np.array(
        [[1.88, -0.07, -0.60], [-1.02, 1.13, -0.48], [-0.55, -0.13, 1.57]]
    )
    MIX: ClassVar[npt.NDArray[np.float64]] = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        holds("0 <= low <= high", 0 <= self.low <= self.high, low=self.low, high=self.high)

    def __call__(self, image: "Image", seed: int, content: str) -> "Iterator[Image]":
        """Yield `count` jittered images."""
        density = natural_density(image)
        for number in range(self.count):
            yield jitter_stains(density, self.multipliers(seed, content, number))

    def multipliers(self, seed: int, content: str, number: int) -> Float64[np.ndarray, "2"]:
        """Return the factors of haematoxylin and eosin of one augmentation."""
        return keyed_generator(seed, content, "stain", number).uniform(self.low, self.high, size=2)


def natural_density(image: "Image") -> "Tensor":
    """Return -ln((I + 1) / 240) as float32 (3, height, width); on the CPU the channels lie side by side."""
    import torch

    if image.is_cpu:
        return torch.from_numpy(np.asarray(cv2.LUT(interleave_channels(image), DENSITY))).permute(2, 0, 1)
    return ((image.float() + 1) / WHITE).log_().neg_().contiguous()


def jitter_stains(density: "Tensor", multipliers: Float64[np.ndarray, "2"]) -> "Image":
    """Return the 8-bit image of densities (3, height, width) whose two stains are multiplied.

    Unmixing, multiplying and mixing again is one 3 x 3 matrix, and its scale does not depend on the logarithm's base.
    On the CPU one thread does it, strip by strip, so that images can be prepared beside a network that runs.
    """
    import torch

    matrix = -StainJitter.MIX.T @ np.diag([*multipliers, 1.0]) @ StainJitter.UNMIX
    if not density.is_cpu:
        white = torch.full((3, 1), float(np.log(WHITE)), device=density.device)
        weights = send(torch.tensor(matrix, dtype=torch.float32), density.device)
        light = torch.addmm(white, weights, density.reshape(3, -1)).exp_().sub_(1).clamp_(0, 255)
        return light.to(torch.uint8).reshape(density.shape)
    affine = np.column_stack([matrix, np.full(3, np.log(WHITE))]).astype(np.float32)
    densities = density.permute(1, 2, 0).contiguous().numpy()
    made = np.empty(densities.shape, np.uint8)
    room: Any = None
    for strip, out in zip(split_strips(densities), split_strips(made), strict=True):
        room = cv2.transform(strip, affine, room)
        cv2.threshold(cv2.exp(room, room), 256, 0, cv2.THRESH_TRUNC, room)
        # Light is positive, so that this is above -1, and truncated to 0 at the least.
        np.subtract(room, np.float32(1), out=out, casting="unsafe")
    return torch.from_numpy(made).permute(2, 0, 1)
