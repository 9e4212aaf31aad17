"""Verdicts on simulated studies: how seldom they are wrong, what they find, and that interval and test agree."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as some

from src.evaluation.verdicts import Evidence, smallest_shown
from tests.benchmarks.verdicts import Learners, Study, gather_evidence, share_learned, share_of_tables, share_shown


@given(some.integers(0, 10_000), some.integers(4, 40), some.sampled_from([1, 3, 5]), some.floats(0, 1))
@settings(max_examples=60)
def test_the_interval_has_zero_outside_where_p_says_so(seed: int, patients: int, folds: int, luck: float) -> None:
    study = Study(patients=max(patients, folds), folds=folds, images=3, accuracies=(0.5, 0.85), luck=luck)
    evidence = gather_evidence(study, np.random.default_rng(seed), ("accuracy", "auc"))
    p, low, high = evidence.test(seed)
    known = ~np.isnan(p)
    assert ((p > 0.05) == ((low <= 0) & (high >= 0)))[known].all()
    assert (low[known] <= evidence.difference[known]).all()
    assert (high[known] >= evidence.difference[known]).all()
    assert (np.abs([low[known], high[known]]) <= 1).all()


def test_with_repeats_p_is_not_below_the_corrected_resampled_t() -> None:
    generator = np.random.default_rng(0)
    parts = generator.normal(0.005, 0.02, size=(300, 1))
    folds = np.concatenate([generator.permutation(100) % 5 + 5 * repeat for repeat in range(3)])
    evidence = Evidence(parts=parts, groups=np.tile(np.arange(100), 3), folds=folds, repeats=3, ratio=np.array([0.25]))
    assert evidence.error()[1] == 14
    assert evidence.test(0)[0][0] >= evidence.corrected_test()[0]


def test_the_smallest_is_blooms_where_there_is_one_fold() -> None:
    """(t(0.975, 99) + z(0.8)) x standard error, for one row, but for the t not being central."""
    wanted = (scipy.stats.t.ppf(0.975, 99) + scipy.stats.norm.ppf(0.8)) * 0.01
    found = smallest_shown(np.array([0.01]), 99, scipy.stats.t.ppf(0.975, 99), 100, 0.0)
    assert found[0] == pytest.approx(wanted, rel=0.01)


def test_with_few_folds_more_is_needed_as_the_noncentral_t_says() -> None:
    asked = scipy.stats.t.ppf(0.975, 4)
    found = smallest_shown(np.array([1.0]), 4, asked, 100, 0.0)[0]
    assert scipy.stats.nct.sf(asked, 4, found) == pytest.approx(0.8, abs=0.002)


def test_fewer_patients_than_the_level_needs_show_nothing() -> None:
    assert np.isnan(smallest_shown(np.array([0.1]), 4, 2.776, 5, 0.1)[0])
    assert smallest_shown(np.array([0.001]), 4, 2.776, 6, 0.1)[0] == pytest.approx(0.6)


def test_noise_alone_is_seldom_shown() -> None:
    assert share_shown(Study(patients=150, luck=0.3, images=5), 150)[0] <= 0.09


@pytest.mark.slow
@pytest.mark.parametrize("luck", [0.0, 0.3])
@pytest.mark.parametrize("folds", [3, 5, 10])
@pytest.mark.parametrize(("patients", "images"), [(20, 5), (100, 1), (400, 5)])
def test_noise_alone_is_shown_in_6_of_100_at_most(patients: int, images: int, folds: int, luck: float) -> None:
    shown, _ = share_shown(Study(patients=patients, images=images, folds=folds, luck=luck), 600)
    assert shown <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / 600)


@pytest.mark.slow
@pytest.mark.parametrize("folds", [3, 5, 10])
def test_tables_of_20_cells_are_wrong_in_6_of_100_at_most(folds: int) -> None:
    study = Study(patients=400, folds=folds, images=5, luck=0.3, accuracies=(0.8,) * 20)
    assert share_of_tables(study, count=150) <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / 150)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 20])
def test_seeds_are_no_resamples(seeds: int) -> None:
    shown, corrected = share_shown(Study(patients=200, images=3, luck=0.3, seeds=seeds, of_seed=0.2), 600)
    assert max(shown, corrected) <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / 600)


@pytest.mark.slow
def test_ten_points_are_found_with_250_patients_in_10_folds() -> None:
    assert share_shown(Study(patients=250, folds=10, accuracies=(0.75, 0.85)), 600)[0] >= 0.77


@pytest.mark.slow
def test_ten_repeats_of_real_learners_that_are_equal_show_nothing() -> None:
    better, worse, _ = share_learned(Learners(patients=100), 100)
    assert better + worse <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / 100)
