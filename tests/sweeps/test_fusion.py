"""The two-class view of runs that are evaluated again, and what is noted on them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from src.evaluation.two_classes import Binary
from src.sweeps.fusion import fusion_notes, recorded_view
from src.tracking import RunRecord


def run(**binary: object) -> RunRecord:
    params = {f"binary.{name}": str(value) for name, value in binary.items()}
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return RunRecord(
        id="a",
        name="a",
        status="FINISHED",
        start=start,
        end=start,
        params=params,
        tags={},
        metrics={},
        datasets=[],
        artifacts="",
    )


def test_what_is_given_of_a_view_leaves_the_rest_as_the_runs_have_it() -> None:
    runs = [run(positive=["cancer"], thresholds=[0.2], prevalence=None)] * 2
    assert recorded_view(runs) == Binary(positive=["cancer"], thresholds=[0.2])
    assert recorded_view(runs, {"prevalence": 0.01}) == Binary(positive=["cancer"], thresholds=[0.2], prevalence=0.01)
    assert recorded_view([], {"prevalence": 0.01}) == Binary(prevalence=0.01)


def test_runs_that_do_not_agree_ask_for_the_positive_classes() -> None:
    runs = [run(positive=["cancer"]), run(positive=["healthy"])]
    with pytest.raises(ValueError, match="different two-class views; give one by binary.positive="):
        recorded_view(runs, {"prevalence": 0.01})
    assert recorded_view(runs, {"positive": ["healthy"]}) == Binary(positive=["healthy"])


def test_what_several_runs_note_is_told_once() -> None:
    runs = [
        replace(run(), tags={"notes": notes}) for notes in ("no labels; few patients", "few patients; untrained", "")
    ]
    assert fusion_notes(runs) == ["no labels", "few patients", "untrained"]
