"""Maps from probabilities to better calibrated ones, fitted on inner predictions and applied to what is held out.

The map of a fold is fitted on the out-of-fold predictions of its training part (`src.methods.inner_folds`), so that the
cases that the fold holds out are recalibrated by what has not seen them. It is fitted on the mean of a case's rows, and
applied to each row: where a case has one row that is the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from src.evaluation.calibration import SLOPE, measure_calibration
from src.evaluation.metrics import label_numbers, measure_cases
from src.evaluation.predictions import average_by_case, probability_columns
from src.evaluation.scored_cases import score_cases
from src.evaluation.two_classes import Binary
from src.evaluation.wording import METRICS, NAN, number

NONE, TEMPERATURE, PLATT, ISOTONIC = "none", "temperature", "platt", "isotonic"
RECALIBRATIONS = (NONE, TEMPERATURE, PLATT, ISOTONIC)
SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities are taken to be at least this, as the log loss takes them."""
SLOPES = (0.01, 100.0)
"""The limits of a slope: above 0, so that what a model holds more probable stays so."""
CHANGED = ("log_loss", "brier", "ece")
"""The metrics that are told before and after, beside the calibration slope of the two-class view."""
CALLED = {name: METRICS[name] for name in CHANGED} | {SLOPE: "calibration slope"}
Probabilities = Float[np.ndarray, "rows classes"]
Labels = Int[np.ndarray, " rows"]
Terms = Float[np.ndarray, " terms"]
ByClass = Float[np.ndarray, " classes"]
Split = Callable[[Terms], tuple[ByClass, ByClass]]
"""Makes slopes and intercepts of what is fitted."""


@dataclass(kw_only=True)
class Scaling:
    """Probabilities proportional to exp(slope * log p + intercept), with a slope and an intercept per class."""

    slopes: list[float]
    intercepts: list[float]

    def __call__(self, probabilities: Probabilities) -> Probabilities:
        """Return the recalibrated probabilities."""
        from scipy.special import softmax

        scaled: Probabilities = softmax(_logs(probabilities) * self.slopes + self.intercepts, axis=1)
        return scaled


@dataclass(kw_only=True)
class Steps:
    """Probabilities that rise with a class's own, straight between `places`, and are then divided by their sum.

    Of two classes the second one's is mapped, and the first one's is the rest.
    """

    places: list[list[float]]
    values: list[list[float]]

    def __call__(self, probabilities: Probabilities) -> Probabilities:
        """Return the recalibrated probabilities; equal ones where the maps leave none above 0."""
        maps = list(zip(self.places, self.values, strict=True))
        if probabilities.shape[1] == 2:
            second = np.interp(probabilities[:, 1], *maps[0])
            return np.stack([1 - second, second], axis=1)
        mapped = np.stack(
            [np.interp(column, *each) for column, each in zip(probabilities.T, maps, strict=True)], axis=1
        )
        total = mapped.sum(axis=1, keepdims=True)
        return np.where(total > 0, mapped / np.where(total > 0, total, 1), 1 / mapped.shape[1])


Recalibration = Scaling | Steps


def fit_recalibrations(kind: str, inner: pd.DataFrame) -> dict[int, Recalibration]:
    """Return the map of each fold, from the inner predictions of its training part (`fold` is the outer one)."""
    found = {}
    for fold, rows in inner.groupby("fold"):
        cases = average_by_case(rows)
        values = cases[probability_columns(cases)].to_numpy(dtype=np.float64)
        found[int(str(fold))] = FITS[kind](values, label_numbers(cases))
    return found


def recalibrate(maps: Mapping[int, Recalibration], predictions: pd.DataFrame) -> pd.DataFrame:
    """Return predictions, of held-out cases, of new ones, or inner ones, with each row mapped by its fold's map."""
    names, result = probability_columns(predictions), predictions.copy()
    for fold, rows in predictions.groupby("fold"):
        result.loc[rows.index, names] = maps[int(str(fold))](rows[names].to_numpy(dtype=np.float64))
    return result


