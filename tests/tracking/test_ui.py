"""`make ui`: where the pages on a workspace's runs are, and what is said where they cannot be."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from src.tracking import CELL, Tracking
from src.tracking.pages import VIEW
from src.tracking.ui import list_address
from tests.support.commands import ROOT
from tests.support.servers import free_port


def test_the_address_is_that_of_a_workspace_and_shows_data_and_accuracy_first(tmp_path: Path) -> None:
    workspace = tmp_path / "an other"
    tracking = Tracking(uri=f"sqlite:///{workspace}/mlflow.db", artifacts=f"{workspace}/artifacts")
    tracking.create("one", CELL)
    experiment = tracking.client.get_experiment_by_name("tenfold")
    tracking.client.delete_experiment_tag(experiment.experiment_id, f"mlflow.sharedViewState.{VIEW}")
    experiment = tracking.client.get_experiment_by_name("tenfold")  # as one that was made by hand
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} is in use: give another, make ui PORT={port + 1}"):
            list_address(tracking, str(workspace), port)
    found = list_address(tracking, str(workspace), port)
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


@pytest.mark.slow
def test_the_pages_are_those_of_a_workspace_of_any_name(tmp_path: Path) -> None:
    workspace, port = tmp_path / "a?b 100%", free_port()
    tracking = Tracking(uri=f"sqlite:///{workspace}/mlflow.db", artifacts=f"{workspace}/artifacts")
    run = tracking.create("one", CELL)
    asked = [f"WORKSPACE={workspace}", f"PORT={port}", f"BIN={Path(sys.executable).parent}", "-o", ".venv/ready"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(["make", "ui", *asked], cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
    try:
        until, answer = time.monotonic() + 250, None
        while answer is None:
            assert time.monotonic() < until, (tmp_path / "said").read_text()
            assert process.poll() is None, (tmp_path / "said").read_text()
            with suppress(requests.ConnectionError):
                path = f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/runs/get"
                answer = requests.get(path, params={"run_id": run}, timeout=30)
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    assert answer.json()["run"]["info"]["run_name"] == "one"
    # What make says of folders, where it was started by make itself as in CI, is not ours.
    own = [line for line in (tmp_path / "said").read_text().splitlines() if not line.startswith("make[")]
    assert own[0].startswith(f"the runs: http://127.0.0.1:{port}/#/experiments/")
    assert sorted(path.name for path in tmp_path.iterdir()) == [workspace.name, "said"]
