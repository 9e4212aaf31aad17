"""Sweeps that are killed, interrupted and taken up again; cells that die; what is finished is not done again."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from src.encoders.torchvision import Torchvision
from src.sweeps.resume import wants_resume
from src.tracking import PARENT, SWEEP, RunRecord
from tests.support.commands import QUICK, run
from tests.support.commands import tracking as at
from tests.support.configs import config
from tests.support.sweeps import Going, descriptors, finished, query, results, runs, statuses

JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def kill_and_resume(arguments: list[str], folder: Path, moments: list[tuple[int, float]], cells: int) -> None:
    """Kill a sweep at moments (finished cells, and seconds after that), resume it each time, and compare the ends."""
    whole = Going(*arguments, workspace=folder / "whole")
    killed, done, stored = folder / "killed", set[str](), dict[Path, int]()
    for count, delay in moments:
        going = Going(*arguments, workspace=killed)
        going.wait_for("sweep of")
        going.wait_for_finished(count)
        time.sleep(delay)
        going.end(signal.SIGKILL)
        assert done <= set(finished(killed))
        assert stored.items() <= descriptors(killed).items()
        done, stored = set(finished(killed)), descriptors(killed)
    said = Going(*arguments, workspace=killed).succeed()
    assert said.count("finished already as run") == len(done)
    whole.succeed()

    assert results(killed) == results(folder / "whole")
    assert stored.items() <= descriptors(killed).items()
    tracking = at(killed)
    (parent,) = tracking.search({"kind": SWEEP})
    children = tracking.children(parent.id)
    assert [run.status for run in [parent, *children]] == ["FINISHED"] * (1 + cells)
    assert done <= {run.id for run in children}
    statuses = Counter(run.status for run in runs(killed))
    assert statuses.keys() <= {"FINISHED", "KILLED"}
    assert statuses["FINISHED"] == 1 + cells
    # Nothing is encoded twice: together they encoded no more than the sweep that was left alone.
    crops, alone = (encoded(tracking.children(parent.id)), encoded(runs(folder / "whole")))
    assert crops <= alone


def encoded(found: list[RunRecord]) -> int:
    return sum(int(run.tags.get("encoded_crops", 0)) for run in found)


@pytest.mark.slow
def test_killed_twice_and_resumed_is_as_one_left_alone(tmp_path: Path) -> None:
    arguments = [*QUICK, "pool.p=1,3,inf", "name=powers", "resume=true"]
    kill_and_resume(arguments, tmp_path, [(0, 1.0), (2, 0.2)], cells=3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_ten_times_and_resumed_is_as_one_left_alone(tmp_path: Path) -> None:
    varied = ["crop.size=40,48,56", "protocol=kfold,image_kfold", "data.cases=24", "crop.count=8"]
    arguments = [*QUICK, *varied, "name=table", "resume=true"]
    moments = [(0, 0.0), (0, 0.5), (0, 1.0), (1, 0.1), (1, 1.2), (2, 0.4), (4, 0.8), (5, 0.2), (6, 0.1), (6, 1.0)]
    kill_and_resume(arguments, tmp_path, moments, cells=6)
    assert {"groups.csv", "gaps.csv", "kfold/table.csv", "image_kfold/table.csv"} <= results(tmp_path / "killed").keys()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep of processes, one of whose cells is killed as by a lack of memory, and what the sweep said."""
    workspace = tmp_path_factory.mktemp("broken")
    going = Going(*QUICK, "pool.p=1,3,inf", "name=powers", *JOBLIB, workspace=workspace)
    victim = "select value from runs join tags using (run_uuid) where name like '%p=3.0' and key = 'mlflow.tenfold.pid'"
    while not (found := query(workspace, victim)):
        assert going.poll() is None, going.said
        time.sleep(0.02)
    os.kill(int(found[0]), signal.SIGKILL)
    assert going.wait() == 1
    return workspace, going.said


