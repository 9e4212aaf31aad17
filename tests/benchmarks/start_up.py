"""What a command costs before and beside its work: its start, a cell whose descriptors are stored, a sweep of such."""

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from src.data.sets.folder import Folder
from src.methods.image_reading import SEEN, SETTLED, read_images
from src.storage.store import Store
from src.system.progress import Progress
from tests.benchmarks.drawn_images import write_images
from tests.benchmarks.timing import Row, in_turns, time_text

CELL = ["data=demo", "encoder=mobilenet", "encoder.weights=random", "crop.size=96"]
SWEEPS = (5, 25, 105)
"""Cells of the sweeps: what one more costs, between 5 and 25 and between 25 and 105."""

IMPORTS = """
import atexit, gc
gc.set_threshold(200_000, 10, 10)
atexit.register(gc.freeze)
import hydra, lightgbm, matplotlib.backends.backend_agg, matplotlib.figure, mlflow, pandas, pyarrow.parquet
import mlflow.store.tracking.sqlalchemy_store, rich.progress, sklearn.metrics, sklearn.model_selection
"""
"""Imports the libraries that a warm cell needs and does nothing, as sparingly as commands do."""
LEARNING = """
import json, runpy, sys, time
from src.methods import frozen
learn, spent = frozen.Frozen.learn, []

def timed(*arguments):
    start = time.perf_counter()
    yield from learn(*arguments)
    spent.append(time.perf_counter() - start)

frozen.Frozen.learn = timed
try:
    runpy.run_module("src.run", run_name="__main__")
finally:
    heavy = [name for name in ("torch", "timm", "captum") if name in sys.modules]
    print("SPENT", json.dumps({"learning": sum(spent), "loaded": heavy}))
"""
"""Runs a command, and says what learning took and which of the heavy libraries it loaded."""


def timed(command: list[str]) -> tuple[float, float, str]:
    """Seconds by the clock and of the processors that a command takes, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, printed


def commands() -> Iterator[Row]:
    """`--help` and `--cfg job` against an interpreter that imports pandas."""
    beside = median(timed([sys.executable, "-c", "import pandas"])[0] for _ in range(5))
    for arguments in (["--help"], ["--cfg", "job"]):
        taken = median(timed([sys.executable, "-m", "src.run", *arguments])[0] for _ in range(5))
        yield " ".join(["start", *arguments]), f"{taken:.2f} s", f"import pandas {beside:.2f} s", taken / beside


def cell(workspace: str, *more: str) -> tuple[float, float, dict[str, object]]:
    """Seconds by the clock and of the processors of a cell beside its learning, and what it loaded."""
    wall, busy, printed = timed([sys.executable, "-c", LEARNING, *CELL, f"workspace={workspace}", *more])
    facts = json.loads(re.search(r"^SPENT (.*)$", printed, re.MULTILINE)[1])
    return wall - facts["learning"], busy, facts


def warm_cell() -> Iterator[Row]:
    """A cell that learns anew from descriptors that are stored, beside its learning; against one that stores them.

    And against the mere import of its libraries.
    """
    with tempfile.TemporaryDirectory() as workspace:
        cold, _, _ = cell(workspace)
        imports = median(timed([sys.executable, "-c", IMPORTS])[0] for _ in range(5))
        for name, more in (("", []), (", examples=0", ["examples=0"])):
            taken = [cell(workspace, f"classifier.rounds={71 + turn}", *more) for turn in range(5)]
            wall, busy = (median(each[which] for each in taken) for which in (0, 1))
            loaded = sorted({library for each in taken for library in each[2]["loaded"]})
            note = f"of the processors {busy:.2f} s with learning; loads {', '.join(loaded) or 'no torch'}"
            yield f"warm cell beside its learning{name}", f"{wall:.2f} s", f"{note}; cold {cold:.1f} s", cold / wall
            yield "", f"{wall:.2f} s", f"import of its libraries alone {imports:.2f} s", wall / imports


def sweep() -> Iterator[Row]:
    """Seconds that one more cell of a sweep over a parameter of the classifier costs, learning included."""
    with tempfile.TemporaryDirectory() as workspace:
        cell(workspace)
        taken = []
        for count in SWEEPS:
            values = ",".join(str(1 + 0.001 * number) for number in range(count))
            command = [sys.executable, "-m", "src.run", "-m", *CELL, "classifier=logistic", f"classifier.c={values}"]
            taken.append(timed([*command, f"workspace={workspace}"])[0])
        few, many = ((taken[at + 1] - taken[at]) / (SWEEPS[at + 1] - SWEEPS[at]) for at in (0, 1))
        yield f"one more cell of {SWEEPS[2]}", f"{many:.2f} s", f"of {SWEEPS[1]} {few:.2f} s", many / few


def reading() -> Iterator[Row]:
    """What is read of an image of BACH's size: by a cell alone, and by the next one in the same process."""
    with tempfile.TemporaryDirectory() as folder:
        data = Folder(root=str(write_images(Path(folder) / "images", 8, 2048, 1536)))
        manifest, store = data.manifest(), Store(Path(folder) / "store")
        time.sleep(SETTLED / 1e9)  # files that were written a moment ago are read again

        def read() -> None:
            read_images(data, manifest, store, 1, Progress())

        def alone() -> None:
            SEEN.clear()
            read()

        taken, again = (each / len(manifest) for each in in_turns(alone, read))
        yield "an image read by the next cell", time_text(again), f"by a cell alone {time_text(taken)}", taken / again


PARTS = (commands, warm_cell, sweep, reading)
