"""Two-by-two tables of a two-class view at a threshold, by case and by patient."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from src.evaluation.metrics import CaseScores, patient_groups
from src.evaluation.two_classes import NEGATIVE, POSITIVE

CASE, PATIENT = "case", "patient"
FIGURES = ("sensitivity", "specificity", "positive predictive value", "negative predictive value")


def two_by_two(view: pd.DataFrame, threshold: float | Float[np.ndarray, " cases"]) -> pd.DataFrame:
    """Return the table of outcomes of a two-class view (`Binary`) by case, and where these are fewer by patient.

    Columns: `unit, true_positive, false_positive, false_negative, true_negative` and each of `FIGURES`, a fraction,
    with `_low` and `_high` (`src.evaluation.proportions`). A case is called positive where its score is above the
    threshold, that of all cases or its own; a patient is positive if any case is, and called positive if any case is
    called so. Of several repeats all are means over them. What cannot be computed is not a number.
    """
    called = view["p_positive"].to_numpy(dtype=np.float64) > threshold
    by_case = view.assign(p_negative=1.0 - called, p_positive=called.astype(np.float64))
    rows = [{"unit": CASE} | _outcomes(by_case)]
    by_patient = _any_case(by_case)
    if len(by_patient) < len(by_case):
        rows.append({"unit": PATIENT} | _outcomes(by_patient))
    return pd.DataFrame(rows)


def _any_case(called: pd.DataFrame) -> pd.DataFrame:
    """Return the table by patient, who are called positive, and are so, if any of their cases is."""
    table = called.assign(group=patient_groups(called), positive=called["label"] == POSITIVE)
    table = table if "repeat" in table else table.assign(repeat=1)
    parts = table.groupby(["repeat", "group"])
    found = parts.agg(positive=("positive", "any"), p_positive=("p_positive", "max"), fold=("fold", "first"))
    found = found.reset_index().astype({"group": str})
    label = np.where(found["positive"], POSITIVE, NEGATIVE)
    return found.assign(case=found["group"], patient=found["group"], label=label, p_negative=1 - found["p_positive"])[
        ["repeat", "case", "patient", "label", "fold", "p_negative", "p_positive"]
    ]


def _outcomes(table: pd.DataFrame) -> dict[str, object]:
    """Return the counts and the figures of a table whose scores are 0 or 1."""
    scores = CaseScores.of(table)
    truth, called, held = scores.labels == 1, scores.predicted == 1, scores.held
    cells = {
        "true_positive": truth & called,
        "false_positive": ~truth & called,
        "false_negative": truth & ~called,
        "true_negative": ~truth & ~called,
    }
    found: dict[str, object] = {name: float((cell & held).sum() / len(held)) for name, cell in cells.items()}
    for name, counted in zip(FIGURES, (truth & held, ~truth & held, called, ~called), strict=True):
        found |= scores.share(called == truth, counted).named(name)
    return found
