from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from src.data.manifest import case_groups, check_manifest, single_views

Make = Callable[..., pd.DataFrame]


def test_rows_are_sorted_by_sample(manifest: Make) -> None:
    good = manifest({"a": 3, "b": 3})
    pd.testing.assert_frame_equal(check_manifest(good.sample(frac=1, random_state=1)), good)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("sample", "a/0.png", "one row.*a/0.png"),
        ("sample", "/etc/passwd", "relative.*/etc/passwd"),
        ("sample", "../x.png", r"inside.*\.\./x\.png"),
        ("sample", "", "relative"),
        ("case", "", "every sample has a case.*a/1.png"),
        ("case", None, "case is text.*a/1.png"),
        ("case", "b0", "one label.*b0"),
        ("label", None, "every sample has a label.*a/1.png"),
        ("view", "a/b", "letters, digits, blanks, _ and -, but a/1.png has view 'a/b'"),
        ("view", "2.5x", "letters, digits, blanks, _ and -, but a/1.png has view '2.5x'"),
        ("patient", np.nan, "patient is text"),
    ],
)
def test_a_rule_that_is_broken_is_named(manifest: Make, column: str, value: object, named: str) -> None:
    bad = manifest({"a": 3, "b": 3})
    bad[column] = bad[column].astype(object)
    bad.loc[1, column] = value
    bad["label"] = pd.Categorical(bad["label"], ["a", "b"])
    with pytest.raises(ValueError, match=named):
        check_manifest(bad)


def test_views_are_any_column_of_few_values(manifest: Make) -> None:
    sequences = ["t1", "t2", "flair"]
    table = manifest({"a": 6, "b": 6})
    table = table.assign(case=[f"{label}{row % 2}" for row, label in enumerate(table["label"])])
    views = check_manifest(table.assign(view=[sequences[row % 6 // 2] for row in range(12)]))
    assert sorted(views["view"].unique()) == ["flair", "t1", "t2"]
    assert single_views(views, "cases") == []
    (said,) = single_views(views[~((views["case"] == "a0") & (views["view"] != "t1"))], "cases")
    assert said == "1 of 4 cases lack at least one of 3 views (flair 1, t1 0, t2 1)"
    with pytest.raises(ValueError, match=r"at most 12 views.*but there are 20, v0, v1, v10, .*they are averaged"):
        check_manifest(manifest({"a": 10, "b": 10}).assign(view=[f"v{row}" for row in range(20)]))


def test_a_case_has_one_patient(manifest: Make) -> None:
    bad = manifest({"a": 2, "b": 2}).assign(case=["x", "x", "y", "z"], patient=["p", "q", "", ""])
    with pytest.raises(ValueError, match=r"one patient, but case 'x' has 'p' \(a/0.png\) and 'q' \(a/1.png\)"):
        check_manifest(bad)


def test_a_class_without_samples_is_named(manifest: Make) -> None:
    with pytest.raises(ValueError, match="class 'b' has none"):
        check_manifest(manifest({"a": 3, "b": 0}))
    with pytest.raises(ValueError, match="two classes or more"):
        check_manifest(manifest({"a": 3}))


def test_an_empty_manifest_and_a_lacking_column_are_refused(manifest: Make) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        check_manifest(manifest({"a": 1, "b": 1}).iloc[:0])
    with pytest.raises(ValueError, match="none called view"):
        check_manifest(manifest({"a": 1, "b": 1}).drop(columns="view"))


def test_groups_are_patients_where_known(manifest: Make) -> None:
    table = manifest({"a": 2, "b": 2}).assign(patient=["p", "p", "", "q"])
    assert case_groups(table).to_dict() == {"a0": "p", "a1": "p", "b0": "b0", "b1": "q"}
