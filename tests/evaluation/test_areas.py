"""The area under the ROC curve and its interval, against definitions."""

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from src.evaluation import areas
from src.evaluation.areas import area_ends, estimate_area, model_variance, patient_width, rank_cases, rank_classes
from src.evaluation.proportions import Estimate


def task(patients: int = 30, images: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, whether positive, and patients, some of whom have cases of both sides."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), images)
    positive = generator.random(len(groups)) < 0.4
    return np.round(generator.normal(size=len(groups)) + positive, 1), positive, groups


def kernel(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """1, 1/2 or 0 for each positive (row) and negative (column) case."""
    above, below = scores[positive], scores[~positive]
    return np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in below] for x in above])


def delong(scores: np.ndarray, positive: np.ndarray) -> float:
    """DeLong, DeLong and Clarke-Pearson 1988, equation 6 and its neighbours, pair by pair."""
    pairs = kernel(scores, positive)
    return float(pairs.mean(axis=1).var(ddof=1) / len(pairs) + pairs.mean(axis=0).var(ddof=1) / len(pairs.T))


def obuchowski(scores: np.ndarray, positive: np.ndarray, groups: np.ndarray) -> float:
    """Obuchowski 1997, section 2, patient by patient."""
    pairs = kernel(scores, positive)
    area, (m, n) = pairs.mean(), pairs.shape
    ours, theirs = groups[positive], groups[~positive]
    first, second, count = np.unique(ours), np.unique(theirs), len(np.unique(groups))
    x = {g: pairs.mean(axis=1)[ours == g].sum() - (ours == g).sum() * area for g in np.unique(groups)}
    y = {g: pairs.mean(axis=0)[theirs == g].sum() - (theirs == g).sum() * area for g in np.unique(groups)}
    s10 = len(first) / ((len(first) - 1) * m) * sum(x[g] ** 2 for g in first)
    s01 = len(second) / ((len(second) - 1) * n) * sum(y[g] ** 2 for g in second)
    s11 = count / (count - 1) * sum(x[g] * y[g] for g in np.unique(groups))
    return float(s10 / m + s01 / n + 2 * s11 / (m * n))


