"""Cells of a sweep as jobs of a cluster, by submitit: `hydra/launcher=submitit_slurm`, and on this machine `_local`.

It takes the options of hydra-submitit-launcher 1.2 and stands in for it: there, the first job that dies ends the sweep,
and jobs hold a pickle of the whole command. Here a job is the command of one cell.
"""

import importlib.util
import os
import runpy
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from src.cli.terminal import say
from src.sweeps.processes import cell_arguments, cell_titles, completed_jobs, running_module
from src.sweeps.resume import AGAIN, VARIABLE
from src.system.checks import needs_extra
from src.system.interrupts import raise_interrupt

if TYPE_CHECKING:
    from submitit import Executor
    from submitit import Job as Submitted
    from submitit.helpers import DelayedSubmission

PATIENCE = 3.0
"""Seconds between a cluster's request to end and the end: where it preempts a job, SIGUSR2 comes after SIGTERM."""
GRACE = 15.0
"""Seconds that jobs which were cancelled have to close their runs."""
PERIOD = 0.5
"""Seconds between two looks at the jobs."""


@dataclass(kw_only=True)
class LocalJobs:
    """The options of `hydra/launcher=submitit_local`, which starts all cells at once: submitit's for every cluster."""

    _target_: str = ""
    submitit_folder: str = "${hydra.sweep.dir}/.submitit/%j"
    """Where the cluster's machines find the jobs, and write their logs."""
    name: str = "tenfold"
    timeout_min: int = 60
    max_num_timeout: int = 3
    """How often a job whose time is up is sent back to the queue, to go on."""
    cpus_per_task: int | None = None
    """Processors of a job; give `method.workers` the same number."""
    gpus_per_node: int | None = None
    mem_gb: int | None = None
    stderr_to_stdout: bool = False


@dataclass(kw_only=True)
class SlurmJobs(LocalJobs):
    """The options of `hydra/launcher=submitit_slurm`: sbatch's besides."""

    partition: str | None = None
    qos: str | None = None
    account: str | None = None
    comment: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    cpus_per_gpu: int | None = None
    gpus_per_task: int | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    setup: list[str] | None = None
    """Commands that come first, such as `module load cuda`."""
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    """Of sbatch, those that have no option here, such as mail-type."""
    array_parallelism: int = 256
    """Jobs that run at the same time."""
    signal_delay_s: int = 120
    """Seconds before its time is up when a job is told, to close its run."""


def check_launcher(launcher: DictConfig) -> None:
    """Raise `ValueError` before any work where a launcher's number of cells is none, or it needs what is missing."""
    name = str(launcher.get("_target_")).rpartition("tenfold.")[2].removesuffix("Launcher")
    count = launcher.get("n_jobs")
    if name == "Joblib" and not (isinstance(count, int) and (count == -1 or count > 0)):
        raise ValueError(f"`n_jobs` must be -1 or 1 and more, but got hydra.launcher.n_jobs={count}")
    if name not in ("Slurm", "Local"):
        return
    asked = f"hydra/launcher=submitit_{name.lower()}"
    if importlib.util.find_spec("submitit") is None:
        raise ValueError(needs_extra(asked, "submitit", "slurm"))
    missing = [tool for tool in ("sbatch", "srun", "sacct", "scancel") if shutil.which(tool) is None]
    if name == "Slurm" and missing:
        raise ValueError(
            f"{asked} hands cells to Slurm, but there is no {missing[0]} on this machine: start the sweep where jobs "
            "are submitted from, or take hydra/launcher=joblib"
        )


@dataclass
class CellJob:
    """One cell, run in the process of a job as `python -m MODULE ARGUMENTS` would."""

    module: str
    arguments: list[str]
    told: dict[str, str]
    """Environment variables that the cell must have, though a cluster may keep others from it."""
    leaving: bool = field(default=False, init=False)

    def __call__(self) -> str:
        """Run the cell; return why it ended early, if it did, and empty where its run says how it went."""
        os.environ.update(self.told)
        signal.signal(signal.SIGTERM, end_soon)
        sys.argv = [self.module, *self.arguments]
        try:
            runpy.run_module(self.module, run_name="__main__", alter_sys=True)
        except SystemExit as error:
            if self.leaving:
                raise
            return error.code if isinstance(error.code, str) else "it was asked to end"
        return ""

    def checkpoint(self) -> "DelayedSubmission":
        """Return the job that takes this one's place: submitit asks for it before it sends a job back to the queue.

        After that it ends this one by `SystemExit`, so that its run is closed as KILLED; the cluster's request to end,
        which comes with it, must not disturb that.
        """
        from submitit.helpers import DelayedSubmission

        signal.signal(signal.SIGTERM, lambda *_: None)  # SIG_IGN would complain of one that is on its way
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.leaving = True
        return DelayedSubmission(replace(self))


