"""Which runs' processes live: by the kernel where they are here, by their heartbeat where they are not."""

import os
import subprocess
import sys
import time

import pytest

from src.tracking import process_life
from src.tracking.process_life import (
    STALE,
    heartbeat_time,
    is_dead,
    keep_beating,
    process_birth,
    process_marks,
    process_name,
)
from tests.support.commands import ROOT


def of(process: "subprocess.Popen[bytes]") -> dict[str, str]:
    """The tags of another process of this machine."""
    return process_marks() | {"pid": str(process.pid), "born": process_birth(process.pid), "process": "another"}


def test_a_process_lives_until_it_ends() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tags = of(process)
    assert not is_dead(tags)
    process.kill()
    # Dead though nobody has asked for its exit status, so that its number is still taken.
    until = time.monotonic() + 10
    while not is_dead(tags):
        assert time.monotonic() < until
    process.communicate()
    assert is_dead(tags)


def test_a_number_that_another_process_got_does_not_fool() -> None:
    ours = process_marks()
    assert not is_dead(ours)
    assert is_dead(ours | {"process": "another", "born": str(int(ours["born"]) - 1)})


def test_a_container_of_the_same_host_name_and_number_does_not_fool() -> None:
    elsewhere = process_marks() | {"machine": "another container", "process": "another"}
    assert elsewhere["host"] == process_marks()["host"]
    assert elsewhere["pid"] == str(os.getpid())
    assert not is_dead(elsewhere)
    assert is_dead(elsewhere | {"heartbeat": str(int(time.time() - STALE - 1))})
    assert is_dead({"host": "of a run that others track", "process": "another"})


def test_our_own_runs_live() -> None:
    assert not is_dead({"process": process_name()})


def test_the_heart_beats_while_the_block_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_life, "PERIOD", 0.01)
    beats: list[str] = []
    with keep_beating(lambda: beats.append(heartbeat_time())):
        until = time.monotonic() + 10
        while len(beats) < 3:
            assert time.monotonic() < until
    count = len(beats)
    time.sleep(0.05)
    assert len(beats) == count
    assert abs(time.time() - int(beats[-1])) < 5


def test_a_fork_is_another_process() -> None:
    code = (
        "import os; from src.tracking.process_life import process_name; process_name(); os.fork(); "
        "os.write(1, f'{process_name()}\\n'.encode())"  # as a whole: both write to one pipe
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(set(told.stdout.split())) == 2
