"""A tracking server that goes away loses nothing: what it does not take is kept, and sent once it is back."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.tracking import CELL, SWEEP, RunRecord, Tracking
from src.tracking.datasets import describe_dataset
from src.tracking.spool import AGAIN, Sending, Spool, SpooledRun
from tests.support.servers import Server

MANIFEST = pd.DataFrame({"sample": ["a", "b"], "case": ["a", "b"], "patient": ["", "p"], "label": ["x", "y"]})


def at(server: Server, folder: Path, **more: Any) -> Tracking:
    return Tracking(uri=server.address, artifacts="", spool=f"{folder}/spool", **more)


def fill(tracking: Tracking, name: str, server: Server | None = None, parent: str = "") -> str:
    """Leave what a run leaves; the server, if given, is killed in the middle."""
    with tracking.run(name, CELL, parent) as run:
        run.log({"encoder": "resnet"}, {"early": 0.25}, {"notes": "none"})
        run.log_steps("loss", {0: 3.0, 1: 2.0})
        if server:
            server.kill()
        run.log({"crop.size": 400}, {"accuracy": 0.5, "auc": float("nan")}, {"weights": "digest"})
        run.log({f"parameter{number}": number for number in range(250)})
        run.log_data(describe_dataset("demo", "0" * 32, "demo", MANIFEST))
        for step in (2, 3):
            run.log_steps("loss", {step: 1 / step})
        pd.DataFrame({"sample": ["a"]}).to_parquet(run.folder / "predictions.parquet")
        (run.folder / "model").mkdir()
        (run.folder / "model" / "fold01.txt").write_text("a model")
    return run.id


def check(tracking: Tracking, run: RunRecord) -> None:
    """All that `fill` left is there, once."""
    assert run.status == "FINISHED"
    assert run.params.items() >= {"encoder": "resnet", "crop.size": "400", "parameter249": "249"}.items()
    assert run.metrics == {"early": 0.25, "accuracy": 0.5, "loss": 1 / 3}
    assert run.tags.items() >= {"notes": "none", "weights": "digest", "kind": CELL}.items()
    points = [(p.step, p.value) for p in tracking.client.get_metric_history(run.id, "loss")]
    assert sorted(points) == [(0, 3.0), (1, 2.0), (2, 0.5), (3, 1 / 3)]
    assert tracking.predictions(run)["sample"].tolist() == ["a"]
    assert tracking.artifact(run, "model/fold01.txt") == b"a model"
    (linked,) = tracking.client.get_run(run.id).inputs.dataset_inputs
    assert linked.dataset.name == "demo"


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_of_a_run(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = time.monotonic()
    run = fill(at(server, tmp_path), "cut off", server)
    assert time.monotonic() - start < 40
    assert "the run goes on" in caplog.text
    assert "`python -m src.sync` sends it" in caplog.text
    (entry,) = Spool(tmp_path / "spool").entries()
    assert entry.id == run
    # Anyone can read what is kept: JSON lines, and the files as they were.
    lines = [json.loads(line) for line in entry.file.read_text().splitlines()]
    assert lines[-1]["end"]["status"] == "FINISHED"
    assert {path.name for path in entry.files()} == {"predictions.parquet", "fold01.txt"}
    copy = shutil.copytree(tmp_path / "spool", tmp_path / "copy")

    server.start()
    tracking = at(server, tmp_path)
    assert tracking.find(run).status == "RUNNING"
    (sent,) = tracking.deliver()
    assert (sent.name, sent.files, sent.left) == ("cut off", 2, "")
    check(tracking, tracking.find(run))
    assert not tracking.spooled.entries()

    # Sent once more, as after a kill before the spool was emptied: the same.
    again = Tracking(uri=server.address, spool=str(copy))
    assert [each.left for each in again.deliver()] == [""]
    check(tracking, tracking.find(run))


@pytest.mark.slow
def test_a_server_that_is_briefly_away_is_caught_up_with(server: Server, tmp_path: Path) -> None:
    tracking = at(server, tmp_path)
    with tracking.run("brief", CELL) as run:
        run.log_steps("loss", {0: 3.0})
        server.kill()
        run.log_steps("loss", {1: 2.0})
        assert tracking.spooled.entries()
        server.start()
        run.log_steps("loss", {2: 1.0})
        run.outbox.tried -= AGAIN
        run.log_steps("loss", {3: 0.5})
        assert not tracking.spooled.entries()
        points = tracking.client.get_metric_history(run.id, "loss")
        assert [(point.step, point.value) for point in points] == [(0, 3.0), (1, 2.0), (2, 1.0), (3, 0.5)]
    assert tracking.find("brief").status == "FINISHED"


@pytest.mark.slow
def test_cells_go_on_without_the_server_of_their_sweep(server: Server, tmp_path: Path) -> None:
    tracking = at(server, tmp_path)
    sweep = tracking.create("table", SWEEP)
    fill(tracking, "first", server, sweep)
    fill(at(server, tmp_path), "second", parent=sweep)
    assert len(tracking.spooled.entries()) == 2
    server.start()
    again = at(server, tmp_path)
    assert [run.name for run in again.children(sweep)] == ["first", "second"]  # the second from the spool
    assert [sent.left for sent in again.deliver()] == ["", ""]
    for run in again.children(sweep):
        check(again, run)


@pytest.mark.slow
def test_a_sweep_without_any_server_is_whole_and_can_be_sent(server: Server, tmp_path: Path) -> None:
    offline = Tracking(uri="http://127.0.0.1:9", spool=f"{tmp_path}/spool", offline=True)
    sweep = offline.create("table", SWEEP)
    cell = fill(offline, "cell", parent=sweep)
    (run,) = offline.children(sweep)
    assert (run.id, run.status, run.metrics["loss"]) == (cell, "FINISHED", 1 / 3)
    assert offline.predictions(run)["sample"].tolist() == ["a"]
    assert offline.find("cell").id == cell

    tracking = at(server, tmp_path)
    # The sweep goes on in this process, and its cells wait for it.
    assert [sent.left for sent in tracking.deliver()] == ["it is still running", "its sweep is not sent yet"]
    with offline.open(sweep) as parent:
        parent.log(metrics={"accuracy": 0.5})
    assert [sent.left for sent in tracking.deliver()] == ["", ""]
    found = tracking.find(sweep)
    assert (found.name, found.status, found.metrics) == ("table", "FINISHED", {"accuracy": 0.5})
    assert found.start <= run.start
    (child,) = tracking.children(found.id)
    check(tracking, child)


@pytest.mark.slow
def test_what_is_added_to_a_finished_run_does_not_end_it_anew(server: Server, tmp_path: Path) -> None:
    """A tag that the server did not take, set by a process that is gone since."""
    tracking = at(server, tmp_path)
    run = fill(tracking, "done")
    before = tracking.find(run)
    tracking.spooled.entry(run).add(tags={"job": "3"})
    assert [sent.left for sent in tracking.deliver()] == [""]
    found = tracking.find(run)
    assert (found.status, found.end) == (before.status, before.end) == ("FINISHED", before.end)
    assert found.tags["job"] == "3"


@pytest.mark.slow
def test_two_processes_do_not_send_at_once(server: Server, tmp_path: Path) -> None:
    from filelock import FileLock

    tracking = at(server, tmp_path)
    fill(Tracking(uri="http://127.0.0.1:9", spool=f"{tmp_path}/spool", offline=True), "kept")
    with FileLock(tmp_path / "spool" / ".lock"), pytest.raises(Sending, match="another process is sending"):
        list(tracking.deliver())
    assert [sent.left for sent in tracking.deliver(patience=1)] == [""]


def test_a_killed_offline_run_is_found(tmp_path: Path) -> None:
    offline = Tracking(spool=f"{tmp_path}/spool", offline=True)
    run = offline.create("cell", CELL, tags={"pid": "1", "born": "of another", "process": "another"})
    assert offline.find(run).status == "RUNNING"
    offline.bury()
    assert offline.find(run).status == "KILLED"


@pytest.mark.slow
def test_what_the_server_does_not_know_is_left_and_named(server: Server, tmp_path: Path) -> None:
    tracking = at(server, tmp_path)
    unknown = tracking.spooled.entry("0" * 32)
    unknown.add(tags={"notes": "of another server"})
    unknown.add(end={"status": "FINISHED", "time": 1})
    (sent,) = tracking.deliver()
    assert "0" * 32 in sent.left
    assert unknown.exists


records = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3), min_size=1, max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(records, st.integers(0, 200))
def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path, tags: list[dict[str, str]], cut: int) -> None:
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    entry = SpooledRun(tmp_path / "run")
    ends = []
    for each in tags:
        entry.add(tags=each)
        ends.append(entry.file.stat().st_size - 1)  # without the end of the line
    content = entry.file.read_bytes()
    left = max(0, len(content) - cut)
    entry.file.write_bytes(content[:left])
    whole = [{"tags": each} for each, end in zip(tags, ends, strict=True) if end <= left]
    assert entry.records() == whole
    entry.add(tags={"after": "it"})
    assert entry.records() == [*whole, {"tags": {"after": "it"}}]


def test_what_another_process_has_sent_is_no_run(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    entry = spool.entry(spool.begin("one", {}))
    assert [run.name for run in spool.runs()] == ["one"]
    shutil.rmtree(entry.folder)
    assert entry.records() == []
    assert entry.run() is None
