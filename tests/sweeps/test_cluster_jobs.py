"""Cells as jobs: what Slurm would run, run by submitit on this machine."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.sweeps.cluster_jobs import check_launcher
from src.tracking import PARENT, SUPERSEDED, SWEEP
from tests.support.commands import QUICK, run
from tests.support.commands import tracking as at
from tests.support.sweeps import Going, descriptors, query, results, runs, statuses

pytestmark = pytest.mark.extra("submitit")

JOBS = "hydra/launcher=submitit_local"
SLOW = ["data.width=400", "data.height=300", "crop.size=140", "crop.count=150"]
"""A cell that is still encoding when it is told something."""


def process_of(going: Going, cell: str) -> int:
    """The process of a cell, once its run has begun."""
    wanted = (
        f"select value from runs join tags using (run_uuid) where name like '%{cell}' and key = 'mlflow.tenfold.pid'"
    )
    while not (found := query(going.workspace, wanted)):
        assert going.poll() is None, going.said
        time.sleep(0.02)
    return int(found[0])


@pytest.mark.slow
def test_jobs_end_with_the_table_of_the_default_launcher(tmp_path: Path) -> None:
    varied = [*QUICK, "pool.p=1,3,inf", "name=powers"]
    jobs = Going(*varied, JOBS, workspace=tmp_path / "jobs")
    assert run("run", *varied, workspace=tmp_path / "default", sweep=True).returncode == 0
    said = jobs.succeed()
    for number in ("1.0", "3.0", "inf"):
        assert f"SqueezeNet-48 pool.p={number}: accuracy by fold" in said
    assert results(tmp_path / "jobs") == results(tmp_path / "default")
    found = runs(tmp_path / "jobs")
    (sweep,) = (each.id for each in found if each.tags["kind"] == SWEEP)
    cells = [each for each in found if each.tags["kind"] != SWEEP]
    assert [each.tags[PARENT] for each in cells] == [sweep] * 3
    assert len({each.tags["pid"] for each in cells}) == 3
    assert list((tmp_path / "jobs" / "sweeps").glob("*/.submitit/*/*_log.err"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep of jobs, one of which is killed and one of which fails, and what the sweep said."""
    workspace = tmp_path_factory.mktemp("broken")
    going = Going(*QUICK, "pool.p=1,3,0.5,inf", "name=powers", JOBS, workspace=workspace)
    os.kill(process_of(going, "p=3.0"), signal.SIGKILL)
    assert going.wait() == 1
    return workspace, going.said


@pytest.mark.slow
class TestBroken:
    def test_a_job_that_dies_ends_nothing_else(self, broken: tuple[Path, str]) -> None:
        workspace, said = broken
        assert "of cell 1 (pool.p=3) ended early; was there enough memory and time?" in said
        assert "failed: `p >= 1` must hold, but got p=0.5" in said
        assert "cells failed: SqueezeNet-48 pool.p=3.0, SqueezeNet-48 pool.p=0.5" in said
        assert "Model fusion" in said
        assert "Traceback" not in said
        tracking = at(workspace)
        (parent,) = tracking.search({"kind": SWEEP})
        ended = [each.status for each in tracking.children(parent.id)]
        assert ended == ["FINISHED", "KILLED", "FAILED", "FINISHED"]
        assert parent.status == "FINISHED"

    def test_the_next_try_runs_what_is_missing(self, broken: tuple[Path, str]) -> None:
        workspace, _ = broken
        before = len(runs(workspace))
        again = Going(*QUICK, "pool.p=1,3,0.5,inf", "name=powers", JOBS, "resume=true", workspace=workspace)
        assert again.wait() == 1
        said = again.said
        assert "2 of 4 cells are finished" in said
        assert said.count("finished already as run") == 2
        assert "cells failed: SqueezeNet-48 pool.p=0.5" in said
        assert len(runs(workspace)) == before + 2


@pytest.mark.slow
def test_a_job_that_is_preempted_is_run_again(tmp_path: Path) -> None:
    going = Going(*QUICK, *SLOW, "pool.p=1,3", "name=powers", JOBS, workspace=tmp_path / "w")
    process = process_of(going, "p=3.0")
    while not any("encoder" in path.parent.joinpath("recipe.json").read_text() for path in descriptors(tmp_path / "w")):
        assert going.poll() is None, going.said
        time.sleep(0.05)
    os.kill(process, signal.SIGTERM)  # as Slurm does, and then what it was asked for
    os.kill(process, signal.SIGUSR2)
    said = going.succeed()
    assert "Traceback" not in said
    first, second = sorted((each for each in runs(tmp_path / "w") if "p=3.0" in each.name), key=lambda run: run.start)
    assert (first.status, second.status) == ("KILLED", "FINISHED")
    assert first.tags[SUPERSEDED] == second.id
    assert at(tmp_path / "w").artifact(first, "config.yaml")


