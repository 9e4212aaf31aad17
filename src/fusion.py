"""The fusion of tracked runs: what a sweep ends with, and what `python -m src.fuse` makes again."""

from collections import Counter
from typing import TYPE_CHECKING

import yaml

from src.evaluation.binary import Binary
from src.tracking import Tracking

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

    from src.evaluation.evaluation import Evaluation


def fuse(
    tracking: Tracking, runs: "list[Run]", replicates: int, binary: Binary | None = None
) -> "tuple[Evaluation, list[str]]":
    """Return the evaluation of the mean of runs' predictions, and the notes on them.

    The two-class view is that of the runs unless one is given. `ValueError` where the runs do not fit each other.
    """
    from src.evaluation.evaluation import evaluate
    from src.evaluation.predictions import align

    notes = sorted({run.data.tags.get("notes", "") for run in runs} - {""})
    return evaluate(align(tables(tracking, runs)), binary or recorded(runs), replicates), notes


def finished(runs: "list[Run]") -> "list[Run]":
    """Return the runs that have results."""
    return [run for run in runs if run.info.status == "FINISHED"]


def tables(tracking: Tracking, runs: "list[Run]") -> "dict[str, pd.DataFrame]":
    """Return the predictions of runs by name; runs of one name are told apart by the beginning of their ids."""
    if twice := [run_id for run_id, count in Counter(run.info.run_id for run in runs).items() if count > 1]:
        raise ValueError(f"a run is fused once, but {twice[0]} is given twice")
    names = Counter(run.info.run_name for run in runs)
    found = {}
    for run in runs:
        name = run.info.run_name if names[run.info.run_name] == 1 else f"{run.info.run_name} {run.info.run_id[:6]}"
        found[name] = tracking.predictions(run).assign(model=name)
    return found


def recorded(runs: "list[Run]") -> Binary:
    """Return the two-class view with which runs were evaluated."""
    views = [{name: run.data.params.get(f"binary.{name}") for name in vars(Binary())} for run in runs]
    if any(view != views[0] for view in views):
        raise ValueError("the runs were evaluated with different two-class views; give one by binary.positive=[...]")
    return Binary(**{name: yaml.safe_load(value) for name, value in views[0].items() if value is not None})
