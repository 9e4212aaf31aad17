"""Two-by-two tables by case and by patient."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from src.evaluation.contingency import two_by_two
from src.evaluation.two_classes import NEGATIVE, POSITIVE

COUNTS = ["true_positive", "false_positive", "false_negative", "true_negative"]


def view(patients: int = 30, images: int = 3, repeats: int = 1) -> pd.DataFrame:
    """Cases with scores that lean to their label; of a positive patient two of three cases are positive."""
    generator = np.random.default_rng(5)
    tables = []
    for repeat in range(1, repeats + 1):
        patient = np.repeat(np.arange(patients), images)
        positive = (patient % 2 == 1) & (np.arange(len(patient)) % images > 0)
        score = np.clip(0.35 + 0.3 * positive + 0.2 * generator.normal(size=len(patient)), 0, 1)
        tables.append(
            pd.DataFrame(
                {
                    "case": [f"c{number:03d}" for number in range(len(patient))],
                    "repeat": repeat,
                    "patient": [f"p{number}" for number in patient],
                    "label": np.where(positive, POSITIVE, NEGATIVE),
                    "fold": 1,
                    "p_negative": 1 - score,
                    "p_positive": score,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize("threshold", [0.33, 0.5, 0.9])
def test_counts_and_figures_are_those_of_sklearn(threshold: float) -> None:
    table = view()
    truth, called = table["label"] == POSITIVE, table["p_positive"] > threshold
    row = two_by_two(table, threshold).iloc[0]
    (tn, fp), (fn, tp) = confusion_matrix(truth, called)
    assert row[COUNTS].tolist() == [tp, fp, fn, tn]
    assert row["sensitivity"] == pytest.approx(recall_score(truth, called))
    assert row["specificity"] == pytest.approx(recall_score(~truth, ~called))
    if called.any():
        assert row["positive predictive value"] == pytest.approx(precision_score(truth, called))
    assert row["negative predictive value"] == pytest.approx(precision_score(~truth, ~called))
    assert row["sensitivity_low"] < row["sensitivity"] < row["sensitivity_high"] or row["sensitivity"] in (0, 1)


def test_a_patient_is_positive_if_any_case_is() -> None:
    table = view()
    by_patient = table.assign(truth=table["label"] == POSITIVE, called=table["p_positive"] > 0.5).groupby("patient")
    truth, called = by_patient["truth"].any(), by_patient["called"].any()
    row = two_by_two(table, 0.5).iloc[1]
    (tn, fp), (fn, tp) = confusion_matrix(truth, called)
    assert row["unit"] == "patient"
    assert row[COUNTS].tolist() == [tp, fp, fn, tn]
    assert sum(row[COUNTS]) == 30


def test_patients_of_one_case_each_are_no_rows_of_their_own() -> None:
    assert two_by_two(view(images=1), 0.5)["unit"].tolist() == ["case"]
    assert two_by_two(view().assign(patient=""), 0.5)["unit"].tolist() == ["case"]


def test_of_repeats_the_counts_are_means() -> None:
    table = view(repeats=2)
    each = [two_by_two(part, 0.5)[COUNTS].to_numpy() for _, part in table.groupby("repeat")]
    assert two_by_two(table, 0.5)[COUNTS].to_numpy() == pytest.approx(np.mean(each, axis=0))


def test_what_has_no_cases_is_not_a_number() -> None:
    row = two_by_two(view(), 1.0).iloc[0]
    assert np.isnan(row["positive predictive value"])
    assert row["sensitivity"] == 0
