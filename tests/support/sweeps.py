"""A sweep that is going on, and what it left."""

import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from src.tracking import SWEEP, RunRecord
from tests.support.commands import Command
from tests.support.commands import tracking as at


def runs(workspace: Path) -> list[RunRecord]:
    return at(workspace).search()


class Going(Command):
    """A sweep that is going on, what it said so far, and what is in its database."""

    def __init__(self, *overrides: str, workspace: Path) -> None:
        super().__init__("run", *overrides, workspace=workspace, sweep=True)
        self.workspace = workspace

    def wait_for(self, text: str, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while text not in self.said:
            assert self.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.01)

    def wait_for_finished(self, count: int) -> None:
        while len(finished(self.workspace)) < count:
            assert self.poll() is None, self.said
            time.sleep(0.01)

    def end(self, number: signal.Signals) -> str:
        """Send a signal, and return what was said by the end."""
        assert self.poll() is None, self.said
        self.send_signal(number)
        self.wait()
        return self.said

    def succeed(self) -> str:
        assert self.wait() == 0, self.said
        return self.said


def query(workspace: Path, select: str) -> list[str]:
    """The first column of what a database holds, by a look that takes no second."""
    with suppress(sqlite3.OperationalError), sqlite3.connect(f"file:{workspace}/mlflow.db?mode=ro", uri=True) as look:
        return [row[0] for row in look.execute(select)]
    return []


def finished(workspace: Path) -> list[str]:
    """The ids of finished cells."""
    cells = "select run_uuid from runs join tags using (run_uuid) where key = 'kind' and value = 'cell'"
    return query(workspace, f"{cells} and status = 'FINISHED'")


def statuses(workspace: Path) -> list[str]:
    return query(workspace, "select status from runs")


def descriptors(workspace: Path) -> dict[Path, int]:
    files = workspace.glob("store/*/*.safetensors")
    return {path: path.stat().st_mtime_ns for path in files if not path.name.startswith(".")}


def results(workspace: Path) -> dict[str, bytes]:
    """All that the sweep's run holds, by path."""
    tracking = at(workspace)
    (parent,) = tracking.search({"kind": SWEEP})
    client, found, folders = tracking.client, {}, [""]
    while folders:
        for item in client.list_artifacts(parent.id, folders.pop()):
            if item.is_dir:
                folders.append(item.path)
            else:
                found[item.path] = tracking.artifact(parent, item.path)
    return found
