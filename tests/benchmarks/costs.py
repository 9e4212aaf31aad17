"""What whole studies take on this machine, computed from its measured rates: the table of conf/README.md."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product

import torch

from src.classifiers.lightgbm import LightGBM
from src.encoders.device import resolve_device
from tests.benchmarks.boosting import ROUNDS, problem
from tests.benchmarks.encoders import BATCH, call, load
from tests.benchmarks.timing import Row, in_turns, once, time_text
from tests.support.encoders import made

SIZE = 400
"""Pixels of the crops whose encoding is timed; the work of other sizes goes with their area."""
ROWS = 3_600
"""Descriptors of the model that is timed; the work goes with their number, and their length."""


@dataclass(frozen=True)
class Study:
    """How many images, in how many augmentations and crops, and the models on their descriptors."""

    name: str
    images: int
    area: int
    """Pixels of an image as it is cropped."""
    augmentations: int
    crops: int
    sizes: tuple[int, ...]
    encoders: tuple[str, ...]
    folds: int
    seeds: int

    @property
    def encodings(self) -> int:
        """Crops to encode."""
        return self.images * self.augmentations * self.crops * len(self.sizes) * len(self.encoders)

    @property
    def models(self) -> int:
        """Models to fit."""
        return self.folds * self.seeds * len(self.sizes) * len(self.encoders)

    def exact(self, rates: dict[str, float]) -> float:
        """Return seconds to encode every crop, by the crops of 400 pixels that each encoder encodes in a second."""
        times = self.images * self.augmentations * self.crops
        return sum(times * size**2 / SIZE**2 / rates[name] for name, size in product(self.encoders, self.sizes))

    def shared(self, rates: dict[str, float]) -> float:
        """Return seconds to encode every augmentation once, for all crops and sizes."""
        return sum(self.images * self.augmentations * self.area / SIZE**2 / rates[name] for name in self.encoders)

    def learning(self, seconds: float) -> float:
        """Return seconds to fit all models, by those of one on ROWS descriptors."""
        return self.models * seconds * self.images * self.augmentations * (1 - 1 / self.folds) / ROWS


TABLE_1 = ("resnet", "vgg", "inception")
STUDIES = (
    Study("BACH, Table 1", 400, 1024 * 768, 50, 20, (400, 650), TABLE_1, 10, 5),
    Study("BreakHis, one encoder", 7_909, 700 * 460, 1, 20, (224,), ("resnet",), 5, 5),
    Study("100,000 images, one encoder", 100_000, 512 * 512, 1, 5, (224,), ("resnet",), 5, 1),
)


def rates(backend: str, device: str) -> dict[str, float]:
    """Return how many crops of 400 pixels each encoder encodes in a second."""
    ready = torch.randint(0, 256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8, device=device)
    calls = [call(load(name, backend, "float32", device), ready) for name in TABLE_1]
    return {name: BATCH / taken for name, taken in zip(TABLE_1, in_turns(*calls, repeats=2), strict=True)}


def model() -> float:
    """Return the seconds that one model takes of this machine, all its processors being at work on such."""
    features, labels = problem(ROWS)
    seeds = list(range(torch.get_num_threads()))
    taken = once(lambda: LightGBM(rounds=ROUNDS).fit(features, labels, 4, 1, seeds, len(seeds)))
    return taken * LightGBM().rounds / ROUNDS / len(seeds)


def costs() -> Iterator[Row]:
    """Encoding by each backend, and with crops that share a map; learning."""
    device = resolve_device("auto", made(TABLE_1[0], weights="random"))
    by_torch = rates("torch", device)
    fastest = rates("openvino", device) if device == "cpu" and find_spec("openvino") else by_torch
    seconds = model()
    for study in STUDIES:
        exact = study.exact(by_torch)
        what = f"{study.name}: {study.encodings:,} crops"
        yield (
            what,
            f"{time_text(study.exact(fastest))}, OpenVINO",
            f"{time_text(exact)}, torch",
            exact / study.exact(fastest),
        )
        yield (
            f"{study.name}: crop.sharing=map",
            time_text(study.shared(by_torch)),
            "torch",
            exact / study.shared(by_torch),
        )
        yield f"{study.name}: {study.models} models", time_text(study.learning(seconds)), "LightGBM", None


PARTS = (costs,)
