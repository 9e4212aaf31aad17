"""How a run is told from others of its name: by its kind, id, time and data."""

from datetime import datetime
from typing import TYPE_CHECKING

from src.tracking.status import FINISHED

if TYPE_CHECKING:
    from mlflow.entities import Run

KIND = "kind"
CELL, SWEEP = "cell", "sweep"
"""The kinds of runs: a sweep's run is the parent of its cells'."""
GIVEN = {CELL: "runs=[{id}]", SWEEP: "sweep={id}"}
"""How commands on tracked runs are given one of a kind."""
SHOWN = 5
"""The most runs of a name that are named."""


def told(run: "Run") -> str:
    """Return what tells a run from others of its name: kind, id, when it began, status, data."""
    about = [began(run), str(run.info.status).lower(), *(f"data {name}" for name in data_names(run))]
    kind = run.data.tags.get(KIND, "")
    return f"{word(kind)} {run.info.run_id} ({', '.join(about)})"


def word(kind: str) -> str:
    """Return how a kind of runs is called: cells, which need not be of a sweep, are runs."""
    return "run" if kind in (CELL, "") else kind


def began(run: "Run") -> str:
    """Return when a run began, by the clock of this machine."""
    return f"{datetime.fromtimestamp(run.info.start_time / 1000):%Y-%m-%d %H:%M:%S}"


def data_names(run: "Run") -> list[str]:
    """Return the names of a run's data sets: one, but for a sweep over several."""
    linked = run.inputs.dataset_inputs if run.inputs else []
    return list(dict.fromkeys(str(each.dataset.name) for each in linked))


def newest_run(runs: "list[Run]") -> "Run":
    """Return the newest of runs, the newest last, that stands for them: a cell that did not finish has no results.

    A sweep that did not finish has those of its cells.
    """
    whole = [run for run in runs if run.info.status == FINISHED or run.data.tags.get(KIND) == SWEEP]
    return (whole or runs)[-1]


def several(name: str, runs: "list[Run]") -> str:
    """Return which of several runs of a name, the newest last, is taken, and how to name another."""
    taken = newest_run(runs)
    rest = [run for run in runs[::-1] if run is not taken]
    others = "; ".join(map(told, rest[:SHOWN]))
    more = f"; and {len(rest) - SHOWN} more" if len(rest) > SHOWN else ""
    which = "the newest" if taken is runs[-1] else "the newest that finished"
    return (
        f"{name} is the name of {len(runs)}; taken is {which}: {told(taken)}. To take another, give its id "
        f"instead of the name: {others}{more}"
    )


def check_kind(run: "Run", kind: str) -> None:
    """Raise `ValueError` where a run that was given by its id is of another kind than asked for."""
    found = run.data.tags.get(KIND, kind)
    if kind and found != kind:
        way = GIVEN.get(found, "").format(id=run.info.run_id)
        raise ValueError(
            f"{run.info.run_name} ({run.info.run_id}) is a {word(found)}, but a {word(kind)} is asked for"
            + (f": give it as {way}" if way else "")
        )
