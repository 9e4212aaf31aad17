"""What a study asks again and again: learn with these parameters from some cases, and predict others."""

import copy
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import singledispatch
from pathlib import Path
from typing import ClassVar, Protocol

import pandas as pd

from src.cell import Cell
from src.classifiers.classifier import Model
from src.data.splits import REPORT, assign_roles
from src.methods.finetune.finetune import FineTune
from src.methods.finetune.images_in_memory import Images
from src.methods.fold_models import by_view, join_predictions, leave_out, model_name, role_mask
from src.methods.frozen.frozen import Frozen, Pooled, fit_fold
from src.methods.likeness import ALL, Known
from src.methods.method import CellTask, Method, Outcome
from src.recipes import descriptor_recipe, fit_recipe
from src.storage.store import Store, recipe_digest
from src.system.progress import Progress

HELD = 4
"""Sets of pooled descriptors that are held at once: a view and an exponent have one."""


class Learner(Protocol):
    """Learns from cases and predicts others, with parameters that differ from call to call."""

    operators: ClassVar[tuple[str, ...]]
    """The operators of a cell whose parameters it learns by."""
    rows: pd.DataFrame
    """The rows of the manifest whose images are used."""
    recipe: str
    """The digest of all that determines what is learnt from, but parameters."""

    def part(self, cell: Cell, splits: pd.DataFrame, fold: int) -> pd.DataFrame:
        """Return what `trial` and `learn` take, to hold out one fold of splits. Cases not among them are not seen."""

    def trial(self, cell: Cell, part: pd.DataFrame, place: str) -> pd.DataFrame:
        """Return the predictions of what is held out, and keep nothing but what is deleted by `forget` of a place."""

    def forget(self, place: str) -> None:
        """Delete what was kept of a trial."""

    def learn(self, cell: Cell, part: pd.DataFrame) -> Outcome:
        """Return what a method returns."""


def hold_out_one(splits: pd.DataFrame, fold: int) -> pd.DataFrame:
    """Return splits of which one fold only is held out: all others are learnt from."""
    return splits.assign(fold=splits["fold"].where(splits["fold"] == fold, 0))


@dataclass
class Descriptors:
    """Learns on pooled descriptors (`read`), those of a view and an exponent being read once.

    Of each image the first `most` augmentations are learnt from, or all.
    """

    operators: ClassVar[tuple[str, ...]] = Frozen.varied

    manifest: pd.DataFrame
    rows: pd.DataFrame
    read: Callable[[Cell, pd.DataFrame], Pooled]
    bad: pd.DataFrame
    facts: dict[str, str | int]
    most: int | None = None

    def __post_init__(self) -> None:
        """Hold nothing."""
        self.held: dict[tuple[str, str], Pooled] = {}
        self.lock = threading.Lock()
        self.recipe = str(self.facts["recipe"])

    def part(self, cell: Cell, splits: pd.DataFrame, fold: int) -> pd.DataFrame:
        """Return the roles of the cases."""
        rows = self.manifest[self.manifest["case"].isin(splits["case"])]
        return assign_roles(rows, hold_out_one(splits, fold), cell.training_patients, seed=cell.seed)

    def trial(self, cell: Cell, part: pd.DataFrame, place: str) -> pd.DataFrame:
        """Return the predictions."""
        return pd.concat([table for _, _, table in self.fits(cell, part)], ignore_index=True)

    def forget(self, place: str) -> None:
        """Do nothing: nothing is kept."""

    def learn(self, cell: Cell, part: pd.DataFrame) -> Outcome:
        """Return predictions by a model per view and seed, the models, and what new images are compared to."""
        tables: list[pd.DataFrame] = []
        models: dict[str, Model] = {}
        for view, fitted, table in self.fits(cell, part):
            tables.append(table)
            fold = int(table["fold"].iloc[0])
            models |= {model_name(view, fold, seed): model for seed, model in zip(cell.seeds, fitted, strict=True)}
        known = {
            view or ALL: Known.of(rows, self.features(cell, view, rows).mean(axis=1))
            for view, rows in by_view(cell, self.rows)
        }
        return Outcome(join_predictions(tables), models, part, self.bad, self.facts, known=known)

    def fits(self, cell: Cell, part: pd.DataFrame) -> Iterator[tuple[str, list[Model], pd.DataFrame]]:
        """Yield view, models (one per seed) and predictions."""
        fold = int(part["fold"].iloc[0])
        for view, rows in by_view(cell, self.rows):
            if role_mask(rows, part, fold, REPORT).any():
                features = self.features(cell, view, rows)
                yield view, *fit_fold(cell, view, rows, features, part, fold, most=self.most)[1:]

    def features(self, cell: Cell, view: str, rows: pd.DataFrame) -> Pooled:
        """Return the descriptors of a view's rows."""
        key = (view, repr(cell.pool))
        with self.lock:
            if key not in self.held:
                self.held[key] = self.read(cell, rows)
                for oldest in list(self.held)[:-HELD]:
                    del self.held[oldest]
            return self.held[key]


