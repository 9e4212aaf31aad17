"""How far probabilities can be taken at their word: intercept, slope and a smoothed curve (Van Calster et al. 2019).

The intercept (calibration-in-the-large) and the slope are those of a logistic regression of the outcome on the logit of
the score: 0 and 1 where scores are right, an intercept below 0 where they are too high, a slope below 1 where they are
too extreme. Both are of one class against the rest; a figure of several repeats is the mean of those of the repeats.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from src.evaluation.metrics import Values, Weights, bootstrap_weights, percentile_interval
from src.evaluation.proportions import Estimate
from src.evaluation.scored_cases import Groups, ScoredCases, Scores, Truth

SPAN = 0.75
"""The share of cases that a point of the smoothed curve is fitted to, as of R's loess."""
POINTS = 25
"""Points of a curve at equal distances, and as many at the quantiles of the scores."""
DRAWN = 200
"""Draws of patients behind a band, at most."""
INTERCEPT, SLOPE, ERROR = "calibration_intercept", "calibration_slope", "calibration_index"
"""The names of the figures among the metrics."""
Grid = Float[np.ndarray, " points"]
Curves = Float[np.ndarray, "replicates points"]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What can be said of the scores of a class.

    intercept, slope
        Of the logistic recalibration: the intercept with the slope held at 1, and the slope with an intercept.
    error
        The integrated calibration index (Austin and Steyerberg 2019): the mean distance of scores from the curve.
    curve
        `score, observed, low, high`: the smoothed share of the class at a score, with a pointwise 95 % band; empty
        where there is none.
    histogram
        `start, positive, negative`: the cases with scores from `start` on in 20 bins (means over repeats).
    reason
        Why intercept and slope cannot be computed; empty where they are.
    """

    intercept: Estimate
    slope: Estimate
    error: Estimate
    curve: pd.DataFrame
    histogram: pd.DataFrame
    reason: str = ""

    @property
    def figures(self) -> dict[str, float]:
        """The figures by the names of metrics, those that are numbers."""
        found = self.intercept.named(INTERCEPT) | self.slope.named(SLOPE) | self.error.named(ERROR)
        return {name: value for name, value in found.items() if value == value}


def measure_calibration(scored: ScoredCases, replicates: int = 1000, seed: int = 0) -> Calibration:
    """Return the calibration of scores; what cannot be computed is not a number, and `reason` says why."""
    reason = next(filter(None, (why_no_line(scored, rows) for rows in scored.each_repeat)), "")
    intercept, slope = (Estimate(), Estimate()) if reason else (fit_intercept(scored), fit_slope(scored))
    curve, error = smooth_calibration(scored, replicates, seed)
    bars = count_scores(scored)
    return Calibration(intercept=intercept, slope=slope, error=error, curve=curve, histogram=bars, reason=reason)


def count_scores(scored: ScoredCases, bins: int = 20) -> pd.DataFrame:
    """Return how many positive and negative cases have scores in each of the bins: `start, positive, negative`."""
    edges = np.linspace(0, 1, bins + 1)
    sides = {"positive": scored.positive, "negative": ~scored.positive}
    counts = {name: np.histogram(scored.scores[part], edges)[0] for name, part in sides.items()}
    return pd.DataFrame({"start": edges[:-1]} | {name: each / scored.count_repeats for name, each in counts.items()})


def why_no_line(scored: ScoredCases, rows: Groups) -> str:
    """Return why a logistic regression on the logit of some scores has no finite answer; empty where it has one."""
    scores, positive = scored.scores[rows], scored.positive[rows]
    if len(np.unique(scored.groups[rows])) < 2:
        return "all cases are of one patient"
    if positive.all() or not positive.any():
        return f"{'all' if positive.all() else 'no'} cases are positive"
    if certain := int(((scores == 0) | (scores == 1)).sum()):
        return f"{certain} of {len(scores)} scores are exactly 0 or 1, whose logit is infinite"
    above, below = scores[positive], scores[~positive]
    if scores.min() == scores.max():
        return "all scores are equal"
    if above.min() >= below.max() or below.min() >= above.max():
        return "the scores separate the classes without an error, which fits a slope of any size"
    return ""


def fit_intercept(scored: ScoredCases) -> Estimate:
    """Return calibration-in-the-large: how far the logits lie too low, the slope being 1."""
    logits = _logit(scored.scores)
    return _clustered(scored, np.ones((len(logits), 1)), logits)


def fit_slope(scored: ScoredCases) -> Estimate:
    """Return the slope of the outcome's logit over that of the scores."""
    logits = _logit(scored.scores)
    return _clustered(scored, np.column_stack([np.ones(len(logits)), logits]), np.zeros(len(logits)))