def measure_probabilities(predictions: pd.DataFrame, binary: Binary) -> dict[str, float]:
    """Return log loss, Brier score, calibration error and, of a two-class view, the slope; those that are numbers."""
    cases = average_by_case(predictions)
    found = {name: value for name, value in measure_cases(cases, 1, names=CHANGED).items() if name in CHANGED}
    view = binary(cases)
    slope = NAN if view is None else measure_calibration(score_cases(view), 1).slope.value
    return found | ({SLOPE: slope} if slope == slope else {})


def describe_change(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Return in words what recalibration changed, from what `measure_probabilities` says of both."""
    said = [
        f"{title} {number(before.get(name, NAN), 3)} to {number(after.get(name, NAN), 3)}"
        for name, title in CALLED.items()
    ]
    return ", ".join(said)


def fit_temperature(probabilities: Probabilities, labels: Labels) -> Recalibration:
    """Return the one slope, 1 / T, of all classes that fits labels best (Guo et al. 2017)."""
    classes = probabilities.shape[1]
    return _fit_scaling(probabilities, labels, [1.0], lambda terms: (np.full(classes, terms[0]), np.zeros(classes)))


def fit_platt(probabilities: Probabilities, labels: Labels) -> Recalibration:
    """Return Platt scaling on logits (Platt 1999); of more than two classes vector scaling (Guo et al. 2017)."""
    classes = probabilities.shape[1]
    slopes = 1 if classes == 2 else classes

    def split(terms: Terms) -> tuple[ByClass, ByClass]:
        return np.broadcast_to(terms[:slopes], classes), np.concatenate([[0.0], terms[slopes:]])

    return _fit_scaling(probabilities, labels, [1.0] * slopes + [0.0] * (classes - 1), split)


def fit_isotonic(probabilities: Probabilities, labels: Labels) -> Recalibration:
    """Return isotonic regression of each class against the rest (Zadrozny and Elkan 2002)."""
    from sklearn.isotonic import IsotonicRegression

    found = []
    for code in range(probabilities.shape[1]) if probabilities.shape[1] > 2 else [1]:
        each = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        found.append(each.fit(probabilities[:, code], labels == code))
    places, values = ([getattr(each, name).tolist() for each in found] for name in ("X_thresholds_", "y_thresholds_"))
    return Steps(places=places, values=values)


FITS: Mapping[str, Callable[[Probabilities, Labels], Recalibration]] = {
    TEMPERATURE: fit_temperature,
    PLATT: fit_platt,
    ISOTONIC: fit_isotonic,
}


def describe_recalibrations(kind: str, maps: Mapping[int, Recalibration]) -> dict[str, Any]:
    """Return maps by fold as what JSON holds; `read_recalibrations` makes them again."""
    return {"kind": kind, "folds": {str(fold): asdict(each) for fold, each in maps.items()}}


def read_recalibrations(described: Mapping[str, Any]) -> dict[int, Recalibration]:
    """Return the maps that `describe_recalibrations` described."""
    make = Steps if described["kind"] == ISOTONIC else Scaling
    return {int(fold): make(**each) for fold, each in described["folds"].items()}


def _fit_scaling(probabilities: Probabilities, labels: Labels, start: list[float], split: Split) -> Scaling:
    """Return the scaling of least log loss, whose slopes and intercepts `split` makes of the terms.

    A case counts as its class with (N + 1) / (N + K) only, N being the class's cases and K the classes, as Platt's
    targets of two classes: so that cases which are told apart without an error do not fit an infinite slope.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    logs, classes = _logs(probabilities), probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)[labels][:, None]
    targets = (counts * np.eye(classes)[labels] + 1) / (counts + classes)

    def loss(terms: Terms) -> float:
        slopes, intercepts = split(terms)
        return -float((targets * log_softmax(logs * slopes + intercepts, axis=1)).sum())

    limits = [SLOPES if value == 1.0 else (None, None) for value in start]
    terms = minimize(loss, start, method="L-BFGS-B", bounds=limits, options={"ftol": 1e-13, "gtol": 1e-7}).x
    slopes, intercepts = split(terms)
    return Scaling(slopes=slopes.tolist(), intercepts=intercepts.tolist())


def _logs(probabilities: Probabilities) -> Probabilities:
    logs: Probabilities = np.log(np.maximum(probabilities, SMALLEST))
    return logs
