"""A threshold chosen by a rule on each fold's training part, and applied to the cases that the fold holds out.

It is chosen on predictions of inner folds, whose models saw neither the cases that they predict nor those held out. So
the figures at it are what a threshold that is chosen in this way can promise.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from src.evaluation.predictions import average_by_case
from src.evaluation.two_classes import POSITIVE, Binary
from src.system.checks import suggest_choice

SHARES = ("sensitivity", "specificity")
NAMES = (*SHARES, "youden", "cost")
FORMS = "sensitivity:0.95, specificity:0.9, youden, or cost:5 (a missed case costs as much as five false alarms)"
ROUNDING = 1e-9


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is chosen.

    - `sensitivity:S`, `specificity:S`: the highest (lowest) threshold at which a new positive (negative) case is called
      rightly with a probability of S or more, whatever the scores' distribution. Of n such cases so many may be wrong
      that with one more the share is S: the split-conformal quantile (Lei et al. 2018, section 2.2).
    - `youden`: the largest sum of sensitivity and specificity (Youden 1950).
    - `cost:C`: the least cost, a missed case costing C false alarms.

    Of thresholds that are equally good, `youden` and `cost` take the lowest: it misses fewest.
    """

    name: str
    value: float = 1.0

    def __str__(self) -> str:
        """Return the rule as it is given."""
        return self.name if self.name == "youden" else f"{self.name}:{self.value:g}"

    def needed(self) -> int:
        """Return how many cases of the class that a share is of tell it from all of them; 0 for other rules."""
        return int(np.ceil(1 / (1 - self.value) - 1 - ROUNDING)) if self.name in SHARES else 0

    def __call__(self, truth: Bool[np.ndarray, " cases"], score: Float[np.ndarray, " cases"]) -> float:
        """Return the threshold; a case is called positive where its score (0..1) is above it. Both classes occur.

        It lies half-way between two scores; where every case has to be called positive, below all of them.
        """
        scores = np.unique(score)
        ends = np.array([scores[0] / 2 if scores[0] > 0 else -ROUNDING]), np.array([(scores[-1] + 1) / 2])
        cuts = np.concatenate([ends[0], (scores[:-1] + scores[1:]) / 2, ends[1]])
        missed = np.searchsorted(np.sort(score[truth]), cuts, side="right")
        alarms = (~truth).sum() - np.searchsorted(np.sort(score[~truth]), cuts, side="right")
        return float(cuts[self._place(missed, alarms)])

    def _place(self, missed: Int[np.ndarray, " cuts"], alarms: Int[np.ndarray, " cuts"]) -> int:
        """Return which of the thresholds in rising order, by what is wrong at each."""
        positive, negative = int(missed[-1]), int(alarms[0])
        if self.name == "sensitivity":
            return int(np.flatnonzero(missed <= self._allowed(positive))[-1])
        if self.name == "specificity":
            return int(np.flatnonzero(alarms <= self._allowed(negative))[0])
        costs = self.value * missed + alarms if self.name == "cost" else missed / positive + alarms / negative
        return int(np.argmin(np.round(costs, 9)))

    def _allowed(self, count: int) -> int:
        return max(int(np.floor((1 - self.value) * (count + 1) + ROUNDING)) - 1, 0)


def parse_rule(text: str) -> ThresholdRule | None:
    """Return the rule that a text such as `sensitivity:0.95` names; None for an empty one.

    Errors: ValueError for a text that is none, or a share or cost that cannot be reached.
    """
    if not text:
        return None
    name, _, given = text.partition(":")
    try:
        value = float(given) if given else 1.0
    except ValueError:
        value = float("nan")
    if name not in NAMES or (name in ("youden", "cost") and (name == "youden") == bool(given)):
        near = "" if name in NAMES else suggest_choice(name, NAMES)
        raise ValueError(f"`threshold` is {FORMS}, but got threshold={text}{near}")
    if name in SHARES and not 0 < value < 1:
        raise ValueError(f"a {name} is chosen between 0 and 1, as a fraction, but got threshold={text}: take {FORMS}")
    if not 0 < value < float("inf"):
        raise ValueError(f"what a missed case costs is a number above 0, but got threshold={text}: take {FORMS}")
    return ThresholdRule(name, value)


