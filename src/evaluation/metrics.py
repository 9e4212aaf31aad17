"""Metrics with intervals over patients, by formula where there is one, else by bootstrap.

A metric is a function of probabilities (cases, classes), labels (cases) and weights (replicates, cases), and gives one
value per replicate. To draw patients with replacement is to weight their cases by whole numbers, so that a bootstrap is
one call. A value that cannot be computed, such as the AUC where a class is absent, is not a number.

What is reported is the mean over repeats of the metric of each (`CaseScores`, `ESTIMATES`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from src.evaluation.areas import estimate_area
from src.evaluation.predictions import class_names, probability_columns
from src.evaluation.proportions import (
    ABSENT,
    Estimate,
    estimate_loss,
    estimate_proportion,
)
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
    return _mean(weights, log_losses(probabilities, labels))


def brier(probabilities: Probabilities, labels: Labels, weights: Weights) -> Values:
    """Return the mean over cases of the squared error of the probabilities, summed over the classes (Brier 1950): 0..2.

    For two classes it is half that sum, the squared error of the second class alone: 0..1. Both are scikit-learn's
    convention (`brier_score_loss(scale_by_half="auto")`).
    """
    return _mean(weights, squared_errors(probabilities, labels))


def log_losses(probabilities: Probabilities, labels: Labels) -> Float[np.ndarray, " cases"]:
    """Return each case's loss (`log_loss`)."""
    eps = np.finfo(np.float64).eps
    losses: Float[np.ndarray, " cases"] = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], eps, 1 - eps))
    return losses


def squared_errors(probabilities: Probabilities, labels: Labels) -> Float[np.ndarray, " cases"]:
    """Return each case's squared error (`brier`)."""
    errors: Float[np.ndarray, " cases"]
    errors = ((probabilities - _one_hot(labels, probabilities.shape[1])) ** 2).sum(axis=1)
    return errors / 2 if probabilities.shape[1] == 2 else errors


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


@dataclass(kw_only=True)
class CaseScores:
    """What a run says of its cases, by repeat: a row per repeat, a column per case, in the order of their names.

    labels, groups
        The numbers of the cases' classes and patients.
    folds
        The number of the fold that holds a case out, those of another repeat otherwise; -1 where a repeat does not.
    """

    probabilities: Float[np.ndarray, "repeats cases classes"]
    labels: Labels
    groups: Int[np.ndarray, " cases"]
    folds: Int[np.ndarray, "repeats cases"]

    @classmethod
    def of(cls, cases: pd.DataFrame) -> "CaseScores":
        """Return the scores of a table of cases (`src.evaluation.predictions.average_by_case`), in any order."""
        table = cases if "repeat" in cases else cases.assign(repeat=1)
        names, place = np.unique(table["case"].to_numpy(dtype=str), return_inverse=True)
        repeats, row = np.unique(table["repeat"].to_numpy(), return_inverse=True)
        fold = np.unique(table["fold"].to_numpy(dtype=str), return_inverse=True)[1]
        first = table.iloc[np.unique(place, return_index=True)[1]]
        values = table[probability_columns(table)].to_numpy(dtype=np.float64)
        probabilities = np.zeros((len(repeats), len(names), values.shape[1]))
        folds = np.full((len(repeats), len(names)), ABSENT)
        probabilities[row, place], folds[row, place] = values, row * (fold.max() + 1) + fold
        return cls(probabilities=probabilities, labels=label_numbers(first), groups=patient_groups(first), folds=folds)

    @property
    def held(self) -> Bool[np.ndarray, "repeats cases"]:
        """Whether a repeat holds a case out, and so has a prediction of it."""
        held: Bool[np.ndarray, "repeats cases"] = self.folds != ABSENT
        return held

    @property
    def predicted(self) -> Int[np.ndarray, "repeats cases"]:
        """The number of the most probable class, the first one of a tie."""
        highest: Int[np.ndarray, "repeats cases"] = self.probabilities.argmax(axis=2)
        return highest

    def share(
        self, hits: Bool[np.ndarray, "repeats cases"], counted: Bool[np.ndarray, "..."], by_class: bool = False
    ) -> Estimate:
        """Return the share of hits among the cases that count, such as those of a class; or the classes' mean share."""
        strata = self.labels if by_class else None
        return estimate_proportion(hits, counted & self.held, self.groups, self.folds, strata)

    def deviation(self, hits: Bool[np.ndarray, "repeats cases"]) -> float:
        """Return the population standard deviation of the folds' shares of hits."""
        shares = accuracy_by_fold(pd.Series(hits[self.held]), pd.Series(self.folds[self.held]))
        return float(shares.std(ddof=0))

    def area(self, classes: Sequence[int] | None = None) -> Estimate:
        """Return the mean of the areas of classes against the rest: where none are given of all, of two the second."""
        count = self.probabilities.shape[2]
        classes = classes or ([1] if count == 2 else range(count))
        return estimate_area(self.probabilities, self.labels, self.groups, self.folds, classes)

    def loss(self, of_cases: Callable[[Probabilities, Labels], Float[np.ndarray, " cases"]]) -> Estimate:
        """Return the mean of the cases' losses."""
        losses = np.stack([of_cases(values, self.labels) for values in self.probabilities])
        return estimate_loss(losses, self.held, self.groups, self.folds)

    def measure(self, name: str, weights: Weights) -> Values:
        """Return a metric, a mean over repeats, at weights of the cases."""
        metric = METRICS[name]
        every = zip(self.probabilities, self.held, strict=True)
        return _known_mean(
            np.stack([metric(p[held], self.labels[held], weights[:, held]) for p, held in every], axis=1)
        )