@pytest.mark.slow
def test_a_sweep_that_is_ended_cancels_its_jobs(tmp_path: Path) -> None:
    going = Going(*QUICK, *SLOW, "pool.p=1,3", "name=slow", JOBS, workspace=tmp_path / "w")
    processes = [process_of(going, f"p={p}.0") for p in (1, 3)]
    said = going.end(signal.SIGTERM)
    assert going.returncode == 130
    assert "Traceback" not in said
    assert statuses(tmp_path / "w") == ["KILLED"] * 3
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="there is a Slurm here")
def test_without_slurm_one_message_and_nothing_begun(tmp_path: Path) -> None:
    process = run("run", *QUICK, "pool.p=1,3", "hydra/launcher=submitit_slurm", workspace=tmp_path, sweep=True)
    assert process.returncode == 1
    assert process.stderr.startswith(
        "error: hydra/launcher=submitit_slurm hands cells to Slurm, but there is no sbatch"
    )
    assert not (tmp_path / "mlflow.db").exists()


def test_without_submitit_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match="submitit_local needs submitit, which is not here: `make slurm`"):
        check_launcher(OmegaConf.create({"_target_": "hydra_plugins.tenfold.LocalLauncher"}))
    check_launcher(OmegaConf.create({"_target_": "hydra_plugins.tenfold.JoblibLauncher", "n_jobs": -1}))


@pytest.mark.parametrize("count", [0, -2, "two", None])
def test_a_number_of_processes_that_is_none_is_refused_before_any_work(count: object) -> None:
    with pytest.raises(ValueError, match=f"must be -1 or 1 and more, but got hydra.launcher.n_jobs={count}"):
        check_launcher(OmegaConf.create({"_target_": "hydra_plugins.tenfold.JoblibLauncher", "n_jobs": count}))


def test_an_option_that_submitit_does_not_know_is_named(tmp_path: Path) -> None:
    process = run("run", *QUICK, "pool.p=1,3", JOBS, "hydra.launcher.timeout=3", workspace=tmp_path, sweep=True)
    assert process.returncode == 1
    assert "hydra.launcher.timeout" in process.stderr
    assert "Traceback" not in process.stderr


SLURM = r'''#!{python}
"""Stands for Slurm's programs: a job is a process with a bare environment, as where a cluster exports none."""
import os, re, subprocess, sys
from pathlib import Path

name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
if name == "sbatch":
    script = Path(arguments[0]).read_text()
    Path("{folder}", "script").write_text(script)
    last = int(re.search(r"--array=0-(\d+)", script)[1])
    for task in range(last + 1):
        own = {"SLURM_JOB_ID": f"{100 + task}", "SLURM_ARRAY_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": f"{task}"}
        bare = {key: os.environ[key] for key in ("PATH", "HOME")}
        nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.Popen(["bash", arguments[0]], env=bare | own, start_new_session=True, **nowhere)
    print("Submitted batch job 100")
elif name == "srun":
    begin = next(number for number, word in enumerate(arguments) if "python" in word)
    for number, stream in ((1, "--output"), (2, "--error")):
        path = arguments[arguments.index(stream) + 1]
        for short, key in (("%A", "SLURM_ARRAY_JOB_ID"), ("%a", "SLURM_ARRAY_TASK_ID")):
            path = path.replace(short, os.environ[key])
        path = Path(path.replace("%t", "0"))
        path.parent.mkdir(parents=True, exist_ok=True)
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.execv(arguments[begin], arguments[begin:])
elif name == "sacct":
    print("JobID|State|NodeList")
'''


@pytest.mark.slow
def test_what_slurm_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With programs of Slurm's names, which run jobs here: the options are in sbatch's script, and the cells run."""
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel"):
        program = tmp_path / "bin" / name
        program.write_text(SLURM.replace("{python}", sys.executable).replace("{folder}", str(tmp_path)))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    asked = [
        "partition=gpu",
        "mem_gb=8",
        "cpus_per_task=4",
        "setup=[echo begun]",
        "+additional_parameters.mail-type=END",
    ]
    options = [f"{'+' if each[0] == '+' else ''}hydra.launcher.{each.lstrip('+')}" for each in asked]
    arguments = [*QUICK, "pool.p=1,3", "name=powers", "hydra/launcher=submitit_slurm", *options]
    process = run("run", *arguments, workspace=tmp_path / "w", sweep=True)
    assert process.returncode == 0, process.stderr
    assert "Model fusion" in process.stdout
    script = (tmp_path / "script").read_text().splitlines()
    wanted = ["partition=gpu", "mem=8GB", "cpus-per-task=4", "mail-type=END", "array=0-1%2", "time=60"]
    assert {f"#SBATCH --{each}" for each in wanted} <= set(script)
    assert "echo begun" in script
    assert not any("--qos" in line or "--account" in line for line in script)
