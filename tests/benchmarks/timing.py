"""How things are timed: medians, and in turns where one is held against another; and what memory they held."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.support.commands import ENVIRONMENT, ROOT, arguments

Row = tuple[str, str, str, float | None]
"""What was measured, the figure, what was run beside it, and the ratio (above 1: ours is faster, or takes more)."""


def once(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def seconds(function: Callable[[], object], repeats: int = 7) -> float:
    """Return the median of several calls, after one that does not count."""
    function()
    return median(once(function) for _ in range(repeats))


def in_turns(*functions: Callable[[], object], repeats: int = 5, warm: bool = False) -> list[float]:
    """Return each function's median seconds, after a call that does not count.

    They are called in turns, so that a drift of the machine's speed meets all of them; with `warm` twice, of which the
    second counts, where one would find in the caches what another has left there.
    """
    for function in functions:
        function()

    def turn(function: Callable[[], object]) -> float:
        if warm:
            function()
        return once(function)

    taken = [[turn(function) for function in functions] for _ in range(repeats)]
    return [median(column) for column in zip(*taken, strict=True)]


@contextmanager
def elsewhere(setup: str, statement: str) -> Iterator[Callable[[], None]]:
    """Give what has a process of its own run a statement, after a setup.

    There memory is handled as Python does it by itself, and not by `src.system.memory`: what stands beside ours must
    not gain by what we do.
    """
    program = f"{setup}\nimport sys\nfor _ in sys.stdin:\n    {statement}\n    print(flush=True)"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def call() -> None:
            to.write("\n")
            to.flush()
            if not back.readline():
                raise RuntimeError(f"{statement!r} failed in its process")

        yield call


def run(module: str, *overrides: str, workspace: Path) -> None:
    """Run a command as a user does, with all that it imports: one of the tests' begins with the libraries at hand."""
    command = [sys.executable, "-m", f"src.{module}", *arguments(*overrides, workspace=workspace)]
    process = subprocess.run(
        command, cwd=ROOT, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


def peak() -> float:
    """The most memory that this process has held, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def time_text(seconds: float) -> str:
    """Return seconds as a reader wants them: 3.1 ms, 2.40 s, 3.2 h."""
    for unit, size in (("days", 172800.0), ("h", 7200.0), ("min", 120.0)):
        if seconds >= size:
            return f"{seconds / {'days': 86400, 'h': 3600, 'min': 60}[unit]:.1f} {unit}"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"
