"""The data of the figures: ROC, confusion, reliability. Nothing here draws."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from src.evaluation.metrics import BINS, CaseScores, confidence_bins


def roc_curve(labels: Bool[np.ndarray, " cases"], scores: Float[np.ndarray, " cases"]) -> pd.DataFrame:
    """Return the ROC curve: `false_positive_rate, true_positive_rate, threshold`, from (0, 0) to (1, 1).

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


def area_under_curve(curve: pd.DataFrame) -> float:
    """Return the area under a ROC curve."""
    return float(np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"]))


def count_confusions(labels: Sequence[str], predicted: Sequence[str], classes: list[str]) -> pd.DataFrame:
    """Counts (classes, classes): rows are the true classes, columns the predicted ones, in the order of `classes`."""
    truth, found = (pd.Index(classes).get_indexer(pd.Index(values)) for values in (labels, predicted))
    for name, numbers, values in (("label", truth, labels), ("prediction", found, predicted)):
        if (numbers < 0).any():
            raise ValueError(f"a {name} must be one of {classes}, but got {list(values)[int(np.argmin(numbers))]!r}")
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (truth, found), 1)
    return pd.DataFrame(counts, index=pd.Index(classes, name="true"), columns=pd.Index(classes, name="predicted"))


def reliability_curve(scores: CaseScores, bins: int = BINS) -> pd.DataFrame:
    """Confidence against accuracy of the most probable class, a row per non-empty bin of equal width.

    Columns: `confidence` (mean), `accuracy`, `count`, and `low`, `high`, the 95 % interval of the accuracy; of several
    repeats the means over those that have a case in the bin, `count` over all.
    """
    confidence, correct = scores.probabilities.max(axis=2), scores.predicted == scores.labels
    numbers = confidence_bins(confidence, bins)
    rows = []
    for number in np.unique(numbers[scores.held]):
        inside = scores.held & (numbers == number)
        having = inside[inside.any(axis=1)], confidence[inside.any(axis=1)]
        mean = np.mean([values[which].mean() for which, values in zip(*having, strict=True)])
        accuracy, low, high = scores.share(correct, inside)
        count = inside.sum() / len(inside)
        rows.append({"confidence": mean, "accuracy": accuracy, "count": count, "low": low, "high": high})
    return pd.DataFrame(rows)


def training_curves(points: pd.DataFrame) -> pd.DataFrame:
    """The mean course of trainings: `cell, curve, epoch, mean, low, high, fits`, from `cell, curve, fit, epoch, value`.

    `low` and `high` are the least and the greatest value of the fits that came so far; values that are not finite are
    left out.
    """
    known = points[np.isfinite(points["value"].to_numpy(dtype=np.float64))]
    grouped = known.groupby(["cell", "curve", "epoch"], sort=False)["value"]
    table = grouped.agg(["mean", "min", "max", "size"])
    return table.set_axis(["mean", "low", "high", "fits"], axis=1).reset_index()
