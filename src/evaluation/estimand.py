"""To what the intervals of a run refer, what they do not hold, and how often they held the truth in simulations."""

import numpy as np
import pandas as pd

from src.evaluation.metrics import patient_groups
from src.evaluation.predictions import number_repeats

COVERED = "93 to 99"
"""In percent, the coverage of shares and areas from 20 to 400 patients: `python -m tests.benchmarks.coverage`."""
COVERED_ONCE, COVERED_REPEATED = 89, 96
"""That of the accuracy of models trained anew, of 100 patients in 5 folds: with one repeat, and with ten (`learning`).
"""


def describe_estimand(cases: pd.DataFrame) -> list[str]:
    """Return to what the intervals of a table of cases refer, and what they do not hold: two sentences.

    `cases` is a table of cases (`src.evaluation.predictions.average_by_case`), of any number of folds and repeats.
    """
    folds = number_repeats(cases).groupby("repeat")["fold"].nunique()
    patients, known = len(np.unique(patient_groups(cases))), bool((cases["patient"] != "").all())
    return [describe_subject(int(folds.max()), len(folds), patients, known), describe_limits(len(folds), known)]


def describe_subject(folds: int, repeats: int, patients: int, known: bool) -> str:
    """Return to what intervals refer: new patients of the same source, and models such as those of the folds."""
    count = f"{patients} patients" if known else f"{patients} cases, patients being unknown"
    if folds == 1:
        models = f"a model trained on the part that was not held out, judged on {count}"
    else:
        models = f"models trained on {folds - 1} of {folds} parts of these {count}"
        models += f" (a model that is kept is the mean of such {folds * repeats})"
    return (
        f"95 % intervals are for new patients of the same source and {models}; those of shares and AUC held the truth "
        f"in {COVERED} % of simulated studies of 20 to 400 patients."
    )


def describe_limits(repeats: int, known: bool) -> str:
    """Return what intervals do not hold."""
    lacking = ["other hospitals", "the choice of the best among runs"]
    lacking += [] if known else ["what images of one patient have in common"]
    if repeats > 1:
        held = f"With {repeats} repeats they also hold what training on other patients would change"
        return f"{held} ({COVERED_REPEATED} % of studies). They do not hold {join_words(lacking)}."
    lacking.append("what training on other patients would change")
    return f"They do not hold {join_words(lacking)} (then {COVERED_ONCE} %; protocol.repeats=10: {COVERED_REPEATED} %)."


def join_words(words: list[str]) -> str:
    """Return words as a sentence names them."""
    return f"{', '.join(words[:-1])} or {words[-1]}"
