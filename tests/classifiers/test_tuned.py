"""The classifier of a study: in each fold with what was chosen there, and nowhere that it could have seen."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.classifiers.lightgbm import LightGBM
from src.classifiers.tuned import Tuned
from tests.support.descriptors import problem

HERE = Path(__file__).parent
GIVEN = json.loads((HERE / "given.json").read_text())


def tuned(folder: Path, **changes: Any) -> Tuned:
    (folder / "other.json").write_text(json.dumps(GIVEN | changes))
    return Tuned(study="other", folder=str(folder))


def test_each_fold_has_its_own_parameters() -> None:
    one = Tuned(study="given", folder=str(HERE))
    for fold, own in ((1, LightGBM(rounds=10, min_data_in_leaf=5)), (2, LightGBM(rounds=12, min_data_in_leaf=4))):
        assert one.of_fold(fold) == own
        mine, direct = (each.fit(*problem(), 3, fold, [0])[0].predict(problem()[0]) for each in (one, own))
        np.testing.assert_array_equal(mine, direct)


@pytest.mark.parametrize(
    ("splits", "data", "said"),
    [
        ("others", "these data", "nested in other folds than this run's"),
        ("these splits", "others", "nested in other images or labels than this run's"),
        ("others", "others", "nested in other folds and images or labels"),
    ],
)
def test_a_nested_study_is_refused_where_it_may_have_seen_what_is_held_out(splits: str, data: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Tuned(study="given", folder=str(HERE)).check(splits, data)


def test_what_it_leaves_alone_is_noted() -> None:
    (note,) = Tuned(study="given", folder=str(HERE)).check("these splits", "these data")
    assert note == "study given chose pool.p, too, which classifier=tuned leaves as this run has it"


def test_a_flagged_study_may_be_used_and_is_noted(tmp_path: Path) -> None:
    one = tuned(tmp_path, tuned="flagged")
    assert any(note.startswith("optimistic: study other") for note in one.check("others", "others"))
    assert one.of_fold(7) == LightGBM(rounds=10, min_data_in_leaf=5)


@pytest.mark.parametrize(
    ("knew", "given", "noted"), [("0", 10, "all"), ("20", 10, "20"), ("10", 10, ""), ("5", 10, ""), ("0", 0, "")]
)
def test_a_study_that_knew_more_patients_is_noted(tmp_path: Path, knew: str, given: int, noted: str) -> None:
    notes = tuned(tmp_path, training_patients=knew).check("these splits", "these data", given)
    told = [note for note in notes if "patients" in note]
    whole = f"optimistic: study other chose the parameters by {noted} patients of each training part"
    assert told == ([f"{whole}, of which these models learn from {given}"] if noted else [])


def test_a_fold_that_was_not_tuned_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="study other has folds 1, 2, but not 3"):
        tuned(tmp_path).of_fold(3)


def test_a_study_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"no study 'givn' has ended in .* \(there: given\)"):
        Tuned(study="givn", folder=str(HERE)).check("", "")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"folds": 3}', "no JSON"])
def test_a_file_that_is_no_study_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(ValueError, match="holds no study"):
        Tuned(study="other", folder=str(tmp_path)).check("", "")


def test_a_study_of_networks_has_no_classifier(tmp_path: Path) -> None:
    folds = {"1": GIVEN["folds"]["1"] | {"parameters": {"finetune.epochs": 3}}}
    with pytest.raises(ValueError, match="study other chose finetune.epochs, and nothing of a classifier"):
        tuned(tmp_path, folds=folds).check("these splits", "these data")
