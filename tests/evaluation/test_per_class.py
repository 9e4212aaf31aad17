"""Each class by itself, and the mean course of trainings: figures that can be told by hand, or by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from src.evaluation.curves import training_curves
from src.evaluation.figures import draw_training, svg
from src.evaluation.per_class import class_table

NAMES = ["a", "b", "c"]


def cases(count: int = 60, classes: int = 3) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    table = pd.DataFrame(draw.dirichlet(np.ones(3), count), columns=[f"p_{name}" for name in NAMES])
    numbers = draw.integers(0, classes, count)
    facts = {"case": [f"{n:02d}" for n in range(count)], "patient": [f"p{n // 2}" for n in range(count)], "fold": 1}
    return table.assign(label=[NAMES[number] for number in numbers], **facts)


def test_figures_of_classes_are_scikit_learns() -> None:
    table = cases()
    predicted = np.array(NAMES)[table[["p_a", "p_b", "p_c"]].to_numpy().argmax(axis=1)]
    precision, recall, f1, support = precision_recall_fscore_support(table["label"], predicted, labels=NAMES)
    found = class_table(table)
    assert found["class"].tolist() == NAMES
    assert found["cases"].tolist() == support.tolist()
    np.testing.assert_allclose(found[["precision", "recall", "f1"]], np.stack([precision, recall, f1], axis=1))
    for row in found.to_dict("records"):
        own = (table["label"] == row["class"]).to_numpy()
        assert row["auc"] == pytest.approx(roc_auc_score(own, table[f"p_{row['class']}"]))
        assert row["recall_low"] < row["recall"] < row["recall_high"]
        assert row["patients"] == table.loc[own, "patient"].nunique()


def test_a_class_without_cases_has_no_figures() -> None:
    last = class_table(cases(classes=2)).iloc[2]
    assert (last["cases"], last["precision"]) == (0, 0)
    assert np.isnan([last["recall"], last["recall_low"], last["auc"]]).all()


def points(cell: str = "one") -> pd.DataFrame:
    rows = [(cell, "loss", "first", 1, 3.0), (cell, "loss", "first", 2, 1.0), (cell, "loss", "second", 1, 5.0)]
    rows.append((cell, "loss", "diverged", 1, np.inf))
    return pd.DataFrame(rows, columns=["cell", "curve", "fit", "epoch", "value"])


def test_curves_are_the_mean_and_the_range_of_the_fits_that_came_so_far() -> None:
    assert training_curves(points()).to_dict("records") == [
        {"cell": "one", "curve": "loss", "epoch": 1, "mean": 4, "low": 3, "high": 5, "fits": 2},
        {"cell": "one", "curve": "loss", "epoch": 2, "mean": 1, "low": 1, "high": 1, "fits": 1},
    ]


def test_a_figure_is_drawn_to_the_same_bytes_and_its_names_are_text() -> None:
    table = training_curves(points("<script>&"))
    first, second = (svg(draw_training(table)) for _ in range(2))
    assert first == second
    assert b"<script>" not in first