def fit_logistic(
    design: Float[np.ndarray, "rows terms"], offset: Scores, positive: Truth
) -> Float[np.ndarray, " terms"]:
    """Return the coefficients of the logistic regression of greatest likelihood, which has to be finite."""
    from scipy.optimize import minimize
    from scipy.special import expit

    signs = np.where(positive, 1.0, -1.0)

    def curvature(terms: Float[np.ndarray, " terms"]) -> Float[np.ndarray, "terms terms"]:
        fitted = expit(design @ terms + offset)
        found: Float[np.ndarray, "terms terms"] = (design * (fitted * (1 - fitted))[:, None]).T @ design
        return found

    found = minimize(
        lambda terms: np.logaddexp(0, -signs * (design @ terms + offset)).sum(),
        np.zeros(design.shape[1]),
        jac=lambda terms: design.T @ (expit(design @ terms + offset) - positive),
        hess=curvature,
        method="trust-exact",
        options={"gtol": 1e-9},
    )
    terms: Float[np.ndarray, " terms"] = found.x
    return terms


def patient_shifts(
    design: Float[np.ndarray, "rows terms"],
    offset: Scores,
    positive: Truth,
    groups: Groups,
    terms: Float[np.ndarray, " terms"],
) -> Float[np.ndarray, "groups terms"]:
    """Return what each patient adds to the error of a logistic regression's terms; the sum of squares is the variance.

    That is the cluster-robust variance CR2 of Bell and McCaffrey 2002: residuals, which are too small as each patient
    draws the line to itself, are scaled by (1 - leverage)^-1/2.
    """
    from scipy.special import expit

    count, width = int(groups.max()) + 1, design.shape[1]
    fitted = expit(design @ terms + offset)
    slopes = design * (positive - fitted)[:, None]
    pull = np.stack([np.bincount(groups, column, count) for column in slopes.T], axis=1)
    known = (fitted * (1 - fitted))[:, None, None] * design[:, :, None] * design[:, None, :]
    sums = [np.bincount(groups, column, count) for column in known.reshape(len(design), -1).T]
    weight = np.stack(sums, axis=1).reshape(-1, width, width)
    root = _power(weight.sum(axis=0), -0.5)
    left = _power(np.eye(width) - root @ weight @ root, -0.5)
    shifts: Float[np.ndarray, "groups terms"] = (root @ left @ root @ pull[:, :, None])[:, :, 0]
    return shifts


def smooth_calibration(scored: ScoredCases, replicates: int, seed: int) -> tuple[pd.DataFrame, Estimate]:
    """Return the smoothed curve (`score, observed, low, high`), and the integrated calibration index.

    The band and the index's interval are percentiles over patients drawn with replacement, at most `DRAWN` times. No
    curve, and an index that is not a number, where all scores are equal, or all cases of one kind.
    """
    scores = scored.scores
    if scored.positive.all() or not scored.positive.any() or scores.min() == scores.max():
        return pd.DataFrame(columns=["score", "observed", "low", "high"], dtype=np.float64), Estimate()
    quantiles = np.quantile(scores, np.linspace(0, 1, POINTS))
    grid = np.unique(np.concatenate([np.linspace(scores.min(), scores.max(), POINTS), quantiles]))
    parts = [(rows, local_sums(scores[rows], scored.positive[rows], grid)) for rows in scored.each_repeat]

    def smooth(weights: Weights) -> tuple[Curves, Values]:
        curves = [local_shares(np.tensordot(weights[:, rows], sums, 1)) for rows, sums in parts]
        each = zip(curves, parts, strict=True)
        errors = [_mean_gaps(scores[rows], weights[:, rows], grid, curve) for curve, (rows, _) in each]
        return np.mean(curves, axis=0), np.mean(errors, axis=0)

    observed, error = smooth(np.ones((1, len(scores))))
    drawn = [smooth(weights) for weights in bootstrap_weights(scored.groups, min(replicates, DRAWN), seed)]
    curves = np.concatenate([curve for curve, _ in drawn])
    low, high = np.array([percentile_interval(column) for column in curves.T]).T
    table = pd.DataFrame({"score": grid, "observed": observed[0], "low": low, "high": high})
    return table, Estimate(float(error[0]), *percentile_interval(np.concatenate([each for _, each in drawn])))


