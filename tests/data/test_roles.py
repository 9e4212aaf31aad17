"""Who is what to a fold's models: nobody learns from, or stops by, what is reported."""

from collections.abc import Callable

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.manifest import cases, groups
from src.data.splits import FIT, REPORT, STOPPING, UNUSED, ImageHoldout, KFold, roles, training_cases

Make = Callable[..., pd.DataFrame]


def patients(manifest: pd.DataFrame, chosen: "pd.Series[str]") -> set[str]:
    return set(groups(manifest)[list(chosen)])


@pytest.fixture
def table(manifest: Make) -> pd.DataFrame:
    """40 and 20 cases, two of each patient."""
    return manifest({"a": 40, "b": 20}, per_patient=2)


def test_every_case_has_one_role_in_every_fold(table: pd.DataFrame) -> None:
    splits = KFold(folds=4).split(table)
    found = roles(table, splits, patients=12, stopping=0.25)
    assert list(found) == ["case", "fold", "role"]
    assert (found.groupby("fold")["case"].nunique() == 60).all()
    assert not found.duplicated(["case", "fold"]).any()
    assert set(found["role"]) == {FIT, STOPPING, REPORT, UNUSED}
    report = found[found["role"] == REPORT].set_index("case")["fold"]
    assert (report == splits.set_index("case")["fold"][report.index]).all()


def test_patients_have_one_role_in_a_fold(table: pd.DataFrame) -> None:
    found = roles(table, KFold(folds=4).split(table), patients=12, stopping=0.25)
    joined = cases(table).merge(found, on="case")
    assert (joined.groupby(["patient", "fold"])["role"].nunique() == 1).all()


def test_everything_else_is_learnt_from_unless_limited(table: pd.DataFrame) -> None:
    found = roles(table, KFold(folds=4).split(table))
    assert set(found["role"]) == {FIT, REPORT}


def test_stopping_takes_its_share_of_every_class(table: pd.DataFrame) -> None:
    found = roles(table, KFold(folds=4).split(table), stopping=0.2).merge(cases(table), on="case")
    training = found[found["role"] != REPORT]
    share = (training["role"] == STOPPING).groupby([training["fold"], training["label"].astype(str)]).mean()
    assert share.between(0.1, 0.4).all()


@settings(deadline=None, max_examples=30)
@given(fewer=st.integers(2, 20), more=st.integers(2, 20), seed=st.integers(0, 50))
def test_the_fewer_patients_are_among_the_more(fewer: int, more: int, seed: int) -> None:
    rows = [
        (f"{label}{n}", f"{label}-p{n // 2}", label) for label, count in (("a", 40), ("b", 20)) for n in range(count)
    ]
    table = pd.DataFrame(rows, columns=["case", "patient", "label"])
    table = table.assign(sample=table["case"], view="", label=pd.Categorical(table["label"]))
    splits = KFold(folds=4).split(table)
    few, many = (training_cases(table, splits, 1, count, seed) for count in sorted((fewer, more)))
    assert few <= many <= set(splits["case"][splits["fold"] != 1])
    assert len(patients(table, pd.Series(sorted(few)))) == min(fewer, more)
    assert {name[0] for name in few} == {"a", "b"}


def test_too_many_or_too_few_patients_are_named(table: pd.DataFrame) -> None:
    splits = KFold(folds=4).split(table)
    with pytest.raises(ValueError, match="training_patients=1 leaves no case of"):
        roles(table, splits, patients=1)
    with pytest.raises(ValueError, match=r"training_patients=99, but fold 1 has \d+ to learn from"):
        roles(table, splits, patients=99)


def test_a_class_that_cannot_be_stopped_by_is_named(manifest: Make) -> None:
    table = manifest({"a": 20, "b": 4}, per_patient=2)
    with pytest.raises(ValueError, match=r"finetune.validation=0.2 leaves no patient of class b to stop by"):
        roles(table, KFold(folds=2).split(table), stopping=0.2)


def test_an_image_level_holdout_ignores_patients(table: pd.DataFrame) -> None:
    splits = ImageHoldout(fraction=0.3).split(table)
    assert splits["fold"].mean() == pytest.approx(0.3, abs=0.02)
    joined = cases(table).merge(splits, on="case")
    assert (joined.groupby("patient")["fold"].nunique() > 1).any()
