"""A run by a Ray cluster of two nodes on this machine beside the same run by threads."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from tests.benchmarks.timing import Row, run
from tests.support.commands import QUICK
from tests.support.ray_cluster import Cluster

CELL = [
    *QUICK,
    *("data.cases=24", "data.width=400", "data.height=300", "crop.size=140", "crop.count=200", "protocol.folds=4"),
    *("classifier=lightgbm", "classifier.min_data_in_leaf=1", "classifier.rounds=3000", "seeds=[0,1]", "name=cell"),
]
"""About a minute in the extraction, and as much in boosting."""


def cluster() -> Iterator[Row]:
    """A whole run, the start of the command and of the workers included, by two processors either way."""
    local: list[float] = []
    remote: list[float] = []
    found: set[bytes] = set()
    with tempfile.TemporaryDirectory() as folder, closing(Cluster()) as nodes:
        nodes.join()
        on = ["executor=ray", f"executor.address={nodes.address}", "executor.samples=2"]
        for repeat in range(3):
            for name, options, taken in (("local", ["method.workers=2"], local), ("ray", on, remote)):
                workspace = Path(folder) / f"{name}{repeat}"
                began = time.perf_counter()
                run("run", *CELL, *options, workspace=workspace)
                taken.append(time.perf_counter() - began)
                (table,) = workspace.glob("artifacts/*/artifacts/predictions.parquet")
                found.add(table.read_bytes())
    here, there = median(local), median(remote)
    same = "the same bytes" if len(found) == 1 else f"{len(found)} different predictions"
    yield ("a run by 2 Ray nodes", f"{there:.1f} s", f"threads of one process {here:.1f} s; {same}", here / there)


PARTS = (cluster,)
