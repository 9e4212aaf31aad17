"""Tracking on a real database, and on a real server."""

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from src.system.interrupts import raise_interrupt
from src.tracking import CELL, JOB, SUPERSEDED, SWEEP, Tracking, process_life
from src.tracking.server import Unreachable
from src.tracking.tags import stored_name
from tests.support.servers import Server, misbehaving


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return Tracking(uri=f"sqlite:///{tmp_path}/mlflow.db", artifacts=f"{tmp_path}/artifacts", spool=f"{tmp_path}/spool")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    started = Server(tmp_path_factory.mktemp("server")).start()
    yield started.address
    started.kill()


def test_a_run_keeps_what_is_logged_and_written(tracking: Tracking) -> None:
    with tracking.run("one", CELL) as run:
        run.log({"encoder": "resnet", "crop.size": 400}, {"accuracy": 0.5, "auc": float("nan")}, {"notes": "none"})
        run.log({f"parameter{number}": number for number in range(250)})
        run.log_steps("fold_accuracy", {1: 0.25, 2: 0.75})
        pd.DataFrame({"sample": ["a"]}).to_parquet(run.folder / "predictions.parquet")
    found = tracking.find("one")
    assert found.status == "FINISHED"
    assert found.params["crop.size"] == "400"
    assert len(found.params) == 252
    assert found.metrics == {"accuracy": 0.5, "fold_accuracy": 0.75}
    assert tracking.predictions(found)["sample"].tolist() == ["a"]
    assert found.tags["pid"] == str(os.getpid())


