"""Metrics by the values of a column."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from src.evaluation.evaluation import evaluate
from src.evaluation.metrics import measure_cases
from src.evaluation.predictions import average_by_case
from src.evaluation.slices import UNKNOWN, largest_values, name_folds, slice_facts, slice_table
from src.evaluation.two_classes import Binary

Make = Callable[..., pd.DataFrame]
CARCINOMA = Binary(positive=["InSitu", "Invasive"])


def manifest(predictions: pd.DataFrame, **columns: list[object]) -> pd.DataFrame:
    """The samples of predictions with columns whose values come in turn."""
    samples = predictions[["sample", "case", "label"]].drop_duplicates(ignore_index=True)
    return samples.assign(
        **{name: [values[row % len(values)] for row in samples.index] for name, values in columns.items()}
    )


def test_a_slice_is_the_evaluation_of_its_cases(make: Make) -> None:
    predictions = make(cases=48)
    facts = slice_facts(manifest(predictions, margins=["round", "spiculated", None]), ["margins"])
    table = slice_table(predictions, facts, CARCINOMA, replicates=20)
    assert table["column"].tolist() == ["all", "margins", "margins", "margins"]
    assert table["value"].tolist() == ["", "round", "spiculated", UNKNOWN]
    assert table["cases"].tolist() == [48, 16, 16, 16]
    assert table["patients"].tolist() == [24, 16, 16, 16]
    part = predictions[predictions["sample"].isin(facts["sample"][facts["margins"] == "spiculated"])]
    whole = measure_cases(average_by_case(part), 20)
    row = table.iloc[2]
    for name in ("accuracy", "balanced_accuracy", "auc"):
        assert row[name] == whole[name]
    assert row["binary_auc"] == evaluate(part, CARCINOMA, 20).metrics["binary_auc"]
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]


def test_a_column_that_differs_within_a_case_slices_samples(make: Make) -> None:
    predictions = make(cases=24, views=("cc", "mlo"))
    table = evaluate(predictions, replicates=5).slices
    assert table["value"].tolist() == ["", "cc", "mlo"]
    assert table["cases"].tolist() == [24] * 3
    for view in ("cc", "mlo"):
        found = measure_cases(average_by_case(predictions[predictions["view"] == view]), 5)
        assert table.set_index("value").loc[view, "accuracy"] == found["accuracy"]
    facts = slice_facts(manifest(predictions, magnification=["40X", "100X"]), ["magnification"])
    table = evaluate(predictions, replicates=5, facts=facts).slices
    assert table["value"].tolist() == ["", "cc", "mlo", "40X", "100X"]
    np.testing.assert_array_equal(table.iloc[1, 2:], table.iloc[3, 2:])  # here they are the same samples


def test_nothing_to_tell_apart_gives_no_table(make: Make) -> None:
    assert evaluate(make(), replicates=5).slices.empty
    assert evaluate(make(views=("mlo",)), replicates=5).slices.empty


def test_a_slice_of_one_class_has_no_auc(make: Make) -> None:
    predictions = make(cases=48, classes=("benign", "malignant"))
    facts = slice_facts(manifest(predictions), ["label"])
    table = slice_table(predictions, facts, Binary(), replicates=20).set_index("value")
    assert "binary_auc" not in table  # it would be the same
    assert np.isnan(table.loc["benign", ["auc", "auc_low", "auc_high"]].astype(float)).all()
    assert table.loc["", ["accuracy", "auc", "auc_low"]].notna().all()


def test_an_auc_of_few_patients_says_little(make: Make) -> None:
    predictions = make(cases=8, classes=("benign", "malignant"), signal=9.0)
    row = slice_table(predictions, slice_facts(manifest(predictions), ["label"]), Binary(), replicates=20).iloc[0]
    assert row["auc"] == row["auc_high"] == 1
    assert row["auc_low"] < 0.6


def test_facts_are_the_same_from_a_file(make: Make) -> None:
    """A run slices by its manifest, `src.fuse` by the manifest.csv that it left."""
    rows = manifest(make(), density=[1.0, 2.0, np.nan], side=["LEFT", None], age=[30, 4], part=[0.5, 1.0])
    names = ["density", "side", "age", "part"]
    file = io.StringIO(rows.to_csv(index=False))
    again = slice_facts(pd.read_csv(file, dtype=str, keep_default_na=False), names)
    pd.testing.assert_frame_equal(slice_facts(rows, names), again)
    assert sorted(again["density"].unique()) == ["", "1", "2"]


def test_a_column_that_cannot_slice_is_refused(make: Make) -> None:
    rows = manifest(make(cases=40), age=list(range(40)))
    with pytest.raises(ValueError, match="must name columns of the manifest, label, age, but got 'margins'"):
        slice_facts(rows, ["margins"])
    with pytest.raises(ValueError, match="but got 'case'"):
        slice_facts(rows, ["case"])
    with pytest.raises(ValueError, match="'age' has 40: leave it out"):
        slice_facts(rows, ["label", "age"])


def test_folds_that_are_the_values_of_a_column_are_called_by_them(make: Make) -> None:
    predictions = make(cases=24, folds=3)
    sites = predictions["fold"].map({1: "north", 2: "south", 3: "west"})
    facts = predictions.assign(sex=["f", "m"] * 24, site=sites)[["sample", "sex", "site"]].drop_duplicates("sample")
    assert name_folds(predictions, facts) == {1: "north", 2: "south", 3: "west"}
    assert evaluate(predictions, replicates=5, facts=facts).table.columns.tolist() == [
        "north", "south", "west", "mean", "std",
    ]  # fmt: skip
    assert evaluate(predictions, replicates=5, facts=facts.drop(columns="site")).table.columns[0] == "f1"
    for wrong in (sites.replace("west", "south"), sites.replace("west", ""), sites.replace("west", "mean")):
        other = facts.assign(site=facts["sample"].map(wrong.set_axis(predictions["sample"]).groupby(level=0).first()))
        assert name_folds(predictions, other) == {}


def test_the_largest_slices_of_each_column_are_kept_in_order() -> None:
    table = pd.DataFrame({"column": ["x"] * 4 + ["y"], "value": list("abcde"), "cases": [5, 9, 9, 1, 2]})
    assert largest_values(table, 2)["value"].tolist() == ["b", "c", "e"]
