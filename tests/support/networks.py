"""Networks small enough to be trained many times, and images that they can tell apart."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from src.encoders.network_encoder import Network, NetworkEncoder
from src.system.random_draws import keyed_generator
from src.training.fitting import Fit, TrainingMaterial
from src.training.network import NetworkWithHead
from src.training.parameters import FineTuning


class Branches(nn.Module):
    """Two convolutions, and in training an auxiliary descriptor from the first."""

    def __init__(self, normalised: bool, auxiliary: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2)
        self.normalisation = nn.BatchNorm2d(4) if normalised else nn.Identity()
        self.second = nn.Conv2d(4, 6, 3, stride=2)
        self.auxiliary_lengths = [4] if auxiliary else []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        maps = self.normalisation(self.first(pixels)).relu()
        descriptors = self.second(maps).relu().mean((2, 3))
        return [descriptors, maps.mean((2, 3))] if self.training and self.auxiliary_lengths else descriptors


@dataclass(kw_only=True)
class Tiny(NetworkEncoder):
    """An encoder of a few hundred weights."""

    label: str = "Tiny"
    architecture: str = "tiny"
    weights: str = "random"
    normalised: bool = True
    smallest: int = 12

    def fetch(self) -> Path:
        raise AssertionError("its weights are drawn")

    def build(self, auxiliary: bool) -> tuple[nn.Module, int]:
        return Branches(self.normalised, auxiliary), 6

    def fill(self, module: nn.Module, path: Path) -> None:
        raise AssertionError("its weights are drawn")


def classifier(auxiliary: bool = False, normalised: bool = True, hidden: Iterable[int] = ()) -> NetworkWithHead:
    network: Network = Tiny(normalised=normalised).load("cpu", auxiliary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NetworkWithHead(network, 2, list(hidden), 0.2 if hidden else 0.0)


CROPS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (10, 3, 16, 16), dtype=np.uint8))


LABELS = np.array([0, 1, 0, 0, 1, 0, 0, 1, 0, 0])


def shown(images: Iterable[int], epoch: int) -> Iterator[torch.Tensor]:
    """The images' crops, flipped by keyed draws."""
    for image in images:
        crop = CROPS[image].clone()
        crop[0, 0, 0] = image  # lest two be alike
        yield crop.flip(2) if keyed_generator(image, epoch).random() < 0.5 else crop


def fit(
    folder: Path, finetune: FineTuning, record: Callable[[str, float, int], None] | None = None, **material: Any
) -> Fit:
    given = {"labels": LABELS, "views": shown, "stopping": None, "weights": np.ones(2)} | material
    folder.mkdir(exist_ok=True)
    return Fit(
        finetune=finetune,
        material=TrainingMaterial(**given),
        key=(0, "", 1),
        name="fold01-seed0",
        folder=folder,
        record=record or (lambda *_: None),
    )


class Unpadded:
    """A network of two maps, whose convolutions see no border: a crop's map is a part of its image's."""

    length = 11
    device = torch.device("cpu")

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        shapes = ((5, 3, 4, 4), (6, 5, 3, 3))
        self.first, self.second = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        first = torch.conv2d(images.double() / 255, self.first, stride=2).relu()
        return [first.float(), torch.conv2d(first, self.second, stride=3).relu().float()]

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.cat([each.mean((2, 3)) for each in self.maps(crops)], dim=1)
