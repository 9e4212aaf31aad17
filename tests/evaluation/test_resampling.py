"""The corrected resampled t against a published example, by hand, and against what folds and seeds may not change."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as some

from src.evaluation.resampling import resampled_error, student_interval, student_test


def p_of(parts: np.ndarray, folds: np.ndarray, repeats: int = 1, ratio: float = 0.0) -> float:
    error, freedom = resampled_error(parts[:, None], folds, repeats, ratio)
    return float(student_test(np.array([parts.sum() / repeats]), error, freedom)[0])


def test_that_of_scikit_learns_published_example() -> None:
    """Its guide on comparing models by grid search tells t = 0.750 and a one-sided p of 0.227, rbf against linear."""
    from sklearn.datasets import make_moons
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (cross_val_score(SVC(kernel=name), X, y, cv=folds, scoring="roc_auc") for name in ("rbf", "linear"))
    p = p_of((rbf - linear) / 10, np.arange(100), 10, 10 / 90)  # a fold is a tenth of the figure of its repeat
    assert p / 2 == pytest.approx(0.227, abs=5e-4)
    assert scipy.stats.t.isf(p / 2, 99) == pytest.approx(0.750, abs=5e-4)


def test_by_hand() -> None:
    """Four folds of two cases each, whose means are 0.1, 0.2, 0 and 0.1."""
    means = np.array([0.1, 0.2, 0.0, 0.1])
    parts, folds = np.repeat(means / 8, 2), np.repeat(np.arange(4), 2)
    for ratio in (0.0, 1 / 3):
        ratio_of_t = 0.1 / np.sqrt((1 / 4 + ratio) * (0.02 / 3))
        assert p_of(parts, folds, ratio=ratio) == pytest.approx(2 * scipy.stats.t.sf(ratio_of_t, 3))
    assert p_of(parts, folds) == pytest.approx(scipy.stats.ttest_1samp(means, 0).pvalue)


@given(some.integers(0, 10_000))
def test_the_same_repeat_again_adds_nothing_but_degrees_of_freedom(seed: int) -> None:
    """At a high ratio the error is that of a fold, however often the folds are drawn."""
    generator = np.random.default_rng(seed)
    parts, folds = generator.normal(size=(30, 2)), np.arange(30) % 5
    once, few = resampled_error(parts, folds, 1, 1.0)
    again, many = resampled_error(np.tile(parts, (4, 1)), np.concatenate([folds + 5 * r for r in range(4)]), 4, 1.0)
    assert (few, many) == (4, 19)
    np.testing.assert_allclose(again / once, np.sqrt((1 / 20 + 1) / (1 / 5 + 1) * (20 / 19) * (4 / 5)))


def test_a_fold_with_more_cases_is_no_luck() -> None:
    error, _ = resampled_error(np.full((12, 1), 1 / 12), np.array([0] * 6 + [1] * 4 + [2] * 2))
    assert error[0] == pytest.approx(0)


def test_one_fold_tells_nothing_of_luck() -> None:
    error, freedom = resampled_error(np.ones((4, 1)), np.zeros(4, np.int64))
    assert np.isnan(error).all()
    assert np.isnan(student_test(np.array([1.0]), error, freedom)).all()


@given(some.floats(-3, 3), some.just(0.0) | some.floats(0.001, 2), some.integers(1, 60))
def test_the_interval_and_the_test_agree(figure: float, error: float, freedom: int) -> None:
    p = student_test(np.array([figure]), np.array([error]), freedom)[0]
    low, high = (ends[0] for ends in student_interval(np.array([figure]), np.array([error]), freedom))
    if abs(p - 0.05) > 1e-9:
        assert (p > 0.05) == (low <= 0 <= high)
