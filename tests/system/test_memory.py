"""Memory that was freed is used again."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from src.system.memory import reuse_freed
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
if sys.argv[1] == "reuse":
    reuse_freed()
np.ones(10_000_000)
before = faults()
for _ in range(20):
    np.ones(10_000_000)
print(faults() - before)
"""

HELD = """
import re
from pathlib import Path
import numpy as np
from src.system.memory import release_freed, reuse_freed
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
reuse_freed()
pieces = [np.ones(10_000) for _ in range(3000)]
del pieces[:-1]
before = resident()
release_freed()
print(before - resident())
"""


def faults(how: str) -> int:
    """How often a process that makes the same array again and again has to ask for a page, which may be a huge one."""
    run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is another one")
def test_the_same_pages_serve_again() -> None:
    assert faults("reuse") < faults("give back") / 2


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is another one")
def test_freed_pieces_are_given_back() -> None:
    """Of 230 MiB in pieces of 80 kB, of which the last one is still in use."""
    run = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    assert float(run.stdout) > 150
