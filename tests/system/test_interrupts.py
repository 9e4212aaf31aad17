"""Requests to end, which come at any moment."""

import subprocess
import sys
import threading

import pytest

from src.system.interrupts import HeldSignals, hold_signals, raise_interrupt
from tests.support.commands import ROOT

HEARD = """
import os, signal, time
from src.cli.mistakes import tell_mistakes
from src.system.interrupts import heed_signals
signal.signal(signal.{name}, signal.SIG_DFL)  # as it is where nobody ignores it, as nohup does
heed_signals()
class Deleted:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0)
with tell_mistakes():
    {work}
    time.sleep(20)
"""
ASKED = "os.kill(os.getpid(), signal.{name})"
DELETED = "held = Deleted(); del held"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("work", [ASKED, DELETED], ids=["at work", "deleting"])
def test_a_request_to_end_is_heard(name: str, work: str) -> None:
    program = HEARD.replace("{work}", work).replace("{name}", name)
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=15, check=False
    )
    assert process.returncode == 130, process.stderr
    assert process.stderr == "interrupted\n"


def test_what_has_to_be_whole_is_ended_after_it() -> None:
    done = []

    @hold_signals()
    def work() -> None:
        with hold_signals():
            raise_interrupt()
            done.append("inner")
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]
    with hold_signals():
        pass  # the request has been heard


def test_an_error_is_told_where_nobody_asked_to_end() -> None:
    with pytest.raises(ValueError, match="broken"), hold_signals():
        raise ValueError("broken")
    with pytest.raises(KeyboardInterrupt):
        raise_interrupt()


def test_only_the_main_thread_is_interrupted() -> None:
    inside, end = threading.Event(), threading.Event()

    def work() -> None:
        with hold_signals():
            inside.set()
            end.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    with pytest.raises(KeyboardInterrupt):
        raise_interrupt()
    end.set()
    thread.join()
    assert not HeldSignals.asked
