"""`make ui`: where the pages on a workspace's runs are, and what is said where they cannot be."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from src.tracking import CELL, Tracking
from src.tracking.pages import VIEW
from src.tracking.ui import address
from tests.commands import ROOT


def test_the_address_is_that_of_a_workspace_and_shows_data_and_accuracy_first(tmp_path: Path) -> None:
    workspace = tmp_path / "an other"
    tracking = Tracking(uri=f"sqlite:///{workspace}/mlflow.db", artifacts=f"{workspace}/artifacts")
    tracking.create("one", CELL)
    experiment = tracking.client.get_experiment_by_name("tenfold")
    tracking.client.delete_experiment_tag(experiment.experiment_id, f"mlflow.sharedViewState.{VIEW}")
    experiment = tracking.client.get_experiment_by_name("tenfold")  # as one from before has it
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} is in use: give another, make ui PORT={port + 1}"):
            address(str(workspace), port)
    found = address(str(workspace), port)
    assert (
        found
        == f"http://127.0.0.1:{port}/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"
    )
    tags = tracking.client.get_experiment_by_name("tenfold").tags
    columns = json.loads(tags[f"mlflow.sharedViewState.{VIEW}"])["selectedColumns"]
    assert columns[:2] == ["attributes.`Dataset`", "metrics.`accuracy`"]


def test_a_workspace_without_runs_is_named_and_none_is_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src.tracking.ui", str(tmp_path / "mistyped"), "5000"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr.strip() == (
        f"error: no runs are tracked in {tmp_path}/mistyped: name another folder, make ui WORKSPACE=FOLDER"
    )
    assert not (tmp_path / "mistyped").exists()


def test_make_opens_the_workspace_that_is_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile[makefile.index("\nui:") :].split("\n\n")[0]
    assert recipe.count('"$(WORKSPACE)" $(PORT)') == 1
    assert '"sqlite:///$(WORKSPACE)/mlflow.db"' in recipe
