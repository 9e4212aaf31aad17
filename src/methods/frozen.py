"""Frozen descriptors and a classifier: extract, pool, learn."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32

from src.classifiers.classifier import Model
from src.data.splits import FIT, REPORT, roles
from src.methods.cell import Cell, Explanation, Method, Outcome, Record, Track, resolve
from src.methods.extraction import extract, pooled, recipe
from src.methods.parts import bad_images, by_view, check_classes, mask, model_name, predictions, without
from src.methods.samples import Sample, refuse, samples
from src.store import Recipe, Store, digest

Pooled = Float32[np.ndarray, "sample augmentation feature"]


@dataclass(kw_only=True)
class Frozen(Method):
    """Descriptors of a network that is not trained further, and a classifier on them (Rakhlin et al. 2018).

    One model per view (data sets without views have one), fold and seed.
    """

    batch: int = 16
    """Crops that are encoded together; halved where they do not fit the device's memory."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        if self.batch < 1:
            raise ValueError(f"`batch >= 1` must hold, but got batch={self.batch}")

    def predict(
        self, cell: Cell, manifest: pd.DataFrame, splits: pd.DataFrame, store: Path, track: Track, record: Record
    ) -> Outcome:
        """Predict every held-out sample."""
        held = Store(store)
        wanted = recipe(cell, cell.encoder.digest())
        encoded = self.encode(cell, samples(manifest), held, wanted, track)
        reasons = {content: held.noted(wanted, content) for content in manifest["content"]}
        bad = bad_images(samples(manifest), reasons, lambda content: held.holds(wanted, content))
        kept = without(manifest, bad)
        part = roles(manifest, splits, cell.training_patients, seed=cell.seed)
        tables: list[pd.DataFrame] = []
        models: dict[str, Model] = {}
        for view, rows in by_view(cell, kept):
            features = pooled(cell, held, wanted, samples(rows))
            for fold, fitted, table in self.learn(cell, view, rows, part, features, track):
                tables.append(table)
                models |= {model_name(view, fold, seed): model for seed, model in zip(cell.seeds, fitted, strict=True)}
        facts: dict[str, str | int] = {"recipe": digest(wanted), "encoded_crops": encoded}
        return Outcome(pd.concat(tables, ignore_index=True), models, part, bad, facts)

    def explain(
        self, cell: Cell, examples: pd.DataFrame, models: dict[str, Model], store: Path
    ) -> Iterator[Explanation]:
        """Yield maps of class probabilities over an image; of models that know one window, what they lose by parts."""
        from src.methods.explaining import explain_descriptors

        yield from explain_descriptors(cell, examples, models, cell.encoder.load(resolve(self.device)), self.batch)

    def encode(self, cell: Cell, samples: list[Sample], store: Store, wanted: Recipe, track: Track) -> int:
        """Extract the descriptors that the store lacks; return how many crops were encoded."""
        distinct = {sample.content: sample for sample in samples}.values()
        notes = {sample.content: store.noted(wanted, sample.content) for sample in distinct}
        for sample in distinct:
            if notes[sample.content]:
                refuse(cell, sample, notes[sample.content])
        missing = [each for each in distinct if not notes[each.content] and not store.holds(wanted, each.content)]
        if not missing:
            return 0
        network = cell.encoder.load(resolve(self.device))
        steps = extract(cell, missing, network, store, wanted, self.batch, self.workers)
        total = len(missing) * cell.augment.count * cell.crop.count
        return sum(track(steps, "encoding crops", total, size=int))

    def learn(
        self, cell: Cell, view: str, rows: pd.DataFrame, roles: pd.DataFrame, features: Pooled, track: Track
    ) -> Iterator[tuple[int, list[Model], pd.DataFrame]]:
        """Yield fold, models (one per seed) and predictions of the cases held out, fold by fold."""
        from joblib import Parallel, delayed

        held_out = roles["case"][(roles["role"] == REPORT) & roles["case"].isin(rows["case"])]
        folds = sorted(set(roles["fold"][held_out.index]))
        # Threads: the classifiers leave Python's lock, and the descriptors are shared without a copy.
        fits = (delayed(fit_fold)(cell, view, rows, features, roles, fold) for fold in folds)
        results = Parallel(min(self.workers, len(folds)), prefer="threads", return_as="generator")(fits)
        yield from track(results, "learning folds", len(folds))


def fit_fold(
    cell: Cell, view: str, rows: pd.DataFrame, features: Pooled, roles: pd.DataFrame, fold: int
) -> tuple[int, list[Model], pd.DataFrame]:
    """Fit the models of one fold on the cases to learn from, and predict the fold's.

    All augmentations of a sample stay together; its probabilities are their mean.
    """
    check_classes(rows, roles, fold, view)
    training, held_out = (mask(rows, roles, fold, role) for role in (FIT, REPORT))
    labels = rows["label"].cat.codes.to_numpy(np.int64)
    classes = len(rows["label"].cat.categories)
    augmentations, length = features.shape[1:]
    models = cell.classifier.fit(
        features[training].reshape(-1, length), labels[training].repeat(augmentations), classes, fold, cell.seeds
    )
    tables = []
    for seed, model in zip(cell.seeds, models, strict=True):
        predicted = model.predict(features[held_out].reshape(-1, length))
        means = predicted.reshape(-1, augmentations, classes).mean(axis=1)
        tables.append(predictions(rows[held_out], means, fold, seed))
    return fold, models, pd.concat(tables, ignore_index=True)
