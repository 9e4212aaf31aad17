"""The interval of proportions, of independent cases and of cases that patients share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, chi2

from src.evaluation.proportions import (
    Estimate,
    clustered_wilson,
    estimate_loss,
    estimate_proportion,
    wilson_interval,
)


def share(right: np.ndarray, groups: np.ndarray, **known: np.ndarray) -> Estimate:
    """The estimate of one repeat."""
    marks = np.asarray(right, dtype=bool)[None]
    folds = np.zeros(marks.shape, dtype=np.int64)
    return estimate_proportion(marks, np.ones_like(marks), groups, folds, **known)


def test_wilson_agrees_with_scipy() -> None:
    hits, counts = np.array([0, 3, 8, 10]), np.array([10, 10, 10, 10])
    low, high = wilson_interval(hits / counts, counts.astype(float))
    for k, hit in enumerate(hits.tolist()):
        wanted = binomtest(hit, 10).proportion_ci(method="wilson")
        assert (low[k], high[k]) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@pytest.mark.parametrize("hits", [0, 4, 10, 16, 20])
def test_independent_cases_have_wilsons_interval(hits: int) -> None:
    wanted = binomtest(hits, 20).proportion_ci(method="wilson")
    found = share(np.arange(20) < hits, np.arange(20))
    assert found == pytest.approx((hits / 20, wanted.low, wanted.high), abs=1e-9)


def test_few_errors_have_the_end_of_brown_cai_and_dasgupta() -> None:
    for wrong in (1, 2, 3):
        found = share(np.arange(20) >= wrong, np.arange(20))
        assert found.high == pytest.approx(1 - chi2.ppf(0.05, 2 * wrong) / 40)
        assert found.low == pytest.approx(binomtest(20 - wrong, 20).proportion_ci(method="wilson").low, abs=1e-9)


def test_twenty_of_twenty_is_not_certain() -> None:
    assert share(np.ones(20), np.arange(20)) == pytest.approx((1, 0.839, 1), abs=0.001)
    assert share(np.zeros(20), np.arange(20)) == pytest.approx((0, 0, 0.161), abs=0.001)


@pytest.mark.parametrize("cases", [20, 40, 100, 400])
def test_independent_cases_are_covered_at_every_share(cases: int) -> None:
    """Exactly, from the binomial distribution: Wilson's interval alone holds some shares in 84 % of studies."""
    found = np.array([share(np.arange(cases) < hits, np.arange(cases)) for hits in range(cases + 1)])
    for truth in np.linspace(0.5, 0.9995, 200):
        held = (found[:, 1] <= truth) & (truth <= found[:, 2])
        assert binom.pmf(np.arange(cases + 1), cases, truth)[held].sum() > 0.925


def test_copies_of_a_case_say_nothing_new() -> None:
    right = np.random.default_rng(0).random(40) < 0.7
    independent = share(right, np.arange(40))
    copied = share(np.repeat(right, 3), np.repeat(np.arange(40), 3))
    assert copied.value == independent.value
    assert copied.high - copied.low == pytest.approx(independent.high - independent.low, rel=0.04)
    naive = share(np.repeat(right, 3), np.arange(120))
    assert naive.high - naive.low < 0.65 * (independent.high - independent.low)


def test_all_right_is_worth_the_number_of_patients() -> None:
    low = share(np.ones(30), np.repeat(np.arange(3), 10)).low
    assert 0 < low < wilson_interval(np.array([1.0]), np.array([3.0]))[0][0]
    assert clustered_wilson(np.array([1.0, 0.0]), np.array([4, 4]))[0] < 0.1


def test_the_mean_of_classes_varies_as_they_do() -> None:
    """Against the variance of independent shares: p (1 - p) / n of each class, a quarter of their sum."""
    labels = np.arange(400) % 4 // 3
    right = np.where(labels == 1, np.arange(400) % 5 != 0, np.arange(400) % 20 != 0)
    found = share(right, np.arange(400), strata=labels)
    shares = [right[labels == k].mean() for k in (0, 1)]
    error = np.sqrt(sum(p * (1 - p) / (labels == k).sum() for k, p in enumerate(shares)) / 4)
    assert found.value == pytest.approx(np.mean(shares))
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.03)


