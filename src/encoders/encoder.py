"""What every encoder is to the methods: crops in, descriptors out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Extractor(Protocol):
    """An encoder on a device: crops in, descriptors of `length` numbers out."""

    length: int
    device: "torch.device"

    def __call__(self, crops: "torch.Tensor") -> "torch.Tensor":
        """Return the descriptors (n, length), float32, of the crops (n, 3, size, size), uint8, red, green, blue.

        A crop's descriptor does not depend on its neighbours in a batch of the same shape.
        Errors: ValueError for crops of another type or shape, or too small.
        """


@runtime_checkable
class Averaging(Extractor, Protocol):
    """An extractor whose descriptors are means over an image, of maps that all its crops can share."""

    def maps(self, images: "torch.Tensor") -> "list[torch.Tensor]":
        """Return the maps (n, channels, height, width), float32, of the images (n, 3, height, width), uint8.

        Their means, one after the other, are the descriptors; there are none where an encoder has descriptors of
        another kind. Maps have strides of their own, and do not depend on neighbours in a batch of the same shape.
        Errors: ValueError for images of another type or shape, or too small.
        """


@dataclass(kw_only=True)
class Encoder(ABC):
    """What turns a crop into a descriptor. `label` is its short name in tables."""

    label: str

    revision: ClassVar[int] = 1
    outside_recipe: ClassVar[tuple[str, ...]] = ("label",)
    """Parameters that say how results are named and where weights come from: they do not change a descriptor."""
    following: ClassVar[tuple[str, ...]] = ()
    """Parameters that are worked out as it is made: a run's config has them as they are then."""
    added: ClassVar[dict[str, Any]] = {}
    """Parameters that a recipe names only where they differ from this: descriptors that are stored keep their names."""
    idle: ClassVar[tuple[str, ...]] = ()
    """Parameters that mean nothing to it, so that a sweep over encoders may set them for others among them."""
    trainable: ClassVar[bool] = False
    """Whether it is a network, which can be trained further."""

    @property
    def accelerated(self) -> bool:
        """Whether it can run on a GPU."""
        return False

    @property
    def untrained(self) -> bool:
        """Whether it should have learnt from images and has not."""
        return False

    @abstractmethod
    def digest(self) -> str:
        """The identity of what, besides the parameters and `revision`, determines descriptors, such as weights."""

    @abstractmethod
    def check_size(self, size: int) -> None:
        """Raise `ValueError` unless it takes crops of a size in pixels; nothing is encoded for it."""

    @abstractmethod
    def load(self, device: str = "cpu") -> Extractor:
        """Return the encoder on a device, ready for crops."""


def check_crops(crops: "torch.Tensor", square: bool = True) -> int:
    """Return the shorter side of crops.

    ValueError unless they are uint8 and (n, 3, size, size), or not so if not `square`.
    """
    import torch

    shape = tuple(crops.shape)
    if crops.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3 or (square and shape[2] != shape[3]):
        sides = "size, size" if square else "height, width"
        raise ValueError(f"crops must be uint8 and (n, 3, {sides}), but got {crops.dtype} and {shape}")
    return min(shape[2:])