@pytest.mark.parametrize("offline", [False, True])
def test_what_a_run_left_is_read_wherever_it_is_kept(tracking: Tracking, offline: bool) -> None:
    keep = replace(tracking, offline=offline)
    with keep.run("one", CELL) as run:
        run.log_steps("loss/fold01", {1: 0.5, 2: 0.25})
        run.log_steps("loss/fold02", {1: 0.75})
        for name in ("pictures/right/b.jpg", "pictures/right/a.jpg", "pictures/wrong/c.jpg", "picture.jpg"):
            (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (run.folder / name).write_bytes(b"x")
    found = keep.find("one")
    keep.attach(found.id, "page.html", "<p>ä</p>")
    for _ in range(2):
        assert keep.curve(found, "loss/fold01") == [(1, 0.5), (2, 0.25)]
        assert keep.curve(found, "nothing") == []
        assert keep.files(found, "pictures") == [
            f"pictures/{name}" for name in ("right/a.jpg", "right/b.jpg", "wrong/c.jpg")
        ]
        assert keep.files(found, "nothing") == []
        assert keep.artifact(found, "page.html").decode() == "<p>ä</p>"
        keep = tracking
        list(keep.deliver())
        found = keep.find("one")


@pytest.mark.slow
def test_what_a_server_does_not_give_now_is_named(tmp_path: Path) -> None:
    started = Server(tmp_path).start()
    keep = Tracking(uri=started.address, spool=f"{tmp_path}/spool")
    with keep.run("one", CELL):
        pass
    found = keep.find("one")
    started.kill()
    for ask in (
        lambda: keep.curve(found, "loss"),
        lambda: keep.files(found, "pictures"),
        lambda: keep.attach(found.id, "page.html", ""),
    ):
        with pytest.raises(Unreachable, match=r"of run .* cannot be had now: "):
            ask()


def test_a_failed_run_holds_its_traceback_and_what_was_written(tracking: Tracking) -> None:
    def fail() -> None:
        with tracking.run("one", CELL) as run:
            (run.folder / "splits.csv").write_text("case,fold\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    found = tracking.find("one")
    assert found.status == "FAILED"
    assert b"ZeroDivisionError" in tracking.artifact(found, "traceback.txt")
    assert tracking.artifact(found, "splits.csv") == b"case,fold\n"
    with pytest.raises(ValueError, match=r"run one \(.*, FAILED\) has no predictions.parquet"):
        tracking.predictions(found)


@pytest.mark.parametrize("name", ["a?b", "a%20b", "100% ä #1 (x) [y]"])
def test_runs_are_kept_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    here = Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifacts=f"{folder}/artifacts", spool=f"{folder}/spool")
    with here.run("one", CELL) as run:
        (run.folder / "table.csv").write_text("a\n1\n")
    assert replace(here).artifact(replace(here).find("one"), "table.csv") == b"a\n1\n"
    assert (folder / "mlflow.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing stands beside


def test_an_interrupted_run_is_killed(tracking: Tracking) -> None:
    with pytest.raises(KeyboardInterrupt), tracking.run("one", CELL):
        raise KeyboardInterrupt
    assert tracking.find("one").status == "KILLED"


@pytest.mark.slow
def test_what_cannot_be_had_now_is_not_said_to_be_missing(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    try:
        tracking = Tracking(uri=server.address, artifacts="", spool=f"{tmp_path}/spool")
        with tracking.run("one", CELL) as run:
            (run.folder / "splits.csv").write_text("case,fold")
        found = tracking.find("one")
        with pytest.raises(ValueError, match=r"run one .* has no roles.csv"):
            tracking.artifact(found, "roles.csv")
    finally:
        server.kill()
    with pytest.raises(Unreachable, match=r"the artefacts of run one .* cannot be had now"):
        tracking.artifact(found, "splits.csv")


@pytest.mark.parametrize("name", ["Ada's", "slices=['side']", 'said "so"'])
def test_a_run_is_found_by_any_name(tracking: Tracking, name: str) -> None:
    with tracking.run(name, CELL) as run:
        pass
    assert tracking.find(name).id == run.id


def test_artifacts_are_where_they_are_to_be_with_any_database(tmp_path: Path) -> None:
    place = {"artifacts": f"{tmp_path}/artifacts", "spool": f"{tmp_path}/spool"}
    tracking = Tracking(uri=f"sqlite+pysqlite:///{tmp_path}/mlflow.db", **place)
    with tracking.run("one", CELL):
        pass
    assert tracking.find("one").artifacts.startswith((tmp_path / "artifacts").as_uri())


def test_an_interrupt_never_comes_halfway_through_a_transaction(
    tracking: Tracking, capfd: pytest.CaptureFixture[str]
) -> None:
    def log(delay: float) -> None:
        with tracking.run("one", CELL) as run:
            threading.Timer(delay, _thread.interrupt_main, [signal.SIGUSR1]).start()
            for step in range(100_000):
                run.log_steps("accuracy", {step: 0.5})

    with tracking.run("the first makes the database", CELL):
        pass
    capfd.readouterr()
    before = signal.signal(signal.SIGUSR1, raise_interrupt)
    try:
        for milliseconds in range(1, 41):
            with pytest.raises(KeyboardInterrupt):
                log(milliseconds / 1000)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert {run.status for run in tracking.search() if run.name == "one"} == {"KILLED"}
    assert not tracking.spooled.entries()
    assert capfd.readouterr().err == ""


def test_results_that_cannot_be_stored_are_spooled(tracking: Tracking, tmp_path: Path) -> None:
    with tracking.run("one", CELL) as run:
        (run.folder / "predictions.parquet").write_text("precious")
        (tmp_path / "artifacts").write_text("a file where the folder should be")
    found = tracking.find("one")
    assert tracking.artifact(found, "predictions.parquet") == b"precious"
    (tmp_path / "artifacts").unlink()
    assert [(sent.files, sent.left) for sent in tracking.deliver()] == [(1, "")]
    found = tracking.find("one")
    assert found.status == "FINISHED"
    assert tracking.artifact(found, "predictions.parquet") == b"precious"
    assert not tracking.spooled.entries()


def test_results_that_cannot_be_spooled_either_are_kept(tracking: Tracking, tmp_path: Path) -> None:
    def lose() -> None:
        with tracking.run("one", CELL) as run:
            (run.folder / "predictions.parquet").write_text("precious")
            for name in ("artifacts", "spool"):
                (tmp_path / name).write_text("a file where the folder should be")

    with pytest.raises(ValueError, match="could not be stored at .*artifacts, nor in .*spool") as caught:
        lose()
    folder = Path(str(caught.value).rsplit(" ", 1)[-1])
    assert (folder / "predictions.parquet").read_text() == "precious"
    assert tracking.find("one").status == "FAILED"


def test_a_deleted_experiment_is_named(tracking: Tracking) -> None:
    tracking.client.delete_experiment(tracking.find_or_create(tracking.client))
    with pytest.raises(ValueError, match="was deleted in MLflow"):
        tracking.create("one", CELL)


def test_runs_of_dead_processes_are_found(tracking: Tracking) -> None:
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    left = tracking.create("left", CELL, tags={"pid": str(finished.pid), "process": "another"})
    going = tracking.create("going", CELL)
    tracking.bury()
    assert tracking.client.get_run(left).info.status == "KILLED"
    assert tracking.client.get_run(going).info.status == "RUNNING"


def test_an_open_run_shows_that_it_lives(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_life, "PERIOD", 0.05)
    with tracking.run("one", CELL) as run:
        tracking.client.set_tag(run.id, stored_name("heartbeat"), "0")
        until = time.monotonic() + 20
        while tracking.find(run.id).tags["heartbeat"] == "0":
            assert time.monotonic() < until


def test_cells_know_their_sweep(tracking: Tracking) -> None:
    sweep = tracking.create("table", SWEEP, tags={"sweep_keys": "encoder"})
    names = ["ResNet-400", "table", "VGG-400"]
    for name in names:
        with tracking.run(name, CELL, sweep):
            pass
    assert [run.name for run in tracking.children(sweep)] == names
    assert tracking.find("table", SWEEP).id == sweep
    assert tracking.find("table").id != sweep
    assert tracking.find(sweep).tags["sweep_keys"] == "encoder"


def test_cells_stand_in_the_order_of_their_jobs_without_those_run_anew(tracking: Tracking) -> None:
    sweep = tracking.create("table", SWEEP)
    for name, job in (("second", "1"), ("first, failed", "0"), ("first", "0")):
        with tracking.run(name, CELL, sweep, {JOB: job}):
            pass
    tracking.tag(tracking.find("first, failed").id, {SUPERSEDED: tracking.find("first").id})
    assert [run.name for run in tracking.children(sweep)] == ["first", "second"]


def test_a_run_that_ended_can_go_on(tracking: Tracking) -> None:
    with tracking.run("one", CELL) as run:
        run.log(metrics={"accuracy": 0.9})
    time.sleep(0.002)
    tracking.reopen(run.id)
    assert tracking.find("one").status == "RUNNING"
    with tracking.open(run.id) as again:
        again.log(metrics={"accuracy": 0.1})
    found = tracking.find("one")
    assert (found.status, found.metrics["accuracy"]) == ("FINISHED", 0.1)


def test_a_run_that_does_not_exist_is_named(tracking: Tracking) -> None:
    with pytest.raises(ValueError, match="no sweep has the id or name 'nothing' in experiment 'tenfold'"):
        tracking.find("nothing", SWEEP)


@pytest.mark.slow
def test_a_server_serves_as_well(server: str) -> None:
    tracking = Tracking(uri=server)
    with tracking.run("remote", CELL) as run:
        run.log({"a": 1}, {"accuracy": 1.0})
        pd.DataFrame({"sample": ["a"]}).to_parquet(run.folder / "predictions.parquet")
    found = tracking.find("remote")
    assert (found.status, found.metrics["accuracy"]) == ("FINISHED", 1.0)
    assert tracking.predictions(found)["sample"].tolist() == ["a"]


def test_an_unreachable_server_is_named_at_once() -> None:
    start = time.monotonic()
    with (
        pytest.raises(ValueError, match="tracking.uri=http://127.0.0.1:9 does not answer"),
        Tracking(uri="http://127.0.0.1:9").run("one", CELL),
    ):
        pass
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, "answers with an error \\(500 Internal Server Error\\)"),
        pytest.param(None, "does not answer within 10 seconds", marks=pytest.mark.slow),
        (401, "refuses these credentials .*MLFLOW_TRACKING_USERNAME"),
        (403, "refuses these credentials"),
        (404, "answers with an error \\(404 Not Found\\)"),
        (200, "is no MLflow server"),
    ],
)
def test_a_server_that_misbehaves_is_named(status: int | None, said: str) -> None:
    start = time.monotonic()
    with (
        misbehaving(status) as address,
        pytest.raises(ValueError, match=said) as caught,
        Tracking(uri=address).run("one", CELL),
    ):
        pass
    assert address in str(caught.value)
    assert time.monotonic() - start < 20