@dataclass
class Networks:
    """Trains networks on prepared images. What a trial trained is deleted at its end."""

    operators: ClassVar[tuple[str, ...]] = FineTune.varied

    method: "Prepared"
    task: CellTask
    rows: pd.DataFrame
    recipe: str
    work: Path

    def part(self, cell: Cell, splits: pd.DataFrame, fold: int) -> pd.DataFrame:
        """Return splits: roles depend on the share that decides when to stop, which may be a parameter."""
        return hold_out_one(splits, fold)

    def trial(self, cell: Cell, part: pd.DataFrame, place: str) -> pd.DataFrame:
        """Return the predictions; what a killed trial has trained is found again. No progress is shown."""
        own = replace(self.task, store=Store(self.work / place), progress=Progress())
        return self.predict(own, cell, part).predictions

    def forget(self, place: str) -> None:
        """Delete a trial's networks."""
        shutil.rmtree(self.work / place, ignore_errors=True)

    def learn(self, cell: Cell, part: pd.DataFrame) -> Outcome:
        """Return what fine-tuning returns."""
        return self.predict(self.task, cell, part)

    def predict(self, task: CellTask, cell: Cell, part: pd.DataFrame) -> Outcome:
        """Return what fine-tuning makes of the cases of splits."""
        rows = self.task.manifest[self.task.manifest["case"].isin(part["case"])]
        return self.method.predict(replace(task, cell=cell, manifest=rows), part)


class Prepared(FineTune):
    """Fine-tuning on images that were prepared before, whatever the parameters of the training are."""

    images: Images
    bad: pd.DataFrame

    def begin(self, task: CellTask) -> pd.DataFrame:
        """Prepare images, and return the bad ones."""
        self.images, self.bad = super().prepared(task)
        return self.bad

    def prepared(self, task: CellTask) -> tuple[Images, pd.DataFrame]:
        """Return the images, and those of the wanted ones that are bad."""
        images = copy.copy(self.images)
        images.cell = task.cell
        return images, self.bad[self.bad["sample"].isin(task.manifest["sample"])]


@singledispatch
def learner_of(method: Method, task: CellTask, work: Path) -> Learner:
    """Return what learns again and again as a method does, with all done that does not depend on what is varied.

    `work` is a folder for what trials train. A method of another kind registers its own, or is none that is tuned.
    """
    raise ValueError(f"method={type(method).__name__.lower()} has no parameters that a study chooses")


@learner_of.register
def prepare_descriptors(method: Frozen, task: CellTask, work: Path) -> Descriptors:
    """Return what learns on descriptors, once all are stored."""
    wanted = descriptor_recipe(task.cell, task.cell.encoder.digest())
    encoded, bad = method.encode(task, wanted)
    facts: dict[str, str | int] = {"recipe": recipe_digest(wanted), "encoded_crops": encoded}

    def read(cell: Cell, rows: pd.DataFrame) -> Pooled:
        return method.descriptors(cell, task.store, wanted, rows)

    return Descriptors(task.manifest, leave_out(task.manifest, bad), read, bad, facts, method.most)


@learner_of.register
def prepare_networks(method: FineTune, task: CellTask, work: Path) -> Networks:
    """Return what trains networks, once all images are prepared."""
    method.checked(task.cell)
    prepared = Prepared(**{each.name: getattr(method, each.name) for each in fields(method)})
    bad = prepared.begin(task)
    return Networks(prepared, task, leave_out(task.manifest, bad), recipe_digest(fit_recipe(task.cell)), work)
