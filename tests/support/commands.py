"""Commands run as a user runs them, each in a process of its own."""

import atexit
import os
import runpy
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterable
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import patch

from src.system.next_commands import key_of
from src.tracking import Tracking

ROOT = Path(__file__).resolve().parents[2]

QUICK = [
    "data=demo",
    "data.cases=8",
    "data.width=160",
    "data.height=120",
    "protocol.folds=2",
    "encoder=squeezenet",
    "encoder.weights=random",
    "crop.size=48",
    "crop.count=2",
    "classifier=logistic",
    "replicates=50",
    "examples=0",
    "method.device=cpu",
]
"""A cell of a second's work."""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "COLUMNS": "200"}


def once(*overrides: str) -> list[str]:
    """Return overrides with the last one of each key."""
    return list({key_of(override): override for override in overrides}.values())


def arguments(*overrides: str, workspace: Path, sweep: bool = False) -> list[str]:
    """Return a command's arguments, its workspace elsewhere; of a key that is given twice the last value stands."""
    return [*(["-m"] if sweep else []), *once(*overrides, f"workspace={workspace}")]


class Command:
    """`python -m src.MODULE` in a process of its own, a fork of one that has the libraries at hand.

    To import them takes longer than what tests let most commands do.
    """

    def __init__(self, module: str, *overrides: str, workspace: Path, sweep: bool = False) -> None:
        """Begin it with these `arguments`."""
        self.args = [f"src.{module}", *arguments(*overrides, workspace=workspace, sweep=sweep)]
        folder = Path(mkdtemp())
        weakref.finalize(self, shutil.rmtree, folder)
        self.output, self.errors = folder / "output", folder / "errors"
        for path in (self.output, self.errors):
            path.touch()
        given = self.args, dict(os.environ) | ENVIRONMENT, (self.output, self.errors)
        self.process = forks().Process(target=become, args=given)
        self.process.start()

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    @property
    def said(self) -> str:
        """What it wrote so far, messages before results."""
        return self.errors.read_text() + self.output.read_text()

    def wait(self, timeout: float = 240) -> int:
        """Return its exit status, once it has ended."""
        self.process.join(timeout)
        if self.returncode is None:
            self.process.kill()
            raise subprocess.TimeoutExpired(self.args, timeout, self.said)
        return self.returncode

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """Return its output and its errors, once it has ended."""
        self.wait(timeout)
        return self.output.read_text(), self.errors.read_text()


@cache
def forks() -> ForkServerContext:
    """Return the processes that begin with what is at hand."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "tests.support.at_hand"])
    with patch.dict(os.environ, ENVIRONMENT):  # the libraries read it as they are imported
        ensure_running()
    return context


def become(command: list[str], environment: dict[str, str], said: Iterable[Path]) -> None:
    """Be `python -m COMMAND` from here on."""
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = list(command)
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()


def run(module: str, *overrides: str, workspace: Path, sweep: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    command = Command(module, *overrides, workspace=workspace, sweep=sweep)
    return subprocess.CompletedProcess(command.args, command.wait(), *command.communicate())


def tracking(workspace: Path) -> Tracking:
    place = f"sqlite:///{workspace}/mlflow.db"
    return Tracking(uri=place, artifacts=f"{workspace}/artifacts", spool=f"{workspace}/spool")
