"""The data of the figures: ROC, confusion, reliability. Nothing here draws."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from src.evaluation.metrics import BINS, confidence_bins

NORMAL_975 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


def roc(labels: Bool[np.ndarray, " cases"], scores: Float[np.ndarray, " cases"]) -> pd.DataFrame:
    """The ROC curve: `false_positive_rate, true_positive_rate, threshold`, from (0, 0) to (1, 1).

    A point holds for scores at or above its threshold; the first one is infinite. Points within a line are omitted.
    """
    from sklearn.metrics import roc_curve

    if labels.all() or not labels.any():
        raise ValueError(
            f"a ROC curve needs positive and negative cases, but {labels.sum()} of {len(labels)} are positive"
        )
    false_positive, true_positive, threshold = roc_curve(labels, scores)
    return pd.DataFrame(
        {"false_positive_rate": false_positive, "true_positive_rate": true_positive, "threshold": threshold}
    )


def area(curve: pd.DataFrame) -> float:
    """The area under a ROC curve."""
    return float(np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"]))


def confusion(labels: Sequence[str], predicted: Sequence[str], classes: list[str]) -> pd.DataFrame:
    """Counts (classes, classes): rows are the true classes, columns the predicted ones, in the order of `classes`."""
    truth, found = (pd.Index(classes).get_indexer(pd.Index(values)) for values in (labels, predicted))
    for name, numbers, values in (("label", truth, labels), ("prediction", found, predicted)):
        if (numbers < 0).any():
            raise ValueError(f"a {name} must be one of {classes}, but got {list(values)[int(np.argmin(numbers))]!r}")
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (truth, found), 1)
    return pd.DataFrame(counts, index=pd.Index(classes, name="true"), columns=pd.Index(classes, name="predicted"))


def reliability(
    probabilities: Float[np.ndarray, "cases classes"], labels: Int[np.ndarray, " cases"], bins: int = BINS
) -> pd.DataFrame:
    """Confidence against accuracy of the most probable class, a row per non-empty bin of equal width.

    Columns: `confidence` (mean), `accuracy`, `count`, and `low`, `high`: Wilson's 95 % interval of the accuracy.
    """
    confidence = probabilities.max(axis=1)
    cases = pd.DataFrame({"confidence": confidence, "accuracy": probabilities.argmax(axis=1) == labels})
    groups = cases.astype(np.float64).groupby(confidence_bins(confidence, bins))
    table = groups.mean().assign(count=groups.size()).reset_index(drop=True)
    low, high = wilson(table["accuracy"].to_numpy(), table["count"].to_numpy(dtype=np.float64))
    return table.assign(low=low, high=high)


def wilson(
    share: Float[np.ndarray, " bins"], count: Float[np.ndarray, " bins"]
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """The 95 % score interval of a share of `count` trials (Wilson 1927)."""
    square = NORMAL_975**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_975 / (1 + square / count) * np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def clustered_wilson(right: Float[np.ndarray, " cases"], groups: Int[np.ndarray, " cases"]) -> tuple[float, float]:
    """Wilson's 95 % interval of the mean of `right` (0 or 1) at the effective number of cases.

    That is the number of independent cases whose mean would vary as this one does, the cases of a group (a patient)
    being alike (Kish 1965): at most the number of cases, and that of the groups where all are right, or none is.
    """
    share, total = float(right.mean()), len(right)
    sums = np.bincount(groups, right - share)[np.unique(groups)]
    count = len(sums)
    effective = float(count)
    if count > 1 and 0 < share < 1:
        variance = count / (count - 1) * float((sums**2).sum()) / total**2
        effective = min(share * (1 - share) / variance, total) if variance else total
    low, high = wilson(np.array([share]), np.array([effective], np.float64))
    return float(low[0]), float(high[0])


def training_curves(points: pd.DataFrame) -> pd.DataFrame:
    """The mean course of trainings: `cell, curve, epoch, mean, low, high, fits`, from `cell, curve, fit, epoch, value`.

    `low` and `high` are the least and the greatest value of the fits that came so far; values that are not finite are
    left out.
    """
    known = points[np.isfinite(points["value"].to_numpy(dtype=np.float64))]
    grouped = known.groupby(["cell", "curve", "epoch"], sort=False)["value"]
    table = grouped.agg(["mean", "min", "max", "size"])
    return table.set_axis(["mean", "low", "high", "fits"], axis=1).reset_index()
