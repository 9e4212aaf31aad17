"""How far work is, on the terminal: bars, or lines where the output is none."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from src.cli.terminal import console, say
from src.system.progress import Progress

EVERY = 30.0
"""Seconds between two lines of progress where the output is no terminal."""


@dataclass(kw_only=True)
class TerminalProgress(Progress):
    """Shows how much of a work is done, how fast, and how long the rest takes; less than `after` seconds are not shown.

    On a terminal a bar moves; elsewhere, as in a job's log, there is a line every `EVERY` seconds and one at the end.
    """

    after: float = 0

    @contextmanager
    def counting(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show work of `total` steps."""
        shown = (Bar if console(error=True).is_terminal else Lines)(description, total, self.after)
        done = 0

        def count(steps: int) -> None:
            nonlocal done
            done += steps
            shown.tell(done)

        with closing(shown):
            yield count
            shown.tell(done, over=True)


class Bar:
    """Progress as a bar that moves."""

    def __init__(self, description: str, total: int, after: float = 0) -> None:
        from rich import progress

        columns = (
            progress.TextColumn("{task.description:>16}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("to go"),
            progress.TimeRemainingColumn(),
        )
        self.shown = progress.Progress(*columns, console=console(error=True))
        self.task = self.shown.add_task(description, total=total, rate="")
        self.begun, self.after = time.monotonic(), after

    def tell(self, done: int, over: bool = False) -> None:
        """Move the bar."""
        took = time.monotonic() - self.begun
        if took >= self.after:
            self.shown.start()
        self.shown.update(self.task, completed=done, rate=f"{done / max(took, 1e-3):.1f}/s")

    def close(self) -> None:
        """Leave the bar as it is."""
        self.shown.stop()


@dataclass
class Lines:
    """Progress in lines: each `EVERY` seconds and at the end how much is done, how fast, and how long the rest takes.

    `unit` is what is told of, `scale` times as much as what is counted, with so many `digits`; `held` was there before.
    """

    description: str
    total: int
    after: float = 0
    unit: str = ""
    scale: float = 1
    digits: int = 0
    held: int = 0

    def __post_init__(self) -> None:
        """Count the seconds from now on."""
        self.begun = self.told = time.monotonic()

    def tell(self, done: int, over: bool = False) -> None:
        """Say how far it is, if it is time to, or all is `over`."""
        now = time.monotonic()
        took = max(now - self.begun, 1e-3)
        if took < self.after or (now - self.told < EVERY and not over):
            return
        self.told = now
        rate = (done - self.held) / took
        left = duration_text((self.total - done) / rate) if rate > 0 else "unknown"
        end = f"in {duration_text(took)}" if over else f"{left} to go"
        told, whole = (f"{number / self.scale:,.{self.digits}f}" for number in (done, self.total))
        say(f"{self.description}: {told} of {whole}{self.unit}, {rate / self.scale:,.1f}{self.unit}/s, {end}")

    def close(self) -> None:
        """Do nothing: what was said stays."""


def duration_text(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def byte_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows how far a transfer is: what, bytes done, bytes in all."""
    from rich import progress as rich

    if not console(error=True).is_terminal:
        transfers: dict[str, Lines] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in transfers:
                transfers[what] = Lines(what, total, unit=" MB", scale=1e6, digits=1, held=done)
            transfers[what].tell(done, over=done == total)

        yield tell
        return
    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=console(error=True)) as shown:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        yield report
