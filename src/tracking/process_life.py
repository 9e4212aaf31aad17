"""Which process a run belongs to, and whether that process still lives."""

import os
import platform
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from src.tracking.tags import HEARTBEAT

PERIOD = 15.0
"""Seconds between the heartbeats of an open run."""
STALE = 300.0
"""Without a heartbeat for so many seconds, the process of a run on another machine counts as dead."""


@cache
def identify_machine() -> str:
    """Return within what a process number means one process: this start of the machine, and this container.

    Two containers may have one host name, but not one namespace of processes.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return f"{platform.node()} {uuid.getnode():x}"


def process_name() -> str:
    """Return what tells this process from every other, and from those that it is forked into."""
    return _name_process(os.getpid())


@cache
def _name_process(pid: int) -> str:
    return uuid.uuid4().hex


def process_birth(pid: int) -> str:
    """Return when a process of this machine began, in the kernel's words; empty where it does not live.

    With it a number that was given to another process is not taken for the first.
    """
    # Not psutil's create_time: it adds the time of the boot by the clock, so that a process that lives would count as
    # another once the clock is set. What psutil compares itself, ticks since the boot as here, it does not give out.
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()


def process_marks() -> dict[str, str]:
    """Return the tags that say which process a run belongs to, and that it lives."""
    return {
        "host": platform.node(),
        "machine": identify_machine(),
        "pid": str(os.getpid()),
        "born": process_birth(os.getpid()),
        "process": process_name(),
        HEARTBEAT: heartbeat_time(),
    }


def heartbeat_time() -> str:
    """Return a heartbeat: the time in seconds."""
    return str(int(time.time()))


def is_dead(tags: Mapping[str, str]) -> bool:
    """Return whether the process that a run's tags name has ended.

    On this machine that is known; of a process elsewhere it is assumed when its heart has not beaten for `STALE`.
    """
    if tags.get("process") == process_name():
        return False
    if tags.get("machine") == identify_machine():
        return process_birth(int(tags["pid"])) != tags["born"]
    return time.time() - float(tags.get(HEARTBEAT, "0")) > STALE


@contextmanager
def keep_beating(beat: Callable[[], None]) -> Iterator[None]:
    """Call `beat` now and then, by a thread of its own, while the block runs."""
    ended = threading.Event()

    def go() -> None:
        while not ended.wait(PERIOD):
            beat()

    thread = threading.Thread(target=go, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=1)  # a beat that waits for a dead server may end by itself
