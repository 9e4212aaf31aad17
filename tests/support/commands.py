"""Commands run as a user runs them: in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

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


def once(*overrides: str) -> list[str]:
    """Return overrides with the last one of each key."""
    return list({key_of(override): override for override in overrides}.values())


def start(module: str, *overrides: str, workspace: Path, sweep: bool = False) -> "subprocess.Popen[str]":
    """Start `python -m src.MODULE` with its workspace elsewhere; of a key that is given twice the last value stands."""
    given = once(*overrides, f"workspace={workspace}")
    command = [sys.executable, "-m", f"src.{module}", *(["-m"] if sweep else []), *given]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(module: str, *overrides: str, workspace: Path, sweep: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    process = start(module, *overrides, workspace=workspace, sweep=sweep)
    output, errors = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def tracking(workspace: Path) -> Tracking:
    place = f"sqlite:///{workspace}/mlflow.db"
    return Tracking(uri=place, artifacts=f"{workspace}/artifacts", spool=f"{workspace}/spool")
