"""Runs and sweeps of one name: which one is taken, what is said of it, and what an id may look like; on a database."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from src.tracking import CELL, SWEEP, Tracking
from src.tracking.datasets import describe_dataset
from src.tracking.model_registry import locate_model

MANIFEST = pd.DataFrame({"sample": ["a.png"], "case": ["a"], "patient": [""], "view": [""], "label": ["x"]})


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    tmp_path = tmp_path_factory.mktemp("names")
    return Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts", spool=f"{tmp_path}/spool")


def leave(tracking: Tracking, name: str, data: str, kind: str = CELL) -> str:
    with tracking.run(name, kind) as run:
        run.log_data(describe_dataset(data, "d" * 36, f"/{data}", MANIFEST))
        (run.folder / "model").mkdir()
        (run.folder / "model" / "model.json").write_text("{}")
    return run.id


@pytest.mark.parametrize("offline", [False, True])
def test_of_several_runs_of_a_name_it_is_said_which_one_is_taken(
    tracking: Tracking, caplog: pytest.LogCaptureFixture, offline: bool
) -> None:
    keep = replace(tracking, offline=offline)
    moles, polyps = leave(keep, "MobileNet-224", "moles"), leave(keep, "MobileNet-224", "polyps")
    caplog.clear()
    assert keep.find("MobileNet-224", CELL).id == polyps
    (said,) = caplog.messages
    assert said.startswith("MobileNet-224 is the name of 2; taken is the newest: run " + polyps)
    assert "finished, data polyps). To take another, give its id instead of the name: run " + moles in said
    assert said.endswith("finished, data moles)")
    caplog.clear()
    assert keep.find(moles, CELL).id == moles
    assert not caplog.messages


def test_a_run_that_failed_does_not_stand_for_one_that_finished(
    tracking: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    first, finished = leave(tracking, "again", "moles"), leave(tracking, "again", "moles")
    with pytest.raises(ValueError, match="too few"), tracking.run("again", CELL):
        raise ValueError("too few images")
    assert tracking.find("again", CELL).id == finished
    assert f"taken is the newest that finished: run {finished}" in caplog.text
    assert f"; run {first}" in caplog.text
    leave(tracking, "swept", "moles", SWEEP)
    with pytest.raises(ValueError, match="too few"), tracking.run("swept", SWEEP) as failed:
        raise ValueError("too few images")
    assert tracking.find("swept", SWEEP).id == failed.id  # its cells may have finished


def test_the_models_of_several_runs_are_told_apart(
    tracking: Tracking, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave(tracking, "twice", "moles")
    newest = leave(tracking, "twice", "polyps")
    assert locate_model(tracking, "twice", tmp_path).run == newest
    assert "twice is the name of 2; taken is the newest" in caplog.text


def test_a_registered_model_of_a_runs_name_is_said(
    tracking: Tracking, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = leave(tracking, "both", "moles")
    tracking.client.create_registered_model("both")
    tracking.client.create_model_version("both", tmp_path.as_uri(), run)
    assert locate_model(tracking, "both", tmp_path).run == run
    assert "both is also the name of a registered model: both/1 is that one" in caplog.text


def test_a_run_is_found_by_the_beginning_of_its_id(tracking: Tracking, caplog: pytest.LogCaptureFixture) -> None:
    run = leave(tracking, "one", "moles")
    assert tracking.find(run[:8]).id == run
    assert not caplog.messages
    with pytest.raises(ValueError, match=r"is a run, but a sweep is asked for: give it as runs=\["):
        tracking.find(run[:8], SWEEP)


def test_a_beginning_that_several_ids_have_is_refused(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tracking, "a", "moles")
    leave(tracking, "b", "moles")
    same = [replace(run, id="abcdef" + run.id[6:]) for run in tracking.search()[-2:]]
    monkeypatch.setattr(Tracking, "search", lambda self, tags=None, status="", name="": [] if name else same)
    with pytest.raises(ValueError, match=r"2 ids begin with abcdef: run abcdef.* give more of one"):
        tracking.find("abcdef")


def test_a_run_where_a_sweep_is_asked_for_is_named(tracking: Tracking) -> None:
    run, sweep = leave(tracking, "one", "moles"), leave(tracking, "all", "moles", SWEEP)
    for name in ("one", run):
        with pytest.raises(ValueError, match=rf"one \({run}\) is a run, but a sweep is asked for: .* runs=\[{run}\]"):
            tracking.find(name, SWEEP)
    with pytest.raises(ValueError, match=rf"is a sweep, but a run is asked for: give it as sweep={sweep}"):
        tracking.find(sweep, CELL)
