"""Fusing again: the published predictions, tracked runs, and what cannot be fused."""

from pathlib import Path

import pandas as pd
import pytest

from src.tracking import CELL, SWEEP, Tracking
from tests.support.commands import run


def predictions(model: str, cases: list[str]) -> pd.DataFrame:
    rows = [(case, case, "", "", "ab"[number % 2], model, 1 + number % 3, 0) for number, case in enumerate(cases)]
    table = pd.DataFrame(rows, columns=["sample", "case", "patient", "view", "label", "model", "fold", "seed"])
    return table.assign(p_a=[0.6, 0.4] * (len(cases) // 2), p_b=[0.4, 0.6] * (len(cases) // 2))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that fit each other, and one that does not."""
    workspace = tmp_path_factory.mktemp("fuse")
    tracking = Tracking(uri=f"sqlite:///{workspace}/mlflow.db", artifacts=f"{workspace}/artifacts")
    tables = {"one": "uvwxyz", "two": "uvwxyz", "other": "uvwxyq"}
    for name, cases in tables.items():
        with tracking.run(name, CELL) as tracked:
            predictions(name, list(cases)).to_parquet(tracked.folder / "predictions.parquet")
    tracking.create("empty", SWEEP)
    return workspace


def test_the_published_predictions_give_the_published_figures(tmp_path: Path) -> None:
    process = run("fuse", "published=rakhlin2018", f"output={tmp_path / 'figures'}", workspace=tmp_path)
    assert process.returncode == 0, process.stderr
    folds = "92.5 │ 82.5 │ 87.5 │ 87.5 │ 87.5 │ 90.0 │ 85.0 │ 87.5 │ 87.5 │ 85.0"
    for figure in (
        folds,
        "Model fusion: 87.25 +- 2.61 %",
        "0.9734",
        "at 0.33: sensitivity 96.5 (93.0 to 98.3), specificity 88.0 (82.8 to 91.8)",
        "at 0.50: sensitivity 93.0 (88.6 to 95.8), specificity 94.5 (90.4 to 96.9), accuracy 93.75 +- 2.30",
        "(90.9 to 95.7)",
        "missed at 0.50: 9 InSitu, 5 Invasive",
    ):
        assert figure in process.stdout
    assert {"table.csv", "roc.png", "confusion.png"} <= {path.name for path in (tmp_path / "figures").iterdir()}


def test_runs_are_fused(workspace: Path) -> None:
    process = run("fuse", "runs=[one,two]", "replicates=20", workspace=workspace)
    assert process.returncode == 0, process.stderr
    assert "Model fusion: 100.00 +- 0.00 %" in process.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs=[one,other]"], "runs must predict the same cases"),
        (["runs=[one,one]"], "is given twice"),
        (["sweep=empty"], "has no finished cells"),
        (["sweep=nothing"], "no sweep has the id or name 'nothing'"),
        (["published=nobody2020"], "there is rakhlin2018"),
        ([], "give one of sweep="),
    ],
    ids=str,
)
def test_what_cannot_be_fused_is_named(workspace: Path, arguments: list[str], said: str) -> None:
    process = run("fuse", *arguments, workspace=workspace)
    assert process.returncode == 1
    assert said in process.stderr
    assert "Traceback" not in process.stderr
