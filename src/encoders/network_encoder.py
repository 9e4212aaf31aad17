"""Encoders that are networks: their parameters, the identity of their weights, and the network made of them."""

from abc import abstractmethod
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from src.encoders.backends import FLOAT32, OPENVINO, TORCH, Torch, check_backend, make_runner
from src.encoders.encoder import Encoder, check_crops
from src.encoders.weights import SAFETENSORS, TORCH_FILES, find_weights, seed_draws
from src.system.checks import at_least, holds, one_of
from src.system.files import hash_file

if TYPE_CHECKING:
    import torch

    from src.encoders.backends import Forward

RANDOM = "random"
IMAGENET = "imagenet"
RELEASED = "released"
WORDS = (RANDOM, IMAGENET, RELEASED)
"""What `weights` may be besides a path."""
TOKEN, PATCHES, TOKEN_PATCHES = "token", "patches", "token_patches"
"""What becomes a transformer's descriptor: its class token, its patch tokens' mean, or the one and then the other."""


@dataclass(kw_only=True)
class NetworkEncoder(Encoder):
    """A network without its classification head, which turns a crop into a descriptor.

    - `architecture` its name in the library that builds it. Parameters that follow from it (`following`) may be left
      empty: they are what `known` says by architecture, and of others what the library does, the name included.
    - `weights` `imagenet` (the publisher's), `released` (those of a foundation model), `random` (untrained, drawn from
      `seed`), or the path of a file, or of a folder that holds one per architecture.
    - Pixels are divided by `scale`, less `mean`, divided by `std` (three numbers, in the order red, green, blue); then
      `channels` says in which order the network takes them, `rgb` or `bgr`.
    - Crops are resized to `input_size` pixels (bilinear, antialiased); 0 leaves them as they come, in which case they
      must measure `smallest` pixels at least.
    - `backend` what computes descriptors: `torch`, `compile` (PyTorch's compiler), `openvino` (fastest on CPUs), or
      `auto`, which a run replaces by what is fastest on its machine (`src.encoders.backend_choice`) of all whose
      descriptors are off by no more than `tolerance`, relative to their norm.
    - `precision` in which they are computed: `float32`, `bfloat16`, `float16`. Training has its own.
    """

    label: str = ""
    architecture: str
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: str = IMAGENET
    seed: int = 0
    scale: float = 255.0
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    channels: str = "rgb"
    input_size: int | None = None
    smallest: int | None = None
    backend: str = TORCH
    precision: str = FLOAT32
    tolerance: float = 0.001

    trainable: ClassVar[bool] = True
    following: ClassVar[tuple[str, ...]] = ("label", "known", "mean", "std", "input_size", "smallest")
    outside_recipe: ClassVar[tuple[str, ...]] = ("label", "known", "seed", "smallest", "tolerance")
    usual: ClassVar[dict[str, Any]] = {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "input_size": 0,
        "smallest": 32,
    }
    """What follows from most architectures of ImageNet alike."""
    added: ClassVar[dict[str, Any]] = {"backend": TORCH, "precision": FLOAT32}
    libraries: ClassVar[tuple[str, ...]] = ("torch",)

    def __post_init__(self) -> None:
        self.follow()
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"`{name}` must hold three numbers (red, green, blue), but got {getattr(self, name)}")
        holds("std > 0", min(self.std) > 0, std=self.std)
        holds("scale > 0", self.scale > 0, scale=self.scale)
        at_least(0, seed=self.seed, input_size=self.input_size or 0, tolerance=self.tolerance)
        if self.weights in (IMAGENET, RELEASED) and self.weights != self.published():
            raise ValueError(
                f"{self.label} has no encoder.weights={self.weights}: its published ones are {self.published()}"
            )
        check_backend(self.backend, self.precision)
        one_of(("rgb", "bgr"), channels=self.channels)

    def follow(self) -> None:
        """Fill in what is not given and follows from the architecture; afterwards all of it counts as given.

        Errors: ValueError where that cannot be known.
        """
        lacking = [name for name in self.following if getattr(self, name) is None or getattr(self, name) in ("", [])]
        if not lacking:
            return
        own = self.known[self.architecture] if self.architecture in self.known else self.own()
        values = {"label": self.architecture} | self.usual | own
        for name in set(lacking) & values.keys():
            setattr(self, name, copy(values[name]))
        self.known = {self.architecture: {}}

    def own(self) -> dict[str, Any]:
        """Return what the library says of `following` for the architecture."""
        return {}

    @property
    def accelerated(self) -> bool:
        """Whether it can run on a GPU."""
        return self.backend != OPENVINO

    @property
    def untrained(self) -> bool:
        """Whether the weights are drawn at random."""
        return self.weights == RANDOM

    def digest(self) -> str:
        """Return the identity of the weights: the SHA-256 of their file, or the seed and the libraries that draw them.

        Published weights are fetched for it. Errors: as `load`, for what concerns the file.
        """
        path = self.locate()
        if path is not None:
            return hash_file(path)
        return "-".join([RANDOM, str(self.seed), *(f"{name}-{version(name)}" for name in self.libraries)])

    def locate(self) -> Path | None:
        """Return the weights' file, fetched first if it is published and not here yet; None for random weights.

        Errors: ValueError if the file cannot be found, or cannot be fetched.
        """
        if self.weights == RANDOM:
            return None
        if self.weights == self.published():
            return self.fetch()
        return find_weights(self.weights, self.architecture, self.endings(), self.names())

    def load(self, device: str = "cpu", auxiliary: bool = False) -> "Network":
        """Return the network with its weights on a device, ready for crops; its module can be trained.

        With `auxiliary` the network has its auxiliary classifiers, without their last layers, where the architecture
        has some (`Network.auxiliary_lengths`); those that a weights file lacks are drawn from `seed`.
        Errors: ValueError if there are no such weights, they cannot be fetched, or they are another architecture's.
        """
        path = self.locate()
        self.import_libraries()  # before the draw, which an import may disturb: Keras draws a seed
        with seed_draws(self.seed):
            module, length = self.build(auxiliary)
        if path is not None:
            self.fill(module, path)
        return Network(self, module.eval().requires_grad_(False), length, device)

    def check_size(self, size: int) -> None:
        """Raise `ValueError` unless the network takes crops of a size: it is asked without weights or pixels."""
        self.check_smallest(size)
        try:
            self.shape(self.input_size or size)
        except NotImplementedError:  # what needs numbers tells at the first batch
            pass
        except (AssertionError, RuntimeError) as error:
            raise self.refusal(size, error) from None

    def check_smallest(self, size: int) -> None:
        """Raise `ValueError` for crops that are smaller than the network takes."""
        if not self.input_size and size < (self.smallest or 0):
            raise ValueError(
                f"crops must measure {self.smallest} pixels at least for {self.architecture}, "
                f"but measure {size}: choose larger ones, or encoder.input_size={self.smallest}"
            )

    def shape(self, size: int) -> None:
        """Let the network say by an error that it cannot take prepared pixels of a size, where that is known before."""

    def refusal(self, size: int, error: Exception) -> ValueError:
        """Return the error that says what a network answered to crops of a size, and what to choose instead."""
        asked = f"encoder.input_size={self.input_size}" if self.input_size else f"crops of {size} pixels"
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        native = self.native_size()
        resized = f"encoder.input_size={native} resizes them to what it learnt from" if native else "take larger ones"
        return ValueError(f"{self.architecture} cannot take {asked} ({reason}): {resized}")

    def native_size(self) -> int:
        """Return the size in pixels that the network was made for; 0 where the library does not say."""
        return 0

    def published(self) -> str:
        """Return the word in `weights` that means the publisher's."""
        return IMAGENET

    @abstractmethod
    def fetch(self) -> Path:
        """The file of the published weights, from the cache of the library that they belong to if it is there."""

    @abstractmethod
    def build(self, auxiliary: bool) -> tuple["torch.nn.Module", int]:
        """Return the network on the CPU with random weights, and the length of its descriptors.

        It takes prepared pixels (n, 3, size, size) and gives descriptors (n, length). One with auxiliary classifiers
        has the attribute `auxiliary_lengths`, and in training gives the list of the descriptors and theirs.
        """

    @abstractmethod
    def fill(self, module: "torch.nn.Module", path: Path) -> None:
        """Replace the random weights by those of a file."""

    def maps(self, module: "torch.nn.Module", pixels: "torch.Tensor") -> "list[torch.Tensor]":
        """The maps (n, channels, height, width) of prepared pixels whose means are the descriptors; none if none are.

        `module` is what `build` gave.
        """
        return []

    def import_libraries(self) -> None:
        """Import what builds the network."""
        for name in self.libraries:
            import_module(name)

    def endings(self) -> list[str]:
        """Return the endings that a weights file may have."""
        return [SAFETENSORS, *TORCH_FILES]

    def names(self) -> list[str]:
        """Return the names under which a folder may hold the weights, in the order of preference."""
        return [self.architecture + SAFETENSORS]

    def files(self) -> str:
        """Return what `encoder.weights=PATH` may be, in words."""
        endings, names = ", ".join(self.endings()), " or ".join(self.names())
        return f"a file of these weights ({endings}) or a folder that holds {names}"


