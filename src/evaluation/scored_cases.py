"""The scores of a class against the rest: what calibration, decision curves and predictive values are computed of."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from src.evaluation.metrics import patient_groups
from src.evaluation.two_classes import POSITIVE

Scores = Float[np.ndarray, " rows"]
Truth = Bool[np.ndarray, " rows"]
Groups = Int[np.ndarray, " rows"]


@dataclass(kw_only=True)
class ScoredCases:
    """A class's scores in 0..1, a row per repeat and case: `positive` says which are of the class.

    `groups` are the patients' numbers, from 0 on; `repeats` the numbers of the repeats.
    """

    scores: Scores
    positive: Truth
    groups: Groups
    repeats: Groups

    @property
    def each_repeat(self) -> Iterator[Groups]:
        """The places of the rows of each repeat: a figure is the mean of those of the repeats."""
        for repeat in np.unique(self.repeats):
            yield np.flatnonzero(self.repeats == repeat)

    @property
    def count_repeats(self) -> int:
        """How many repeats there are."""
        return len(np.unique(self.repeats))

    @property
    def prevalence(self) -> float:
        """The share of positive rows."""
        return float(self.positive.mean())


def score_cases(cases: pd.DataFrame, name: str = POSITIVE) -> ScoredCases:
    """Return the scores of a class of a table of cases (`src.evaluation.predictions.average_by_case`)."""
    repeats = cases["repeat"].to_numpy(dtype=np.int64) if "repeat" in cases else np.ones(len(cases), np.int64)
    return ScoredCases(
        scores=cases[f"p_{name}"].to_numpy(dtype=np.float64),
        positive=(cases["label"] == name).to_numpy(dtype=bool),
        groups=patient_groups(cases),
        repeats=repeats,
    )
