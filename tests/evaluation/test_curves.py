import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from src.evaluation.curves import area, confusion, reliability, roc
from src.evaluation.metrics import ece
from src.evaluation.proportions import wilson


def test_roc_by_hand() -> None:
    curve = roc(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))
    assert curve.columns.tolist() == ["false_positive_rate", "true_positive_rate", "threshold"]
    assert curve["false_positive_rate"].tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve["true_positive_rate"].tolist() == [0, 0.5, 0.5, 1, 1]
    assert area(curve) == 0.75


def test_area_counts_ties_half() -> None:
    generator = np.random.default_rng(0)
    labels, scores = generator.random(200) < 0.4, generator.integers(0, 6, size=200) / 5
    assert area(roc(labels, scores)) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize("value", [True, False])
def test_roc_needs_both_kinds(value: bool) -> None:
    with pytest.raises(ValueError, match=f"but {3 * value} of 3 are positive"):
        roc(np.full(3, value), np.array([0.1, 0.2, 0.3]))


def test_confusion_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    names = ["b", "a", "never"]
    truth, found = (generator.choice(names[:2], size=50).tolist() for _ in range(2))
    table = confusion(truth, found, names)
    assert table.index.tolist() == table.columns.tolist() == names
    np.testing.assert_array_equal(table, confusion_matrix(truth, found, labels=names))


def test_confusion_names_unknown_classes() -> None:
    with pytest.raises(ValueError, match=r"a label must be one of \['a'\], but got 'x'"):
        confusion(["a", "x"], ["a", "a"], ["a"])
    with pytest.raises(ValueError, match=r"a prediction must be one of \['a'\], but got 'y'"):
        confusion(["a", "a"], ["a", "y"], ["a"])


def test_reliability_by_hand() -> None:
    values = np.array([[0.95, 0.05], [0.05, 0.95], [1.0, 0.0], [0.5, 0.5]])
    table = reliability(values, np.array([0, 0, 0, 0]), bins=10)
    assert table.columns.tolist() == ["confidence", "accuracy", "count", "low", "high"]
    np.testing.assert_allclose(table["confidence"], [0.5, 2.9 / 3])
    np.testing.assert_allclose(table["accuracy"], [1, 2 / 3])
    assert table["count"].tolist() == [1, 3]


def test_the_calibration_error_follows_from_the_reliability() -> None:
    generator = np.random.default_rng(0)
    values, labels = generator.dirichlet(np.ones(3), size=300), generator.integers(0, 3, size=300)
    table = reliability(values, labels)
    gap = (table["accuracy"] - table["confidence"]).abs()
    wanted = (gap * table["count"]).sum() / table["count"].sum()
    assert ece(values, labels, np.ones((1, 300)))[0] == pytest.approx(wanted)


def test_wilson_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    hits, counts = np.array([0, 3, 8, 10]), np.array([10, 10, 10, 10])
    low, high = wilson(hits / counts, counts.astype(float))
    for k, hit in enumerate(hits.tolist()):
        wanted = binomtest(hit, 10).proportion_ci(method="wilson")
        assert (low[k], high[k]) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
