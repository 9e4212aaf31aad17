"""What a study asks again and again: learn with these parameters from some cases, and predict others."""

import copy
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pandas as pd

from src.classifiers.classifier import Model
from src.data.splits import REPORT, roles
from src.methods import learning
from src.methods.cell import Cell, Outcome, Record, Track
from src.methods.extraction import pooled, recipe
from src.methods.finetune import FineTune
from src.methods.frozen import ALL, Frozen, Pooled, fit_fold
from src.methods.known import Known
from src.methods.parts import by_view, joined, mask, model_name, without
from src.methods.prepared import Images
from src.methods.samples import Sample, samples
from src.methods.space import FROZEN, TRAINED
from src.store import Store, digest

HELD = 4
"""Sets of pooled descriptors that are held at once: a view and an exponent have one."""


class Learner(Protocol):
    """Learns from cases and predicts others, with parameters that differ from call to call."""

    operators: ClassVar[tuple[str, ...]]
    """The operators of a cell whose parameters it learns by."""
    manifest: pd.DataFrame
    """All that is known of the samples, with contents."""
    rows: pd.DataFrame
    """Those of it whose images are used."""
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


def held_out(splits: pd.DataFrame, fold: int) -> pd.DataFrame:
    """Return splits of which one fold only is held out: all others are learnt from."""
    return splits.assign(fold=splits["fold"].where(splits["fold"] == fold, 0))


def quiet(
    items: Iterable[Any], description: str, total: int, size: Callable[[Any], int] = lambda _: 1
) -> Iterator[Any]:
    """Pass items on: trials show how many they are, and not what each one does."""
    yield from items


def unrecorded(name: str, value: float, step: int) -> None:
    """Record nothing of what a trial trains."""


@dataclass
class Descriptors:
    """Learns on pooled descriptors (`read`), those of a view and an exponent being read once."""

    operators: ClassVar[tuple[str, ...]] = FROZEN

    manifest: pd.DataFrame
    rows: pd.DataFrame
    read: Callable[[Cell, pd.DataFrame], Pooled]
    bad: pd.DataFrame
    facts: dict[str, str | int]

    def __post_init__(self) -> None:
        """Hold nothing."""
        self.held: dict[tuple[str, str], Pooled] = {}
        self.lock = threading.Lock()
        self.recipe = str(self.facts["recipe"])

    def part(self, cell: Cell, splits: pd.DataFrame, fold: int) -> pd.DataFrame:
        """Return the roles of the cases."""
        rows = self.manifest[self.manifest["case"].isin(splits["case"])]
        return roles(rows, held_out(splits, fold), cell.training_patients, seed=cell.seed)

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
        return Outcome(joined(tables), models, part, self.bad, self.facts, known=known)

    def fits(self, cell: Cell, part: pd.DataFrame) -> Iterator[tuple[str, list[Model], pd.DataFrame]]:
        """Yield view, models (one per seed) and predictions."""
        fold = int(part["fold"].iloc[0])
        for view, rows in by_view(cell, self.rows):
            if mask(rows, part, fold, REPORT).any():
                yield view, *fit_fold(cell, view, rows, self.features(cell, view, rows), part, fold)[1:]

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

    operators: ClassVar[tuple[str, ...]] = TRAINED

    method: "Prepared"
    manifest: pd.DataFrame
    rows: pd.DataFrame
    recipe: str
    store: Store
    work: Path
    track: Track
    record: Record

    def part(self, cell: Cell, splits: pd.DataFrame, fold: int) -> pd.DataFrame:
        """Return splits: roles depend on the share that decides when to stop, which may be a parameter."""
        return held_out(splits, fold)

    def trial(self, cell: Cell, part: pd.DataFrame, place: str) -> pd.DataFrame:
        """Return the predictions; what a killed trial has trained is found again."""
        return self.ask(cell, part, Store(self.work / place), quiet, unrecorded).predictions

    def forget(self, place: str) -> None:
        """Delete a trial's networks."""
        shutil.rmtree(self.work / place, ignore_errors=True)

    def learn(self, cell: Cell, part: pd.DataFrame) -> Outcome:
        """Return what fine-tuning returns."""
        return self.ask(cell, part, self.store, self.track, self.record)

    def ask(self, cell: Cell, part: pd.DataFrame, store: Store, track: Track, record: Record) -> Outcome:
        """Return what fine-tuning makes of the cases of splits."""
        rows = self.manifest[self.manifest["case"].isin(part["case"])]
        return self.method.predict(cell, rows, part, store, track, record)


class Prepared(FineTune):
    """Fine-tuning on images that were prepared before, whatever the parameters of the training are."""

    images: Images
    bad: pd.DataFrame

    def begin(self, cell: Cell, wanted: list[Sample], track: Track) -> pd.DataFrame:
        """Prepare images, and return the bad ones."""
        self.images, self.bad = super().prepared(cell, wanted, track)
        return self.bad

    def prepared(self, cell: Cell, wanted: list[Sample], track: Track) -> tuple[Images, pd.DataFrame]:
        """Return the images, and those of the wanted ones that are bad."""
        images = copy.copy(self.images)
        images.cell = cell
        return images, self.bad[self.bad["sample"].isin([sample.name for sample in wanted])]


def descriptors(method: Frozen, cell: Cell, manifest: pd.DataFrame, store: Store, track: Track) -> Descriptors:
    """Return what learns on descriptors, once all are stored."""
    wanted = recipe(cell, cell.encoder.digest())
    encoded, bad = method.encode(cell, samples(manifest), store, wanted, track)
    facts: dict[str, str | int] = {"recipe": digest(wanted), "encoded_crops": encoded}

    def read(cell: Cell, rows: pd.DataFrame) -> Pooled:
        return pooled(cell, store, wanted, samples(rows))

    return Descriptors(manifest, without(manifest, bad), read, bad, facts)


def networks(
    method: FineTune, cell: Cell, manifest: pd.DataFrame, store: Store, work: Path, track: Track, record: Record
) -> Networks:
    """Return what trains networks, once all images are prepared."""
    method.checked(cell)
    prepared = Prepared(**{each.name: getattr(method, each.name) for each in fields(method)})
    bad = prepared.begin(cell, samples(manifest), track)
    made = digest(learning.recipe(cell))
    return Networks(prepared, manifest, without(manifest, bad), made, store, work, track, record)