def variance(scores: np.ndarray, positive: np.ndarray, groups: np.ndarray) -> float:
    """Ours, without the quantile."""
    area, parts = rank_cases(scores, positive)
    shares = np.where(positive, 1 / positive.sum(), 1 / (~positive).sum())
    width, _ = patient_width(area, parts, shares, positive.astype(np.int64), groups)
    return (width / 1.959963984540054) ** 2


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_is_delongs(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(areas, "PRIOR", 0.0)
    scores, positive, groups = task(seed=seed)
    assert rank_cases(scores, positive)[0] == pytest.approx(roc_auc_score(positive, scores))
    assert variance(scores, positive, groups) == pytest.approx(delong(scores, positive))


@pytest.mark.parametrize("mixed", [True, False])
def test_the_variance_is_obuchowskis(monkeypatch: pytest.MonkeyPatch, mixed: bool) -> None:
    monkeypatch.setattr(areas, "PRIOR", 0.0)
    scores, positive, groups = task(40, 2)
    positive = (groups % 2 == 0) if not mixed else np.arange(80) % 2 == 0  # as many of each patient on a side
    few = areas.student_975(2 * 40 - 2 if mixed else 38) / areas.student_975(78)
    assert variance(scores, positive, groups) / few**2 == pytest.approx(obuchowski(scores, positive, groups))


def one(scores: np.ndarray, positive: np.ndarray, groups: np.ndarray, classes: tuple[int, ...] = (1,)) -> Estimate:
    """The estimate of one repeat."""
    folds = np.zeros((1, len(scores)), dtype=np.int64)
    return estimate_area(np.stack([-scores, scores], axis=1)[None], positive.astype(np.int64), groups, folds, classes)


def test_the_interval_is_newcombes_where_the_model_holds() -> None:
    """Its ends solve |found - end| = z sqrt(variance at the end), equation of method 5 (Newcombe 2006)."""
    low, high = area_ends(0.9, 1.959963984540054**2, 20, 30)
    for end in (low, high):
        assert abs(0.9 - end) == pytest.approx(1.959963984540054 * np.sqrt(model_variance(end, 20, 30)), rel=1e-6)
    # Hanley and McNeil 1982, table II: 51 and 58 images at 0.893, a standard error of 0.032 (0.033 with their sizes)
    assert np.sqrt(model_variance(0.893, 51, 58)) == pytest.approx(0.032, abs=0.001)


def test_a_perfect_area_is_not_certain_and_has_no_jump_beside_it() -> None:
    found = {}
    for size, swapped in product((5, 10, 50), (False, True)):
        order = np.arange(2 * size)
        scores = order.astype(np.float64)
        scores[[size - 1, size]] = scores[[size, size - 1]] if swapped else scores[[size - 1, size]]
        found[size, swapped] = one(scores, order >= size, order)
    assert [found[size, False].high for size in (5, 10, 50)] == [1, 1, 1]
    assert found[5, False].low < 0.65 < found[10, False].low < 0.85 < found[50, False].low < 0.97
    for size in (5, 10, 50):
        assert abs(found[size, False].low - found[size, True].low) < 0.06
    zero = one(-np.arange(20.0), np.arange(20) >= 10, np.arange(20))
    assert (zero.value, zero.low) == (0, 0)
    assert zero.high == pytest.approx(1 - found[10, False].low)


def test_an_area_and_its_mirror_image_have_mirrored_intervals() -> None:
    scores, positive, groups = task(40, 2)
    ours, theirs = one(scores, positive, groups), one(-scores, positive, groups)
    assert (theirs.value, theirs.low, theirs.high) == pytest.approx((1 - ours.value, 1 - ours.high, 1 - ours.low))
    assert one(scores, positive, groups, (0,)) == pytest.approx(ours)


def test_copies_say_little_that_is_new() -> None:
    scores, positive, groups = task(60)
    once = one(scores, positive, groups)
    twice = one(scores.repeat(2), positive.repeat(2), groups.repeat(2))
    assert twice == pytest.approx(once, abs=0.015)
    assert np.ptp(one(scores.repeat(2), positive.repeat(2), np.arange(120))[1:]) < 0.8 * np.ptp(once[1:])


def test_the_mean_of_classes_adds_what_cases_add_to_each() -> None:
    generator = np.random.default_rng(3)
    labels = np.arange(90) % 3
    values = generator.dirichlet(np.ones(3), 90) + 0.3 * np.eye(3)[labels]
    area, parts = rank_classes(values, labels, range(3))
    assert area == pytest.approx(np.mean([roc_auc_score(labels == k, values[:, k]) for k in range(3)]))
    np.testing.assert_allclose(parts, np.mean([rank_cases(values[:, k], labels == k)[1] for k in range(3)], axis=0))
    found = estimate_area(values[None], labels, np.arange(90), np.zeros((1, 90), dtype=np.int64), range(3))
    single = estimate_area(values[None], labels, np.arange(90), np.zeros((1, 90), dtype=np.int64), [0])
    assert found.high - found.low < single.high - single.low
    drawn = []
    for _ in range(400):
        rows = generator.integers(90, size=90)
        drawn.append(rank_classes(values[rows], labels[rows], range(3))[0])
    assert (found.high - found.low) / (2 * 1.96 * np.std(drawn)) == pytest.approx(1, abs=0.15)


def test_repeats_give_the_mean_and_are_no_more_certain() -> None:
    scores, positive, groups = task(40, 2)
    values = np.stack([-scores, scores], axis=1)
    folds = groups % 5 + 5 * np.arange(3)[:, None]
    labels = positive.astype(np.int64)
    once = one(scores, positive, groups)
    same = estimate_area(np.stack([values] * 3), labels, groups, folds, [1])
    assert same.value == pytest.approx(once.value)
    assert same.high - same.low >= once.high - once.low - 1e-9
    folds[2, :20] = -1  # not held out by the third repeat
    part = estimate_area(np.stack([values] * 3), labels, groups, folds, [1])
    wanted = np.mean([once.value, once.value, roc_auc_score(positive[20:], scores[20:])])
    assert part.value == pytest.approx(wanted)


def test_one_class_has_no_area() -> None:
    assert np.isnan(one(np.arange(4.0), np.ones(4, dtype=bool), np.arange(4))).all()
