"""To what the intervals of a run refer, what they do not hold, and how often they held the truth in simulations."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.evaluation.metrics import patient_groups
from src.evaluation.predictions import number_repeats

COVERAGE = "94 to 99"
"""In percent, of shares and areas, 20 to 400 patients of 1 to 5 images: `python -m tests.benchmarks.coverage`."""
RETRAINED, REPEATED = 88, 96
"""The same of the accuracy of models trained anew, by one run of 5 folds and by ten repeats of them."""


@dataclass(frozen=True, kw_only=True)
class Estimand:
    """What the intervals of a run are about: how many patients, folds and repeats, and whether patients are known."""

    patients: int
    folds: int
    repeats: int
    known: bool

    @classmethod
    def of(cls, cases: pd.DataFrame) -> "Estimand":
        """Return that of a table of cases (`src.evaluation.predictions.average_by_case`)."""
        repeats = number_repeats(cases).groupby("repeat")["fold"].nunique()
        patients = len(np.unique(patient_groups(cases)))
        known = bool((cases["patient"] != "").all())
        return cls(patients=patients, folds=int(repeats.max()), repeats=len(repeats), known=known)

    @property
    def about(self) -> str:
        """To what the intervals refer, a sentence."""
        if self.folds == 1:
            trained = "models trained on the part that was not held out"
        else:
            trained = f"models trained on {self.folds - 1} of {self.folds} parts of these {self.patients} patients"
            trained += f" (the deployed model is the mean of {self.folds * self.repeats} such)"
        return f"The 95 % intervals are about new patients of the same source, and {trained}."

    @property
    def without(self) -> str:
        """What the intervals do not hold, a sentence."""
        lacking = ["other hospitals", "the choice of the best of several runs"]
        if self.repeats == 1:
            lacking.append("what another training or split would change (protocol.repeats=10 shows it)")
        if not self.known:
            lacking.append("that images of a patient are alike, as patients are not known")
        return f"They do not hold {', '.join(lacking[:-1])} or {lacking[-1]}."


"""
"""
