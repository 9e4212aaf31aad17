"""MLflow, which nothing else knows."""

from src.tracking.run_record import RunRecord
from src.tracking.runs import INNER_PREDICTIONS, TrackedRun, Tracking
from src.tracking.server import Unreachable
from src.tracking.spool import Sending, away_errors
from src.tracking.status import FINISHED, KILLED, RUNNING
from src.tracking.tags import (
    CELL,
    INNER_FOLDS,
    JOB,
    KIND,
    PARENT,
    SPOOLED,
    STRESS,
    STRESSED,
    SUPERSEDED,
    SWEEP,
    SWEPT,
    VALIDATED,
    VALIDATION,
)

__all__ = [
    "CELL",
    "FINISHED",
    "INNER_FOLDS",
    "INNER_PREDICTIONS",
    "JOB",
    "KILLED",
    "KIND",
    "PARENT",
    "RUNNING",
    "SPOOLED",
    "STRESS",
    "STRESSED",
    "SUPERSEDED",
    "SWEEP",
    "SWEPT",
    "VALIDATED",
    "VALIDATION",
    "RunRecord",
    "Sending",
    "TrackedRun",
    "Tracking",
    "Unreachable",
    "away_errors",
]
