"""Each class by itself: how many of its cases are recognised, and how many that are called so are."""

import numpy as np
import pandas as pd

from src.evaluation.curves import area_under_curve
from src.evaluation.evaluation import one_against_rest
from src.evaluation.metrics import label_numbers, patient_groups
from src.evaluation.predictions import class_names, probability_columns
from src.evaluation.proportions import clustered_wilson


def class_table(cases: pd.DataFrame) -> pd.DataFrame:
    """Return a row per class, fractions: `class, cases, patients, recall, recall_low, recall_high, precision, f1, auc`.

    The interval of the recall (the sensitivity for the class) is Wilson's at the effective number of cases, as cases of
    a patient are alike; the AUC is that of the class against the rest. Not a number where it cannot be computed.
    """
    truth = label_numbers(cases)
    predicted = cases[probability_columns(cases)].to_numpy(dtype=np.float64).argmax(axis=1)
    groups, curves = patient_groups(cases), one_against_rest(cases)
    rows = []
    for number, name in enumerate(class_names(cases)):
        own, called = truth == number, predicted == number
        right, held, named = (int(each.sum()) for each in (own & called, own, called))
        low, high = clustered_wilson(called[own].astype(np.float64), groups[own]) if held else (np.nan, np.nan)
        rows.append(
            {
                "class": name,
                "cases": held,
                "patients": len(np.unique(groups[own])),
                "recall": _ratio(right, held),
                "recall_low": low,
                "recall_high": high,
                "precision": _ratio(right, named),
                "f1": _ratio(2 * right, held + named),
                "auc": area_under_curve(curves[name]) if name in curves else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _ratio(above: int, below: int) -> float:
    return float(above / below) if below else float("nan")
