"""One cell of a sweep: all that determines its predictions."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import UInt8

from src.classifiers.classifier import Classifier
from src.data.reader import Reader
from src.data.splits import SplitProtocol
from src.encoders.encoder import Encoder
from src.encoders.pooling import Pool
from src.images.augment import Augment
from src.images.crop import Crop
from src.images.perturb import REVISION, perturb_image
from src.images.stain import Stain
from src.system.checks import at_least, holds, one_of
from src.training.parameters import FineTuning

BAD_IMAGE = ("fail", "skip", "pass")
VIEWS = ("separate", "shared")
IDLE = ("data.root", "crop.together", "method.workers", "method.device", "method.batch", "method.memory")
"""Keys of a config that change no predictions: data are known by their bytes."""


@dataclass(kw_only=True)
class Cell:
    """The operators of one cell and its seeds.

    `augment`, `pool` and `classifier` belong to frozen descriptors, `finetune` to networks that are trained.

    `seed` draws augmentations and crops; `seeds` are those of the models, each fold having a model per seed. `views`
    says whether images of different views (cc and mlo, or stains, or sequences) have a model each (`separate`) or one
    for all (`shared`).
    `training_patients` limits every training part to so many patients (0: all), for learning curves: the fewer are
    among the more, drawn by `seed`. `on_bad_image` says what becomes of an image that cannot be read or treated: `fail`
    ends the run, `skip` leaves its sample out, `pass` lets one that the stain normaliser cannot treat go on as it is,
    and leaves out the rest. Samples left out or passed are named and counted.
    """

    data: Reader
    protocol: SplitProtocol
    stain: Stain
    augment: Augment
    crop: Crop
    encoder: Encoder
    pool: Pool
    classifier: Classifier
    finetune: FineTuning
    views: str = "separate"
    training_patients: int = 0
    seed: int = 0
    seeds: list[int] = field(default_factory=lambda: [0])
    on_bad_image: str = "fail"

    def __post_init__(self) -> None:
        """Check the parameters."""
        holds("0 <= seed < 2**32", 0 <= self.seed < 2**32, seed=self.seed)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"`seeds` must be different numbers from 0 on, but got seeds={self.seeds}")
        one_of(BAD_IMAGE, on_bad_image=self.on_bad_image)
        one_of(VIEWS, views=self.views)
        at_least(0, training_patients=self.training_patients)

    def read(self, sample: str) -> UInt8[np.ndarray, "height width 3"]:
        """Return a sample's image as the cell begins with it; BadImage where it cannot be had."""
        return self.data.read(sample)

    def decoding(self) -> dict[str, Any]:
        """Return what determines the pixels of `read` besides the bytes of the file."""
        return self.data.decoding()


@dataclass(kw_only=True)
class PerturbedCell(Cell):
    """A cell whose images are perturbed before anything else is done to them (`src.images.perturb`)."""

    perturbation: str
    level: float

    def read(self, sample: str) -> UInt8[np.ndarray, "height width 3"]:
        """Return a sample's image, perturbed; BadImage where it cannot be had."""
        return perturb_image(super().read(sample), self.perturbation, self.level)

    def decoding(self) -> dict[str, Any]:
        """Return what determines the pixels of `read` besides the bytes of the file."""
        how = {"kind": self.perturbation, "level": float(self.level), "revision": REVISION}
        return super().decoding() | {"perturbation": how}


def plain_cell(cell: Cell) -> Cell:
    """Return a cell without what an experiment adds to it."""
    return Cell(**operators_of(cell))


def perturbed_cell(cell: Cell, perturbation: str, level: float) -> PerturbedCell:
    """Return a cell that does the same with images that are perturbed."""
    return PerturbedCell(**operators_of(cell), perturbation=perturbation, level=level)


def operators_of(cell: Cell) -> dict[str, Any]:
    """Return the operators and seeds of a cell by name."""
    return {each.name: getattr(cell, each.name) for each in fields(Cell)}