class Network:
    """An encoder with its weights on a device: crops in, descriptors of `length` numbers out.

    `module` gives the descriptors of prepared pixels. It is loaded as it predicts, without gradients;
    `module.requires_grad_(True).train()` has it learn. `auxiliary_lengths` are the lengths of its auxiliary
    classifiers' descriptors; where it has some, `module` in training gives the list [descriptors, auxiliary ones...].
    """

    def __init__(self, encoder: NetworkEncoder, module: "torch.nn.Module", length: int, device: str) -> None:
        import torch

        self.encoder = encoder
        self.length = length
        self.auxiliary_lengths: list[int] = list(getattr(module, "auxiliary_lengths", []))
        self.device = torch.device(device)
        # Convolutions run faster on pixels whose channels lie side by side: a quarter to a third on CPUs.
        self.module = module.to(self.device).to(memory_format=torch.channels_last)
        self._mean = torch.tensor(encoder.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(encoder.std, device=self.device).view(1, 3, 1, 1)

    def __call__(self, crops: "torch.Tensor") -> "torch.Tensor":
        """Return the descriptors (n, length), float32, of the crops (n, 3, size, size), uint8, red, green, blue.

        A crop's descriptor does not depend on its neighbours in a batch of the same shape.
        Errors: ValueError for crops of another type or shape, or smaller than the network takes.
        """
        self._check(crops)
        try:
            return self._forward(self.prepare(crops)).float()
        except AssertionError as error:  # of a size that only this module, or only numbers, can tell
            raise self.encoder.refusal(crops.shape[-1], error) from None

    def maps(self, images: "torch.Tensor") -> "list[torch.Tensor]":
        """Return the maps (n, channels, height, width), float32, whose means are the descriptors (`Averaging`).

        There are none where crops are resized, each by itself.
        Errors: as for crops, and ValueError for a backend that is not torch: it would compile for every shape of image.
        """
        if self.encoder.input_size:
            return []
        if self.encoder.backend != TORCH:
            raise ValueError(
                f"crop.sharing=map is computed by encoder.backend=torch, but got encoder.backend={self.encoder.backend}"
            )
        self._check(images, square=False)
        forward = Torch(partial(self.encoder.maps, self.module), False, self.encoder.precision, self.device)
        return [each.float() for each in forward(self.prepare(images))]

    @cached_property
    def _forward(self) -> "Forward":
        return make_runner(self.module, self.encoder.backend, self.encoder.precision, self.device)

    def _check(self, crops: "torch.Tensor", square: bool = True) -> None:
        self.encoder.check_smallest(check_crops(crops, square))

    def prepare(self, crops: "torch.Tensor") -> "torch.Tensor":
        """Return the crops as the network takes them: float32, resized, scaled, in its order of channels."""
        import torch
        from torch.nn.functional import interpolate

        size = self.encoder.input_size
        pixels = crops.to(self.device).contiguous(memory_format=torch.channels_last).float()
        if size and size != crops.shape[-1]:
            pixels = interpolate(pixels, (size, size), mode="bilinear", antialias=True)
        pixels = pixels.div_(self.encoder.scale).sub_(self._mean).div_(self._std)
        return pixels.flip(1) if self.encoder.channels == "bgr" else pixels
