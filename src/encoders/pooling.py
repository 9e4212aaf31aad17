"""Pooling: one descriptor per augmentation out of those of its crops."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from src.system.checks import at_least


@dataclass(kw_only=True)
class Pool(ABC):
    """One descriptor per augmentation out of those of its crops."""

    revision: ClassVar[int] = 1

    @abstractmethod
    def __call__(
        self, descriptors: Float32[np.ndarray, "augmentation crop feature"]
    ) -> Float32[np.ndarray, "augmentation feature"]:
        """Return the pooled descriptors of an image's augmentations; `ValueError` for those that cannot be pooled."""

    def check(self, descriptors: Float32[np.ndarray, "..."]) -> None:
        """Raise `ValueError` for descriptors, as few as there may be yet, that cannot be pooled."""
        return


@dataclass(kw_only=True)
class PowerMean(Pool):
    """The power mean of the crops' descriptors, d = (mean d_i^p)^(1/p) (Rakhlin 2018, section 3).

    `p` 1 is the mean, 3 the paper's, infinity the maximum.
    """

    p: float = 3.0

    def __post_init__(self) -> None:
        at_least(1, p=self.p)

    def __call__(
        self, descriptors: Float32[np.ndarray, "augmentation crop feature"]
    ) -> Float32[np.ndarray, "augmentation feature"]:
        """Return the pooled descriptors of an image's augmentations.

        Errors: ValueError for no crops, and for negative numbers unless p is 1: their power mean is not defined.
        """
        if descriptors.shape[1] == 0:
            raise ValueError(f"there must be crops to pool, but got descriptors of shape {descriptors.shape}")
        self.check(descriptors)
        if self.p == 1:
            return np.asarray(descriptors.mean(axis=1, dtype=np.float64), np.float32)
        maximum = descriptors.max(axis=1)
        return np.asarray(maximum if np.isinf(self.p) else maximum * _relative(descriptors, maximum, self.p))

    def check(self, descriptors: Float32[np.ndarray, "..."]) -> None:
        """Raise `ValueError` for descriptors, as few as there may be yet, that cannot be pooled: negative numbers."""
        if self.p != 1 and descriptors.min(initial=0) < 0:
            raise ValueError(
                f"descriptors >= 0 must hold for the power mean with p={self.p:g}, but the least is "
                f"{descriptors.min():g} (this encoder's features are not rectified): choose pool.p=1"
            )


def _relative(
    descriptors: Float32[np.ndarray, "augmentation crop feature"],
    maximum: Float32[np.ndarray, "augmentation feature"],
    p: float,
) -> Float32[np.ndarray, "augmentation feature"]:
    """Return the power mean as a fraction of the maximum: no power of a number up to 1 overflows."""
    scale = np.where(maximum > 0, maximum, np.float32(1))  # where all are 0, so is their mean
    fractions = (descriptors / scale[:, np.newaxis]) ** np.float32(p)
    return np.asarray(fractions.mean(axis=1, dtype=np.float64) ** (1 / p), dtype=np.float32)
