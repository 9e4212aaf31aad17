"""Augmentation: an 8-bit RGB image gives several, on whatever device it lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, UInt8

from src.images.crop import interleaved
from src.images.draws import generator
from src.images.stain import STRIP, WHITE

if TYPE_CHECKING:
    from torch import Tensor

    Image = UInt8[Tensor, "3 height width"]


@dataclass(kw_only=True)
class Augment:
    """An augmentation that gives `count` images."""

    count: int = 1
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.count < 1:
            raise ValueError(f"`count >= 1` must hold, but got count={self.count}")

    def __call__(self, image: "Image", seed: int, content: str) -> "Iterator[Image]":
        """Yield `count` images of the same size; draws are keyed by seed, content digest and number."""
        raise NotImplementedError


@dataclass(kw_only=True)
class NoAugment(Augment):
    """The image itself, once."""

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

    # The published (rounded) Ruifrok matrix, and its inverse as printed: C = (D OD')', OD' = C M on rows.
    UNMIX: ClassVar[npt.NDArray[np.float64]] = np.array(
        [[1.88, -0.07, -0.60], [-1.02, 1.13, -0.48], [-0.55, -0.13, 1.57]]
    )
    MIX: ClassVar[npt.NDArray[np.float64]] = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        if not 0 <= self.low <= self.high:
            raise ValueError(f"`0 <= low <= high` must hold, but got low={self.low}, high={self.high}")

    def __call__(self, image: "Image", seed: int, content: str) -> "Iterator[Image]":
        """Yield `count` jittered images."""
        density = natural_density(image)
        for number in range(self.count):
            yield jitter(density, self.multipliers(seed, content, number))

    def multipliers(self, seed: int, content: str, number: int) -> Float64[np.ndarray, "2"]:
        """Return the factors of haematoxylin and eosin of one augmentation."""
        return generator(seed, content, "stain", number).uniform(self.low, self.high, size=2)


def natural_density(image: "Image") -> "Tensor":
    """Return -ln((I + 1) / 240) as float32 (3, height, width)."""
    if image.is_cpu:
        import torch

        # A look-up instead of a logarithm per pixel, of the same logarithms.
        table = of_values(torch.arange(256)).numpy()
        planes = cv2.split(interleaved(image))
        return torch.from_numpy(np.stack([cv2.LUT(plane, table) for plane in planes]))
    return of_values(image).contiguous()


def of_values(values: "Tensor") -> "Tensor":
    """Return -ln((I + 1) / 240) as float32 of 8-bit values."""
    return ((values.float() + 1) / WHITE).log_().neg_()


def jitter(density: "Tensor", multipliers: Float64[np.ndarray, "2"]) -> "Image":
    """Return the 8-bit image of densities (3, height, width) whose two stains are multiplied.

    Unmixing, multiplying and mixing again is one 3 x 3 matrix, and its scale does not depend on the logarithm's base.
    On the CPU the image's channels lie side by side, as crops and networks take them.
    """
    import torch

    stains = np.diag([*multipliers, 1.0])
    matrix = torch.tensor(-StainJitter.MIX.T @ stains @ StainJitter.UNMIX, dtype=torch.float32, device=density.device)
    white = torch.full((3, 1), float(np.log(WHITE)), device=density.device)

    def light(densities: "Tensor") -> "Tensor":
        return torch.addmm(white, matrix, densities).exp_().sub_(1).clamp_(0, 255)

    flat = density.reshape(3, -1)
    if not density.is_cpu:
        return light(flat).to(torch.uint8).reshape(density.shape)
    made = np.empty((1, flat.shape[1], 3), np.uint8)
    for start in range(0, flat.shape[1], STRIP):  # what is computed of so many pixels stays in a core's cache
        planes = light(flat[:, start : start + STRIP]).numpy().astype(np.uint8)
        cv2.merge([plane[np.newaxis] for plane in planes], made[:, start : start + STRIP])
    return torch.from_numpy(made.reshape(*density.shape[1:], 3)).permute(2, 0, 1)
