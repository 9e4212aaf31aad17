from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.evaluation.calibration import ERROR, INTERCEPT, SLOPE
from src.evaluation.curves import area_under_curve
from src.evaluation.evaluation import evaluate
from src.evaluation.fold_tables import FUSION, SPREAD
from src.evaluation.metrics import METRICS, measure_cases
from src.evaluation.per_class import class_table
from src.evaluation.predictions import align_tables, average_by_case
from src.evaluation.side_by_side import Group, group_table
from src.evaluation.two_classes import Binary

Make = Callable[..., pd.DataFrame]
CARCINOMA = Binary(positive=["InSitu", "Invasive"])


def test_a_single_run(make: Make) -> None:
    predictions = make(cases=40)
    found = evaluate(predictions, CARCINOMA, replicates=20)
    assert found.table.index.tolist() == ["resnet"]
    assert found.classes == ["Normal", "Benign", "InSitu", "Invasive"]
    assert found.positive == ["InSitu", "Invasive"]
    assert {name for name in found.metrics if not name.endswith(("_low", "_high"))} == (
        {*METRICS, "accuracy_std"} | {f"binary_{name}" for name in (*METRICS, "accuracy_std", INTERCEPT, SLOPE, ERROR)}
    )
    assert list(found.calibration) == ["positive", *found.classes]
    assert found.metrics["binary_calibration_slope"] == found.calibration["positive"].slope.value
    assert found.predictive["threshold"].tolist() == found.set_points["threshold"].tolist()
    assert len(found.decision) == 99
    assert measure_cases(average_by_case(predictions), 20).items() <= found.metrics.items()
    assert found.fold_accuracy.std(ddof=0) == pytest.approx(found.metrics["accuracy_std"])
    assert np.trace(found.confusion.to_numpy()) / 40 == pytest.approx(found.metrics["accuracy"])
    assert list(found.roc) == ["positive"]
    assert area_under_curve(found.roc["positive"]) == pytest.approx(found.metrics["binary_auc"])
    assert found.set_points["accuracy"].iloc[-1] == pytest.approx(found.metrics["binary_accuracy"])
    truth = found.confusion.sum(axis=1)[found.positive].sum()
    assert sum(found.missed.values()) / truth == pytest.approx(1 - found.set_points["sensitivity"].iloc[-1])
    assert found.reliability is not None
    assert found.reliability["count"].sum() == 40


def test_a_fusion(make: Make) -> None:
    predictions = align_tables({"one": make("resnet", cases=40), "two": make("vgg", cases=40, draw=1)})
    found = evaluate(predictions, CARCINOMA, replicates=20)
    assert found.table.index.tolist() == ["resnet", "vgg", SPREAD, FUSION]
    np.testing.assert_allclose(100 * found.fold_accuracy, found.table.loc[FUSION].iloc[:3])
    assert measure_cases(average_by_case(predictions), 20).items() <= found.metrics.items()


def test_without_a_two_class_view_each_class_has_a_curve(make: Make) -> None:
    found = evaluate(make(cases=40), replicates=20)
    assert list(found.roc) == found.classes
    assert np.mean([area_under_curve(curve) for curve in found.roc.values()]) == pytest.approx(found.metrics["auc"])
    assert found.positive == []
    assert found.missed == {}
    assert found.set_points.empty
    assert found.predictive.empty
    assert found.decision.empty
    assert list(found.calibration) == found.classes
    assert not any(name.startswith("binary_") for name in found.metrics)


def test_two_classes_are_their_own_two_class_view(make: Make) -> None:
    found = evaluate(make(cases=40, classes=("benign", "malignant"), views=("cc", "mlo")), replicates=20)
    assert found.positive == ["malignant"]
    assert found.metrics["binary_auc"] == pytest.approx(found.metrics["auc"])
    assert found.metrics["binary_brier"] == pytest.approx(found.metrics["brier"])
    assert sum(found.missed.values()) == found.confusion.loc["malignant", "benign"]


