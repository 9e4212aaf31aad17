"""Net benefit against dcurves, of the authors of the method, and predictive values against Bayes and Mercaldo 2007."""

import numpy as np
import pytest
from scipy.special import expit, logit

from src.evaluation.decision_curve import decision_curve, net_benefit, predictive_values, ratio_interval
from src.evaluation.proportions import Estimate
from tests.benchmarks.calibration_coverage import ACCURACIES, value_coverage
from tests.support.scores import POSITIVE, SCORES, scored

THRESHOLDS = np.array([0.1, 0.25, 0.5, 0.75])


@pytest.mark.parametrize(
    ("prevalence", "model", "everybody"),
    [
        (None, [0.313889, 0.225, 0.15, -0.1], [0.305556, 0.166667, -0.25, -1.5]),
        (0.1, [0.012, -0.116, -0.136, -0.202667], [0, -0.2, -0.8, -2.6]),
    ],
)
def test_net_benefit_is_that_of_dcurves(prevalence: float | None, model: list[float], everybody: list[float]) -> None:
    # dcurves 1.1.7: dca(data, outcome, modelnames, thresholds, prevalence)
    table = decision_curve(scored(SCORES, POSITIVE), prevalence, THRESHOLDS, 50)
    np.testing.assert_allclose(table["model"], model, atol=1e-6)
    np.testing.assert_allclose(table["all"], everybody, atol=1e-6)
    assert (table["none"] == 0).all()
    assert ((table["model_low"] <= table["model"]) & (table["model"] <= table["model_high"])).all()


def test_the_benefit_over_repeats_is_the_mean_of_theirs() -> None:
    both = scored(SCORES, POSITIVE, repeats=2)
    both.scores[40:] = SCORES[::-1]
    once, twice = np.ones((1, 40)), np.ones((1, 80))
    means = [net_benefit(scored(each, POSITIVE), THRESHOLDS, once) for each in (SCORES, SCORES[::-1])]
    np.testing.assert_allclose(net_benefit(both, THRESHOLDS, twice), np.mean(means, axis=0))


def test_no_curve_of_cases_of_one_kind() -> None:
    assert decision_curve(scored([0.1, 0.9], [1, 1]), None, THRESHOLDS, 10).empty


def test_predictive_values_of_the_cases_are_shares_of_them() -> None:
    (row,) = predictive_values(scored(SCORES, POSITIVE), [0.5]).to_dict("records")
    called = SCORES > 0.5
    assert row["ppv"] == pytest.approx(POSITIVE[called].mean())
    assert row["npv"] == pytest.approx((~POSITIVE[~called]).mean())
    assert row["ppv_low"] < row["ppv"] < row["ppv_high"]
    assert row["prevalence"] == POSITIVE.mean()


def test_predictive_values_at_a_prevalence_are_those_of_mercaldo() -> None:
    # the example of Mercaldo, Lau and Zhou 2007: APOE e4 in 240 of 411 ill and in 110 of 288 healthy, prevalence 3 %
    cases = scored(np.repeat([1, 0, 1, 0], [240, 171, 110, 178]), np.repeat([1, 0], [411, 288]))
    (row,) = predictive_values(cases, [0.5], 0.03).to_dict("records")
    sensitivity, specificity = 240 / 411, 178 / 288
    ppv = sensitivity * 0.03 / (sensitivity * 0.03 + (1 - specificity) * 0.97)
    npv = specificity * 0.97 / (specificity * 0.97 + (1 - sensitivity) * 0.03)
    assert (row["ppv"], row["npv"]) == pytest.approx((ppv, npv))
    variance = (1 - sensitivity) / sensitivity / 411 + specificity / (1 - specificity) / 288
    ends = expit(logit(ppv) + 1.96 * variance**0.5 * np.array([-1, 1]))
    assert (row["ppv_low"], row["ppv_high"]) == pytest.approx(ends, rel=0.01)


def test_predictive_values_at_the_edges() -> None:
    (row,) = predictive_values(scored([0.9] * 20 + [0.1] * 20, [1] * 20 + [0] * 20), [0.5], 0.01).to_dict("records")
    assert row["ppv"] == row["ppv_high"] == row["npv"] == row["npv_high"] == 1
    assert 0 < row["ppv_low"] < 0.2  # that no alarm was false in 20 shows little where 99 of 100 are healthy
    assert row["npv_low"] > 0.99
    (row,) = predictive_values(scored([0.1, 0.2], [1, 0]), [0.5], 0.2).to_dict("records")
    assert np.isnan(row["ppv"])
    assert row["npv"] == pytest.approx(0.8)
    (row,) = predictive_values(scored([0.1, 0.2], [0, 0]), [0.15]).to_dict("records")
    assert (row["ppv"], row["npv"]) == (0, 1)


def test_the_interval_of_a_ratio() -> None:
    none, some = Estimate(0.0, 0.0, 0.1), Estimate(0.5, 0.4, 0.6)
    assert ratio_interval(none, some) == (0, pytest.approx(0.1 / (0.4 * 0.6) ** 0.5))
    assert ratio_interval(some, none) == (pytest.approx((0.4 * 0.6) ** 0.5 / 0.1), np.inf)
    assert ratio_interval(none, none) == (0, np.inf)


@pytest.mark.slow
@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("setting", ACCURACIES)
def test_predictive_values_at_a_prevalence_are_covered(images: int, setting: tuple[float, float, float]) -> None:
    first, second = value_coverage(100, images, *setting, trials=800)
    assert 92 <= first <= 98
    assert 92 <= second <= 98
