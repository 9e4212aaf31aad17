"""Boosted trees at the size of Rakhlin 2018: 18,000 descriptors of 2,048 features, 4 classes, the paper's parameters.

A part yields rows of what, ours, what stands beside it, and the ratio. The whole loop at the paper's size takes an
hour, so that it is measured on fewer rows, folds and seeds; `stages` says what each step takes at full size.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lightgbm
import numpy as np

from src.classifiers.classifier import Model
from src.classifiers.lightgbm import LightGBM
from tests.benchmarks.timing import Row, in_turns

ROWS, FEATURES, CLASSES, AUGMENTATIONS = 18_000, 2_048, 4, 50
ROUNDS = 10
"""Of a measurement of one step: a model has 70."""
WHOLE = {"rows": 3_600, "folds": 2, "seeds": [0, 1, 2]}
"""What the whole loop is measured on."""
HOLDING = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from src.system.memory import reuse_freed
from src.classifiers.lightgbm import LightGBM
from tests.benchmarks.timing import peak
reuse_freed()
rows, folds = int(sys.argv[1]), int(sys.argv[2])
features = np.random.default_rng(0).random((rows, {FEATURES}), np.float32)
with ThreadPoolExecutor(folds) as pool:
    fit = lambda fold: LightGBM(rounds=1).fit(features, np.arange(rows) % 4, 4, fold, [0])
    list(pool.map(fit, range(1, folds + 1)))
print(peak())
"""
"""Learns so many folds at the same time, in one thread each, and prints the MiB that were held at most."""


def problem(rows: int, classes: int = CLASSES, features: int = FEATURES) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors as a network's: not negative, skewed, correlated; augmentations of an image lie near each other."""
    draws = np.random.default_rng(0)
    images, factors = rows // AUGMENTATIONS, 64
    labels = np.arange(images) % classes
    image = 0.35 * draws.normal(size=(classes, factors))[labels] + draws.normal(size=(images, factors))
    each = image[:, None] + 0.3 * draws.normal(size=(images, AUGMENTATIONS, factors))
    linear = each.reshape(-1, factors) @ draws.normal(size=(factors, features)) / 8
    linear += 0.3 * draws.normal(size=linear.shape)
    return np.maximum(np.exp(0.7 * linear) - 0.4, 0).astype(np.float32), labels.repeat(AUGMENTATIONS)


def paper(threads: int = 0) -> dict[str, Any]:
    """The paper's parameters, as anyone would write them; one thread is one order of summation, too."""
    parameters = {"objective": "multiclass", "num_class": CLASSES, "learning_rate": 0.1, "num_leaves": 191}
    parameters |= {"max_depth": 7, "feature_fraction": 0.46, "bagging_fraction": 0.69, "verbosity": -1}
    return parameters | ({"num_threads": 1, "deterministic": True, "force_col_wise": True} if threads else {})


def taken(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, and what it returned."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def parts_of(features: np.ndarray, training: np.ndarray) -> list[np.ndarray]:
    """The training part as it is handed to a classifier: runs of images, not copied."""
    numbers = np.flatnonzero(training)
    return [features[part[0] : part[-1] + 1] for part in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)]


