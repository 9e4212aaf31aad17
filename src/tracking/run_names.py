"""How a run is told from others of its name: by its kind, id, time and data."""

from src.tracking.run_record import RunRecord
from src.tracking.tags import CELL, SWEEP, VALIDATION

GIVEN = {CELL: "runs=[{id}]", SWEEP: "sweep={id}", VALIDATION: "runs=[{id}]"}
"""How commands on tracked runs are given one of a kind."""
SHOWN = 5
"""The most runs of a name that are named."""


def tell_run(run: RunRecord) -> str:
    """Return what tells a run from others of its name: kind, id, when it began, status, data."""
    about = [begin_time(run), run.status.lower(), *(f"data {name}" for name in run.data_names)]
    return f"{kind_word(run.kind)} {run.id} ({', '.join(about)})"


def kind_word(kind: str) -> str:
    """Return how a kind of runs is called: cells, which need not be of a sweep, are runs."""
    return "run" if kind in (CELL, "") else kind


def begin_time(run: RunRecord) -> str:
    """Return when a run began, by the clock of this machine."""
    return f"{run.start.astimezone():%Y-%m-%d %H:%M:%S}"


def newest_run(runs: list[RunRecord]) -> RunRecord:
    """Return the newest of runs, the newest last, that stands for them: a cell that did not finish has no results.

    A sweep that did not finish has those of its cells.
    """
    whole = [run for run in runs if run.finished or run.kind == SWEEP]
    return (whole or runs)[-1]


def tell_several(name: str, runs: list[RunRecord]) -> str:
    """Return which of several runs of a name, the newest last, is taken, and how to name another."""
    taken = newest_run(runs)
    rest = [run for run in runs[::-1] if run is not taken]
    others = "; ".join(map(tell_run, rest[:SHOWN]))
    more = f"; and {len(rest) - SHOWN} more" if len(rest) > SHOWN else ""
    which = "the newest" if taken is runs[-1] else "the newest that finished"
    return (
        f"{name} is the name of {len(runs)}; taken is {which}: {tell_run(taken)}. To take another, give its id "
        f"instead of the name: {others}{more}"
    )


def check_kind(run: RunRecord, kind: str) -> None:
    """Raise `ValueError` where a run that was given by its id is of another kind than asked for."""
    found = run.kind or kind
    if kind and found != kind:
        way = GIVEN.get(found, "").format(id=run.id)
        raise ValueError(
            f"{run.name} ({run.id}) is a {kind_word(found)}, but a {kind_word(kind)} is asked for"
            + (f": give it as {way}" if way else "")
        )
