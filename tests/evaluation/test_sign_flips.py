"""The test that turns signs: by hand, against scipy's, and against its own interval."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as some

from src.evaluation.sign_flips import sign_flip_test


def flipped(by_patient: np.ndarray, shares: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    count = len(by_patient)
    return sign_flip_test(by_patient, np.full(count, 1 / count) if shares is None else shares, 0)


def test_signs_by_hand() -> None:
    alike = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])
    np.testing.assert_allclose(flipped(alike)[0], [2 / 32, 1])


@given(some.integers(0, 10_000), some.integers(2, 12), some.sampled_from([1, 4, 1024]))
@settings(max_examples=40)
def test_all_signs_give_scipys_p(seed: int, patients: int, parts: int) -> None:
    """With ties, and patients that do not differ; sums are exact, as scipy tells ties by their last bits."""
    values = np.round(np.random.default_rng(seed).normal(0.3, size=patients) * parts) / parts
    assert flipped(values[:, None])[0][0] == scipys_sign_flip_test(values)


def test_drawn_signs_give_nearly_scipys_p() -> None:
    values = np.round(np.random.default_rng(0).normal(0.1, size=80), 1)
    assert flipped(values[:, None])[0][0] == pytest.approx(scipys_sign_flip_test(values), abs=0.01)


def scipys_sign_flip_test(values: np.ndarray) -> float:
    """The two-sided p; its draws are the test's own."""
    one = scipy.stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    return float(one.pvalue)


@given(some.integers(0, 10_000), some.integers(6, 10))
@settings(max_examples=30)
def test_the_interval_is_what_the_test_does_not_refuse(seed: int, patients: int) -> None:
    """Of differences just within its ends p is more than 0.05, and of those just outside at most that."""
    generator = np.random.default_rng(seed)
    values, shares = generator.normal(0.3, size=patients), generator.dirichlet(np.ones(patients))
    _, low, high = (float(each[0]) for each in flipped(values[:, None], shares))
    assert low <= values.sum() <= high
    for end, inwards in ((low, 1e-6), (high, -1e-6)):
        if np.isfinite(end):
            tried = np.stack([values - (end + step) * shares for step in (inwards, -inwards)], axis=1)
            within, outside = flipped(tried, shares)[0]
            assert within > 0.05 >= outside


def test_the_interval_is_nearly_students_with_many_patients() -> None:
    values = np.random.default_rng(0).normal(0.3, size=400)
    found = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    _, low, high = flipped(values[:, None] / 400)
    assert (low[0], high[0]) == pytest.approx((found.low, found.high), abs=0.005)


def test_five_patients_bound_nothing_and_what_is_not_a_number_stays_so() -> None:
    p, low, high = flipped(np.stack([np.ones(5), np.full(5, np.nan)], axis=1))
    assert (low[0], high[0]) == (-np.inf, np.inf)
    assert p[0] == 2 / 32
    assert np.isnan([p[1], low[1], high[1]]).all()
