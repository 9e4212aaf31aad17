"""How many patients a study needs: against what others published or compute, and against what then comes out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm

from src.evaluation.areas import estimate_area
from src.evaluation.comparison import compare, compare_pairs
from src.evaluation.proportions import clustered_wilson
from src.evaluation.sample_size import (
    auc_interval,
    correlation_limits,
    design_effect,
    difference_power,
    difference_variance,
    fewest,
    proportion_interval,
)
from src.evaluation.two_classes import Binary
from tests.support.simulation import clustered, pair


def test_the_design_effect() -> None:
    assert design_effect(1, 0.5) == 1
    assert design_effect(4, 0) == 1
    assert design_effect(4, 1) == 4
    assert design_effect(20, 0.05) == pytest.approx(1.95)  # 1 + (20 - 1) x 0.05
    assert design_effect(4, 0.5, deviation=2) == pytest.approx(1 + (1.25 * 4 - 1) * 0.5)


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


def test_the_interval_of_an_area_is_as_wide_as_its_authors_have_it() -> None:
    """Hanley and McNeil 1982, page 32: an area of 0.893 of 51 and 58 images has a standard error of 0.032."""
    low, high = auc_interval(0.893, 51 / 109, 109)
    assert 0.893 - low > high - 0.893 > 0
    assert (high - low) / 2 / 1.96 == pytest.approx(0.032, abs=0.002)


@pytest.mark.parametrize(
    ("effect", "folds", "power"), [(0.8, 10, 0.6162328), (1.0, 10, 0.8030969), (2.0, 5, 0.9088849)]
)
def test_the_power_over_folds_is_that_of_statsmodels(effect: float, folds: int, power: float) -> None:
    """`TTestPower().power(effect, folds, 0.05)` of statsmodels 0.15: the t-test of the folds' differences.

    The test over patients asks for more where folds happen to agree: it takes up to 0.04 from it.
    """
    patients = 1_000_000
    found = difference_power(effect * np.sqrt(folds / patients), 1.0, patients, folds)
    assert power - 0.04 < found <= power + 1e-3


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


@pytest.mark.parametrize(
    ("accuracy", "images", "likeness"), [(0.85, 1, 0.5), (0.85, 3, 0.5), (0.7, 4, 0.2), (0.95, 2, 0.5)]
)
def test_the_planned_width_is_that_of_the_interval(accuracy: float, images: int, likeness: float) -> None:
    """Patients whose accuracies are of a beta distribution, so that images are as much alike as is planned with."""
    design = design_effect(images, likeness)

    def width(patients: int) -> float:
        low, high = proportion_interval(accuracy, patients, images, design)
        return high - low

    patients = fewest(lambda count: width(count) <= 0.12)
    generator, groups = np.random.default_rng(3), np.repeat(np.arange(patients), images)
    total = (1 - likeness) / likeness
    widths = []
    for _ in range(200):
        own = beta.rvs(accuracy * total, (1 - accuracy) * total, size=patients, random_state=generator)
        low, high = clustered_wilson((generator.random(len(groups)) < own[groups]).astype(np.float64), groups)
        widths.append(high - low)
    assert np.mean(widths) == pytest.approx(0.12, abs=0.008)


@pytest.mark.parametrize(
    ("auc", "images", "prevalence", "likeness"), [(0.9, 1, 0.3, 0.5), (0.8, 1, 0.5, 0.5), (0.9, 3, 0.5, 1.0)]
)
def test_the_planned_width_is_that_of_an_area(auc: float, images: int, prevalence: float, likeness: float) -> None:
    """Normal scores, a share of whose variance a patient's images have in common."""
    design = design_effect(images, likeness)

    def width(patients: int) -> float:
        low, high = auc_interval(auc, prevalence, patients, images, design)
        return high - low

    patients = fewest(lambda count: width(count) <= 0.12)
    generator, groups = np.random.default_rng(4), np.repeat(np.arange(patients), images)
    labels = (np.arange(patients) < round(prevalence * patients)).astype(np.int64)[groups]
    widths = []
    for _ in range(200):
        score = clustered(generator, groups, likeness) + np.sqrt(2) * norm.ppf(auc) * labels
        share = norm.cdf(score)
        found = estimate_area(
            np.stack([1 - share, share], axis=1)[None], labels, groups, np.zeros((1, len(groups)), np.int64), [1]
        )
        widths.append(found.high - found.low)
    assert np.mean(widths) == pytest.approx(0.12, abs=0.012)


@pytest.mark.parametrize("comparisons", [6, 66])
def test_more_comparisons_ask_for_bonferronis_level(comparisons: int) -> None:
    """As the usual formula has it, of a difference of a tenth of its deviation."""
    wanted = ((norm.isf(0.025 / comparisons) + norm.isf(0.2)) / 0.1) ** 2
    found = fewest(lambda count: difference_power(0.1, 1.0, count, comparisons=comparisons) >= 0.8)
    assert found == pytest.approx(wanted, rel=0.02)  # the test over patients takes the difference for variance


@pytest.mark.slow
def test_among_all_pairs_at_most_so_many_patients_are_needed() -> None:
    """Four ways, one of which is 10 points better: shown against another in 4 of 5 studies, of all six pairs."""
    accuracies = (0.85, 0.75, 0.75, 0.75)
    wide = pair(np.random.default_rng(1), patients=100_000, images=1, folds=10, accuracies=accuracies)
    right = [(table["p_c1"] > table["p_c0"]) == (table["label"] == "c1") for table in wide.values()]
    variance = difference_variance(0.1, 0.75, float(np.corrcoef(*right[:2])[0, 1]))
    patients = fewest(lambda count: difference_power(0.1, variance, count, 10, comparisons=6) >= 0.8, least=10)
    shown = []
    for seed in range(200):
        tables = pair(np.random.default_rng(seed), patients, images=1, folds=10, accuracies=accuracies)
        row = compare_pairs(tables, Binary()).set_index(["model", "reference"]).loc[("one", "two")]
        shown.append(row["p_adjusted"] <= 0.05 and row["difference"] > 0)
    assert 0.75 < np.mean(shown) < 0.97


@pytest.mark.slow
@pytest.mark.parametrize("folds", [5, 10])
def test_the_planned_power_is_that_of_the_comparison(folds: int) -> None:
    """Two ways of learning of 75 and 85 %, of patients with an image each: shown in 4 of 5 studies."""
    wide = pair(np.random.default_rng(1), patients=100_000, images=1, folds=folds, accuracies=(0.75, 0.85))
    right = [(table["p_c1"] > table["p_c0"]) == (table["label"] == "c1") for table in wide.values()]
    correlation = float(np.corrcoef(*right)[0, 1])
    variance = difference_variance(0.1, 0.75, correlation)
    patients = fewest(lambda count: difference_power(0.1, variance, count, folds) >= 0.8, least=folds)
    shown = []
    for seed in range(300):
        tables = pair(np.random.default_rng(seed), patients, images=1, folds=folds, accuracies=(0.75, 0.85))
        row = compare(tables, Binary(), reference="one").set_index("metric").loc["accuracy"]
        shown.append(row["p"] <= 0.05 and row["difference"] > 0)
    assert np.mean(shown) == pytest.approx(0.8, abs=0.06)
