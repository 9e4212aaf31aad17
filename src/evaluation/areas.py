"""The area under the ROC curve, of one class or the mean of several, with an interval in which patients are clusters.

The variance is Obuchowski's (1997), of what each patient adds to the area: DeLong's (1988) where patients have a case
each. The interval is Newcombe's (2006, method 5), a score interval like Wilson's: its ends are the areas that are as
far from the one found as their own variance allows, which follows Hanley and McNeil's model (1982) in proportion to the
variance found. So it is honest at an area of 1, where that is 0, and an area beside it has nearly the same interval.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from src.evaluation.proportions import (
    ABSENT,
    NORMAL_975,
    Cases,
    Estimate,
    Folds,
    Groups,
    Parts,
    retraining_error,
    stratum_columns,
    student_975,
)
from src.evaluation.resampling import group_sums

PRIOR = 1 / 32
"""Patients of a class who rank beyond all of the others, on either side, that a variance is taken to have seen, too."""
NEAR = 1e-9


def estimate_area(
    probabilities: Float[np.ndarray, "repeats cases classes"],
    labels: Groups,
    groups: Groups,
    folds: Folds,
    classes: Sequence[int],
) -> Estimate:
    """Return the mean over `classes` of the area of each against the rest, with its 95 % interval: a mean over repeats.

    `labels` numbers the cases' classes, `groups` their patients, `folds` the folds that hold them out, those of another
    repeat otherwise (-1: none). A class that no case has, or every case, takes no part.
    """
    areas, parts = np.full(len(folds), np.nan), np.zeros(folds.shape)
    for repeat, held in enumerate(folds != ABSENT):
        areas[repeat], parts[repeat, held] = rank_classes(probabilities[repeat, held], labels[held], classes)
    having = ~np.isnan(areas)
    known = (folds[having] != ABSENT).any(axis=0)
    if not known.any():
        return Estimate()
    parts, folds = parts[having][:, known] / having.sum(), folds[having][:, known]
    return score_interval(float(areas[having].mean()), parts, labels[known], groups[known], folds, classes)


def rank_classes(
    probabilities: Float[np.ndarray, "cases classes"], labels: Groups, classes: Sequence[int]
) -> tuple[float, Cases]:
    """Return the mean of the areas of `classes`, and what each case adds to its difference from the true one.

    Not a number where no class has an area.
    """
    owned = {number: labels == number for number in classes}
    found = [rank_cases(probabilities[:, k], own) for k, own in owned.items() if own.any() and not own.all()]
    if not found:
        return float("nan"), np.zeros(len(labels))
    return float(np.mean([area for area, _ in found])), np.mean([parts for _, parts in found], axis=0)


def rank_cases(scores: Cases, positive: Bool[np.ndarray, " cases"]) -> tuple[float, Cases]:
    """Return the area, a tie counting half, and what each case adds to its difference from the true one.

    That is its placement among the cases of the other side (DeLong 1988, equations 3 and 4) less the area, divided by
    the number of cases of its own.
    """
    placements = place_cases(scores, positive)
    area = float(placements[positive].mean())
    return area, (placements - area) / np.where(positive, positive.sum(), (~positive).sum())


def place_cases(scores: Cases, positive: Bool[np.ndarray, " cases"]) -> Cases:
    """Return, of each case, the share of the other side's cases that it is on the right side of; a tie counts half."""
    from scipy.stats import rankdata

    ranks, placements = rankdata(scores), np.empty(len(scores))
    for side in (positive, ~positive):
        placements[side] = (ranks[side] - rankdata(scores[side])) / (~side).sum()
    placements[~positive] = 1 - placements[~positive]
    return placements


def score_interval(
    area: float, parts: Parts, labels: Groups, groups: Groups, folds: Folds, classes: Sequence[int]
) -> Estimate:
    """Return an area with its interval, from what each case of each repeat adds to it."""
    sides = labels if len(classes) > 1 else (labels == classes[0]).astype(np.int64)
    own = labels[:, None] == np.intersect1d(labels, classes)
    positives, total = own.sum(axis=0), len(labels)
    shares = np.where(own, 1 / positives, 1 / (total - positives)).mean(axis=1)
    width, usual = patient_width(area, parts.sum(axis=0), shares, sides, groups)
    if len(folds) > 1:
        width = max(width, NORMAL_975 * retraining_error(parts, folds))
    size = float(positives.mean())
    scale = width**2 / (model_variance(area, size, total - size) + usual)
    return Estimate(area, *area_ends(area, scale, size, total - size))


def patient_width(area: float, parts: Cases, shares: Cases, sides: Groups, groups: Groups) -> tuple[float, float]:
    """Return half the width of an area's interval, were it symmetric, over patients; and the prior's variance of cases.

    `shares` is what a case weighs on its side. Sides have as many patients as would weigh alike (Kish 1965), by whom
    the squares are corrected for the mean (Obuchowski 1997) and Student's quantile chosen.
    """
    layers = stratum_columns(sides)
    sums, weights = (group_sums(each[:, None] * layers, groups) for each in (parts, shares))
    alike = weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)
    prior = PRIOR * (area**2 + (1 - area) ** 2) / (weights > 0).sum(axis=0)
    squares = (sums**2).sum(axis=0)
    across = float((sums.sum(axis=1) ** 2).sum() - squares.sum())
    patients = len(np.unique(groups))
    corrected = ((squares + prior * (weights**2).sum(axis=0)) * correction(alike)).sum()
    variance = max(float(corrected + across * correction(np.array([float(patients)]))[0]), 0.0)
    count = layers.shape[1]
    few = student_975(alike.sum() - count) / student_975(len(sides) - count)
    return NORMAL_975 * few * float(np.sqrt(variance)), float((prior * (shares**2 @ layers)).sum())


def correction(patients: Float[np.ndarray, " sides"]) -> Float[np.ndarray, " sides"]:
    """Return by what a sum of squares about a mean is corrected, at most twice."""
    factor: Float[np.ndarray, " sides"] = patients / np.maximum(patients - 1, patients / 2)
    return factor


def model_variance(area: float, positives: float, negatives: float) -> float:
    """Return the variance of an area by Hanley and McNeil's model as Newcombe has it, the same for 1 - area."""
    mean = (positives + negatives) / 2
    alike = (1 - area) / (2 - area) + area / (1 + area)
    return area * (1 - area) * (1 + (mean - 1) * alike) / (positives * negatives)


def area_ends(area: float, scale: float, positives: float, negatives: float) -> tuple[float, float]:
    """Return the areas whose distance from the one found, squared, is `scale` times the model's variance of them."""
    from scipy.optimize import brentq

    def beyond(other: float) -> float:
        return (area - other) ** 2 - scale * model_variance(other, positives, negatives)

    def end(limit: float) -> float:
        inside = area + NEAR * np.sign(limit - area)  # at an area of 0 or 1 the area itself is a solution, too
        return float(brentq(beyond, limit, inside)) if abs(limit - area) > NEAR and beyond(inside) < 0 else area

    return end(0.0), end(1.0)
