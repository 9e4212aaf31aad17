"""Groups that cannot be fused with each other, side by side."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from src.evaluation.evaluation import evaluate
from src.evaluation.fold_tables import FUSION
from src.evaluation.predictions import align_tables, class_names, probability_columns
from src.evaluation.published import subtract_published
from src.evaluation.side_by_side import (
    Group,
    axes_title,
    balance_scores,
    group_table,
    mean_of_folds,
    protocol_gaps,
    published_beside_ours,
    score_models,
    side_by_side,
)
from src.evaluation.two_classes import Binary

Make = Callable[..., pd.DataFrame]


def group(tables: list[pd.DataFrame], leaks: bool = False, patients: float = np.nan, **axes: str) -> Group:
    predictions = align_tables({str(number): table for number, table in enumerate(tables)})
    evaluation = evaluate(predictions, Binary(), 5)
    return Group(
        axes=axes, leaks=leaks, patients=patients, predictions=predictions, binary=Binary(), evaluation=evaluation
    )


def refolded(predictions: pd.DataFrame, folds: int) -> pd.DataFrame:
    return predictions.assign(fold=1 + predictions["case"].astype(int) % folds)


def test_a_row_holds_what_the_table_by_fold_does(make: Make) -> None:
    one = group([make("a", seeds=2, cases=36), make("b", draw=1, cases=36)], protocol="kfold")
    table = group_table([one], replicates=200).set_index("model")
    assert table.index.tolist() == ["a", "b", FUSION]
    assert table["group"].unique().tolist() == ["kfold"]
    shown = one.evaluation.table.loc[table.index]
    np.testing.assert_allclose(table[["mean", "std"]], shown[["mean", "std"]])
    assert (table["low"] < table["mean"]).all()
    assert (table["mean"] < table["high"]).all()
    assert table.loc[FUSION, "auc"] == one.evaluation.metrics["auc"]


def test_the_mean_of_folds_is_that_of_the_table(make: Make) -> None:
    predictions = make(cases=40, seeds=3)
    scores = score_models(predictions)["resnet"]
    folds = pd.get_dummies(scores["fold"]).to_numpy(dtype=np.float64)
    right = scores["right"].to_numpy()
    weights = np.ones((2, len(scores)))
    weights[1] = folds[:, 0]  # the first fold's cases alone
    found = 100 * mean_of_folds(right, folds, weights)
    table = evaluate(predictions, replicates=5).table
    np.testing.assert_allclose(found, [table.loc["resnet", "mean"], table.loc["resnet", "f1"]])


def test_two_classes_have_sensitivity_and_specificity(make: Make) -> None:
    one = group([make(cases=40, classes=("benign", "malignant"))], protocol="kfold")
    row = group_table([one], replicates=5).iloc[0]
    point = one.evaluation.set_points.iloc[-1]
    assert (row["sensitivity"], row["specificity"]) == (point["sensitivity"], point["specificity"])
    assert row["binary_auc"] == pytest.approx(row["auc"])
    assert row["view"] == "malignant (positive) against benign"


def test_the_gap_is_the_difference_of_the_means(make: Make) -> None:
    weak, strong = make("a", cases=40, signal=0.7), refolded(make("a", cases=40, signal=2.5, draw=1), 4)
    groups = [group([strong], True, protocol="image_kfold"), group([weak], protocol="kfold")]
    found = protocol_gaps(groups, replicates=200)
    assert found[["model", "leaking", "other"]].to_numpy().tolist() == [["a", "image_kfold", "kfold"]]
    means = [each.evaluation.table.loc["a", "mean"] for each in groups]
    assert found.loc[0, "gap"] == pytest.approx(means[0] - means[1])
    assert found.loc[0, "low"] < found.loc[0, "gap"] < found.loc[0, "high"]


def test_the_same_predictions_have_no_gap_and_no_doubt_of_it(make: Make) -> None:
    """As both protocols are drawn with the same patients."""
    groups = [group([make()], True, protocol="image_kfold"), group([make()], protocol="kfold")]
    assert protocol_gaps(groups, replicates=50)[["gap", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]]


def test_a_gap_is_between_groups_that_differ_in_nothing_else(make: Make) -> None:
    groups = [
        group([make()], leaks, protocol=protocol, training_patients=patients)
        for protocol, leaks in (("image_kfold", True), ("kfold", False), ("published", False))
        for patients in ("8", "0")
    ]
    found = protocol_gaps(groups, replicates=5)
    assert found["other"].tolist() == ["kfold", "published", "kfold", "published"]
    assert found["training_patients"].tolist() == ["8", "8", "0", "0"]
    assert protocol_gaps([each for each in groups if not each.leaks], replicates=5).empty


def test_other_cases_may_be_held_out(make: Make) -> None:
    """A holdout by image and one by patient report different cases."""
    cases = make(cases=40)
    one, other = (cases[cases["case"].astype(int) % 4 == part].assign(fold=1) for part in (1, 2))
    found = protocol_gaps(
        [group([one], True, protocol="image_holdout"), group([other], protocol="holdout")], replicates=50
    )
    assert np.isfinite(found[["gap", "low", "high"]].to_numpy(dtype=np.float64)).all()


def test_a_learning_curve_is_by_the_number_of_patients(make: Make) -> None:
    sizes = {"0": 25.6, "4": 4.0, "16": 16.0}
    groups = [
        group([make("a"), make("b", draw=1)], patients=real, training_patients=size) for size, real in sizes.items()
    ]
    together = side_by_side(groups, replicates=5)
    assert together.curve["patients"].tolist() == [4.0] * 3 + [16.0] * 3 + [25.6] * 3
    assert together.table["model"].tolist() == ["a"] * 3 + ["b"] * 3 + [FUSION] * 3
    assert side_by_side(groups[:1], replicates=5).curve.empty


def test_a_model_that_a_group_lacks_comes_in_its_place(make: Make) -> None:
    first, second = group([make("a")], protocol="x"), group([make("a"), make("b", draw=1)], protocol="y")
    assert group_table([first, second], replicates=5)["model"].tolist() == ["a", "a", "b", FUSION]


def test_published_figures_stand_beside_ours(make: Make) -> None:
    one = group([make("a"), make("b", draw=1)], patients=9, training_patients="0")
    few = group([make("a"), make("b", draw=1)], patients=4, training_patients="4")
    published = pd.DataFrame(
        {
            "model": ["a", "a", "c", "a"],
            "metric": ["accuracy", "auc", "accuracy", "sensitivity"],
            "value": [84.2, 91.0, 71.0, 99.0],
            "std": [4.2, np.nan, np.nan, np.nan],
            "note": ["", "both views", "", ""],
        }
    )
    table = group_table([few, one], replicates=5)
    found = published_beside_ours(published, table)
    assert found.columns.tolist() == ["model", "metric", "published", "published_std", "all patients", "note"]
    rows = table[(table["model"] == "a") & (table["patients"] == 9)].iloc[0]
    np.testing.assert_allclose(found["all patients"], [rows["mean"], 100 * rows["auc"], np.nan, np.nan])


def test_balanced_accuracy_is_the_mean_over_seeds_and_repeats(make: Make) -> None:
    rows = make(cases=41, folds=1, seeds=3, repeats=4, signal=1.0)
    rows = rows[rows["case"].astype(int) % 3 < rows["repeat"]]  # repeats hold out other cases
    found = balance_scores(score_models(rows)["resnet"])
    guesses = rows[probability_columns(rows)].to_numpy().argmax(axis=1)
    named = rows.assign(guess=np.array(class_names(rows))[guesses])
    of_repeat = [
        np.mean([balanced_accuracy_score(run["label"], run["guess"]) for _, run in split.groupby("seed")])
        for _, split in named.groupby("repeat")
    ]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(of_repeat))
    assert found["balanced_accuracy_std"] == pytest.approx(np.std(of_repeat))
    assert found["balanced_accuracy_low"] < found["balanced_accuracy"] < found["balanced_accuracy_high"]
    assert "balanced_accuracy_std" not in balance_scores(score_models(make())["resnet"])


def test_balanced_accuracies_that_nobody_published_stand_below(make: Make) -> None:
    published = pd.DataFrame({"model": ["x", "a"], "metric": "balanced_accuracy", "value": 80.0, "note": ""})
    together = side_by_side([group([make("a"), make("b", draw=1)])], published.assign(std=np.nan), replicates=5)
    found = together.published
    assert found["model"].tolist() == ["x", "a", "b", FUSION]
    assert found["published"].isna().tolist() == [False, False, True, True]
    assert found["ours"].isna().tolist() == [True, False, False, False]
    assert subtract_published(found, together.table)["model"].tolist() == ["x", "a"]


def test_titles() -> None:
    assert axes_title({"protocol": "kfold", "training_patients": "8"}) == "kfold 8 patients"
    assert axes_title({"data.task": "binary", "training_patients": "0"}) == "data.task=binary all patients"
    assert axes_title({}) == ""
