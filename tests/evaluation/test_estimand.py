"""What is said of intervals."""

from collections.abc import Callable

import pandas as pd

from src.evaluation.estimand import describe_estimand
from src.evaluation.predictions import average_by_case

Make = Callable[..., pd.DataFrame]


def test_folds_are_said_to_learn_from_the_others(make: Make) -> None:
    subject, limits = describe_estimand(average_by_case(make(cases=24, folds=3)))
    assert "models trained on 2 of 3 parts of these 12 patients (a model that is kept is the mean of such 3)" in subject
    assert "other hospitals" in limits
    assert "what training on other patients would change" in limits
    assert "protocol.repeats=10" in limits


def test_repeats_hold_what_one_does_not(make: Make) -> None:
    subject, limits = describe_estimand(average_by_case(make(cases=24, folds=3, repeats=4)))
    assert "the mean of such 12" in subject
    assert limits.startswith("With 4 repeats they also hold what training on other patients would change")
    assert "protocol.repeats" not in limits


def test_a_single_fold_and_unknown_patients_are_said(make: Make) -> None:
    rows = make(cases=24, folds=1).assign(patient="")
    subject, limits = describe_estimand(average_by_case(rows))
    assert "a model trained on the part that was not held out, judged on 24 cases, patients being unknown" in subject
    assert "what images of one patient have in common" in limits
