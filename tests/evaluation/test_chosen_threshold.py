"""Thresholds by a rule: by hand, by brute force, and held to what they promise."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.chosen_threshold import (
    KeptThreshold,
    ThresholdChoice,
    ThresholdRule,
    choose_thresholds,
    parse_rule,
    training_cases,
)
from src.evaluation.evaluation import evaluate
from src.evaluation.two_classes import Binary
from tests.benchmarks.choices import threshold_study
from tests.support.predictions import make_predictions

SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=40).filter(
    lambda cases: len({truth for truth, _ in cases}) == 2
)


def arrays(cases: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([truth for truth, _ in cases]), np.array([score / 20 for _, score in cases])


def wrong(truth: np.ndarray, score: np.ndarray, threshold: float) -> tuple[int, int]:
    """Missed cases, false alarms."""
    called = score > threshold
    return int((truth & ~called).sum()), int((~truth & called).sum())


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        # Five positive cases: 0.3, 0.5, 0.6, 0.8, 0.9; five negative ones: 0.1, 0.2, 0.4, 0.5, 0.7.
        ("sensitivity:0.8", 0.25),  # of six cases one may be wrong: none of the five
        ("sensitivity:0.6", 0.45),  # two of six: one of the five
        ("specificity:0.8", 0.75),
        ("specificity:0.6", 0.55),
        ("youden", 0.25),  # 1 + 2/5, as at 0.55 (3/5 + 4/5) and 0.75: the lowest
        ("cost:1", 0.25),  # three wrong, as at 0.55 and 0.75
        ("cost:0.5", 0.75),
        ("cost:9", 0.25),
    ],
)
def test_thresholds_by_hand(text: str, threshold: float) -> None:
    truth = np.repeat([True, False], 5)
    score = np.array([0.3, 0.5, 0.6, 0.8, 0.9, 0.1, 0.2, 0.4, 0.5, 0.7])
    rule = parse_rule(text)
    assert rule is not None
    assert str(rule) == text
    assert rule(truth, score) == pytest.approx(threshold)


@given(cases=SCORES, value=st.floats(0.05, 0.95), cost=st.floats(0.1, 10))
def test_no_other_threshold_is_better(cases: list[tuple[bool, int]], value: float, cost: float) -> None:
    truth, score = arrays(cases)
    positive, negative = int(truth.sum()), int((~truth).sum())
    others = [wrong(truth, score, place) for place in (-0.1, *(number / 20 for number in range(21)))]
    missed, alarms = wrong(truth, score, ThresholdRule("cost", cost)(truth, score))
    assert cost * missed + alarms == pytest.approx(min(cost * one + other for one, other in others), abs=1e-7)
    missed, alarms = wrong(truth, score, ThresholdRule("youden")(truth, score))
    best = min(one / positive + other / negative for one, other in others)
    assert missed / positive + alarms / negative == pytest.approx(best, abs=1e-7)
    for name, side, count in (("sensitivity", 0, positive), ("specificity", 1, negative)):
        found = wrong(truth, score, ThresholdRule(name, value)(truth, score))
        allowed = max(math.floor((1 - value) * (count + 1) + 1e-9) - 1, 0)
        assert found[side] <= allowed
        assert found[1 - side] == min(each[1 - side] for each in others if each[side] <= allowed)


def test_a_new_case_is_called_rightly_as_often_as_was_asked() -> None:
    """Whatever the scores' distribution: the exact probability at each number of cases, by its beta distribution."""
    rule = ThresholdRule("sensitivity", 0.9)
    for count in (9, 10, 25, 99, 100):
        allowed = rule._allowed(count)
        assert 1 - (allowed + 1) / (count + 1) >= 0.9 - 1e-12
        assert 1 - (allowed + 2) / (count + 1) < 0.9 - 1e-12


def test_where_even_the_lowest_score_has_to_be_called() -> None:
    truth, score = np.array([True, False]), np.array([0.0, 0.5])
    threshold = ThresholdRule("sensitivity", 0.9)(truth, score)
    assert (score > threshold).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sensitivity", "between 0 and 1, as a fraction, but got threshold=sensitivity: take"),
        ("sensitivity:95", "between 0 and 1"),
        ("specificity:1", "between 0 and 1"),
        ("sensitivity:high", "between 0 and 1"),
        ("sensitvity:0.9", "did you mean sensitivity"),
        ("youden:0.5", "`threshold` is sensitivity:0.95"),
        ("cost", "`threshold` is sensitivity:0.95"),
        ("cost:0", "a number above 0"),
        ("cost:inf", "a number above 0"),
        ("0.5", "`threshold` is sensitivity:0.95"),
    ],
)
def test_what_is_no_rule_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_rule(text)


def table(folds: list[int], labels: list[str], scores: list[float], model: str = "m") -> pd.DataFrame:
    names = [f"case{number}" for number in range(len(folds))]
    given = {"sample": names, "case": names, "patient": names, "view": "", "label": labels, "model": model}
    score = np.array(scores)
    return pd.DataFrame({**given, "fold": folds, "seed": 0, "p_healthy": 1 - score, "p_tumour": score})


