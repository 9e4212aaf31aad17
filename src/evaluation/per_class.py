"""Each class by itself: how many of its cases are recognised, and how many that are called so are."""

import numpy as np
import pandas as pd

from src.evaluation.metrics import CaseScores
from src.evaluation.predictions import class_names
from src.evaluation.proportions import Estimate


def class_table(cases: pd.DataFrame) -> pd.DataFrame:
    """Return a row per class: `class, cases, patients`, and fractions `recall, precision, f1, auc`, with their ends.

    Each fraction has its 95 % interval in `_low` and `_high`. The recall is the sensitivity for the class, the AUC that
    of the class against the rest. Not a number where it cannot be computed.
    """
    scores = CaseScores.of(cases)
    rows = []
    for number, name in enumerate(class_names(cases)):
        own, called = scores.labels == number, scores.predicted == number
        right = own & called
        row = {"class": name, "cases": int(own.sum()), "patients": len(np.unique(scores.groups[own]))}
        row |= scores.share(right, own).named("recall") | scores.share(right, called).named("precision")
        rows.append(row | f1_estimate(scores, own, called).named("f1") | scores.area([number]).named("auc"))
    return pd.DataFrame(rows)


def f1_estimate(scores: CaseScores, own: np.ndarray, called: np.ndarray) -> Estimate:
    """Return the F1 of a class: 2 s / (1 + s) of the share s that is right of the cases that are of it or called so.

    So its interval is that of a proportion, of which it is an increasing function.
    """
    value, low, high = scores.share(own & called, own | called)
    return Estimate(*(2 * each / (1 + each) for each in (value, low, high)))