def folds_of(rows: int, folds: int) -> np.ndarray:
    """The fold of each row, by image."""
    return np.random.default_rng(1).integers(1, folds + 1, rows // AUGMENTATIONS).repeat(AUGMENTATIONS)


def plain(features: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, seeds: list[int], threads: int) -> list[Any]:
    """The loop over folds and seeds as anyone would write it: a data set and a model each, and its predictions."""
    found = []
    for fold in np.unique(fold_of):
        training = fold_of != fold
        for seed in seeds:
            parameters = paper(threads) | {"feature_fraction_seed": 10 * seed + int(fold)}
            booster = lightgbm.train(parameters, lightgbm.Dataset(features[training], labels[training]), 70)
            found.append(booster.predict(features[~training]))
    return found


def ours(
    features: np.ndarray,
    labels: np.ndarray,
    fold_of: np.ndarray,
    seeds: list[int],
    classifier: LightGBM | None = None,
    workers: int = os.cpu_count() or 1,
) -> list[Any]:
    """The same as a run does it: folds beside each other, and where processors are left seeds beside each other."""
    folds = np.unique(fold_of)

    def fold_models(fold: int) -> list[Any]:
        training = fold_of != fold
        parts, threads = parts_of(features, training), max(1, workers // len(folds))
        chosen = classifier or LightGBM()
        models: list[Model] = chosen.fit(parts, labels[training], CLASSES, int(fold), seeds, threads)
        return [model.predict(features[~training]) for model in models]

    with ThreadPoolExecutor(min(workers, len(folds))) as pool:
        return [predicted for models in pool.map(fold_models, folds) for predicted in models]


def stages() -> Iterator[Row]:
    """Seconds of one model's steps at full size in one thread, and each one's share of a fold with five seeds."""
    features, labels = problem(ROWS)
    parameters = LightGBM().parameters(CLASSES)

    def binned() -> lightgbm.Dataset:
        return lightgbm.Dataset(features, labels, params=parameters).construct()

    data = binned()
    boosted, booster = taken(lambda: lightgbm.train(parameters, data, ROUNDS))
    bins, predicted = in_turns(binned, lambda: booster.predict(features[:2000]), repeats=3)
    model, answer = 70 / ROUNDS * boosted, 7 * predicted
    whole = bins + 5 * (model + answer)
    for name, each, times in (("bin", bins, 1), ("boost 70 rounds", model, 5), ("predict 2,000 rows", answer, 5)):
        yield f"{ROWS} x {FEATURES}: {name}", f"{each:.2f} s", f"of a fold {whole:.0f} s", times * each / whole


def whole() -> Iterator[Row]:
    """All folds and seeds, predictions included, against the plain loop in one thread, and with LightGBM's threads."""
    features, labels = problem(WHOLE["rows"])
    arguments = features, labels, folds_of(len(labels), WHOLE["folds"]), WHOLE["seeds"]
    own, found = taken(lambda: ours(*arguments))
    for name, threads in (("one thread", 1), ("LightGBM's own threads", 0)):
        beside, expected = taken(lambda threads=threads: plain(*arguments, threads))
        same = all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
        note = "the same predictions, bit for bit" if same else "other predictions"
        yield f"whole, {shape()}", f"{own:.1f} s", f"plain loop, {name}, {beside:.1f} s; {note}", beside / own


def shape() -> str:
    """What the whole loop is measured on, in words."""
    return f"{WHOLE['folds']} folds x {len(WHOLE['seeds'])} seeds of {WHOLE['rows']} x {FEATURES}"


def fitted(rows: int, classes: int, seeds: int = 1, workers: int = 1) -> Callable[[], Any]:
    """Fits a few rounds of so many seeds."""
    features, labels = problem(rows, classes)
    return lambda: LightGBM(rounds=ROUNDS).fit(features, labels, classes, 1, list(range(seeds)), workers)


def growth() -> Iterator[Row]:
    """How the time of a model grows with rows and classes, and that of a fold's seeds shrinks with workers."""
    small, large, workers = ROWS // 10, ROWS // 5, os.cpu_count() or 1
    for what, beside, own, other in (
        (f"{large} rows", f"{small} rows", fitted(large, 4), fitted(small, 4)),
        ("4 classes", "2 classes", fitted(small, 4), fitted(small, 2)),
        ("8 classes", "2 classes", fitted(small, 8), fitted(small, 2)),
        ("4 seeds, 1 worker", f"{workers} workers", fitted(large, 4, 4, 1), fitted(large, 4, 4, workers)),
    ):
        one, two = in_turns(own, other, repeats=3)
        yield f"growth, {ROUNDS} rounds, {what}", f"{one:.2f} s", f"{beside} {two:.2f} s", one / two


def held(rows: int, folds: int = 1) -> float:
    """The MiB at the peak of a process that learns a round of so many folds at the same time."""
    command = [sys.executable, "-c", HOLDING, str(rows), str(folds)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def memory() -> Iterator[Row]:
    """What learning holds, descriptors included: how it grows with rows, and with folds at the same time."""
    half, full = held(ROWS // 2), held(ROWS)
    yield f"memory, a fold of {ROWS} x {FEATURES}", f"{full:.0f} MiB", f"{ROWS // 2} rows {half:.0f} MiB", full / half
    more = held(ROWS, 4)
    yield "memory, 4 folds at a time", f"{more:.0f} MiB", f"one {full:.0f} MiB", more / full


def quantised() -> Iterator[Row]:
    """Quantised gradients: speed, and what they change of the predictions of images not learnt from."""
    features, labels = problem(WHOLE["rows"])
    fold_of = folds_of(len(labels), 2)
    arguments = features, labels, np.where(fold_of == 1, 1, 2), [0]
    exact, expected = taken(lambda: ours(*arguments, workers=1))
    rough, found = taken(lambda: ours(*arguments, LightGBM(quantized=True), workers=1))
    apart = np.mean([np.abs(one - other).mean() for one, other in zip(found, expected, strict=True)])
    truth = [labels[fold_of == 1], labels[fold_of == 2]]
    right = [
        100 * np.mean(np.concatenate([one.argmax(axis=1) == y for one, y in zip(each, truth, strict=True)]))
        for each in (expected, found)
    ]
    note = f"exact {exact:.1f} s; probabilities differ by {apart:.4f}, accuracy {right[0]:.1f} and {right[1]:.1f} %"
    yield f"quantised gradients, {WHOLE['rows']} x {FEATURES}", f"{rough:.1f} s", note, exact / rough


PARTS = (stages, whole, growth, memory, quantised)
