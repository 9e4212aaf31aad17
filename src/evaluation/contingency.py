"""Two-by-two tables of a two-class view at a threshold, by case and by patient."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from src.evaluation.metrics import patient_groups
from src.evaluation.proportions import clustered_wilson
from src.evaluation.two_classes import POSITIVE

CASE, PATIENT = "case", "patient"
FIGURES = ("sensitivity", "specificity", "positive predictive value", "negative predictive value")

Truths = Bool[np.ndarray, " units"]


def two_by_two(view: pd.DataFrame, threshold: float | Float[np.ndarray, " cases"]) -> pd.DataFrame:
    """Return the table of outcomes of a two-class view (`Binary`) by case, and where these are fewer by patient.

    Columns: `unit, true_positive, false_positive, false_negative, true_negative` and each of `FIGURES`, a fraction,
    with `_low` and `_high` (Wilson's 95 % interval, patients as clusters). A case is called positive where its score is
    above the threshold, that of all cases or its own; a patient is positive if any case is, and called positive if any
    case is called so. Of several repeats the counts are means over them. What cannot be computed is not a number.
    """
    truth = (view["label"] == POSITIVE).to_numpy(dtype=bool)
    called = view["p_positive"].to_numpy(dtype=np.float64) > threshold
    groups = patient_groups(view)
    repeat = np.unique(view["repeat"], return_inverse=True)[1] if "repeat" in view else np.zeros(len(view), np.int64)
    repeats = int(repeat.max()) + 1
    rows: list[dict[str, Any]] = [{"unit": CASE} | _outcomes(truth, called, groups, repeats)]
    if groups.max() + 1 < len(view) / repeats:
        place = repeat * (groups.max() + 1) + groups
        kept, first = np.unique(place, return_index=True)
        truth, called = (np.bincount(place, each)[kept] > 0 for each in (truth, called))
        rows.append({"unit": PATIENT} | _outcomes(truth, called, groups[first], repeats))
    return pd.DataFrame(rows)


def _outcomes(truth: Truths, called: Truths, groups: Int[np.ndarray, " units"], repeats: int) -> dict[str, float]:
    counts = [(truth & called), (~truth & called), (truth & ~called), (~truth & ~called)]
    names = ("true_positive", "false_positive", "false_negative", "true_negative")
    found = {name: float(each.sum()) / repeats for name, each in zip(names, counts, strict=True)}
    right = called == truth
    for name, of in zip(FIGURES, (truth, ~truth, called, ~called), strict=True):
        found |= _share(name, right[of], groups[of])
    return found


def _share(name: str, right: Truths, groups: Int[np.ndarray, " units"]) -> dict[str, float]:
    value, low, high = float("nan"), float("nan"), float("nan")
    if len(right):
        value, (low, high) = float(right.mean()), clustered_wilson(right.astype(np.float64), groups)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
