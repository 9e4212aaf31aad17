"""What a method of learning is given, and what it gives back."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from jaxtyping import Float32, UInt8

from src.cell import Cell
from src.encoders.device import resolve_device
from src.encoders.encoder import Encoder, Extractor
from src.executors.executor import Executor
from src.executors.local import Local
from src.methods.likeness import Known
from src.methods.preparation import Sample, Size, samples_of
from src.storage.store import Store
from src.system.checks import at_least
from src.system.progress import Progress


@dataclass(kw_only=True)
class CellTask:
    """What a method is given to do.

    cell
        The operators and seeds.
    manifest
        The samples, with the column `content`.
    store
        Keeps descriptors and trained networks.
    progress
        Is told how far the work is, and the curves of trainings.
    sizes
        Height and width of the images that can be read, by content; none where any size will do. Like `content` they
        are what the first reading found (`src.methods.image_reading`).
    """

    cell: Cell
    manifest: pd.DataFrame
    store: Store
    progress: Progress = field(default_factory=Progress)
    sizes: Mapping[str, Size] = field(default_factory=dict)

    @property
    def samples(self) -> list[Sample]:
        """The samples of the manifest."""
        return samples_of(self.manifest)


class Saved(Protocol):
    """A fitted model: a classifier of descriptors, or a network."""

    def save(self, stem: Path) -> None:
        """Write the model, without a pickle, to `stem` with the suffix of its format."""


@dataclass
class Outcome:
    """What a method returns.

    predictions
        `sample, case, patient, view, label, fold, seed, p_<class>...`: a row per sample, fold model and seed.
    models
        The fitted models by name (`fold01-seed0`, before it the view where there are views).
    roles
        `case, fold, role`: what each case was to the models of each fold (`src.data.splits.assign_roles`).
    bad
        `sample, outcome, reason` of the images that could not be read or treated.
    facts
        What the run should record: digests and counts by name.
    notes
        What a reader of the run's figures has to know.
    known
        What new images are compared to, by a name: of the view, or of the model, whose descriptors they are.
    chosen
        The cell of each fold, where parameters were chosen by fold.
    recalibration
        The maps of the folds' probabilities, where they were recalibrated
        (`src.evaluation.recalibration.describe_recalibrations`).
    """

    predictions: pd.DataFrame
    models: Mapping[str, Saved]
    roles: pd.DataFrame
    bad: pd.DataFrame
    facts: dict[str, str | int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    known: Mapping[str, Known] = field(default_factory=dict)
    chosen: Mapping[int, Cell] = field(default_factory=dict)
    recalibration: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Fitted:
    """What a method made of a cell, to be applied to new images.

    `models` and `known` are those of its `Outcome`; `encoder` gives the encoder as it is, where the models need it.
    """

    models: Mapping[str, Any]
    known: Mapping[str, Known]
    encoder: Callable[[], Extractor]


@dataclass
class Applied:
    """What fitted models say of new images.

    predictions
        `sample, case, patient, view, label, fold, seed, p_<class>...`: a row per sample and model.
    distances
        `case, sample, distance`: how far each sample is from what the models know (`src.methods.likeness`).
    bad
        `sample, outcome, reason` of the images that could not be read or treated.
    nearest
        `case, sample, content, label, distance`: the known images that are nearest to each sample.
    """

    predictions: pd.DataFrame
    distances: pd.DataFrame
    bad: pd.DataFrame
    nearest: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass
class Explanation:
    """What a model looks at in one image: maps of the image's size, by name (`Grad-CAM for A`, `probability of A`).

    They hold numbers from 0 to 1 (`meaning` says of what), and are not a number where the model was not asked. `note`
    is for their reader: why there is no map of a kind, for one.
    """

    sample: str
    image: UInt8[np.ndarray, "height width 3"]
    maps: dict[str, Float32[np.ndarray, "height width"]]
    meaning: str = ""
    note: str = ""


@dataclass(kw_only=True)
class Method(ABC):
    """A way of learning: predicts every held-out case by models that saw nothing of it."""

    trains: ClassVar[bool] = False
    """Whether the encoder is trained: one with random weights need not stay so."""
    idle: ClassVar[tuple[str, ...]] = ()
    """Groups of the config that mean nothing to it."""
    varied: ClassVar[tuple[str, ...]] = ()
    """The operators that a study may vary: none of them asks for other descriptors, or other prepared images."""

    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Threads that prepare images, and folds that learn at the same time; one per processor unless given."""
    device: str = "auto"
    """Where networks run: auto (a GPU where there is one), cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        at_least(1, workers=self.workers)
        self.executor: Executor = Local()  # no parameter: it changes nothing of what comes out

    def use(self, executor: Executor) -> None:
        """Have an executor do the work; `ValueError` where it cannot."""
        self.executor = executor

    def method_for(self, encoder: Encoder) -> "Method":
        """Return the method that is used with an encoder: this one, or another where it cannot do with it."""
        return self

    def check_device(self, encoder: Encoder) -> None:
        """Raise `ValueError`, first of all, where a device is named that this machine lacks; a cluster has its own."""
        if self.device not in ("auto", "cpu") and isinstance(self.executor, Local):
            resolve_device(self.device, encoder)

    @abstractmethod
    def predict(self, task: CellTask, splits: pd.DataFrame) -> Outcome:
        """Predict every case of a fold from 1 on."""

    @abstractmethod
    def load(self, file: Path, cell: Cell, classes: list[str]) -> Any:
        """Return a model of its `Outcome` that was saved, whose name is the file's stem; nothing is unpickled."""

    @abstractmethod
    def apply(self, task: CellTask, fitted: Fitted) -> Applied:
        """Predict new samples by every model of their view.

        Their labels are empty, but of the models' categories, and so may be the manifest.
        """

    @abstractmethod
    def explain(self, task: CellTask, models: dict[str, Any]) -> Iterator[Explanation]:
        """Yield what the models look at in each sample of a manifest of examples, in their order.

        It has the columns of `src.evaluation.map_figures.choose_examples`, too (the categories of `label` are all
        classes in the models' order). A model explains the class that was predicted, and if that was wrong, the true
        one, too.
        """
