"""Wilson's interval, of independent cases and of cases that patients share."""

import numpy as np
import pytest

from src.evaluation.proportions import clustered_wilson, wilson_interval


def test_wilson_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    hits, counts = np.array([0, 3, 8, 10]), np.array([10, 10, 10, 10])
    low, high = wilson_interval(hits / counts, counts.astype(float))
    for k, hit in enumerate(hits.tolist()):
        wanted = binomtest(hit, 10).proportion_ci(method="wilson")
        assert (low[k], high[k]) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_the_interval_knows_that_cases_of_a_patient_are_alike() -> None:
    right = np.array([1.0, 1, 0, 1, 1, 0, 1, 1])
    independent = clustered_wilson(right, np.arange(8))
    np.testing.assert_allclose(
        independent, [each[0] for each in wilson_interval(np.array([0.75]), np.array([7.0]))]
    )  # n - 1: the variance is estimated
    twice = clustered_wilson(np.repeat(right, 2), np.repeat(np.arange(8), 2))
    np.testing.assert_allclose(twice, independent)
    low, high = clustered_wilson(np.ones(30), np.repeat(np.arange(3), 10))
    assert (low, high) == pytest.approx([each[0] for each in wilson_interval(np.array([1.0]), np.array([3.0]))])
    assert clustered_wilson(np.array([1.0, 0.0]), np.array([4, 4]))[0] < 0.1