def test_a_class_of_few_patients_is_not_certain_because_all_of_them_are_right() -> None:
    """Newcombe's (1998) and Zou and Donner's (2008) sum of squares of the distances of Wilson's ends."""
    labels = np.repeat([0, 1], [36, 4])
    right = np.concatenate([np.arange(36) % 4 != 0, np.ones(4, dtype=bool)])
    found = share(right, np.arange(40), strata=labels)
    ends = [share(right[labels == k], np.arange((labels == k).sum())) for k in (0, 1)]
    below = np.sqrt(sum((end.value - end.low) ** 2 for end in ends)) / 2
    assert found == pytest.approx((0.875, 0.875 - below, 0.875 + (ends[0].high - 0.75) / 2))
    assert ends[1].low < 0.6


def test_classes_that_have_patients_in_common_vary_together() -> None:
    generator = np.random.default_rng(3)
    easy = generator.random(60) < 0.7
    right, labels = np.tile(easy, 2), np.repeat([0, 1], 60)
    apart, together = (share(right, groups, strata=labels) for groups in (np.arange(120), np.tile(np.arange(60), 2)))
    assert together.high - together.low == pytest.approx(2**0.5 * (apart.high - apart.low), rel=0.03)


def test_a_ratio_of_repeats_is_the_mean_of_theirs_and_no_more_certain_than_one() -> None:
    generator = np.random.default_rng(1)
    groups = np.arange(60) // 2
    counted, right = generator.random((3, 60)) < 0.5, generator.random((3, 60)) < 0.8
    folds = 5 * np.arange(3)[:, None] + np.stack([generator.permutation(30) % 5 for _ in range(3)])[:, groups]
    found = estimate_proportion(right, counted, groups, folds)
    assert found.value == pytest.approx(np.mean([r[c].mean() for r, c in zip(right, counted, strict=True)]))
    same = estimate_proportion(right[[0, 0, 0]], counted[[0, 0, 0]], groups, folds)
    once = estimate_proportion(right[:1], counted[:1], groups, folds[:1])
    assert same.value == pytest.approx(once.value)
    assert same.high - same.low >= once.high - once.low - 1e-9


def test_luck_of_training_widens_the_interval_of_repeats() -> None:
    groups, folds = np.arange(100), np.repeat(np.arange(5), 20)
    repeated = folds + 5 * np.arange(4)[:, None]
    fair = np.tile(np.arange(100) % 5 != 0, (4, 1))
    lucky = np.tile((np.arange(100) % 20 < np.array([20, 18, 16, 14, 12])[folds]), (4, 1))
    assert fair.mean() == lucky.mean() == 0.8
    even, uneven = (estimate_proportion(each, np.ones_like(each), groups, repeated) for each in (fair, lucky))
    assert uneven.high - uneven.low > 1.3 * (even.high - even.low)


def test_what_counts_nothing_is_unknown() -> None:
    marks = np.zeros((1, 4), dtype=bool)
    assert np.isnan(estimate_proportion(marks, marks, np.arange(4), np.zeros((1, 4), dtype=np.int64))).all()


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 12))
def test_an_interval_holds_its_figure_and_stays_within_zero_and_one(right: list[bool], patients: int) -> None:
    groups = np.arange(len(right)) % patients
    found = share(np.array(right), groups)
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1
    mirrored = share(~np.array(right), groups)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-9)


def test_a_loss_has_an_interval_over_patients() -> None:
    losses = np.random.default_rng(2).exponential(size=(1, 50))
    known, folds = np.ones((1, 50), dtype=bool), np.zeros((1, 50), dtype=np.int64)
    found = estimate_loss(losses, known, np.arange(50), folds)
    error = losses.std(ddof=1) / np.sqrt(50)
    factor = np.exp(2.0095752 * error / losses.mean())  # the quantile of Student's t with 49 degrees of freedom
    assert found == pytest.approx((losses.mean(), losses.mean() / factor, losses.mean() * factor))
    twice = estimate_loss(
        losses.repeat(2, axis=1),
        known.repeat(2, axis=1),
        np.repeat(np.arange(50), 2),
        np.zeros((1, 100), dtype=np.int64),
    )
    assert twice == pytest.approx(found)
    assert np.isnan(estimate_loss(losses, known, np.zeros(50, dtype=np.int64), folds).low)
