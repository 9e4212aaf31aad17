"""Which runs' processes live: by the kernel where they are here, by their heartbeat where they are not."""

import os
import subprocess
import sys
import time

import pytest

from src.tracking import process_life
from src.tracking.process_life import PROCESS, STALE, beating, born, dead, now, process_marks


def of(process: "subprocess.Popen[bytes]") -> dict[str, str]:
    """The tags of another process of this machine."""
    return process_marks() | {"pid": str(process.pid), "born": born(process.pid), "process": "another"}


def test_a_process_lives_until_it_ends() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tags = of(process)
    assert not dead(tags)
    process.kill()
    # Dead though nobody has asked for its exit status, so that its number is still taken.
    until = time.monotonic() + 10
    while not dead(tags):
        assert time.monotonic() < until
    process.communicate()
    assert dead(tags)


def test_a_number_that_another_process_got_does_not_fool() -> None:
    ours = process_marks()
    assert not dead(ours)
    assert dead(ours | {"process": "another", "born": str(int(ours["born"]) - 1)})


def test_a_container_of_the_same_host_name_and_number_does_not_fool() -> None:
    elsewhere = process_marks() | {"machine": "another container", "process": "another"}
    assert elsewhere["host"] == process_marks()["host"]
    assert elsewhere["pid"] == str(os.getpid())
    assert not dead(elsewhere)
    assert dead(elsewhere | {"heartbeat": str(int(time.time() - STALE - 1))})
    assert dead({"host": "of a run that others track", "process": "another"})


def test_our_own_runs_live() -> None:
    assert not dead({"process": PROCESS})


def test_the_heart_beats_while_the_block_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_life, "PERIOD", 0.01)
    beats: list[str] = []
    with beating(lambda: beats.append(now())):
        until = time.monotonic() + 10
        while len(beats) < 3:
            assert time.monotonic() < until
    count = len(beats)
    time.sleep(0.05)
    assert len(beats) == count
    assert abs(time.time() - int(beats[-1])) < 5
