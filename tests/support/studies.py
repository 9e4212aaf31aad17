"""Studies of a small cell, and their trials."""

import io
import time
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from src.tracking import RunRecord
from src.tuning import studies
from tests.support.commands import QUICK, Command, run, tracking

SMALL = [*QUICK, "data.cases=16", "classifier=logistic", "search=logistic", "inner_folds=2", "trials=4", "study=small"]


def table(workspace: Path, found: RunRecord, name: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(tracking(workspace).artifact(found, name)))


def trials_of(workspace: Path, study: str, name: str) -> pd.DataFrame:
    """A tune run's trials, without what a clock or a tracker gives them."""
    keep = tracking(workspace)
    folder = "studies"
    found = keep.find(name)
    parts = [each.path for each in keep.client.list_artifacts(found.id, folder)]
    tables = [table(workspace, found, f"{part}/trials.csv").assign(study=part) for part in sorted(parts)]
    return pd.concat(tables, ignore_index=True).drop(columns=["seconds", "run"])


def share_trials(storage: str, tmp_path: Path) -> None:
    """Two processes that tune at the same time, on one database, end with the same trials and predictions."""
    kept: Any = studies.open_storage(storage)
    shared = [*SMALL, "study=shared", "trials=8", f"storage={storage}", "n_jobs=2"]
    first = Command("tune", *shared, "name=one", workspace=tmp_path)
    while not any("fold02" in name for name in optuna.get_all_study_names(kept)):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    kept.remove_session()
    kept.engine.dispose()
    second = run("tune", *shared, "name=two", "resume=true", workspace=tmp_path)
    assert second.returncode == 0, second.stderr
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    one, two = (trials_of(tmp_path, "shared", name) for name in ("one", "two"))
    assert one.groupby("study")["trial"].apply(list).tolist() == [list(range(8))] * 2
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    keep = tracking(tmp_path)
    pd.testing.assert_frame_equal(
        keep.predictions(keep.find("one")).drop(columns="model"),
        keep.predictions(keep.find("two")).drop(columns="model"),
        check_exact=True,
    )
