"""Memory that was freed is used again."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from src.memory import reuse
if sys.argv[1] == "reuse":
    reuse()
for _ in range(20):
    np.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(how: str) -> int:
    """How often a process that makes the same array again and again had to ask for a page."""
    run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is another one")
def test_the_same_pages_serve_again() -> None:
    assert faults("reuse") < faults("give back") / 2
