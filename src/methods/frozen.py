"""Frozen descriptors and a classifier: extract, pool, learn."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float32

from src.classifiers.classifier import Model
from src.data import image
from src.methods.cell import Cell, Method, Outcome, Track, resolve
from src.methods.extraction import Sample, extract, pooled, prefetch, recipe, refuse
from src.store import Recipe, Store, digest

Pooled = Float32[np.ndarray, "sample augmentation feature"]

LEFT_OUT = "left out"


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

    def predict(self, cell: Cell, manifest: pd.DataFrame, splits: pd.DataFrame, store: Path, track: Track) -> Outcome:
        """Predict every held-out sample."""
        held = Store(store)
        wanted = recipe(cell, cell.encoder.digest())
        samples = self.digests(cell, manifest, track)
        encoded = self.encode(cell, samples, held, wanted, track)
        bad = bad_images(cell, samples, held, wanted)
        left_out = bad.loc[bad["outcome"] == LEFT_OUT]
        kept = manifest[~manifest["sample"].isin(left_out["sample"])]
        if kept.empty:
            raise ValueError(f"all {len(left_out)} images are bad; first {' '.join(left_out.iloc[0])}")
        contents = {sample.name: sample for sample in samples}
        tables: list[pd.DataFrame] = []
        models: dict[str, Model] = {}
        for view, rows in kept.groupby("view", sort=True):
            features = pooled(cell, held, wanted, [contents[name] for name in rows["sample"]])
            for fold, fitted, table in self.learn(cell, rows, splits, features, track):
                tables.append(table)
                prefix = f"{view!s}-" if view else ""
                models |= {
                    f"{prefix}fold{fold:02d}-seed{seed}": model for seed, model in zip(cell.seeds, fitted, strict=True)
                }
        labelled = dict(zip(manifest["sample"], manifest["label"].astype(str), strict=True))
        facts: dict[str, str | int] = {
            "data": digest({sample.name: [sample.content, labelled[sample.name]] for sample in samples}),
            "recipe": digest(wanted),
            "encoded_crops": encoded,
            "bad_images": len(bad),
        }
        notes = repeated(samples, kept.merge(splits, on="case"))
        return Outcome(pd.concat(tables, ignore_index=True), models, bad, facts, notes)

    def digests(self, cell: Cell, manifest: pd.DataFrame, track: Track) -> list[Sample]:
        """Return the manifest's samples with the digests of their bytes."""
        names = manifest["sample"].tolist()
        paths = [Path(cell.data.root) / name for name in names]
        contents = track(prefetch(image.digest, paths, self.workers), "reading", len(names))
        return [Sample(*pair) for pair in zip(names, contents, strict=True)]

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
        self, cell: Cell, rows: pd.DataFrame, splits: pd.DataFrame, features: Pooled, track: Track
    ) -> Iterator[tuple[int, list[Model], pd.DataFrame]]:
        """Yield fold, models (one per seed) and predictions of the cases held out, fold by fold."""
        from joblib import Parallel, delayed

        fold_of = rows["case"].map(splits.set_index("case")["fold"]).to_numpy()
        folds = sorted(set(fold_of.tolist()) - {0})
        # Threads: the classifiers leave Python's lock, and the descriptors are shared without a copy.
        fits = (delayed(fit_fold)(cell, rows, features, fold_of, fold) for fold in folds)
        results = Parallel(min(self.workers, len(folds)), prefer="threads", return_as="generator")(fits)
        yield from track(results, "learning folds", len(folds))


def fit_fold(
    cell: Cell, rows: pd.DataFrame, features: Pooled, fold_of: npt.NDArray[np.int64], fold: int
) -> tuple[int, list[Model], pd.DataFrame]:
    """Fit the models of one fold on all other cases, and predict the fold's.

    All augmentations of a sample stay together; its probabilities are their mean.
    """
    training, held_out = fold_of != fold, fold_of == fold
    labels = rows["label"].cat.codes.to_numpy(np.int64)
    names = [str(name) for name in rows["label"].cat.categories]
    lacking = [name for code, name in enumerate(names) if not (labels[training] == code).any()]
    if lacking:
        raise ValueError(f"fold {fold} has no case of class {lacking[0]} to learn from once bad images are left out")
    augmentations, length = features.shape[1:]
    models = cell.classifier.fit(
        features[training].reshape(-1, length), labels[training].repeat(augmentations), len(names), fold, cell.seeds
    )
    facts = rows.loc[held_out, ["sample", "case", "patient", "view", "label"]].astype(str)
    tables = []
    for seed, model in zip(cell.seeds, models, strict=True):
        predicted = model.predict(features[held_out].reshape(-1, length))
        means = predicted.reshape(-1, augmentations, len(names)).mean(axis=1)
        columns = {f"p_{name}": means[:, number] for number, name in enumerate(names)}
        tables.append(facts.assign(fold=fold, seed=seed, **columns))
    return fold, models, pd.concat(tables, ignore_index=True)


def repeated(samples: list[Sample], rows: pd.DataFrame) -> list[str]:
    """Return a note where files of identical bytes stand in several folds or have several labels: a leak."""
    contents = rows["sample"].map({sample.name: sample.content for sample in samples})
    groups = rows.assign(content=contents, label=rows["label"].astype(str)).groupby("content")
    spread = groups[["fold", "label"]].nunique().max(axis=1)
    names = groups["sample"].apply(list)[spread > 1]
    if names.empty:
        return []
    first = " = ".join(names.iloc[0][:2])
    return [f"optimistic: {len(names)} images stand in several folds or classes under other names, first {first}"]


def bad_images(cell: Cell, samples: list[Sample], store: Store, wanted: Recipe) -> pd.DataFrame:
    """Return `sample, outcome, reason` of the images that were left out, or passed without normalisation."""
    notes = [(sample, store.noted(wanted, sample.content)) for sample in samples]
    rows = [
        (sample.name, "passed" if store.holds(wanted, sample.content) else LEFT_OUT, reason)
        for sample, reason in notes
        if reason
    ]
    return pd.DataFrame(rows, columns=["sample", "outcome", "reason"])
