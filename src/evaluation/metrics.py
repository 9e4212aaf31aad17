"""Metrics with intervals over patients: the accuracy's is Wilson's, the others' are bootstrap intervals.

A metric is a function of probabilities (cases, classes), labels (cases) and weights (replicates, cases), and gives one
value per replicate. To draw patients with replacement is to weight their cases by whole numbers, so that a bootstrap is
one call. A value that cannot be computed, such as the AUC where a class is absent, is not a number.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from src.evaluation.predictions import class_names, probability_columns
from src.evaluation.proportions import clustered_wilson
from src.system.checks import at_least

Probabilities = Float[np.ndarray, "cases classes"]
Labels = Int[np.ndarray, " cases"]
Weights = Float[np.ndarray, "replicates cases"]
Values = Float[np.ndarray, " replicates"]
Metric = Callable[[Probabilities, Labels, Weights], Values]

BINS = 15
CHUNK = 2_000_000  # weights held at once: 16 MB
FEWEST = 16
"""Replicates computed at once, at least: what a metric computes of the cases alone it does anew for each chunk."""


def accuracy(probabilities: Probabilities, labels: Labels, weights: Weights) -> Values:
    """Return the share of cases whose most probable class is their own (the first one of a tie)."""
    return _mean(weights, (probabilities.argmax(axis=1) == labels).astype(np.float64))


def balanced_accuracy(probabilities: Probabilities, labels: Labels, weights: Weights) -> Values:
    """Return the mean over the present classes of the share of a class that is recognised."""
    truth = _one_hot(labels, probabilities.shape[1])
    hit = truth & _one_hot(probabilities.argmax(axis=1), probabilities.shape[1])
    return _known_mean(_ratio(weights @ hit.astype(np.float64), weights @ truth.astype(np.float64)))


def macro_f1(probabilities: Probabilities, labels: Labels, weights: Weights) -> Values:
    """Return the mean of the classes' F1, over the classes that occur as a label or as a prediction."""
    truth = _one_hot(labels, probabilities.shape[1])
    predicted = _one_hot(probabilities.argmax(axis=1), probabilities.shape[1])
    hits = weights @ (truth & predicted).astype(np.float64)
    return _known_mean(_ratio(2 * hits, weights @ (truth.astype(np.float64) + predicted)))


def auc(probabilities: Probabilities, labels: Labels, weights: Weights) -> Values:
    """Return the area under the ROC curve; a tie counts half. Two classes: that of the second class.

    More classes: the mean of each class against the rest, over the classes for which it can be computed.
    """
    if probabilities.shape[1] == 2:
        return _area(probabilities[:, 1], labels == 1, weights)
    every = range(probabilities.shape[1])
    return _known_mean(np.stack([_area(probabilities[:, k], labels == k, weights) for k in every], axis=1))


def log_loss(probabilities: Probabilities, labels: Labels, weights: Weights) -> Values:
    """Return the mean of -ln p(label) in nats, with p clipped to [eps, 1 - eps] of float64 as scikit-learn does."""
    eps = np.finfo(np.float64).eps
    own = probabilities[np.arange(len(labels)), labels]
    return _mean(weights, -np.log(np.clip(own, eps, 1 - eps)))


def brier(probabilities: Probabilities, labels: Labels, weights: Weights) -> Values:
    """Return the mean over cases of the squared error of the probabilities, summed over the classes (Brier 1950): 0..2.

    For two classes it is half that sum, the squared error of the second class alone: 0..1. Both are scikit-learn's
    convention (`brier_score_loss(scale_by_half="auto")`).
    """
    error = ((probabilities - _one_hot(labels, probabilities.shape[1])) ** 2).sum(axis=1)
    return _mean(weights, error / 2 if probabilities.shape[1] == 2 else error)


def ece(probabilities: Probabilities, labels: Labels, weights: Weights) -> Values:
    """The expected calibration error of the most probable class: 15 bins of equal width (Guo 2017, equation 3)."""
    gap = (probabilities.argmax(axis=1) == labels) - probabilities.max(axis=1)
    inside = _one_hot(confidence_bins(probabilities.max(axis=1), BINS), BINS)
    return _ratio(np.abs(weights @ (inside * gap[:, None])).sum(axis=1), weights.sum(axis=1))


ACCURACY = "accuracy"
METRICS: dict[str, Metric] = {
    ACCURACY: accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "auc": auc,
    "log_loss": log_loss,
    "brier": brier,
    "ece": ece,
}


def confidence_bins(confidence: Float[np.ndarray, " cases"], bins: int) -> Int[np.ndarray, " cases"]:
    """Return the bin, from 0, of each confidence in 0..1: bin m covers (m / bins, (m + 1) / bins].

    0 is in the first.
    """
    numbers: Int[np.ndarray, " cases"] = np.ceil(confidence * bins).astype(np.int64) - 1
    return numbers.clip(0, bins - 1)


def label_numbers(cases: pd.DataFrame) -> Labels:
    """Return the number (cases) of each case's label among the classes of the table."""
    numbers = pd.Index(class_names(cases)).get_indexer(pd.Index(cases["label"]))
    if (numbers < 0).any():
        wrong = cases["label"].iloc[int(np.argmin(numbers))]
        raise ValueError(f"a label must be one of {class_names(cases)}, but got {wrong!r}")
    return numbers.astype(np.int64)


