"""A tracked run of a cell of a second's work, as `python -m src.run` leaves it, but for its evaluation."""

from dataclasses import replace
from pathlib import Path

from src.cell import Cell
from src.models.saved import save_fitted
from src.recipes import splits_digest
from src.sweeps.run_cell import with_run_columns
from src.tracking import CELL, RunRecord, Tracking
from tests.support.cells import task_of
from tests.support.models import FROZEN


def track_cell(tracking: Tracking, one: Cell, name: str, store: Path, parent: str = "", **facts: object) -> RunRecord:
    """Track what method=frozen makes of a cell; its manifest gets columns by `facts`."""
    task = task_of(one, store)
    task = replace(task, manifest=task.manifest.assign(**facts))
    splits = one.protocol.split(task.manifest)
    outcome = FROZEN.predict(task, splits)
    outcome.predictions = with_run_columns(outcome.predictions, name, splits)
    with tracking.run(name, CELL, parent, {"splits": splits_digest(splits)} | outcome.facts) as tracked:
        splits.to_csv(tracked.folder / "splits.csv", index=False)
        task.manifest.to_csv(tracked.folder / "manifest.csv", index=False)
        outcome.roles.to_csv(tracked.folder / "roles.csv", index=False)
        outcome.predictions.to_parquet(tracked.folder / "predictions.parquet", index=False)
        classes = [str(label) for label in task.manifest["label"].cat.categories]
        save_fitted(tracked.folder / "model", name, one, FROZEN, outcome, classes)
        tracked.log(params={"method": "frozen", "store": store, "stain": "macenko", "encoder.label": "SqueezeNet"})
    return tracking.find(tracked.id)
