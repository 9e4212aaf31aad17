"""What need not be done again: finished cells with the same config on the same data, and sweeps to be taken up."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from omegaconf import DictConfig

from src.cli.terminal import say
from src.tracking import CELL, RUNNING, SUPERSEDED, SWEEP, RunRecord, Sending, Tracking, Unreachable

VARIABLE = "TENFOLD_SWEEP"
"""The environment variable that tells a cell its sweep."""
AGAIN = "TENFOLD_AGAIN"
"""The environment variable that tells a cell that it may have been begun before: a job may have gone back to the queue,
or a cluster may begin it late, after the sweep was taken up again."""
DIGEST, POINT = "digest", "point"
"""The tags of a run: the digest of its config, and a cell's values of what its sweep varies."""
PATIENCE = 120.0
"""Seconds that a cell may need to end after the process of its sweep was killed."""


@dataclass
class Sweep:
    """What a cell has to know of its sweep: the parent's run, the keys varied, and the groups that name cells."""

    run: str
    keys: list[str]
    named: list[str] = field(default_factory=list)
    resumed: bool = False
    """Whether it was taken up again, so that cells may be finished."""
    names: dict[str, str] = field(default_factory=dict)
    """What cells are called, by their values of what is varied (the tag `POINT`); others by these values themselves."""

    def tell(self) -> None:
        """Tell the cells of this process and of those that it starts."""
        os.environ[VARIABLE] = json.dumps(asdict(self))


def current_sweep() -> Sweep | None:
    """Return the sweep that this cell is part of; None where it is alone."""
    told = os.environ.get(VARIABLE, "")
    if not told:
        return None
    sweep = Sweep(**json.loads(told))
    return replace(sweep, resumed=sweep.resumed or AGAIN in os.environ)


def wants_resume(config: DictConfig, choices: Mapping[str, Any], sweeping: bool) -> bool:
    """Return whether what is finished is taken over: as `resume` says, else where a sweep is an experiment's."""
    if config.resume is not None:
        return bool(config.resume)
    return sweeping and bool(choices.get("experiment"))


def to_take_up(tracking: Tracking, digest: str) -> RunRecord | None:
    """Return the newest sweep of a digest; `ValueError` where it is still running."""
    catch_up(tracking)
    found = tracking.search({"kind": SWEEP, DIGEST: digest})
    if not found:
        return None
    run = found[-1]
    if run.status == RUNNING:
        raise ValueError(
            f"sweep {run.name} ({run.id}) is still running, as {run.process}; "
            "wait for it, or begin another with resume=false"
        )
    wait_for_cells(tracking, run.id)
    return run


def catch_up(tracking: Tracking) -> None:
    """Send what is spooled, and mark the runs of dead processes, so that what is finished is known."""
    if not tracking.offline:
        try:
            for sent in tracking.deliver(PATIENCE):
                state = f"kept in the spool: {sent.left}" if sent.left else "sent from the spool"
                say(f"{sent.name or sent.run}: {state}")
        except Sending as error:  # what it has not sent yet is known from the spool
            say(str(error))
    tracking.bury()


def wait_for_cells(tracking: Tracking, sweep: str) -> None:
    """Wait for cells that outlive the process of their sweep for a moment; `ValueError` where one does not end."""
    until = time.monotonic() + PATIENCE
    while left := [run for run in tracking.children(sweep) if run.status == RUNNING]:
        if time.monotonic() > until:
            raise ValueError(
                f"cell {left[0].name} is still running, as {left[0].process}; "
                "end it, or begin another sweep with resume=false"
            )
        time.sleep(0.5)
        tracking.bury()


def earlier_runs(tracking: Tracking, digest: str, point: str, sweep: Sweep | None) -> list[RunRecord]:
    """Return the runs of a cell that ended before, the newest last: of its sweep, or where it is alone of any."""
    try:
        if sweep is None:
            catch_up(tracking)
            return tracking.search({"kind": CELL, DIGEST: digest})
        runs = tracking.children(sweep.run)
    except Unreachable:  # the cell will be spooled
        return []
    return [run for run in runs if run.tags.get(POINT) == point]


def supersede_runs(tracking: Tracking, runs: list[RunRecord], new: str) -> None:
    """Leave runs out of their sweep: a new one takes their place."""
    for run in runs:
        tracking.tag(run.id, {SUPERSEDED: new})
