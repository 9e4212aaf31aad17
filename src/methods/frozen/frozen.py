"""Frozen descriptors and a classifier: extract, pool, learn."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float32

from src.cell import Cell
from src.classifiers.classifier import Features, Labels, Model, Probabilities
from src.data.manifest import case_groups
from src.data.splits import FIT, REPORT, assign_roles
from src.encoders.device import resolve_device
from src.encoders.encoder import Extractor
from src.executors.local import Local
from src.methods.fold_models import (
    bad_images,
    by_view,
    check_classes,
    join_applied,
    join_predictions,
    leave_out,
    model_name,
    models_of,
    predictions_table,
    remaining_samples,
    role_mask,
)
from src.methods.frozen.extraction import pooled_descriptors
from src.methods.frozen.extraction_work import Encoding
from src.methods.likeness import ALL, Known
from src.methods.method import Applied, CellTask, Explanation, Fitted, Method, Outcome
from src.methods.preparation import check_sizes, note_enlarged, refuse_image, samples_of
from src.recipes import data_digest, descriptor_recipe, splits_digest
from src.storage.store import Recipe, Store, recipe_digest
from src.system.checks import at_least

Pooled = Float32[np.ndarray, "sample augmentation feature"]
ROWS, MEAN, SUBSAMPLE = "rows", "mean", "subsample"
"""What the augmentations of an image are to a classifier (`Frozen.learn_from`)."""


@dataclass(kw_only=True)
class Frozen(Method):
    """Descriptors of a network that is not trained further, and a classifier on them (Rakhlin et al. 2018).

    One model per view (data sets without views have one), fold and seed.
    """

    idle: ClassVar[tuple[str, ...]] = ("finetune",)
    varied: ClassVar[tuple[str, ...]] = ("classifier", "pool")

    batch: int = 16
    """Crops that are encoded together; halved where they do not fit the device's memory."""
    learn_from: str = ROWS
    """What augmentations of an image are to a classifier: rows, of which predictions are averaged; their mean as one
    row, to learn from and to predict; or `subsample:N`, of which the first N are rows to learn from."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        at_least(1, batch=self.batch)
        if self.learn_from not in (ROWS, MEAN) and not self.most:
            raise ValueError(
                f"`learn_from` is {ROWS}, {MEAN} or {SUBSAMPLE}:N (N augmentations of each image, 1 at least), but got "
                f"method.learn_from={self.learn_from}"
            )

    @property
    def most(self) -> int | None:
        """How many augmentations of an image are rows to learn from; None where all are."""
        name, _, number = self.learn_from.partition(":")
        return int(number) if name == SUBSAMPLE and number.isdecimal() else None

    def descriptors(self, cell: Cell, store: Store, wanted: Recipe, rows: pd.DataFrame) -> Pooled:
        """Return the pooled descriptors of the samples of rows, as they are learnt from and predicted."""
        return pooled_descriptors(cell, store, wanted, samples_of(rows), averaged=self.learn_from == MEAN)

    def predict(self, task: CellTask, splits: pd.DataFrame) -> Outcome:
        """Predict every held-out sample."""
        cell, manifest = task.cell, task.manifest
        # Before any work.
        notes = cell.classifier.check(splits_digest(splits), data_digest(manifest), cell.training_patients)
        wanted = descriptor_recipe(cell, cell.encoder.digest())
        encoded, bad = self.encode(task, wanted)
        kept = leave_out(manifest, bad)
        part = assign_roles(manifest, splits, cell.training_patients, seed=cell.seed)
        tables: list[pd.DataFrame] = []
        models: dict[str, Model] = {}
        known: dict[str, Known] = {}
        for view, rows in by_view(cell, kept):
            features = self.descriptors(cell, task.store, wanted, rows)
            known[view or ALL] = Known.of(rows, features.mean(axis=1))
            for fold, fitted, table in self.learn(task, view, rows, part, features):
                tables.append(table)
                models |= {model_name(view, fold, seed): model for seed, model in zip(cell.seeds, fitted, strict=True)}
        facts: dict[str, str | int] = {"recipe": recipe_digest(wanted), "encoded_crops": encoded}
        notes += note_enlarged(cell, samples_of(kept), task.sizes)
        return Outcome(join_predictions(tables), models, part, bad, facts, notes, known)

    def load(self, file: Path, cell: Cell, classes: list[str]) -> Model:
        """Return a classifier."""
        return cell.classifier.load(file)

    def apply(self, task: CellTask, fitted: Fitted) -> Applied:
        """Predict new samples."""
        cell = task.cell
        wanted = descriptor_recipe(cell, cell.encoder.digest())
        _, bad = self.encode(task, wanted, fitted.encoder)
        parts, nearest = [], []
        for view, rows in by_view(cell, remaining_samples(task.manifest, bad)):
            features = self.descriptors(cell, task.store, wanted, rows)
            known, described = fitted.known[view or ALL], features.mean(axis=1)
            distances = known(described, rows["content"].tolist())
            nearest.append(known.nearest(rows, described))
            for fold, seed, model in models_of(view, fitted.models):
                predicted = mean_probabilities(model, features, len(rows["label"].cat.categories))
                parts.append((predictions_table(rows, predicted, fold, seed), rows, distances))
        return join_applied(parts, bad, nearest)

    def explain(self, task: CellTask, models: dict[str, Model]) -> Iterator[Explanation]:
        """Yield maps of class probabilities over an image; of models that know one window, what they lose by parts."""
        from src.methods.maps import explain_descriptors

        def encoder() -> Extractor:
            # A cluster has devices that this machine may lack.
            device = self.device if isinstance(self.executor, Local) else "auto"
            return task.cell.encoder.load(resolve_device(device, task.cell.encoder))

        yield from explain_descriptors(task, models, encoder, self.batch)

    def encode(
        self, task: CellTask, wanted: Recipe, encoder: Callable[[], Extractor] | None = None
    ) -> tuple[int, pd.DataFrame]:
        """Extract the descriptors that the store lacks; return how many crops were encoded, and the bad images."""
        cell, samples, store = task.cell, task.samples, task.store
        distinct = {sample.content: sample for sample in samples}
        held = store.held(wanted, distinct.keys())
        for content, sample in distinct.items():
            if reason := held.notes.get(content):
                refuse_image(cell, sample, reason)
        # A passed image has a note and descriptors: of one that was killed in between the descriptors are missing.
        done = held.samples if cell.on_bad_image == "pass" else held
        missing = [sample for content, sample in distinct.items() if content not in done]
        encoded = 0
        if missing:
            for size in cell.crop.sizes:
                cell.encoder.check_size(size)
            check_sizes(cell, missing, task.sizes)
            work = Encoding(
                cell=cell,
                store=store,
                wanted=wanted,
                batch=self.batch,
                workers=self.workers,
                device=self.device if cell.encoder.accelerated else "cpu",
                encoder=encoder,
            )
            total = len(missing) * cell.augment.count * cell.crop.count
            encoded = sum(task.progress.track(self.executor.spread(work, missing), "encoding crops", total, size=int))
            held = store.held(wanted)
        reasons = {content: held.notes.get(content, "") for content in distinct}
        return encoded, bad_images(samples, reasons, held.samples.__contains__)

    def learn(
        self, task: CellTask, view: str, rows: pd.DataFrame, roles: pd.DataFrame, features: Pooled
    ) -> Iterator[tuple[int, list[Model], pd.DataFrame]]:
        """Yield fold, models (one per seed) and predictions of the cases held out, fold by fold."""
        cell = task.cell
        held_out = roles["case"][(roles["role"] == REPORT) & roles["case"].isin(rows["case"])]
        folds = sorted(set(roles["fold"][held_out.index]))
        if not folds:  # all cases of this view are learnt from
            return
        tasks = [(fold, seeds) for fold in folds for seeds in self.executor.shares(cell.seeds)]
        fits = Fits(cell, view, rows, features, roles, max(1, self.workers // len(tasks)), self.most)
        results = self.executor.map(fits, tasks, self.workers)
        yield from task.progress.track(whole_folds(results, cell.seeds), "learning folds", len(folds))


@dataclass
class Fits:
    """The fits of a view as work for an executor: its items are folds, with the seeds of the models to fit."""

    cell: Cell
    view: str
    rows: pd.DataFrame
    features: Pooled
    roles: pd.DataFrame
    threads: int
    """Threads of each fit: it has more than one where there are fewer fits than processors."""
    most: int | None = None
    """Augmentations of an image that are learnt from; None for all."""

    def __call__(self, item: tuple[int, list[int]]) -> tuple[int, list[Model], pd.DataFrame]:
        """Return fold, models (one per seed) and predictions of the cases held out."""
        fold, seeds = item
        cell = copy(self.cell)
        cell.seeds = seeds
        return fit_fold(cell, self.view, self.rows, self.features, self.roles, fold, self.threads, self.most)

    def abroad(self) -> "Fits":
        """Return the same work for processes on other machines: it has no paths, and each has one processor."""
        return replace(self, threads=1)

    def check(self) -> None:
        """Do nothing: all that is needed comes along."""


def whole_folds(
    parts: Iterator[tuple[int, list[Model], pd.DataFrame]], seeds: list[int]
) -> Iterator[tuple[int, list[Model], pd.DataFrame]]:
    """Yield folds as a whole, of which the models of some seeds come after those of others."""
    models: list[Model] = []
    tables: list[pd.DataFrame] = []
    for fold, fitted, table in parts:
        models += fitted
        tables.append(table)
        if len(models) == len(seeds):
            yield fold, models, pd.concat(tables, ignore_index=True)
            models, tables = [], []


def fit_fold(
    cell: Cell,
    view: str,
    rows: pd.DataFrame,
    features: Pooled,
    roles: pd.DataFrame,
    fold: int,
    threads: int = 1,
    most: int | None = None,
) -> tuple[int, list[Model], pd.DataFrame]:
    """Fit the models of one fold on the cases to learn from, and predict the fold's.

    All augmentations of a sample stay together (of those to learn from the first `most`, or all); its probabilities are
    their mean.
    """
    check_classes(rows, roles, fold, view)
    training, held_out = (role_mask(rows, roles, fold, role) for role in (FIT, REPORT))
    labels = rows["label"].cat.codes.to_numpy(np.int64)
    classes = len(rows["label"].cat.categories)
    known = features[:, :most]
    taught = labels[training].repeat(known.shape[1])
    together = rows["case"].map(case_groups(rows)).factorize()[0][training].repeat(known.shape[1])

    def reported() -> tuple[Features, Labels]:
        return features[held_out].reshape(-1, features.shape[2]), labels[held_out].repeat(features.shape[1])

    models = cell.classifier.seeing(reported).fit(
        consecutive_parts(known, training), taught, classes, fold, cell.seeds, threads, together
    )
    tables = []
    for seed, model in zip(cell.seeds, models, strict=True):
        predicted = mean_probabilities(model, features[held_out], classes)
        tables.append(predictions_table(rows[held_out], predicted, fold, seed))
    return fold, models, pd.concat(tables, ignore_index=True)


def consecutive_parts(features: Pooled, chosen: npt.NDArray[np.bool_]) -> list[Float32[np.ndarray, "_ feature"]]:
    """Return the descriptors of the chosen samples, a part for those that follow each other.

    Nothing is copied where all augmentations are among them.
    """
    numbers = np.flatnonzero(chosen)
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return [features[part[0] : part[-1] + 1].reshape(-1, features.shape[2]) for part in parts]


def mean_probabilities(model: Model, features: Pooled, classes: int) -> Probabilities:
    """Return the class probabilities of samples: means over their augmentations."""
    _, augmentations, length = features.shape
    return model.predict(features.reshape(-1, length)).reshape(-1, augmentations, classes).mean(axis=1)