def local_sums(scores: Scores, positive: Truth, grid: Grid) -> Float[np.ndarray, "rows 5 points"]:
    """Return what `local_shares` needs of each case, to be summed: tricube weights and their moments (Cleveland 1979).

    A point's neighbourhood holds the nearest `SPAN` of the cases.
    """
    distance = scores[:, None] - grid
    nearest = max(2, int(SPAN * len(scores) + 1e-10))
    reach = np.partition(np.abs(distance), min(nearest, len(scores)) - 1, axis=0)[min(nearest, len(scores)) - 1]
    steps = distance / (reach * (1 + 1e-6) + 1e-9)  # so that neighbours that are all at one distance count
    kernel = np.maximum(1 - np.abs(steps) ** 3, 0.0) ** 3
    hits = kernel * positive[:, None]
    return np.stack([kernel, kernel * steps, kernel * steps**2, hits, hits * steps], axis=1)


def local_shares(sums: Float[np.ndarray, "replicates 5 points"]) -> Curves:
    """Return the share of positive cases at each point, by a line through its neighbourhood; cut at 0 and 1."""
    total, first, second, hits, tilted = np.moveaxis(sums, 1, 0)
    spread = total * second - first**2
    straight = spread > 1e-9 * total * second  # else all its cases have one score, of which there is a mean only
    shares = np.full(total.shape, np.nan)
    np.divide(hits, total, out=shares, where=total > 0)
    np.divide(hits * second - tilted * first, spread, out=shares, where=straight)
    return np.clip(shares, 0.0, 1.0)


def _mean_gaps(scores: Scores, weights: Weights, grid: Grid, curves: Curves) -> Values:
    """Return the mean distance of scores from each curve, which is straight between its points."""
    right = np.clip(np.searchsorted(grid, scores), 1, len(grid) - 1)
    part = (scores - grid[right - 1]) / (grid[right] - grid[right - 1])
    gaps = np.abs(scores - (1 - part) * curves[:, right - 1] - part * curves[:, right])
    means = np.full(len(weights), np.nan)
    np.divide(np.nansum(weights * gaps, axis=1), weights.sum(axis=1), out=means, where=weights.any(axis=1))
    return means


def _clustered(scored: ScoredCases, design: Float[np.ndarray, "rows terms"], offset: Scores) -> Estimate:
    """Return the last term of a logistic regression, with a t interval whose clusters are the patients."""
    from scipy.stats import t

    groups = np.unique(scored.groups, return_inverse=True)[1]
    count, values, shifts = int(groups.max()) + 1, [], []
    for rows in scored.each_repeat:
        part = design[rows], offset[rows], scored.positive[rows]
        terms = fit_logistic(*part)
        values.append(terms[-1])
        found = np.zeros(count)
        own = patient_shifts(*part, groups[rows], terms)[:, -1]
        found[: len(own)] = own
        shifts.append(found)
    value, error = float(np.mean(values)), float(np.sqrt((np.mean(shifts, axis=0) ** 2).sum()))
    half = float(t.ppf(0.975, count - 1)) * error
    return Estimate(value, value - half, value + half)


def _logit(scores: Scores) -> Scores:
    from scipy.special import logit

    found: Scores = logit(scores)
    return found


def _power(matrices: Float[np.ndarray, "*many terms terms"], power: float) -> Float[np.ndarray, "*many terms terms"]:
    """Return powers of symmetric matrices whose eigenvalues are above 0."""
    values, vectors = np.linalg.eigh(matrices)
    powers: Float[np.ndarray, "*many terms terms"] = (
        vectors * np.maximum(values, 1e-12)[..., None, :] ** power
    ) @ np.swapaxes(vectors, -1, -2)
    return powers
