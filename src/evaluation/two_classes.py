"""The two-class view of a task: which classes are positive, and what is missed at a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from src.evaluation.metrics import CaseScores
from src.evaluation.positive_class import usual_positive
from src.evaluation.predictions import class_names
from src.system.checks import holds, one_of

NEGATIVE, POSITIVE = "negative", "positive"
REDUCTIONS = ("max", "sum")


@dataclass(kw_only=True)
class Binary:
    """The operator from a table of cases to its two-class view.

    positive
        Names of the positive classes. Empty: of two classes the one that is usually called positive by its name
        (`src.evaluation.positive_class`), else the second one; no two-class view of more than two.
    reduce
        "max": the largest probabilities of the negative and of the positive classes, divided by their sum, as the code
        released with Rakhlin et al. 2018. "sum": the summed probability of the positive classes.
    thresholds
        Of the positive score, in 0..1. A case is called positive where its score is above (`>`) the threshold, so that
        at 0.5 it is the most probable class, ties included. Missed cases are counted at the last one. The figures
        published by Rakhlin et al. follow from `>` and from `>=` alike: no score of theirs equals a threshold.
    prevalence
        The share (0..1) of positive cases among those who will be judged, for predictive values and net benefit; None:
        that of the cases.
    """

    positive: list[str] = field(default_factory=list)
    reduce: str = "max"
    thresholds: list[float] = field(default_factory=lambda: [0.33, 0.5])
    prevalence: float | None = None

    def __post_init__(self) -> None:
        one_of(REDUCTIONS, reduce=self.reduce)
        if len(set(self.positive)) != len(self.positive):
            raise ValueError(f"`positive` must name each class once, but got positive={self.positive}")
        if not self.thresholds or not all(0 <= threshold <= 1 for threshold in self.thresholds):
            raise ValueError(f"`thresholds` must be one or more in 0..1, but got thresholds={self.thresholds}")
        if self.prevalence is not None:
            known = 0 < self.prevalence < 1
            holds(
                "0 < prevalence < 1", known, group="binary", prevalence=f"{self.prevalence} (a fraction, not percent)"
            )

    def __call__(self, cases: pd.DataFrame) -> pd.DataFrame | None:
        """Return the cases with the columns `p_negative, p_positive` and the labels "negative" and "positive".

        Or no view.
        """
        positive = self.positives(class_names(cases))
        return two_class(cases, positive, self.score(cases)) if positive else None

    def score(self, cases: pd.DataFrame) -> Float[np.ndarray, " cases"]:
        """Return the score (0..1) of the positive classes, which there are, by the probabilities `p_<class>`."""
        positive = self.positives(class_names(cases))
        negative = [name for name in class_names(cases) if name not in positive]
        return self._score(_probabilities(cases, negative), _probabilities(cases, positive))

    def positives(self, names: list[str]) -> list[str]:
        """Return the positive ones among the classes `names`, in their order.

        Empty where there is no two-class view.
        """
        unknown = [name for name in self.positive if name not in names]
        if unknown:
            raise ValueError(f"`positive` must name classes of {names}, but got {unknown}")
        if len(self.positive) == len(names):
            raise ValueError(f"`positive` must leave a negative class of {names}, but names them all")
        if not self.positive:
            return [usual_positive(names) or names[1]] if len(names) == 2 else []
        return [name for name in names if name in self.positive]

    def notes(self, names: list[str]) -> list[str]:
        """Return what a reader has to know of a positive class that nobody chose.

        Nothing where one was, or there is none.
        """
        if self.positive or len(names) != 2:
            return []
        (positive,) = self.positives(names)
        why = "by its name" if usual_positive(names) else "as the last of the two, as their names do not tell"
        return [f"the positive class is {positive}, {why}: binary.positive=[...] chooses it"]

    def _score(
        self, negative: Float[np.ndarray, "cases negatives"], positive: Float[np.ndarray, "cases positives"]
    ) -> Float[np.ndarray, " cases"]:
        highest = positive.max(axis=1)
        score: Float[np.ndarray, " cases"] = highest / (highest + negative.max(axis=1))
        return np.minimum(positive.sum(axis=1), 1.0) if self.reduce == "sum" else score


def view_title(positive: Sequence[str], names: Sequence[str]) -> str:
    """Return what a two-class view holds against what: `cancer (positive) against healthy`."""
    rest = [name for name in names if name not in positive]
    return f"{' + '.join(positive)} (positive) against {' + '.join(rest) if len(rest) < 4 else 'the rest'}"


def two_class(cases: pd.DataFrame, positive: list[str], score: Float[np.ndarray, " cases"]) -> pd.DataFrame:
    """Return the table of cases with two classes, from the score in 0..1 of the positive one."""
    label = np.where(cases["label"].isin(positive), POSITIVE, NEGATIVE)
    table = cases.filter(["repeat", "case", "patient", "label", "fold"])
    return table.assign(label=label, p_negative=1 - score, p_positive=score)


def set_points(view: pd.DataFrame, thresholds: list[float]) -> pd.DataFrame:
    """Return the figures of a two-class view at thresholds, fractions, a row per threshold.

    Columns: `threshold`, `sensitivity, specificity, accuracy`, each with the ends of its 95 % interval in `_low` and
    `_high`, and `accuracy_std`, the population standard deviation of the folds' accuracies. Not a number where a class
    is absent.
    """
    scores = CaseScores.of(view)
    return pd.DataFrame([_set_point(scores, threshold) for threshold in thresholds])


def count_missed(cases: pd.DataFrame, view: pd.DataFrame, positive: list[str], threshold: float) -> dict[str, int]:
    """Return how many cases of each positive class are not called positive at the threshold.

    Both tables in one order.
    """
    lost = ~_called(view, threshold)
    return {name: int((lost & (cases["label"] == name).to_numpy(dtype=bool)).sum()) for name in positive}


def _set_point(scores: CaseScores, threshold: float) -> dict[str, float]:
    truth, called = scores.labels == 1, scores.probabilities[..., 1] > threshold
    return {
        "threshold": threshold,
        **scores.share(called, truth).named("sensitivity"),
        **scores.share(~called, ~truth).named("specificity"),
        **scores.share(called == truth, scores.held).named("accuracy"),
        "accuracy_std": scores.deviation(called == truth),
    }


def _called(view: pd.DataFrame, threshold: float) -> Bool[np.ndarray, " cases"]:
    return view["p_positive"].to_numpy(dtype=np.float64) > threshold


def _probabilities(cases: pd.DataFrame, names: list[str]) -> Float[np.ndarray, "cases names"]:
    return cases[[f"p_{name}" for name in names]].to_numpy(dtype=np.float64)