@dataclass(frozen=True, kw_only=True)
class ChosenThresholds:
    """The thresholds of the folds, by a rule.

    folds
        By fold `threshold`, and of the training part it was chosen on: `positive`, `negative` (cases), `sensitivity`,
        `specificity` (at the threshold).
    """

    rule: ThresholdRule
    folds: pd.DataFrame

    @property
    def mean(self) -> float:
        """The mean over folds: the threshold of the mean of the folds' models.

        A case is above it where its scores lie above the folds' own thresholds on average.
        """
        return float(self.folds["threshold"].mean())

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest of the folds'."""
        return float(self.folds["threshold"].min()), float(self.folds["threshold"].max())

    def of_cases(self, view: pd.DataFrame) -> Float[np.ndarray, " cases"]:
        """Return the threshold of each case of a two-class view: that of the fold that holds it out."""
        return view["fold"].map(self.folds["threshold"]).to_numpy(dtype=np.float64)

    def notes(self) -> list[str]:
        """Return what a reader has to know of a rule that could not be held to."""
        return self._too_few() + self._all_called()

    def _too_few(self) -> list[str]:
        needed, side = self.rule.needed(), "negative" if self.rule.name == "specificity" else "positive"
        fewest = int(self.folds[side].min())
        if fewest >= needed:
            return []
        return [
            f"threshold={self.rule}: it takes {needed} {side} cases in a training part to tell such a {self.rule.name} "
            f"from 100 %, but a fold has {fewest}, so that none of them may be called wrongly: ask for less, or expect "
            "a threshold that varies"
        ]

    def _all_called(self) -> list[str]:
        folds = self.folds[(self.folds["specificity"] == 0) | (self.folds["sensitivity"] == 0)]
        if folds.empty:
            return []
        numbers = ", ".join(str(fold) for fold in folds.index[:3])
        return [
            f"threshold={self.rule} is reached in fold {numbers} only where all cases of the training part are called "
            "the same: these models cannot do it"
        ]


@dataclass(frozen=True, kw_only=True)
class ThresholdChoice:
    """What thresholds are chosen by: a rule, and what models predict of training parts by inner folds."""

    rule: ThresholdRule
    inner: pd.DataFrame

    def cases(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Return what the thresholds for predictions are chosen on: the same cases, by the same models."""
        asked = [self.inner[name].isin(predictions[name].unique()) for name in ("model", "case")]
        return training_cases(self.inner[asked[0] & asked[1]])

    def of(self, predictions: pd.DataFrame, binary: Binary) -> ChosenThresholds:
        """Return the thresholds for predictions."""
        return choose_thresholds(self.rule, self.cases(predictions), binary)


@dataclass(frozen=True, kw_only=True)
class KeptThreshold:
    """A threshold that a model keeps, chosen by a rule before the cases that it is applied to were seen."""

    rule: ThresholdRule
    value: float

    def of(self, predictions: pd.DataFrame, binary: Binary) -> ChosenThresholds:
        """Return it for all folds of predictions; of what it was chosen on the model's own run tells."""
        folds = pd.Index(sorted(predictions["fold"].unique()), name="fold")
        needed = self.rule.needed()
        told = {"positive": needed, "negative": needed, "sensitivity": 1.0, "specificity": 1.0}
        return ChosenThresholds(rule=self.rule, folds=pd.DataFrame({"threshold": self.value, **told}, index=folds))


def training_cases(inner: pd.DataFrame) -> pd.DataFrame:
    """Return the cases of the folds' training parts, as `average_by_case` has them, by inner predictions.

    `fold` is whose training part a case belongs to. Probabilities are averaged over views, seeds and models, as those
    of the held-out cases are.
    """
    return pd.concat([average_by_case(part) for _, part in inner.groupby("fold")], ignore_index=True)


def choose_thresholds(rule: ThresholdRule, cases: pd.DataFrame, binary: Binary) -> ChosenThresholds:
    """Return the thresholds of the folds by the cases of their training parts (`training_cases`).

    Errors: ValueError where there is no two-class view, or a training part has no case of one of its sides.
    """
    rows = {}
    for fold, part in cases.groupby("fold"):
        view = binary(part)
        if view is None:
            raise ValueError("a threshold needs a two-class view, but there is none: name one by binary.positive=[...]")
        rows[int(str(fold))] = choose_of_fold(rule, view, int(str(fold)))
    return ChosenThresholds(rule=rule, folds=pd.DataFrame.from_dict(rows, orient="index").rename_axis("fold"))


def choose_of_fold(rule: ThresholdRule, view: pd.DataFrame, fold: int) -> Mapping[str, float]:
    """Return the threshold of a fold by the two-class view of its training part, and what it comes to there."""
    truth, score = (view["label"] == POSITIVE).to_numpy(dtype=bool), view["p_positive"].to_numpy(dtype=np.float64)
    if truth.all() or not truth.any():
        side = "negative" if truth.all() else "positive"
        raise ValueError(f"threshold={rule} needs {side} cases in the training part of fold {fold}, but it has none")
    threshold = rule(truth, score)
    right = (score > threshold) == truth

    return {
        "threshold": threshold,
        "positive": int(truth.sum()),
        "negative": int((~truth).sum()),
        "sensitivity": float(right[truth].mean()),
        "specificity": float(right[~truth].mean()),
    }