@pytest.fixture
def held_out() -> pd.DataFrame:
    return table([1, 1, 2, 2], ["tumour", "healthy"] * 2, [0.4, 0.3, 0.4, 0.3])


@pytest.fixture
def inner() -> pd.DataFrame:
    """Fold 1 has a training part where 0.35 parts the classes, fold 2 one where 0.6 does."""
    first = table([1] * 4, ["tumour", "healthy"] * 2, [0.9, 0.2, 0.5, 0.2])
    second = table([2] * 4, ["tumour", "healthy"] * 2, [0.9, 0.3, 0.9, 0.3])
    return pd.concat([first, second])


def test_each_fold_has_its_own_for_what_it_holds_out(held_out: pd.DataFrame, inner: pd.DataFrame) -> None:
    rule = parse_rule("youden")
    assert rule is not None
    found = evaluate(held_out, replicates=20, choice=ThresholdChoice(rule=rule, inner=inner))
    assert found.chosen is not None
    assert found.chosen.folds["threshold"].tolist() == pytest.approx([0.35, 0.6])
    point = found.set_points.iloc[0]
    assert (point["rule"], point["threshold"]) == ("youden", pytest.approx(0.475))
    assert (point["sensitivity"], point["specificity"], point["accuracy"]) == (0.5, 1.0, 0.75)
    assert found.metrics["threshold_sensitivity"] == 0.5
    assert found.metrics["threshold_sensitivity_low"] < 0.5 < found.metrics["threshold_sensitivity_high"]
    assert (found.metrics["threshold_lowest"], found.metrics["threshold_highest"]) == pytest.approx((0.35, 0.6))
    assert found.set_points["rule"].tolist()[1:] == ["", ""]


def test_scores_are_averaged_over_seeds_and_models(held_out: pd.DataFrame, inner: pd.DataFrame) -> None:
    lower = inner.assign(seed=1, p_tumour=inner["p_tumour"] - 0.1, p_healthy=inner["p_healthy"] + 0.1)
    rule = ThresholdRule("youden")
    both = choose_thresholds(rule, training_cases(pd.concat([inner, lower])), Binary())
    assert both.folds["threshold"].tolist() == pytest.approx([0.3, 0.55])
    other = pd.concat([inner, lower.assign(model="other")])
    alone = ThresholdChoice(rule=rule, inner=other).of(held_out, Binary())
    assert alone.folds["threshold"].tolist() == pytest.approx([0.35, 0.6])


def test_what_cannot_be_told_is_noted(inner: pd.DataFrame) -> None:
    few = choose_thresholds(ThresholdRule("sensitivity", 0.95), training_cases(inner), Binary())
    assert "takes 19 positive cases in a training part" in few.notes()[0]
    assert choose_thresholds(ThresholdRule("youden"), training_cases(inner), Binary()).notes() == []
    same = choose_thresholds(
        ThresholdRule("cost", 9), training_cases(inner.assign(p_tumour=0.3, p_healthy=0.7)), Binary()
    )
    assert "reached in fold 1, 2 only where all cases of the training part are called the same" in same.notes()[-1]


def test_a_training_part_without_one_side_is_named(inner: pd.DataFrame) -> None:
    rows = inner[(inner["fold"] == 1) | (inner["label"] == "healthy")]
    with pytest.raises(ValueError, match="needs positive cases in the training part of fold 2"):
        choose_thresholds(ThresholdRule("youden"), training_cases(rows), Binary())


@pytest.mark.slow
@pytest.mark.parametrize("patients", [100, 400])
def test_what_is_told_of_a_threshold_is_true_of_the_models(patients: int) -> None:
    """Of real learners whose true sensitivity is known (`tests.benchmarks.choices`)."""
    studies = pd.DataFrame([threshold_study(seed, patients, ThresholdRule("sensitivity", 0.95)) for seed in range(60)])
    difference = studies["told"] - studies["true"]
    assert abs(difference.mean()) < 1 + 2 * difference.sem()
    assert studies["true"].mean() > 95 - 2 * studies["true"].sem()


def test_a_threshold_that_is_kept_is_applied_as_it_is() -> None:
    table = make_predictions(cases=40, folds=1, seeds=1, classes=("a", "b"))
    binary, rule = Binary(positive=["b"]), parse_rule("sensitivity:0.95")
    assert rule is not None
    found = evaluate(table, binary, 5, choice=KeptThreshold(rule=rule, value=0.2))
    called = table["p_b"] > 0.2
    assert found.metrics["threshold_mean"] == 0.2
    assert found.metrics["threshold_sensitivity"] == called[table["label"] == "b"].mean()
    assert found.metrics["threshold_specificity"] == (~called[table["label"] == "a"]).mean()
    assert not [note for note in found.notes if note.startswith("threshold=")]