def end_soon(*_: object) -> None:
    """End the cell in a moment, unless the job is sent back to the queue before."""
    signal.signal(signal.SIGALRM, raise_interrupt)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)


class Jobs(Launcher):
    """Runs each cell as a job; one that dies ends nothing else."""

    cluster: ClassVar[str]

    def __init__(self, submitit_folder: str, max_num_timeout: int, **options: Any) -> None:
        """Take the options of `LocalJobs` or `SlurmJobs`."""
        self.folder = submitit_folder
        self.again = max_num_timeout
        self.options = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in options.items()
        }
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take the sweep's config; cells compose their own."""
        self.config = config

    def executor(self) -> "Executor":
        """Return submitit's executor with all options; `ValueError` where it refuses one."""
        import submitit

        again = {f"{self.cluster}_max_num_timeout": self.again}
        folder = str(Path(self.folder).absolute())
        everywhere = {each.name for each in fields(LocalJobs)}
        given = {name: value for name, value in self.options.items() if value is not None}
        options = {name if name in everywhere else f"{self.cluster}_{name}": value for name, value in given.items()}
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.cluster, **again)
            executor.update_parameters(**options)
        except (NameError, TypeError, ValueError) as error:
            raise ValueError(f"submitit refuses an option of hydra.launcher: {error}") from None
        return executor

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the cells; whether one failed is in its run."""
        from submitit.core.utils import FailedSubmissionError

        assert self.config is not None
        told = {VARIABLE: os.environ[VARIABLE], AGAIN: "1"}
        numbered = enumerate(job_overrides, start=initial_job_idx)
        cells = [
            CellJob(running_module(), cell_arguments(self.config, number, overrides), told)
            for number, overrides in numbered
        ]
        try:
            with out_of_reach():
                jobs = self.executor().submit_array(cells)
        except FailedSubmissionError as error:
            raise ValueError(f"{self.cluster} takes no job: {str(error).strip().splitlines()[-1]}") from None
        self.wait(dict(zip(cell_titles(job_overrides, initial_job_idx), jobs, strict=True)))
        return completed_jobs(len(jobs))

    def wait(self, going: "dict[str, Submitted[str]]") -> None:
        """Wait for the jobs of cells, and say what each one said when it ends; cancel them if the sweep is to end."""
        first = next(iter(going.values()))
        say(f"jobs {', '.join(job.job_id for job in going.values())}; their logs: {first.paths.folder.parent}")
        try:
            while going:
                time.sleep(PERIOD)
                for name in [name for name, job in going.items() if job.done()]:
                    tell_end(name, going.pop(name))
        except BaseException:
            self.cancel(list(going.values()))
            raise

    def cancel(self, jobs: "list[Submitted[str]]") -> None:
        """Cancel jobs, and give them a moment to close their runs."""
        for job in jobs:
            if self.cluster == "local":
                with suppress(ProcessLookupError):
                    os.kill(int(job.job_id), signal.SIGTERM)  # submitit's own way leaves them a second
            else:
                job.cancel(check=False)
        until = time.monotonic() + GRACE
        while time.monotonic() < until and not all(job.done() for job in jobs):
            time.sleep(PERIOD)


@contextmanager
def out_of_reach() -> Iterator[None]:
    """Start processes out of reach of the terminal's Ctrl-C, which would end them twice."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def tell_end(name: str, job: "Submitted[str]") -> None:
    """Say what a job that ended has said, and why it ended if it did not come to its end."""
    from submitit.core.utils import UncompletedJobError

    for line in (job.stderr() or "").splitlines():
        if not line.startswith("submitit "):
            say(line)
    try:
        if why := job.result():
            say(f"failed: job {job.job_id} of {name}: {why.removeprefix('error: ')}")
    except UncompletedJobError:
        say(f"failed: job {job.job_id} of {name} ended early; was there enough memory and time? {job.paths.stderr}")
