"""The interval of every proportion: accuracy, recall, precision, by class, by slice, at thresholds, in bins.

One function, so that one figure has one interval wherever it stands. It is Wilson's (1927) at the effective number of
cases: that of independent cases whose share would vary as this one does, the cases of a patient being alike (Kish 1965;
Korn and Graubard 1998, whose correction for few patients it takes). `python -m tests.benchmarks.coverage` says how
often it holds the truth.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from src.evaluation.resampling import group_sums, resampled_error

NORMAL_975 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution
PRIOR = 1 / 8
"""Patients of whom every case is right, and as many of whom none is, that a design effect is taken to have seen, too.

Few errors cannot tell whether patients share them: without it one error in 60 images of 20 patients would give a
narrower interval than none.
"""
COUNTED = 3
"""Wrong (or right) independent cases up to which an end is that of Brown, Cai and DasGupta 2001, section 4.1.1."""
ABSENT = -1
"""The fold of a case that a repeat does not hold out."""

Cases = Float[np.ndarray, " cases"]
Groups = Int[np.ndarray, " cases"]
Marks = Bool[np.ndarray, "repeats cases"]
Folds = Int[np.ndarray, "repeats cases"]
Parts = Float[np.ndarray, "repeats cases"]
Layers = Float[np.ndarray, "cases strata"]


class Estimate(NamedTuple):
    """A figure and the ends of its 95 % interval; not a number where they cannot be computed."""

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")

    def named(self, name: str) -> dict[str, float]:
        """Return the figure under a name, and the ends under it with `_low` and `_high`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def estimate_proportion(
    hits: Marks | Parts, counted: Marks, groups: Groups, folds: Folds, strata: Groups | None = None
) -> Estimate:
    """Return the share of hits (0..1) among the cases that count, with its 95 % interval: a mean over repeats.

    `groups` numbers the cases' patients, `folds` the folds that hold them out, those of another repeat otherwise. With
    `strata`, such as the classes, it is the mean of the shares of each. Of several repeats the interval also holds what
    training anew would change.
    """
    known = counted.any(axis=0)
    if not known.any():
        return Estimate()
    counted, groups, folds = counted[:, known], groups[known], folds[:, known]
    hits = np.where(counted, hits[:, known], 0.0)
    layers = stratum_columns(np.zeros(len(groups), dtype=np.int64) if strata is None else strata[known])
    shares, weights = share_strata(hits, counted, layers)
    find_ends = weighted_ends if layers.shape[1] == 1 else partial(stratified_ends, layers=layers)
    return Estimate(float(shares.mean()), *find_ends(hits, weights, groups, folds))


def weighted_ends(hits: Parts, weights: Parts, groups: Groups, folds: Folds) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the weighted mean of hits; the weights' sum is 1, and every case has one.

    Of several repeats it also holds what training anew would change.
    """
    of_case, value = weights.sum(axis=0), min(max(float((weights * hits).sum()), 0.0), 1.0)
    effective = effective_cases((weights * hits).sum(axis=0) / of_case, of_case, groups)
    if len(folds) > 1:
        error = retraining_error(weights * (hits - value), folds)
        effective = max(min(effective, value * (1 - value) / error**2), 1.0) if error > 0 else effective
    low, high = (float(end[0]) for end in wilson_interval(np.array([value]), np.array([effective])))
    alone = len(folds) == 1 and len(np.unique(groups)) == len(groups) and np.allclose(of_case, of_case[0])
    return counted_ends(low, high, float(hits.sum()), len(groups)) if alone else (low, high)


def stratified_ends(hits: Parts, weights: Parts, groups: Groups, folds: Folds, layers: Layers) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a weighted mean of the shares of strata, a column of `layers` each.

    The distances of each stratum's ends from its share are added up by squares (Zou and Donner 2008), with
    the correlations of the strata where they have patients in common. One variance of all strata would take a class of
    three patients who are all right for one that is always right: it covers 86 % where this covers 97 % (20 patients).
    """
    totals = (weights @ layers).sum(axis=0)
    shares = (weights * hits).sum(axis=0) @ layers / totals
    ends = [
        weighted_ends(hits[:, own], weights[:, own] / total, groups[own], folds[:, own])
        for own, total in zip(layers.T.astype(bool), totals, strict=True)
    ]
    parts = weights * (hits - layers @ shares)
    alike = correlate(group_sums(parts.sum(axis=0)[:, None] * layers, groups))
    least = NORMAL_975 * retraining_error(parts, folds) if len(folds) > 1 else 0.0
    below, above = (totals * np.abs(shares - side) for side in np.array(ends).T)
    low, high = (max(float(np.sqrt(max(each @ alike @ each, 0.0))), least) for each in (below, above))
    value = float(totals @ shares)
    return max(value - low, 0.0), min(value + high, 1.0)


def correlate(sums: Float[np.ndarray, "patients strata"]) -> Float[np.ndarray, "strata strata"]:
    """Return how alike the columns of sums about a mean are: 1 with themselves, 0 where one does not vary."""
    products = sums.T @ sums
    lengths = np.sqrt(np.diag(products))
    scale = np.outer(lengths, lengths)
    alike = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    np.fill_diagonal(alike, 1.0)
    return alike


