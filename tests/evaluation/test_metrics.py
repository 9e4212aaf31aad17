import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference

from src.evaluation import metrics
from src.evaluation.metrics import METRICS, bootstrap_weights, measure_cases, patient_groups, percentile_interval
from src.evaluation.predictions import average_by_case

Make = Callable[..., pd.DataFrame]
NAMES = sorted(METRICS)


def task(k: int, n: int = 60, seed: int = 0, decimals: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng([seed, k])
    labels = np.arange(n) % k
    logits = generator.normal(size=(n, k)) + 1.5 * np.eye(k)[labels]
    values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if decimals is not None:  # many ties
        values = np.round(values, decimals)
        values[:, -1] = 1 - values[:, :-1].sum(axis=1)
    return values, labels


def expected(name: str, p: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    k, top = p.shape[1], p.argmax(axis=1)
    if name == "accuracy":
        return float(reference.accuracy_score(y, top, sample_weight=w))
    if name == "balanced_accuracy":
        return float(reference.balanced_accuracy_score(y, top, sample_weight=w))
    if name == "macro_f1":
        return float(reference.f1_score(y, top, sample_weight=w, average="macro"))
    if name == "auc":
        if k == 2:
            return float(reference.roc_auc_score(y, p[:, 1], sample_weight=w))
        areas = [reference.roc_auc_score(y == c, p[:, c], sample_weight=w) for c in range(k)]
        return float(np.mean(areas))
    if name == "log_loss":
        return float(reference.log_loss(y, p, labels=range(k), sample_weight=w))
    if name == "brier":
        if k == 2:
            return float(reference.brier_score_loss(y, p[:, 1], sample_weight=w))
        return float(reference.brier_score_loss(y, p, labels=range(k), sample_weight=w))
    return expected_ece(p, y, w)


def expected_ece(p: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    """Guo 2017, equation 3, bin by bin."""
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == y
    total = 0.0
    for low, high in zip(np.arange(15) / 15, np.arange(1, 16) / 15, strict=True):
        inside = (confidence > low) & (confidence <= high)
        if w[inside].sum() > 0:
            gap = np.average(correct[inside], weights=w[inside]) - np.average(confidence[inside], weights=w[inside])
            total += w[inside].sum() * abs(gap)
    return total / float(w.sum())


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_metrics_agree_with_scikit_learn(name: str, k: int, decimals: int | None) -> None:
    p, y = task(k, decimals=decimals)
    weights = np.random.default_rng(1).integers(0, 4, size=(5, len(y))).astype(float)
    weights[0] = 1
    found = METRICS[name](p, y, weights)
    if name == "log_loss" and decimals is not None:
        p = np.clip(p, 0, 1)  # scikit-learn refuses -1e-17
    np.testing.assert_allclose(found, [expected(name, p, y, w) for w in weights], rtol=1e-12, atol=1e-12)


def test_four_class_auc_is_scikit_learns_macro_one_against_rest() -> None:
    p, y = task(4)
    wanted = reference.roc_auc_score(y, p, multi_class="ovr", average="macro")
    np.testing.assert_allclose(metrics.auc(p, y, np.ones((1, len(y)))), wanted)


def test_integer_weights_are_repeated_cases() -> None:
    p, y = task(3)
    counts = np.random.default_rng(2).integers(0, 3, size=len(y))
    for name, metric in METRICS.items():
        weighted = metric(p, y, counts[None].astype(float))[0]
        repeated = metric(p.repeat(counts, axis=0), y.repeat(counts), np.ones((1, counts.sum())))[0]
        assert weighted == pytest.approx(repeated, abs=1e-12), name


def test_brier_by_hand() -> None:
    once = np.ones((1, 1))
    assert metrics.brier(np.array([[0.7, 0.3]]), np.array([0]), once)[0] == pytest.approx(0.09)
    assert metrics.brier(np.array([[0.7, 0.3, 0.0]]), np.array([0]), once)[0] == pytest.approx(0.18)


def test_constant_scores_have_an_auc_of_one_half() -> None:
    p, y = np.full((10, 2), 0.5), np.arange(10) % 2
    assert metrics.auc(p, y, np.ones((1, 10)))[0] == 0.5


def test_a_zero_probability_costs_a_finite_loss() -> None:
    assert metrics.log_loss(np.array([[1.0, 0.0]]), np.array([1]), np.ones((1, 1)))[0] == pytest.approx(36.04, abs=0.01)


def test_absent_classes_are_left_out() -> None:
    p, y = task(3)
    weights = (y != 2).astype(float)[None]
    present = y != 2
    top = p[present].argmax(axis=1)
    recalls = [(top[y[present] == k] == k).mean() for k in (0, 1)]
    assert metrics.balanced_accuracy(p, y, weights)[0] == pytest.approx(np.mean(recalls))
    areas = [reference.roc_auc_score(y[present] == k, p[present, k]) for k in (0, 1)]
    assert metrics.auc(p, y, weights)[0] == pytest.approx(np.mean(areas))
    assert np.isnan(metrics.auc(p, y, (y == 0).astype(float)[None])[0])


def test_interval_leaves_out_what_is_no_number() -> None:
    values = np.arange(1001.0)
    assert percentile_interval(values) == (25.0, 975.0)
    assert percentile_interval(np.append(values, np.nan)) == (25.0, 975.0)
    assert np.isnan(percentile_interval(np.full(3, np.nan))).all()


def test_weights_draw_whole_patients() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    weights = np.concatenate(list(bootstrap_weights(groups, 50, seed=3)))
    assert weights.shape == (50, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 5])
    np.testing.assert_array_equal(weights[:, [0, 2, 3]].sum(axis=1), 3)


def test_weights_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.arange(10)
    (whole,) = bootstrap_weights(groups, 25, seed=3)
    monkeypatch.setattr(metrics, "CHUNK", 30)
    monkeypatch.setattr(metrics, "FEWEST", 1)
    chunks = list(bootstrap_weights(groups, 25, seed=3))
    assert [len(chunk) for chunk in chunks] == [3] * 8 + [1]
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


def test_unknown_patients_are_groups_of_their_own() -> None:
    cases = pd.DataFrame({"case": ["a", "b", "c", "d", "x"], "patient": ["x", "", "x", "", ""]})
    groups = patient_groups(cases)
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 4  # case x is not patient x


def test_measure_names_every_metric(make: Make) -> None:
    found = measure_cases(average_by_case(make(cases=40)), replicates=20)
    assert set(found) == {f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")} | {"accuracy_std"}
    assert all(found[f"{name}_low"] <= found[f"{name}_high"] for name in METRICS)


def test_measure_does_not_depend_on_the_order_of_rows(make: Make) -> None:
    cases = average_by_case(make(cases=40))
    assert measure_cases(cases.sample(frac=1, random_state=1), replicates=50) == measure_cases(cases, replicates=50)
    assert measure_cases(cases, replicates=50, seed=1) != measure_cases(cases, replicates=50)


def test_accuracy_std_is_the_population_one_over_folds() -> None:
    cases = pd.DataFrame({"case": list("abcd"), "patient": "", "label": "x", "fold": [1, 1, 2, 2]})
    cases = cases.assign(p_x=[0.9, 0.9, 0.9, 0.1], p_y=[0.1, 0.1, 0.1, 0.9])
    found = measure_cases(cases, replicates=5)
    assert found["accuracy"] == 0.75
    assert found["accuracy_std"] == 0.25
    assert "auc" not in found  # one class only: it cannot be computed
    assert np.isfinite(list(found.values())).all()


def test_measure_refuses_no_replicates_and_unknown_labels(make: Make) -> None:
    cases = average_by_case(make())
    with pytest.raises(ValueError, match=r"`replicates >= 1` must hold, but got replicates=0"):
        measure_cases(cases, replicates=0)
    with pytest.raises(ValueError, match="but got 'Odd'"):
        measure_cases(cases.assign(label="Odd"), replicates=1)


def cases_of(correct: np.ndarray, patients: np.ndarray) -> pd.DataFrame:
    n = len(correct)
    table = pd.DataFrame({"case": np.arange(n).astype(str), "patient": patients.astype(str), "label": "x", "fold": 1})
    return table.assign(p_x=np.where(correct, 0.9, 0.1), p_y=np.where(correct, 0.1, 0.9))


def test_intervals_cover_the_truth_when_cases_of_a_patient_are_alike() -> None:
    """60 patients with 4 equal cases each, true accuracy 0.8: about 95 % of intervals must hold it."""
    generator, held, naive = np.random.default_rng(0), 0, 0
    patients, trials = np.arange(60).repeat(4), 120
    for trial in range(trials):
        cases = cases_of((generator.random(60) < 0.8).repeat(4), patients)
        found = measure_cases(cases, replicates=200, seed=trial, names=["accuracy"])
        held += found["accuracy_low"] <= 0.8 <= found["accuracy_high"]
        found = measure_cases(cases.assign(patient=""), replicates=200, seed=trial, names=["accuracy"])
        naive += found["accuracy_low"] <= 0.8 <= found["accuracy_high"]
    assert 0.88 <= held / trials <= 1
    assert naive / trials < 0.8  # what ignoring patients costs: about 0.66 is expected


def test_a_thousand_replicates_of_400_cases_are_quick(make: Make) -> None:
    cases = average_by_case(make(cases=400, seeds=1))
    start = time.perf_counter()
    measure_cases(cases)
    assert time.perf_counter() - start < 4  # 0.2 s on one idle core