ESTIMATES: dict[str, Callable[[CaseScores], Estimate]] = {
    ACCURACY: lambda scores: scores.share(scores.predicted == scores.labels, scores.held),
    "balanced_accuracy": lambda scores: scores.share(scores.predicted == scores.labels, scores.held, by_class=True),
    "auc": CaseScores.area,
    "log_loss": lambda scores: scores.loss(log_losses),
    "brier": lambda scores: scores.loss(squared_errors),
}
"""The metrics whose interval has a formula."""


def confidence_bins(confidence: Float[np.ndarray, "*shape"], bins: int) -> Int[np.ndarray, "*shape"]:
    """Return the bin, from 0, of each confidence in 0..1: bin m covers (m / bins, (m + 1) / bins].

    0 is in the first.
    """
    numbers: Int[np.ndarray, "*shape"] = np.ceil(confidence * bins).astype(np.int64) - 1
    return numbers.clip(0, bins - 1)


def label_numbers(cases: pd.DataFrame) -> Labels:
    """Return the number (cases) of each case's label among the classes of the table."""
    numbers = pd.Index(class_names(cases)).get_indexer(pd.Index(cases["label"]))
    if (numbers < 0).any():
        wrong = cases["label"].iloc[int(np.argmin(numbers))]
        raise ValueError(f"a label must be one of {class_names(cases)}, but got {wrong!r}")
    return numbers.astype(np.int64)


def patient_names(cases: pd.DataFrame) -> "pd.Series[str]":
    """Return the name of each case's patient; a case of an unknown one ("") is a patient of its own."""
    return ("patient " + cases["patient"]).where(cases["patient"] != "", "case " + cases["case"])


def patient_groups(cases: pd.DataFrame) -> Int[np.ndarray, " cases"]:
    """Return the number of each case's patient (`patient_names`), from 0."""
    return np.unique(patient_names(cases).to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


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


def bootstrap_estimates(scores: CaseScores, replicates: int, seed: int, names: Sequence[str]) -> dict[str, Estimate]:
    """Return metrics with 95 % percentile intervals, the patients being drawn with replacement."""
    drawn: dict[str, list[Values]] = {name: [] for name in names}
    for weights in bootstrap_weights(scores.groups, replicates, seed) if names else ():
        for name in names:
            drawn[name].append(scores.measure(name, weights))
    once = np.ones((1, len(scores.labels)))
    return {
        name: Estimate(float(scores.measure(name, once)[0]), *percentile_interval(np.concatenate(values)))
        for name, values in drawn.items()
    }


def measure_cases(
    cases: pd.DataFrame, replicates: int = 1000, seed: int = 0, names: Sequence[str] = tuple(METRICS)
) -> dict[str, float]:
    """Return the metrics `names` of a table of cases, each with `_low` and `_high`, and `accuracy_std`; fractions.

    Each is the mean over repeats. Intervals are of 95 %, patients being independent and their cases alike: of
    proportions as in `src.evaluation.proportions`, of the AUC as in `src.evaluation.areas`, of log loss and Brier score
    by `estimate_loss`, of macro F1 and calibration error by bootstrap. `accuracy_std` is the population standard
    deviation of the folds' accuracies. A metric that cannot be computed is absent. The order of rows does not matter.
    """
    at_least(1, replicates=replicates)
    scores = CaseScores.of(cases)
    drawn = bootstrap_estimates(scores, replicates, seed, [name for name in names if name not in ESTIMATES])
    found: dict[str, float] = {}
    for name in names:
        found |= (drawn.get(name) or ESTIMATES[name](scores)).named(name)
    found["accuracy_std"] = scores.deviation(scores.predicted == scores.labels)
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
