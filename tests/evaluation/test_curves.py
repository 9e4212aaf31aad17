import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from src.evaluation.curves import area_under_curve, count_confusions, reliability_curve, roc_curve, training_curves
from src.evaluation.figures import draw_training, to_svg
from src.evaluation.metrics import ESTIMATES, CaseScores, ece


def test_roc_by_hand() -> None:
    curve = roc_curve(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))
    assert curve.columns.tolist() == ["false_positive_rate", "true_positive_rate", "threshold"]
    assert curve["false_positive_rate"].tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve["true_positive_rate"].tolist() == [0, 0.5, 0.5, 1, 1]
    assert area_under_curve(curve) == 0.75


def test_area_counts_ties_half() -> None:
    generator = np.random.default_rng(0)
    labels, scores = generator.random(200) < 0.4, generator.integers(0, 6, size=200) / 5
    assert area_under_curve(roc_curve(labels, scores)) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize("value", [True, False])
def test_roc_needs_both_kinds(value: bool) -> None:
    with pytest.raises(ValueError, match=f"but {3 * value} of 3 are positive"):
        roc_curve(np.full(3, value), np.array([0.1, 0.2, 0.3]))


def test_confusion_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    names = ["b", "a", "never"]
    truth, found = (generator.choice(names[:2], size=50).tolist() for _ in range(2))
    table = count_confusions(truth, found, names)
    assert table.index.tolist() == table.columns.tolist() == names
    np.testing.assert_array_equal(table, confusion_matrix(truth, found, labels=names))


def test_confusion_names_unknown_classes() -> None:
    with pytest.raises(ValueError, match=r"a label must be one of \['a'\], but got 'x'"):
        count_confusions(["a", "x"], ["a", "a"], ["a"])
    with pytest.raises(ValueError, match=r"a prediction must be one of \['a'\], but got 'y'"):
        count_confusions(["a", "a"], ["a", "y"], ["a"])


def scores_of(values: np.ndarray, labels: np.ndarray) -> CaseScores:
    folds = np.zeros((1, len(labels)), dtype=np.int64)
    return CaseScores(probabilities=values[None], labels=labels, groups=np.arange(len(labels)), folds=folds)


def test_a_bin_has_the_interval_of_its_cases() -> None:
    values = np.array([[0.95, 0.05]] * 9 + [[0.3, 0.7]] * 3)
    table = reliability_curve(scores_of(values, np.array([0] * 8 + [1] + [1] * 3)), bins=5)
    alone = scores_of(values[:9], np.array([0] * 8 + [1]))
    assert table["count"].tolist() == [3, 9]
    assert tuple(table.iloc[1][["accuracy", "low", "high"]]) == ESTIMATES["accuracy"](alone)


def test_reliability_by_hand() -> None:
    values = np.array([[0.95, 0.05], [0.05, 0.95], [1.0, 0.0], [0.5, 0.5]])
    table = reliability_curve(scores_of(values, np.array([0, 0, 0, 0])), bins=10)
    assert table.columns.tolist() == ["confidence", "accuracy", "count", "low", "high"]
    np.testing.assert_allclose(table["confidence"], [0.5, 2.9 / 3])
    np.testing.assert_allclose(table["accuracy"], [1, 2 / 3])
    assert table["count"].tolist() == [1, 3]


def test_the_calibration_error_follows_from_the_reliability() -> None:
    generator = np.random.default_rng(0)
    values, labels = generator.dirichlet(np.ones(3), size=300), generator.integers(0, 3, size=300)
    table = reliability_curve(scores_of(values, labels))
    gap = (table["accuracy"] - table["confidence"]).abs()
    wanted = (gap * table["count"]).sum() / table["count"].sum()
    assert ece(values, labels, np.ones((1, 300)))[0] == pytest.approx(wanted)


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
    first, second = (to_svg(draw_training(table)) for _ in range(2))
    assert first == second
    assert b"<script>" not in first