def patient_groups(cases: pd.DataFrame) -> Int[np.ndarray, " cases"]:
    """Return the number of each case's patient, from 0; a case of an unknown patient ("") is a group of its own."""
    known = cases["patient"] != ""
    names = ("patient " + cases["patient"]).where(known, "case " + cases["case"])
    return np.unique(names.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def bootstrap_weights(groups: Int[np.ndarray, " cases"], replicates: int, seed: int) -> Iterator[Weights]:
    """Chunks of weights, `replicates` rows in all: how often each case's group is drawn, with replacement.

    Row r depends on `seed` and r only, never on the size of a chunk, which bounds the memory.
    """
    count = int(groups.max()) + 1
    rows = max(FEWEST, CHUNK // len(groups))
    for start in range(0, replicates, rows):
        chunk = np.empty((min(rows, replicates - start), len(groups)))
        for row, weights in enumerate(chunk, start):
            drawn = np.random.default_rng([seed, row]).integers(count, size=count)
            weights[:] = np.bincount(drawn, minlength=count)[groups]
        yield chunk


def percentile_interval(values: Values) -> tuple[float, float]:
    """Return the 95 % percentile interval of bootstrap values, of those that are numbers.

    Not a number where none is.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_intervals(
    probabilities: Probabilities,
    labels: Labels,
    groups: Int[np.ndarray, " cases"],
    replicates: int,
    seed: int,
    names: Sequence[str],
) -> dict[str, tuple[float, float]]:
    """The 95 % percentile intervals of the metrics `names`, the groups (patients) being drawn with replacement."""
    if not names:
        return {}
    drawn: dict[str, list[Values]] = {name: [] for name in names}
    for weights in bootstrap_weights(groups, replicates, seed):
        for name in names:
            drawn[name].append(METRICS[name](probabilities, labels, weights))
    return {name: percentile_interval(np.concatenate(values)) for name, values in drawn.items()}


def measure_cases(
    cases: pd.DataFrame, replicates: int = 1000, seed: int = 0, names: Sequence[str] = tuple(METRICS)
) -> dict[str, float]:
    """Return the metrics `names` of a table of cases, each with `_low` and `_high`, and `accuracy_std`; fractions.

    The 95 % interval of the accuracy is Wilson's at the effective number of cases (`src.evaluation.proportions`), those
    of the others are a percentile bootstrap over patients; `accuracy_std` is the population standard deviation of the
    folds' accuracies. A metric that cannot be computed is absent. The order of the rows does not matter.
    """
    at_least(1, replicates=replicates)
    cases = cases.sort_values("case")
    probabilities, labels = cases[probability_columns(cases)].to_numpy(dtype=np.float64), label_numbers(cases)
    once = np.ones((1, len(cases)))
    correct = pd.Series(probabilities.argmax(axis=1) == labels, index=cases.index)
    groups = patient_groups(cases)
    ends = bootstrap_intervals(probabilities, labels, groups, replicates, seed, [n for n in names if n != ACCURACY])
    ends[ACCURACY] = clustered_wilson(correct.to_numpy(dtype=np.float64), groups)
    found: dict[str, float] = {}
    for name in names:
        found[name] = float(METRICS[name](probabilities, labels, once)[0])
        found[f"{name}_low"], found[f"{name}_high"] = ends[name]
    found["accuracy_std"] = float(accuracy_by_fold(correct, cases["fold"]).std(ddof=0))
    return {name: value for name, value in found.items() if np.isfinite(value)}


def accuracy_by_fold(correct: pd.Series, folds: pd.Series) -> pd.Series:
    """The share of correct cases in each fold (index: the folds, ascending), from whether each case is correct."""
    return correct.astype(np.float64).groupby(folds).mean().rename("accuracy")


def prefix_names(found: dict[str, float], prefix: str) -> dict[str, float]:
    """Return the same values under names that begin with `prefix`."""
    return {prefix + name: value for name, value in found.items()}


def _mean(weights: Weights, values: Float[np.ndarray, " cases"]) -> Values:
    return _ratio(weights @ values, weights.sum(axis=1))


def _ratio(above: Float[np.ndarray, "..."], below: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return the quotient; not a number where `below` is 0."""
    quotient = np.full(above.shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient


def _known_mean(values: Float[np.ndarray, "replicates class_names"]) -> Values:
    """Return the mean over the classes whose value is a number; not a number where none is."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def _one_hot(numbers: Int[np.ndarray, " cases"], count: int) -> Bool[np.ndarray, "cases count"]:
    same: Bool[np.ndarray, "cases count"] = numbers[:, None] == np.arange(count)
    return same


def _area(scores: Float[np.ndarray, " cases"], positive: Bool[np.ndarray, " cases"], weights: Weights) -> Values:
    """Return the weighted probability that a positive case scores above a negative one, a tie counting half."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # the first case of each different score
    ordered = weights[:, order]
    positives = np.add.reduceat(ordered * positive[order], starts, axis=1)
    negatives = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    below = np.cumsum(negatives, axis=1)
    pairs = (positives * (below - negatives / 2)).sum(axis=1)
    return _ratio(pairs, positives.sum(axis=1) * below[:, -1])
