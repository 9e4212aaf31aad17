"""Figures of perturbed images: paired with the images as they are, by patient, and the level at which 5 points go."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from src.evaluation.metrics import measure_cases, patient_groups
from src.evaluation.predictions import average_by_case, class_names
from src.evaluation.robustness import (
    UNCHANGED,
    LevelScale,
    clustered_difference,
    clustered_mean,
    common_cases,
    explain_robustness,
    level_of_loss,
    robustness_table,
    summarise_robustness,
)
from src.evaluation.robustness_figure import draw_robustness
from src.evaluation.text_tables import tabulate_levels, tabulate_robustness
from tests.support.predictions import make_predictions

SCALES = {"blur": LevelScale(unit="pixels", unchanged=0), "scale": LevelScale(unit="factor", unchanged=1)}
Made = dict[tuple[str, float], pd.DataFrame]


def answers(model: str = "resnet", weak: float = 0.3, **options: object) -> Made:
    """Models that know less of the same cases, the more these are blurred; what is scaled is known as before."""
    given = {"cases": 80, "classes": ("no", "yes"), "signal": 1.5, **options}
    start = make_predictions(model, **given)
    made = {("blur", level): make_predictions(model, **(given | {"signal": 1.5 - weak * level})) for level in (1, 2, 4)}
    return {UNCHANGED: start, ("scale", 0.5): start, ("scale", 2.0): start, **made}


def row(table: pd.DataFrame, perturbation: str, level: float, model: str = "resnet") -> pd.Series:
    wanted = (table["model"] == model) & (table["perturbation"] == perturbation) & (table["level"] == level)
    return table[wanted].iloc[0]


def test_a_level_has_the_figures_of_its_own_predictions_and_their_differences() -> None:
    made = answers()
    table = robustness_table({"resnet": made}, SCALES, replicates=200)
    assert table[["perturbation", "level"]].to_numpy().tolist() == [
        *(["blur", level] for level in (0, 1, 2, 4)),
        *(["scale", level] for level in (0.5, 1, 2)),
    ]
    before, after = average_by_case(made[UNCHANGED]), average_by_case(made["blur", 4])
    found = row(table, "blur", 4)
    for name, value in measure_cases(after, 200, names=("accuracy", "auc")).items():
        assert name == "accuracy_std" or found[name] == value
    right = [(cases["p_yes"] > cases["p_no"]) == (cases["label"] == "yes") for cases in (before, after)]
    assert found["accuracy_difference"] == pytest.approx(right[1].mean() - right[0].mean())
    assert found["changed"] == pytest.approx(((after["p_yes"] > 0.5) != (before["p_yes"] > 0.5)).mean())
    assert found["moved"] == pytest.approx((after["p_yes"] - before["p_yes"]).abs().mean())  # as of two classes
    areas = [roc_auc_score(cases["label"] == "yes", cases["p_yes"]) for cases in (before, after)]
    assert found["auc_difference"] == pytest.approx(areas[1] - areas[0])
    for name in ("accuracy_difference", "auc_difference", "changed", "moved"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert found["accuracy_difference_high"] < 0
    assert found[["cases", "patients", "left_out"]].tolist() == [80, 40, 0]
    assert table["excess_loss"].isna().all()


def test_what_changes_nothing_has_no_difference_but_an_interval() -> None:
    found = row(robustness_table({"resnet": answers()}, SCALES, replicates=50), "scale", 2)
    assert (found[["accuracy_difference", "auc_difference", "changed", "moved"]] == 0).all()
    assert found["accuracy_difference_low"] < 0 < found["accuracy_difference_high"] < 0.06
    assert found["changed_low"] == pytest.approx(0, abs=1e-12)
    assert found["changed_high"] > 0


def test_cases_that_cannot_be_treated_are_left_out_of_both_sides() -> None:
    made = answers()
    known = made["blur", 4]["case"].astype(int) < 60
    table = robustness_table({"resnet": made | {("blur", 4): made["blur", 4][known]}}, SCALES, replicates=50)
    found = row(table, "blur", 4)
    assert found[["cases", "left_out"]].tolist() == [60, 20]
    short = {key: part[part["case"].astype(int) < 60] for key, part in made.items()}
    same = row(robustness_table({"resnet": short}, SCALES, replicates=50), "blur", 4)
    assert found["accuracy_difference_low"] == same["accuracy_difference_low"]
    none = robustness_table({"resnet": made | {("blur", 4): made["blur", 4][:0]}}, SCALES, replicates=50)
    assert row(none, "blur", 4)["left_out"] == 80
    assert np.isnan(row(none, "blur", 4)["accuracy"])
    assert "left out: 80 at blur 4 of resnet" in explain_robustness(none)[-1]
    assert summarise_robustness(none)["worst"].notna().all()


def test_of_two_models_the_difference_of_their_losses() -> None:
    one, other = answers("one", 0.1), answers("other", 0.4)
    table = robustness_table({"one": one, "other": other}, SCALES, replicates=50)
    found, first = row(table, "blur", 4, "other"), row(table, "blur", 4, "one")
    assert found["excess_loss"] == pytest.approx(first["accuracy_difference"] - found["accuracy_difference"])
    assert 0 < found["excess_loss_low"] < found["excess_loss"]
    assert np.isnan(first["excess_loss"])
    assert row(table, "scale", 2, "other")["excess_loss"] == 0


def test_a_figure_of_repeats_is_the_mean_of_theirs() -> None:
    first, second = answers(draw=0), answers(draw=1)
    apart = [robustness_table({"resnet": made}, SCALES, replicates=50) for made in (first, second)]
    both = {
        key: pd.concat([first[key].assign(repeat=1), second[key].assign(repeat=2, fold=second[key]["fold"] + 3)])
        for key in first
    }
    together = robustness_table({"resnet": both}, SCALES, replicates=50)
    for name in ("accuracy", "auc", "accuracy_difference", "auc_difference", "changed", "moved"):
        means = np.mean([row(table, "blur", 4)[name] for table in apart])
        if name not in ("accuracy", "auc"):  # those are `measure_cases`'
            assert row(together, "blur", 4)[name] == pytest.approx(means), name
    assert row(together, "blur", 4)[["cases", "patients"]].tolist() == [80, 40]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.integers(0, 9)), min_size=2, max_size=40))
def test_an_interval_of_differences_holds_its_middle_and_mirrors(drawn: list[tuple[float, int]]) -> None:
    values, groups = np.array([value for value, _ in drawn]), np.unique([g for _, g in drawn], return_inverse=True)[1]
    low, high = clustered_difference(values, groups)
    if groups.max() == 0:
        assert np.isnan(low)
        return
    assert low < high
    np.testing.assert_allclose(clustered_difference(-values, groups), (-high, -low))
    one, other = clustered_mean(values, groups)
    assert one <= values.mean() <= other


def test_an_interval_of_differences_is_agrestis_of_single_images() -> None:
    """Agresti and Min 2005, section 2.2, but for t and the K - 1: 10 gained, 25 lost of 144."""
    gained, lost, count = 10, 25, 144
    values = np.r_[np.ones(gained), -np.ones(lost), np.zeros(count - gained - lost)]
    total, difference = count + 2, (gained - lost) / (count + 2)
    variance = ((gained + 0.5) + (lost + 0.5) - total * difference**2) / total**2
    low, high = clustered_difference(values, np.arange(count))
    assert (low + high) / 2 == pytest.approx(difference)
    assert (high - low) / 2 == pytest.approx(1.96 * variance**0.5, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("patients", "images"), [(20, 5), (40, 3), (100, 1), (400, 1)])
@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.01), (0.1, 0.05), (0.3, 0.05)])
def test_intervals_of_differences_hold_what_is_true(patients: int, images: int, lost: float, gained: float) -> None:
    """Of patients whose images are half alike."""
    draws, held = np.random.default_rng(0), []
    groups = np.repeat(np.arange(patients), images)
    for _ in range(1000):
        each = draws.choice([-1.0, 1.0, 0.0], p=[lost, gained, 1 - lost - gained], size=(patients, images + 1))
        values = np.where(draws.random((patients, 1)) < 0.5, each[:, :1], each[:, 1:]).ravel()
        low, high = clustered_difference(values, groups)
        held.append(low <= gained - lost <= high)
    assert np.mean(held) > 0.93


def side(*points: tuple[float, float]) -> pd.DataFrame:
    """Levels and the change of accuracy there; the first is that of no change."""
    levels, changes = zip(*points, strict=True)
    return pd.DataFrame({"level": levels, "accuracy_difference": changes, "unchanged": np.arange(len(levels)) == 0})


@pytest.mark.parametrize(
    ("rows", "level"),
    [
        (side((0, 0), (1, -0.02), (2, -0.08)), 1.5),
        (side((0, 0), (4, -0.1)), 2),
        (side((1, 0), (0.8, -0.05), (0.6, -0.5)), 0.8),
        (side((100, 0), (80, -0.01), (50, -0.03), (30, -0.07)), 40),
        (side((0, 0), (1, 0.03), (2, -0.05)), 2),
        (side((0, 0), (1, np.nan), (2, -0.1)), 1),
        (side((0, 0), (1, -0.049)), np.nan),
        (side((0, 0)), np.nan),
    ],
)
def test_the_level_at_which_five_points_are_lost(rows: pd.DataFrame, level: float) -> None:
    np.testing.assert_allclose(level_of_loss(rows, float(rows["level"].iloc[0])), level)
    shuffled = rows.sample(frac=1, random_state=0)
    np.testing.assert_allclose(level_of_loss(shuffled, float(rows["level"].iloc[0])), level)


def test_the_summary_says_how_far_and_by_how_much() -> None:
    table = robustness_table({"one": answers("one", 0.1), "other": answers("other", 0.4)}, SCALES, replicates=50)
    summary = summarise_robustness(table)
    assert summary[["perturbation", "model"]].to_numpy().tolist() == [
        *(["blur", name] for name in ("one", "other")),
        *(["scale", name] for name in ("one", "other")),
    ]
    text = tabulate_robustness(summary)
    told = {(line[0], line[1]): line for line in text.rows}
    assert text.header[2] == "lost 5 points at"
    assert float(told["blur (pixels)", "other"][2]) == pytest.approx(summary["above"].iloc[1], rel=0.01)
    assert told["scale (factor)", "one"][2] == "< 0.5, > 2"
    assert told["blur (pixels)", "other"][3].startswith("-")
    assert text.header[-1] == "loss beyond one's, points"
    alone = tabulate_robustness(summarise_robustness(table[table["model"] == "one"]))
    assert "model" not in alone.header
    every = tabulate_levels(table)
    assert len(every.rows) == len(table)
    assert all(len(line) == len(every.header) for line in every.rows)


def test_the_figure_has_a_line_for_each_model_in_each_panel() -> None:
    table = robustness_table({"one": answers("one", 0.1), "_other": answers("_other", 0.4)}, SCALES, replicates=50)
    figure = draw_robustness(table)
    blur = next(axes for axes in figure.axes if axes.get_xlabel().startswith("Blur"))
    lines = [line for line in blur.get_lines() if line.get_label() in ("one", " _other")]
    assert [line.get_xdata().tolist() for line in lines] == [[0, 1, 2, 4]] * 2
    assert [line.get_ydata()[0] for line in lines] == [0, 0]
    assert lines[1].get_ydata()[-1] == pytest.approx(100 * row(table, "blur", 4, "_other")["accuracy_difference"])


class TestCasesThatModelsHaveInCommon:
    def test_are_those_of_all(self, make: Callable[..., pd.DataFrame]) -> None:
        one, other = make(cases=12), make(cases=8, folds=2)
        assert set(common_cases({"one": one, "other": other})["case"]) == set(other["case"])

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda table: table.assign(case=table["case"] + "x"), "no case was held out by both one and other"),
            (lambda table: table.assign(patient="p"), "one and other know case 0000 by another label or patient"),
            (lambda table: table.rename(columns={"p_Normal": "p_Usual"}), "the same classes: one has Normal, Benign"),
        ],
    )
    def test_or_it_is_said_why_there_are_none(
        self, make: Callable[..., pd.DataFrame], change: Callable[[pd.DataFrame], pd.DataFrame], said: str
    ) -> None:
        with pytest.raises(ValueError, match=said):
            common_cases({"one": make(), "other": change(make())})


def test_an_image_without_a_patient_is_a_patient(make: Callable[..., pd.DataFrame]) -> None:
    start = make(cases=20).assign(patient="")
    table = robustness_table({"m": {UNCHANGED: start, ("blur", 1.0): start}}, {"blur": SCALES["blur"]}, 20)
    assert table["patients"].tolist() == [20, 20]
    assert len(np.unique(patient_groups(average_by_case(start)))) == 20
    assert len(class_names(start)) == 4