def estimate_loss(losses: Parts, counted: Marks, groups: Groups, folds: Folds) -> Estimate:
    """Return the mean of positive losses with its 95 % interval, symmetric on a logarithmic scale: a mean over repeats.

    Losses are skewed: the logarithm covers up to 6 points more than Student's interval without it, or a bootstrap over
    patients. Without an interval where there is but one patient.
    """
    known = counted.any(axis=0)
    if not known.any():
        return Estimate()
    losses, counted, groups, folds = losses[:, known], counted[:, known], groups[known], folds[:, known]
    shares, weights = share_strata(np.where(counted, losses, 0.0), counted, np.ones((len(groups), 1)))
    value, parts = float(shares.mean()), weights * (losses - shares.mean())
    sums, of_patient = (group_sums(each.sum(axis=0)[:, None], groups) for each in (parts, weights))
    patients = float(1 / (of_patient**2).sum())
    if patients < 1.5 or not value > 0:
        return Estimate(value)
    error = student_975(patients - 1) * float(np.sqrt(patients / (patients - 1) * (sums**2).sum()))
    if len(folds) > 1:
        error = max(error, NORMAL_975 * retraining_error(parts, folds))
    factor = float(np.exp(min(error / value, 700.0)))
    return Estimate(value, value / factor, value * factor)


def clustered_wilson(right: Cases, groups: Groups) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the mean of `right` (0..1), the cases of a group being alike."""
    shape = (1, len(right))
    return weighted_ends(right[None], np.full(shape, 1 / len(right)), groups, np.zeros(shape, np.int64))


def share_strata(hits: Parts, counted: Marks, layers: Layers) -> tuple[Float[np.ndarray, " having"], Parts]:
    """Return the mean over strata of their shares by repeat, and what each case weighs in the mean over repeats.

    A stratum that a repeat does not have takes no part in its mean, nor a repeat without any case.
    """
    counts = counted @ layers
    present = counts > 0
    parts = np.divide(1.0, counts * present.sum(axis=1, keepdims=True), out=np.zeros_like(counts), where=present)
    weights = counted * (parts @ layers.T)
    having = present.any(axis=1)
    shares = np.divide(hits @ layers, counts, out=np.zeros_like(counts), where=present).sum(axis=1)
    return shares[having] / present.sum(axis=1)[having], weights / having.sum()


def effective_cases(right: Cases, weights: Cases, groups: Groups) -> float:
    """Return how many independent cases would make the mean of `right` (0..1) vary as it does over patients.

    The design effect, at least 1, is the variance over patients by that over cases (Kish 1965). It is as little sure as
    patients are few: hence the ratio of Student's quantiles (Korn and Graubard 1998), with the numbers of cases and of
    patients that would weigh alike. Where all are right, or none is, it comes to that number of patients.
    """
    weights = weights / weights.sum()
    of_patient = group_sums(weights[:, None], groups)[:, 0]
    patients, squares, clusters = (of_patient > 0).sum(), (weights**2).sum(), (of_patient**2).sum()
    usual = PRIOR / patients
    centre = ((weights * right).sum() + usual) / (1 + 2 * usual)
    sums = group_sums((weights * (right - centre))[:, None], groups)
    prior = usual * clusters * (centre**2 + (1 - centre) ** 2)
    design = ((sums**2).sum() + prior) / (squares * centre * (1 - centre) * (1 + 2 * usual))
    few = student_975(1 / squares - 1) / student_975(1 / clusters - 1)
    return max(float(few**2 / (squares * max(design, 1.0))), 1.0)


def retraining_error(parts: Parts, folds: Folds) -> float:
    """Return the error of a figure over the folds of several repeats, widened by Student's quantile to a normal one's.

    `parts` is what each case of each repeat adds to the figure less what is expected of it: their sum is near 0.
    """
    held, repeats = folds != ABSENT, len(folds)
    numbers = np.unique(folds[held], return_inverse=True)[1].astype(np.int64)
    error, freedom = resampled_error(repeats * parts[held][:, None], numbers, repeats, held_out_ratio(folds))
    return float(error[0]) * student_975(freedom) / NORMAL_975


def held_out_ratio(folds: Folds) -> float:
    """Return the mean over folds of the ratio of their cases to all others, which their models learn from."""
    sizes = np.unique(folds[folds != ABSENT], return_counts=True)[1]
    return float((sizes / np.maximum(folds.shape[1] - sizes, 1)).mean())


def wilson_interval(
    share: Float[np.ndarray, " bins"], count: Float[np.ndarray, " bins"]
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Return the 95 % score interval of a share of `count` trials (Wilson 1927)."""
    square = NORMAL_975**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_975 / (1 + square / count) * np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    low, high = np.maximum(middle - half, 0), np.minimum(middle + half, 1)
    return np.where(share <= 0, 0.0, low), np.where(share >= 1, 1.0, high)  # where rounding would miss them


def counted_ends(low: float, high: float, hits: float, cases: int) -> tuple[float, float]:
    """Return the ends of the share of independent cases, wider where 1 to 3 of them are hits, or are not.

    There Wilson's end holds the truth in as few as 84 % of studies; the one-sided 95 % limit of a Poisson count (Brown,
    Cai and DasGupta 2001) in 92.6 % or more, of 20 to 400 cases at any share.
    """
    from scipy.stats import chi2

    def limit(count: float) -> float:
        return float(chi2.ppf(0.05, 2 * count) / (2 * cases)) if 1 <= count <= COUNTED else 1.0

    return min(low, limit(hits)), max(high, 1 - limit(cases - hits))


def student_975(freedom: float) -> float:
    """Return the 97.5 % quantile of Student's distribution; fewer degrees of freedom than 1 are taken for 1."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1.0), 0.975))


def stratum_columns(strata: Groups) -> Layers:
    """Return a column per stratum that occurs: 1 where a case is of it."""
    columns: Layers = (strata[:, None] == np.unique(strata)).astype(np.float64)
    return columns