@pytest.mark.slow
class TestProcesses:
    def test_a_cell_that_the_kernel_kills_ends_nothing_else(self, broken: tuple[Path, str]) -> None:
        workspace, said = broken
        assert "cell 1 (pool.p=3) was ended by SIGKILL; was there enough memory?" in said
        assert "cells failed: SqueezeNet-48 pool.p=3.0" in said
        tracking = at(workspace)
        (parent,) = tracking.search({"kind": SWEEP})
        statuses = {run.name: run.status for run in tracking.children(parent.id)}
        names = [f"SqueezeNet-48 pool.p={p}" for p in ("1.0", "3.0", "inf")]
        assert list(statuses.items()) == list(zip(names, ["FINISHED", "KILLED", "FINISHED"], strict=True))
        assert parent.status == "FINISHED"
        assert parent.tags["failed_cells"] == "SqueezeNet-48 pool.p=3.0"

    def test_it_is_run_by_the_next_try(self, broken: tuple[Path, str]) -> None:
        workspace, _ = broken
        before = {run.id for run in runs(workspace)}
        # In another order, by the ordinary launcher, and in a process of a different name: the same sweep.
        process = run("run", *QUICK, "name=powers", "pool.p=inf,3,1", "resume=true", workspace=workspace, sweep=True)
        assert process.returncode == 0, process.stderr
        assert "2 of 3 cells are finished" in process.stderr
        (new,) = [each for each in runs(workspace) if each.id not in before]
        assert new.name == "SqueezeNet-48 pool.p=3.0"
        rows = [line.split("│")[1].strip() for line in process.stdout.splitlines() if "pool.p=" in line]
        assert rows == [f"SqueezeNet-48 pool.p={p}" for p in ("inf", "3.0", "1.0")]

    def test_a_request_to_end_leaves_killed_runs_and_what_is_finished(self, tmp_path: Path) -> None:
        slow = ["data.width=400", "data.height=300", "crop.size=140", "crop.count=400"]
        going = Going(*QUICK, *slow, "pool.p=1,3,inf", "name=slow", *JOBLIB, workspace=tmp_path / "w")
        while len([each for each in statuses(tmp_path / "w") if each == "RUNNING"]) < 3:
            assert going.poll() is None, going.said
            time.sleep(0.05)
        said = going.end(signal.SIGTERM)
        assert going.returncode == 130
        assert "Traceback" not in said
        assert [run.status for run in runs(tmp_path / "w")] == ["KILLED"] * 3  # the parent, and two cells

    def test_cells_end_with_a_sweep_that_is_killed(self, tmp_path: Path) -> None:
        slow = ["data.width=400", "data.height=300", "crop.size=140", "crop.count=400"]
        going = Going(*QUICK, *slow, "pool.p=1,3", "name=slow", *JOBLIB, workspace=tmp_path / "w")
        begun = "select distinct run_uuid from params where key = 'pool.p'"
        while len(query(tmp_path / "w", begun)) < 2:
            assert going.poll() is None, going.said
            time.sleep(0.05)
        going.end(signal.SIGKILL)
        until = time.monotonic() + 60
        while "RUNNING" in statuses(tmp_path / "w"):
            assert time.monotonic() < until
            at(tmp_path / "w").bury()
        assert statuses(tmp_path / "w") == ["KILLED"] * 3
        # The cells have closed their runs themselves, with what they had.
        for cell in at(tmp_path / "w").search({"kind": "cell"}):
            assert at(tmp_path / "w").artifact(cell, "config.yaml")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a finished cell."""
    workspace = tmp_path_factory.mktemp("single")
    assert run("run", *QUICK, workspace=workspace).returncode == 0
    return workspace


@pytest.mark.slow
class TestTakingOver:
    """On one workspace, in this order."""

    def test_a_finished_cell_is_shown_again(self, workspace: Path) -> None:
        process = run("run", *QUICK, "resume=true", "name=other", "method.workers=1", workspace=workspace)
        assert process.returncode == 0, process.stderr
        assert "SqueezeNet-48: finished already as run" in process.stderr
        assert "SqueezeNet-48: accuracy, %" in process.stdout
        assert len(runs(workspace)) == 1

    def test_not_where_the_data_changed(self, workspace: Path) -> None:
        image = next(path for path in (workspace / "demo").rglob("*.png"))
        other = next(path for path in (workspace / "demo").rglob("*.png") if path != image)
        image.write_bytes(other.read_bytes())
        process = run("run", *QUICK, "resume=true", workspace=workspace)
        assert "finished already" not in process.stderr
        assert len(runs(workspace)) == 2


@pytest.mark.slow
def test_what_finished_is_not_taken_for_what_cannot_be_looked_at(tmp_path: Path) -> None:
    """The encoder's weights are gone for a while: the sweep fails, though all its cells finished before."""
    weights = tmp_path / "squeezenet.pth"
    encoder = Torchvision(label="SqueezeNet", architecture="squeezenet1_1", weights="random", head=["classifier."])
    torch.save(encoder.load().module.state_dict(), weights)
    sweep = [*QUICK, f"encoder.weights={weights}", "pool.p=1,3", "name=pair", "resume=true"]
    assert run("run", *sweep, workspace=tmp_path, sweep=True).returncode == 0
    weights.rename(tmp_path / "moved.pth")
    failed = run("run", *sweep, workspace=tmp_path, sweep=True)
    assert failed.returncode == 1
    assert "0 of 2 cells finished" in failed.stderr
    (tmp_path / "moved.pth").rename(weights)
    again = run("run", *sweep, workspace=tmp_path, sweep=True)
    assert again.returncode == 0, again.stderr
    assert "2 of 2 cells finished" in again.stderr