def test_a_class_that_no_case_has(make: Make) -> None:
    predictions = make(cases=40)
    found = evaluate(predictions[predictions["label"] != "Benign"], replicates=20)
    assert list(found.roc) == ["Normal", "InSitu", "Invasive"]
    assert found.confusion.loc["Benign"].sum() == 0


def test_a_broken_table_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="once under one key"):
        evaluate(pd.concat([make(), make()]))


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_figure_has_one_interval_wherever_it_is_shown(make: Make, repeats: int) -> None:
    """Metrics, two-class view, slices, set points, classes, side by side: of folds of one size, and one seed."""
    classes = ("benign", "malignant")
    predictions = make(cases=36, seeds=1, repeats=repeats, classes=classes, views=("cc", "mlo"), signal=0.7)
    found = evaluate(predictions, Binary(positive=["malignant"]), replicates=5)
    group = Group(axes={}, leaks=False, patients=0, predictions=predictions, binary=Binary(), evaluation=found)
    row, (_, point), (negative, positive) = (
        group_table([group], replicates=5).iloc[0],
        found.set_points.to_dict("records"),
        class_table(average_by_case(predictions)).to_dict("records"),
    )
    metrics, whole = found.metrics, found.slices.iloc[0]
    places = {
        "accuracy": [three(whole, "accuracy"), three(metrics, "binary_accuracy"), three(point, "accuracy")],
        "balanced_accuracy": [three(whole, "balanced_accuracy"), three(metrics, "binary_balanced_accuracy")],
        "auc": [three(each, "auc") for each in (whole, negative, positive, row)] + [three(metrics, "binary_auc")],
    }
    for name, several in places.items():
        for each in several:
            assert each == pytest.approx(three(metrics, name)), name
    assert [row["mean"], row["low"], row["high"]] == pytest.approx([100 * each for each in three(metrics, "accuracy")])
    assert three(point, "sensitivity") == pytest.approx(three(positive, "recall"))
    assert three(point, "specificity") == pytest.approx(three(negative, "recall"))


def three(row: Mapping[Any, Any], name: str) -> list[float]:
    """A figure and its ends."""
    return [float(row[key]) for key in (name, f"{name}_low", f"{name}_high")]


def test_an_accuracy_that_the_most_frequent_class_alone_has_is_noted(make: Make) -> None:
    predictions = make(cases=60, classes=("benign", "malignant"), signal=0.0)
    cases = predictions["case"].unique()[:20]
    benign = predictions.assign(label=np.where(predictions["case"].isin(cases), predictions["label"], "benign"))
    found = evaluate(benign, Binary(positive=["malignant"]), replicates=5)
    name, share = found.commonest
    assert name == "benign"
    assert share == (benign.groupby("case")["label"].first() == "benign").mean()
    assert found.metrics["accuracy"] < share
    (note,) = found.notes
    assert f"does not exceed the {100 * share:.1f} % of always naming the most frequent class, benign" in note
    assert evaluate(make(cases=60, signal=3.0), replicates=5).notes == []


def test_few_patients_are_noted(make: Make) -> None:
    notes = evaluate(make(cases=12, signal=3.0), replicates=5).notes
    assert any("patients" in note and "are few" in note for note in notes)


def test_a_figure_of_repeats_is_the_mean_of_those_of_each(make: Make) -> None:
    rows, binary = make(repeats=3, cases=24), Binary(positive=["InSitu", "Invasive"])
    result = evaluate(rows, binary)
    each = [evaluate(part, binary) for _, part in rows.groupby("repeat")]
    for name in ("accuracy", "log_loss", "brier"):
        assert result.metrics[name] == pytest.approx(np.mean([one.metrics[name] for one in each]))
    np.testing.assert_allclose(result.confusion, np.mean([one.confusion for one in each], axis=0))
    assert result.missed == pytest.approx({name: np.mean([one.missed[name] for one in each]) for name in result.missed})
    assert (result.part, each[0].part) == ("repeat", "fold")
    assert result.folds.filter(regex="^f").shape[1] == 9
