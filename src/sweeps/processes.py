"""Cells of a sweep in processes of their own, several at the same time: `hydra/launcher=joblib`.

It stands in for hydra-joblib-launcher 1.2: there, a worker that the kernel kills takes its siblings and the sweep with
it, and a request to end kills workers before they can close their runs.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from src.cli import command
from src.cli.terminal import say

PLUGINS = Path(__file__).parents[1] / "plugins"
"""Holds the package hydra_plugins, the only one that Hydra takes launchers from."""
LEADER = "TENFOLD_LEADER"
"""The environment variable that tells a cell's process the one that it belongs to."""
GRACE = 60.0
"""Seconds that cells have to close their runs when the sweep is asked to end."""
OURS = ("hydra/", "hydra.launcher", "hydra.mode", "hydra.sweep")
"""Overrides that are the sweep's and not a cell's."""


class Processes(Launcher):
    """Runs each cell as a command of its own; one that dies ends nothing else."""

    def __init__(self, n_jobs: int) -> None:
        """Run `n_jobs` cells at the same time; -1: one per processor."""
        self.n_jobs = n_jobs if n_jobs > 0 else os.cpu_count() or 1
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the sweep's config; cells compose their own."""
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the cells; whether one failed is in its run."""
        named = cell_titles(job_overrides, initial_job_idx)
        waiting = deque(zip(range(initial_job_idx, initial_job_idx + len(named)), named, job_overrides, strict=True))
        going: dict[subprocess.Popen[bytes], str] = {}
        try:
            while waiting or going:
                while waiting and len(going) < self.n_jobs:
                    number, name, overrides = waiting.popleft()
                    going[self.start(number, overrides)] = name
                time.sleep(0.05)
                for process in [process for process in going if process.poll() is not None]:
                    tell_killed(process.returncode, going.pop(process))
        except BaseException:
            end_processes(list(going))
            raise
        return completed_jobs(len(job_overrides))

    def start(self, number: int, overrides: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start one cell, out of reach of the terminal's Ctrl-C, which would end it twice."""
        assert self.config is not None
        command = [sys.executable, "-m", running_module(), *cell_arguments(self.config, number, overrides)]
        environment = os.environ | {LEADER: str(os.getpid())}
        return subprocess.Popen(command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL)


def running_module() -> str:
    """Return the module of the command that is running, such as src.run."""
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else "src.run"


def cell_arguments(config: DictConfig, number: int, overrides: Sequence[str]) -> list[str]:
    """Return the command line of one cell of a sweep, `number` in its order, as a command of its own."""
    hydra = config.hydra
    kept = [override for override in hydra.overrides.hydra if not override.lstrip("+~").startswith(OURS)]
    # An experiment may say that it is a sweep: its cells are none.
    return [*command.folder_options(hydra), *overrides, *kept, "hydra.mode=RUN", f"hydra.job.num={number}"]


def cell_titles(job_overrides: Sequence[Sequence[str]], first: int) -> list[str]:
    """Return what to call the cells of a sweep on the terminal: `cell 1 (pool.p=3)`."""
    same = set.intersection(*map(set, job_overrides))
    varied = [" ".join(override for override in overrides if override not in same) for overrides in job_overrides]
    return [f"cell {number} ({each})" for number, each in enumerate(varied, start=first)]


def completed_jobs(count: int) -> list[JobReturn]:
    """Return what Hydra expects of so many cells; whether one failed is in its run."""
    done = JobReturn(status=JobStatus.COMPLETED)
    done.return_value = None
    return [done] * count


def tell_killed(code: int, cell: str) -> None:
    """Say it where the process of a cell was killed; what else may happen, it has said itself."""
    if code < 0:
        memory = "; was there enough memory?" if -code == signal.SIGKILL else ""
        say(f"failed: the process of {cell} was ended by {signal.Signals(-code).name}{memory}")


def end_processes(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Ask processes to close their runs, and kill those that do not end."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def sweeping_command(task: Callable[[DictConfig], None], name: str) -> None:
    """Run a command that may sweep (`command.command`): Hydra finds our launchers, a cell ends with its sweep."""
    sys.path.append(str(PLUGINS))  # before Hydra looks for plugins
    follow_leader()
    command.command(task, name, sweeps=True)


def follow_leader() -> None:
    """End this process, if it is of a cell, with the one that started it, even if that is killed."""
    leader = int(os.environ.get(LEADER, "0"))
    if not leader:
        return

    def watch() -> None:
        while os.getppid() == leader:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="leader", daemon=True).start()
