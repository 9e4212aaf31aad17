"""Our record of a run: the same from a database as from the spool, in words of ours, values as they were logged."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from src.tracking import CELL, JOB, RunRecord, Tracking
from src.tracking.datasets import describe_dataset
from src.tracking.run_record import parse_param

MANIFEST = pd.DataFrame({"sample": ["a.png"], "case": ["a"], "patient": [""], "view": [""], "label": ["x"]})
POSITIVE = ["it's", 'a "b"', "back\\slash", "0.5"]
PARAMS = {"method": "frozen", "protocol": "kfold", "binary.positive": POSITIVE, "binary.thresholds": [0.33, 0.5]}
PARAMS |= {"binary.reduce": "max", "slices": ["side"], "published": ""}


@pytest.mark.parametrize("offline", [False, True])
def test_a_run_is_told_in_our_words_wherever_it_is_kept(tmp_path: Path, offline: bool) -> None:
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts", spool=f"{tmp_path}/s")
    keep = replace(tracking, offline=offline)
    with keep.run("one", CELL, "sweep", {JOB: "3"}) as run:
        run.log(params=PARAMS, metrics={"accuracy": 0.5}, tags={"audit_patients": 2, "splits": "s"})
        run.log_steps("loss", {1: 2.0, 2: 1.0})
        run.log_data(describe_dataset("moles", "d" * 36, "/moles", MANIFEST))
        going = keep.find(run.id)
    found = keep.find(run.id)
    assert (going.finished, going.end, going.seconds) == (False, None, 0)
    assert found.finished
    assert found.end is not None
    assert found.seconds == (found.end - found.start).total_seconds() >= 0
    assert (found.kind, found.parent, found.job, found.superseded) == (CELL, "sweep", "3", False)
    assert (found.method, found.protocol, found.published, found.slices) == ("frozen", "kfold", "", ["side"])
    assert (found.splits, found.audit, found.notes) == ("s", {"audit_patients": 2}, "")
    assert found.metrics == {"accuracy": 0.5, "loss": 1.0}
    assert found.data_names == ["moles"]
    assert found.values("binary") == {"positive": POSITIVE, "thresholds": [0.33, 0.5], "reduce": "max"}


def test_a_run_that_says_nothing_is_told_as_such(tmp_path: Path) -> None:
    tracking = Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts", spool=f"{tmp_path}/s")
    with tracking.run("bare", CELL) as run:
        pass
    found = tracking.find(run.id)
    assert isinstance(found, RunRecord)
    assert (found.parent, found.job, found.splits, found.data, found.notes, found.swept) == ("", "", "", "", "", [])
    assert (found.slices, found.audit, found.values("binary"), found.data_names) == ([], {}, {}, [])


@pytest.mark.parametrize("value", [[], ["it's"], [{"Rotate": {"limit": 30}}], 0.1, 3, True, None, "max", "/a b", ""])
def test_a_param_is_read_as_it_was_logged(value: object) -> None:
    assert parse_param(str(value)) == value
