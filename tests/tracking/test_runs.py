"""Tracking on a real database, and on a real server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import requests

from src.tracking import CELL, SWEEP, Tracking
from src.tracking.environment import alive
from src.tracking.server import quieten


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    quieten()
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *store], stdout=log, stderr=log, cwd=folder, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            if requests.get(f"{address}/health", timeout=1).ok:
                break
        except requests.RequestException:
            time.sleep(0.2)
        assert process.poll() is None, (folder / "log").read_text()
    yield address
    os.killpg(process.pid, 15)
    process.wait(timeout=30)


def test_a_run_keeps_what_is_logged_and_written(tracking: Tracking) -> None:
    with tracking.run("one", CELL) as run:
        run.log({"encoder": "resnet", "crop.size": 400}, {"accuracy": 0.5, "auc": float("nan")}, {"notes": "none"})
        run.log({f"parameter{number}": number for number in range(250)})
        run.log_steps("fold_accuracy", {1: 0.25, 2: 0.75})
        pd.DataFrame({"sample": ["a"]}).to_parquet(run.folder / "predictions.parquet")
    found = tracking.find("one")
    assert found.info.status == "FINISHED"
    assert found.data.params["crop.size"] == "400"
    assert len(found.data.params) == 252
    assert found.data.metrics == {"accuracy": 0.5, "fold_accuracy": 0.75}
    assert tracking.predictions(found)["sample"].tolist() == ["a"]
    assert found.data.tags["pid"] == str(os.getpid())


def test_a_failed_run_holds_its_traceback_and_what_was_written(tracking: Tracking) -> None:
    def fail() -> None:
        with tracking.run("one", CELL) as run:
            (run.folder / "splits.csv").write_text("case,fold\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    found = tracking.find("one")
    assert found.info.status == "FAILED"
    assert b"ZeroDivisionError" in tracking.artifact(found, "traceback.txt")
    assert tracking.artifact(found, "splits.csv") == b"case,fold\n"
    with pytest.raises(ValueError, match=r"run one \(.*, FAILED\) has no predictions.parquet"):
        tracking.predictions(found)


def test_an_interrupted_run_is_killed(tracking: Tracking) -> None:
    with pytest.raises(KeyboardInterrupt), tracking.run("one", CELL):
        raise KeyboardInterrupt
    assert tracking.find("one").info.status == "KILLED"


def test_results_that_cannot_be_stored_are_kept(tracking: Tracking, tmp_path: Path) -> None:
    def lose() -> None:
        with tracking.run("one", CELL) as run:
            (run.folder / "predictions.parquet").write_text("precious")
            (tmp_path / "artifacts").write_text("a file where the folder should be")

    with pytest.raises(ValueError, match="could not be stored at .*artifacts") as caught:
        lose()
    folder = Path(str(caught.value).rsplit(" ", 1)[-1])
    assert (folder / "predictions.parquet").read_text() == "precious"
    assert tracking.find("one").info.status == "FAILED"


def test_a_deleted_experiment_is_named(tracking: Tracking) -> None:
    tracking.client.delete_experiment(tracking.find_or_create(tracking.client))
    with pytest.raises(ValueError, match="was deleted in MLflow"):
        tracking.create("one", CELL)


def test_runs_of_dead_processes_are_found(tracking: Tracking) -> None:
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    assert not alive(finished.pid)
    left = tracking.create("left", CELL)
    tracking.client.set_tag(left, "pid", str(finished.pid))
    going = tracking.create("going", CELL)
    tracking.bury()
    assert tracking.client.get_run(left).info.status == "KILLED"
    assert tracking.client.get_run(going).info.status == "RUNNING"


def test_cells_know_their_sweep(tracking: Tracking) -> None:
    sweep = tracking.create("table", SWEEP, tags={"sweep_keys": "encoder"})
    names = ["ResNet-400", "table", "VGG-400"]
    for name in names:
        with tracking.run(name, CELL, sweep):
            pass
    assert [run.info.run_name for run in tracking.children(sweep)] == names
    assert tracking.find("table", SWEEP).info.run_id == sweep
    assert tracking.find("table").info.run_id != sweep
    assert tracking.find(sweep).data.tags["sweep_keys"] == "encoder"


def test_a_run_that_does_not_exist_is_named(tracking: Tracking) -> None:
    with pytest.raises(ValueError, match="no sweep has the id or name 'nothing' in experiment 'tenfold'"):
        tracking.find("nothing", SWEEP)


def test_a_server_serves_as_well(server: str) -> None:
    tracking = Tracking(uri=server)
    with tracking.run("remote", CELL) as run:
        run.log({"a": 1}, {"accuracy": 1.0})
        pd.DataFrame({"sample": ["a"]}).to_parquet(run.folder / "predictions.parquet")
    found = tracking.find("remote")
    assert (found.info.status, found.data.metrics["accuracy"]) == ("FINISHED", 1.0)
    assert tracking.predictions(found)["sample"].tolist() == ["a"]


def test_an_unreachable_server_is_named_at_once() -> None:
    start = time.monotonic()
    with (
        pytest.raises(ValueError, match="tracking.uri=http://127.0.0.1:9 does not answer"),
        Tracking(uri="http://127.0.0.1:9").run("one", CELL),
    ):
        pass
    assert time.monotonic() - start < 30