@pytest.mark.slow
def test_a_cell_that_runs_out_of_memory_does_not_end_the_sweep(tmp_path: Path) -> None:
    process = run("run", *QUICK, "method.batch=1000000000000,16", "name=greedy", workspace=tmp_path, sweep=True)
    assert process.returncode == 1
    assert "failed: out of memory: " in process.stderr
    cells = [run for run in runs(tmp_path) if run.tags["kind"] == "cell"]
    assert [run.status for run in cells] == ["FAILED", "FINISHED"]
    assert "allocate memory" in at(tmp_path).artifact(cells[0], "traceback.txt").decode()


@pytest.mark.slow
def test_a_sweep_that_is_going_on_is_not_taken_up(tmp_path: Path) -> None:
    slow = ["data.width=400", "data.height=300", "crop.size=140", "crop.count=400"]
    arguments = [*QUICK, *slow, "pool.p=1,3", "name=slow", "resume=true"]
    going = Going(*arguments, workspace=tmp_path)
    going.wait_for("sweep of")
    process = run("run", *arguments, workspace=tmp_path, sweep=True)
    going.end(signal.SIGINT)
    assert process.returncode == 1
    assert "is still running, as process" in process.stderr
    assert "resume=false" in process.stderr


@pytest.mark.slow
def test_an_experiment_is_resumed_as_a_matter_of_course(tmp_path: Path) -> None:
    whole = ["experiment=demo", *QUICK, "encoder=squeezenet", "stain=none", "augment=none", "augment.count=1"]
    whole += ["crop.size=48", "seeds=[0]"]
    first = run("run", *whole, workspace=tmp_path, sweep=True)
    assert first.returncode == 0, first.stderr
    again = run("run", *whole, workspace=tmp_path, sweep=True)
    assert again.stdout == first.stdout
    assert "1 of 1 cells are finished" in again.stderr
    assert len(at(tmp_path).search({PARENT: at(tmp_path).search({"kind": SWEEP})[0].id})) == 1


@pytest.mark.parametrize(
    ("resume", "experiment", "sweeping", "taken"),
    [
        ("null", "demo", True, True),
        ("null", None, True, False),
        ("null", "demo", False, False),
        ("false", "demo", True, False),
        ("true", None, False, True),
    ],
)
def test_what_is_finished_is_taken_over_if_wanted(
    resume: str, experiment: str | None, sweeping: bool, taken: bool
) -> None:
    assert wants_resume(config(f"resume={resume}"), {"experiment": experiment}, sweeping) == taken
