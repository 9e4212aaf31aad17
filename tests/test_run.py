"""The main command, as typed: one cell, sweeps, what is tracked, and what survives."""

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.support.commands import QUICK, ROOT, Command, run, tracking


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """A sweep over p, one cell of which fails."""
    workspace = tmp_path_factory.mktemp("swept")
    arguments = [*QUICK, "pool.p=1,3,0.5,inf", "binary.thresholds=[0.5]", "name=powers"]
    return workspace, run("run", *arguments, workspace=workspace, sweep=True)


class TestSweep:
    def test_ends_with_the_fused_table(self, swept: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
        output = swept[1].stdout
        for row in ("SqueezeNet-48 pool.p=1", "SqueezeNet-48 pool.p=inf", "std over models", "Model fusion"):
            assert row in output

    def test_names_the_cell_that_failed(self, swept: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
        workspace, process = swept
        assert process.returncode == 1
        assert "cells failed: SqueezeNet-48 pool.p=0.5" in process.stderr
        assert "`p >= 1` must hold, but got p=0.5" in process.stderr
        assert "Traceback" not in process.stderr
        keep = tracking(workspace)
        cells = keep.children(keep.find("powers").id)
        assert [run.status for run in cells] == ["FINISHED", "FINISHED", "FAILED", "FINISHED"]
        assert "p >= 1" in keep.artifact(cells[2], "traceback.txt").decode()

    def test_encodes_once(self, swept: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
        keep = tracking(swept[0])
        cells = keep.children(keep.find("powers").id)
        crops = [run.tags["encoded_crops"] for run in cells if run.status == "FINISHED"]
        assert crops == ["16", "0", "0"]

    def test_parent_holds_the_fusion(self, swept: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
        keep = tracking(swept[0])
        parent = keep.find("powers")
        assert parent.status == "FINISHED"
        assert parent.tags["failed_cells"] == "SqueezeNet-48 pool.p=0.5"
        table = pd.read_csv(io.BytesIO(keep.artifact(parent, "table.csv")), index_col="model")
        assert list(table.index)[-2:] == ["std over models", "Model fusion"]
        assert json.loads(keep.artifact(parent, "metrics.json"))["accuracy"] == parent.metrics["accuracy"]

    def test_can_be_fused_again(self, swept: tuple[Path, "subprocess.CompletedProcess[str]"], tmp_path: Path) -> None:
        workspace, process = swept
        again = run("fuse", "sweep=powers", "replicates=50", f"output={tmp_path}", workspace=workspace)
        assert again.returncode == 0, again.stderr
        table = process.stdout[process.stdout.index("┏") : process.stdout.index("┘")]
        assert table in again.stdout
        assert process.stdout[process.stdout.index("Two classes") :] in again.stdout
        assert {"table.csv", "table.md", "table.tex", "metrics.json", "roc.png", "confusion.png"} <= {
            p.name for p in tmp_path.iterdir()
        }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of one cell that was run."""
    workspace = tmp_path_factory.mktemp("cell")
    process = run("run", *QUICK, "binary.reduce=sum", workspace=workspace)
    assert process.returncode == 0, process.stderr
    assert "untrained encoder" in process.stdout
    assert "data: 8 images: Normal 2, Benign 2, InSitu 2, Invasive 2; " in process.stderr
    assert "protocol: 8 of 8 cases are held out, in 2 folds\n" in process.stderr
    return workspace


class TestCell:
    def test_tracks_what_the_design_says(self, workspace: Path) -> None:
        keep = tracking(workspace)
        (cell,) = keep.search()
        assert cell.status == "FINISHED"
        assert cell.name == "SqueezeNet-48"
        names = {file.path for file in keep.client.list_artifacts(cell.id)}
        expected = (
            "config.yaml predictions.parquet splits.csv table.csv table.md roc.png confusion.png metrics.json model"
        )
        assert set(expected.split()) <= names
        metrics = "accuracy accuracy_std balanced_accuracy macro_f1 auc log_loss brier ece fold_accuracy binary_auc"
        assert {*metrics.split(), "accuracy_low", "accuracy_high", "binary_auc_low"} <= cell.metrics.keys()
        assert {"git_commit", "git_dirty", "host", "recipe", "splits", "data", "version.torch"} <= cell.tags.keys()
        assert cell.params["crop.size"] == "48"
        assert cell.params["encoder"] == "squeezenet"
        steps = keep.client.get_metric_history(cell.id, "fold_accuracy")
        assert [metric.step for metric in steps] == [1, 2]

    def test_predictions_are_the_contract(self, workspace: Path) -> None:
        keep = tracking(workspace)
        table = keep.predictions(keep.find("SqueezeNet-48"))
        expected = ["sample", "case", "patient", "view", "label", "model", "repeat", "fold", "seed"]
        assert list(table) == expected + [f"p_{name}" for name in ("Normal", "Benign", "InSitu", "Invasive")]
        assert len(table) == 8

    def test_config_is_complete(self, workspace: Path) -> None:
        """A run's config.yaml makes the same experiment again."""
        from omegaconf import OmegaConf

        from src.config import Experiment

        keep = tracking(workspace)
        saved = OmegaConf.create(keep.artifact(keep.find("SqueezeNet-48"), "config.yaml").decode())
        assert not OmegaConf.missing_keys(saved)
        assert set(saved) == set(OmegaConf.structured(Experiment))


def predictions_bytes(workspace: Path, name: str = "SqueezeNet-48") -> bytes:
    keep = tracking(workspace)
    return keep.artifact(keep.find(name), "predictions.parquet")


def descriptors(workspace: Path) -> list[Path]:
    """The files of an encoder's descriptors, which come after the audit's hashes."""
    recipes = {file.parent: json.loads(file.read_text()) for file in workspace.glob("store/*/recipe.json")}
    return [file for folder in recipes if "encoder" in recipes[folder] for file in folder.glob("*.safetensors")]


@pytest.mark.slow
def test_killed_and_started_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    # Enough crops for a kill to fall into the middle of them.
    arguments = [*QUICK, "data.cases=16", "data.width=400", "data.height=300", "crop.size=140", "crop.count=60"]
    assert run("run", *arguments, workspace=tmp_path / "whole").returncode == 0
    process = Command("run", *arguments, workspace=tmp_path / "killed")
    while len(descriptors(tmp_path / "killed")) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stored = {path: path.stat().st_mtime_ns for path in descriptors(tmp_path / "killed")}
    assert 4 <= len(stored) < 16
    again = run("run", *arguments, workspace=tmp_path / "killed")
    assert again.returncode == 0, again.stderr
    assert stored.items() <= {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("store/*/*")}.items()
    # At most what was being written is left over, under a name of its own.
    assert len(list((tmp_path / "killed").glob("store/*/.*.safetensors.*"))) <= 1
    name = "SqueezeNet-140"
    assert predictions_bytes(tmp_path / "killed", name) == predictions_bytes(tmp_path / "whole", name)
    keep = tracking(tmp_path / "killed")
    runs = keep.search()
    assert [run.status for run in runs] == ["KILLED", "FINISHED"]
    assert int(runs[1].tags["encoded_crops"]) == (16 - len(stored)) * 60


@pytest.mark.slow
def test_a_request_to_end_leaves_a_killed_run(tmp_path: Path) -> None:
    arguments = [*QUICK, "data.width=400", "data.height=300", "crop.size=140", "crop.count=200"]
    process = Command("run", *arguments, workspace=tmp_path)
    while not descriptors(tmp_path):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    killed = tracking(tmp_path).find("SqueezeNet-140")
    assert killed.status == "KILLED"
    assert f"(run {killed.id}) was ended early: the same command takes over what is stored by now" in errors


@pytest.mark.slow
def test_an_interrupted_sweep_closes_its_runs(tmp_path: Path) -> None:
    arguments = [
        *QUICK,
        "data.width=400",
        "data.height=300",
        "crop.size=140",
        "crop.count=200",
        "pool.p=1,3",
        "name=ps",
    ]
    process = Command("run", *arguments, "name=ps", workspace=tmp_path, sweep=True)
    while not descriptors(tmp_path):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    keep = tracking(tmp_path)
    sweep = keep.find("ps")
    assert [run.status for run in [sweep, *keep.children(sweep.id)]] == ["KILLED", "KILLED"]
    assert "the sweep was ended early; the same command with resume=true runs its cells" in errors


@pytest.mark.slow
def test_cells_of_one_encoder_and_size_are_told_apart(tmp_path: Path) -> None:
    process = run("run", *QUICK, "crop=half224,full800", workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    for row in ("SqueezeNet-48 crop=half224", "SqueezeNet-48 crop=full800", "Model fusion"):
        assert row in process.stdout


def test_a_mistyped_option_in_a_sweep_names_the_choices(tmp_path: Path) -> None:
    process = run("run", *QUICK, "encoder=squeezenet,resnt", workspace=tmp_path, sweep=True)
    assert process.returncode == 1
    assert "Could not find 'encoder/resnt'" in process.stderr
    assert "did you mean resnet?" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_eight_processes_start_together_where_nothing_is(tmp_path: Path) -> None:
    processes = [Command("run", *QUICK, f"seed={seed}", f"name=cell{seed}", workspace=tmp_path) for seed in range(8)]
    errors = [process.communicate(timeout=280)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, "\n".join(errors)
    keep = tracking(tmp_path)
    runs = keep.search()
    assert sorted((run.name, run.status) for run in runs) == [(f"cell{n}", "FINISHED") for n in range(8)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["encoder=resnt"], ["Could not find 'encoder/resnt'", "did you mean resnet?"]),
        (["pool.q=3"], ["there is no pool.q; the keys of pool are p"]),
        (["+crop.sise=3"], ["there is no crop.sise", "did you mean size?"]),
        (["crop.size=big"], ["crop.size=big", "a whole number"]),
        (["pool.p=0.5"], ["`p >= 1` must hold, but got p=0.5"]),
        (["data=folder"], ["data.root"]),
        (["data=folder", "data.root=/nowhere"], ["/nowhere"]),
        (["crop.size=500", "crop.fit=false"], ["8 of 8 images are too small for crop.size=500"]),
        (["protocol.folds=50"], ["protocol.folds"]),
        (["encoder.weights=/nowhere.safetensors"], ["/nowhere.safetensors"]),
        pytest.param(
            ["classifier=knn", "classifier.neighbours=50"],
            ["classifier.neighbours=50 is more than the 4 descriptors"],
            marks=pytest.mark.slow,
        ),
        (["binary.positive=[Insitu]"], ["Insitu", "InSitu"]),
        (["method.device=gpu"], ["device=gpu"]),
        (["tracking.uri=foo"], ["uri=foo"]),
        (["tracking.uri=http://127.0.0.1:9"], ["http://127.0.0.1:9", "does not answer", "mlflow server"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_mistakes_get_one_clear_message(tmp_path: Path, arguments: list[str], said: list[str]) -> None:
    given = [] if any(argument.startswith("data=") for argument in arguments) else QUICK
    process = run("run", *given, *arguments, workspace=tmp_path)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr + process.stdout
    for part in said:
        assert part in process.stderr


WARM = """
import runpy, sys
try:
    runpy.run_module("src.run", run_name="__main__")
finally:
    print("LOADED", [name for name in ("torch", "timm", "torchvision", "captum", "keras") if name in sys.modules])
"""


@pytest.mark.slow
def test_a_cell_that_learns_anew_loads_no_networks(tmp_path: Path) -> None:
    """Maps of what the models look at included: the descriptors behind them are stored, too."""
    arguments = [*(value for value in QUICK if value != "examples=0"), f"workspace={tmp_path}"]
    assert run("run", *arguments, workspace=tmp_path).returncode == 0
    command = [sys.executable, "-c", WARM, *arguments, "classifier.c=1.01"]
    warm = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "LOADED []" in warm.stdout
    keep = tracking(tmp_path)
    first, second = keep.search({"kind": "cell"})
    assert second.tags["encoded_crops"] == "0"
    for each in (first, second):
        listed = {file.path for file in keep.client.list_artifacts(each.id, "explanations")}
        assert "explanations/right" in listed
