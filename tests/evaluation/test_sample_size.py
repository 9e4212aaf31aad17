"""How many patients a study needs: against what others published or compute, and against what then comes out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.sample_size import (
    auc_error,
    auc_interval,
    correlation_limits,
    difference_power,
    difference_variance,
    fewest,
    independent_cases,
    proportion_interval,
)


def test_a_patient_counts_for_the_images_by_the_design_effect() -> None:
    assert independent_cases(1, 0.5) == 1
    assert independent_cases(4, 0) == 4
    assert independent_cases(4, 1) == 1
    assert independent_cases(20, 0.05) == pytest.approx(20 / 1.95)  # 1 + (20 - 1) x 0.05
    assert independent_cases(4, 0.5, deviation=2) < independent_cases(4, 0.5)


@pytest.mark.parametrize(
    ("proportion", "count", "low", "high"),
    [
        (0.85, 100, 0.7671644040916763, 0.9069401471634337),
        (0.95, 60, 0.8629948352365147, 0.9828504978356043),
        (0.7, 333, 0.6487281460923844, 0.746710112803485),
    ],
)
def test_the_interval_is_that_of_statsmodels(proportion: float, count: int, low: float, high: float) -> None:
    """`proportion_confint(proportion * count, count, method="wilson")` of statsmodels 0.15."""
    assert proportion_interval(proportion, count) == pytest.approx((low, high), abs=1e-9)


def test_the_error_of_an_area_is_that_of_its_authors() -> None:
    """Hanley and McNeil 1982, page 32: 51 abnormal and 58 normal CT images, an area of 0.893, a standard error of
    0.032."""
    assert auc_error(0.893, 51, 58) == pytest.approx(0.032, abs=0.0006)


@pytest.mark.parametrize(("effect", "count", "power"), [(0.2, 100, 0.508264806621038), (0.3, 90, 0.8037942968932215)])
def test_the_power_on_one_test_set_is_that_of_statsmodels(effect: float, count: int, power: float) -> None:
    """`TTestPower().power(effect, count, 0.05)` of statsmodels 0.15, the t-test of paired differences."""
    assert difference_power(effect, 1.0, count) == pytest.approx(power, abs=1e-9)


def test_the_fewest_are_those_of_statsmodels() -> None:
    """`TTestPower().solve_power(0.2, power=0.8, alpha=0.05)` is 198.15."""
    assert fewest(lambda count: difference_power(0.2, 1.0, count) >= 0.8) == 199


@given(st.integers(2, 100_000))
def test_the_fewest_are_enough_and_one_less_is_not(wanted: int) -> None:
    assert fewest(lambda count: count >= wanted) == wanted


@given(st.floats(0.3, 0.9), st.floats(0.02, 0.09), st.floats(0, 1))
def test_the_variance_is_that_of_cases(accuracy: float, difference: float, place: float) -> None:
    low, high = correlation_limits(difference, accuracy)
    correlation = low + place * (high - low)
    better = accuracy + difference
    both = accuracy * better + correlation * np.sqrt(accuracy * (1 - accuracy) * better * (1 - better))
    assert -1e-9 <= min(both, accuracy - both, better - both, 1 - accuracy - better + both)  # the four shares of cases
    discordant = accuracy + better - 2 * both
    assert difference_variance(difference, accuracy, correlation) == pytest.approx(discordant - difference**2)


def test_a_correlation_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="has a correlation of -0.24 to 0.73, but got correlation=0.8"):
        difference_variance(0.1, 0.75, 0.8)


def test_an_area_of_less_than_one_case_of_a_class_is_not_known() -> None:
    assert auc_interval(0.9, 0.01, 50) == (0.0, 1.0)
