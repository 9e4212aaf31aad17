"""Inner folds as typed: a threshold that is chosen, kept and applied, the ledger by them, and what cannot be chosen."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.commands import QUICK, run, tracking

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two cells with a threshold."""
    workspace = tmp_path_factory.mktemp("inner")
    given = ["data.cases=24", "threshold=youden", "inner_folds=2", "classifier=logistic,knn", "name=chosen"]
    process = run("run", *QUICK, *given, workspace=workspace, sweep=True)
    assert process.returncode == 0, process.stderr
    assert "on average (youden, chosen by inner folds: " in process.stdout
    return workspace


def test_training_parts_are_predicted_and_thresholds_told(workspace: Path) -> None:
    keep = tracking(workspace)
    cell, _ = keep.children(keep.find("chosen").id)
    table, inner = keep.predictions(cell), keep.inner_predictions(cell)
    assert inner is not None
    assert list(inner) == [*list(table)[:7], "fold", "inner_fold", *list(table)[8:]]
    for fold, part in inner.groupby("fold"):
        assert set(part["case"]) == set(table["case"]) - set(table["case"][table["fold"] == fold])
    thresholds = pd.read_csv(io.BytesIO(keep.artifact(cell, "thresholds.csv")))
    points = pd.read_csv(io.BytesIO(keep.artifact(cell, "set_points.csv")))
    assert points["rule"].iloc[0] == "youden"
    assert cell.metrics["threshold_mean"] == pytest.approx(thresholds["threshold"].mean(), abs=1e-5)
    assert {"threshold_sensitivity", "threshold_sensitivity_low", "threshold_specificity"} <= cell.metrics.keys()


def test_the_model_keeps_and_applies_it(workspace: Path, tmp_path: Path) -> None:
    keep = tracking(workspace)
    cell, _ = keep.children(keep.find("chosen").id)
    kept = json.loads(keep.artifact(cell, "model/model.json"))["threshold"]
    assert kept["value"] == pytest.approx(np.mean(list(kept["folds"].values())))
    output = tmp_path / "new.csv"
    process = run("predict", f"model={cell.id}", f"input={workspace}/demo", f"output={output}", workspace=workspace)
    assert process.returncode == 0, process.stderr
    assert f"by score > {kept['value']:.4f}, the mean of the folds' thresholds that youden chose" in process.stderr
    found = pd.read_csv(output)
    assert ((found["score"] > kept["value"]) == (found["called"] == "positive")).all()


def test_a_sweeps_model_applies_the_threshold_of_its_fusion(workspace: Path, tmp_path: Path) -> None:
    given = ["model=chosen", f"input={workspace}/demo", f"output={tmp_path / 'new.csv'}"]
    process = run("predict", *given, workspace=workspace)
    assert process.returncode == 0, process.stderr
    mean = tracking(workspace).find("chosen").metrics["threshold_mean"]
    assert f"by score > {mean:.4f}, the mean of the folds' thresholds that youden chose" in process.stderr


def test_the_ledger_chooses_by_them(workspace: Path) -> None:
    process = run("compare", "sweep=chosen", "replicates=50", workspace=workspace)
    assert process.returncode == 0, process.stderr
    assert "best of the runs" in process.stdout
    assert "by inner folds: " in process.stdout


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["threshold=youden", "binary.positive=[]"], "threshold=youden needs a two-class view, but of Normal, Benign"),
        (["threshold=sensitivity:95"], "a sensitivity is chosen between 0 and 1"),
        (["inner_folds=1"], "`inner_folds = 0 or inner_folds >= 2` must hold"),
        (["inner_folds=3", "data.cases=8"], "inner folds need two patients of every class in each training part"),
    ],
)
def test_what_cannot_be_chosen_is_said_in_one_message(given: list[str], message: str, tmp_path: Path) -> None:
    process = run("run", *QUICK, *given, workspace=tmp_path)
    assert process.returncode == 1
    assert message in process.stderr
    assert "Traceback" not in process.stderr
