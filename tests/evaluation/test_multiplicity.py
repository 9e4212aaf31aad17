"""Corrections for several tests: by hand, against statsmodels', and in tables where nothing differs."""

import numpy as np
import pytest
import scipy.stats

from src.evaluation.multiplicity import holm_correction, largest_t, max_t_correction, row_correlation


def test_holm_by_hand_and_as_statsmodels_has_it() -> None:
    np.testing.assert_allclose(holm_correction(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    # statsmodels 0.15: multipletests(p, method="holm")
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.2, 0.011])
    np.testing.assert_allclose(holm_correction(p), [0.05, 0.09, 0.09, 0.03, 0.2, 0.05])
    np.testing.assert_allclose(holm_correction(np.array([np.nan, 0.6, 0.02])), [np.nan, 0.6, 0.04])


def test_rows_that_are_independent_are_sidaks_step_down() -> None:
    """Holm's steps with 1 - (1 - p)^k in place of k p (Holland and Copenhaver 1987)."""
    p = np.array([0.01, 0.3, 0.04, 0.012])
    wanted = [1 - 0.99**4, 0.3, 1 - 0.96**2, max(1 - 0.99**4, 1 - 0.988**3)]
    np.testing.assert_allclose(max_t_correction(p, np.eye(4), 20), wanted, atol=0.006)


def test_a_row_alone_is_not_corrected_and_one_that_is_told_twice_hardly() -> None:
    assert max_t_correction(np.array([0.03]), np.ones((1, 1)), 9)[0] == 0.03
    twice = max_t_correction(np.array([0.03, 0.03]), np.ones((2, 2)), 1_000_000)
    np.testing.assert_allclose(twice, 0.03, atol=0.004)
    found = max_t_correction(np.array([0.03, np.nan, 0.2]), np.eye(3), 9)
    assert np.isnan(found[1])
    assert found[0] > 0.03


def test_the_largest_t_is_dunnetts() -> None:
    """Two-sided at 5 %, five treatments against a control: 2.51 (Dunnett 1964, table of infinite degrees)."""
    correlation = np.full((5, 5), 0.5) + 0.5 * np.eye(5)
    assert largest_t(correlation, 1_000_000) == pytest.approx(2.51, abs=0.03)
    assert largest_t(np.ones((1, 1)), 7) == pytest.approx(scipy.stats.t.ppf(0.975, 7))


def test_rows_hang_together_as_groups_add_to_them() -> None:
    parts = np.random.default_rng(0).normal(size=(30, 3)) @ np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 0]])
    found = row_correlation(parts)
    np.testing.assert_allclose(found[:2, :2], np.corrcoef(parts[:, :2].T))
    np.testing.assert_allclose(found[2], [0, 0, 1])


def test_of_tables_where_nothing_differs_few_are_wrong() -> None:
    generator = np.random.default_rng(0)
    correlation = np.full((12, 12), 0.6) + 0.4 * np.eye(12)
    wrong = []
    for trial in range(150):
        folds = generator.multivariate_normal(np.zeros(12), correlation, 10)
        p = scipy.stats.ttest_1samp(folds, 0).pvalue
        wrong.append(max_t_correction(p, correlation, 9, trial).min() <= 0.05)
    assert np.mean(wrong) <= 0.08
