"""Ctrl-C and other requests to end: heard wherever they come, though not halfway through what has to be whole."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN = 0.05
"""Seconds until an interrupt that Python ignored is made again."""


class HeldSignals:
    """How many contexts of `hold_signals` the main thread, which alone is interrupted, is in; whether to end after."""

    depth = 0
    asked = False


def heed_signals() -> None:
    """Let Ctrl-C and other requests to end interrupt what goes on, wherever it is."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not under nohup, nor in a cluster's job.
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, raise_interrupt)
    sys.unraisablehook = interrupt_again


def raise_interrupt(*_: object) -> None:
    """Turn a request to end into an exception, so that runs are closed."""
    if HeldSignals.depth:
        HeldSignals.asked = True
        return
    raise KeyboardInterrupt


def interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Interrupt again in a moment where Python ignored it, as it does while it deletes an object."""
    if ignored.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(ignored)
        return
    signal.signal(signal.SIGALRM, raise_interrupt)
    signal.setitimer(signal.ITIMER_REAL, AGAIN)


@contextmanager
def hold_signals() -> Iterator[None]:
    """Put a request to end off until the end of the context."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    HeldSignals.depth += 1
    try:
        yield
    finally:
        HeldSignals.depth -= 1
        if HeldSignals.asked and not HeldSignals.depth:
            HeldSignals.asked = False
            raise KeyboardInterrupt
