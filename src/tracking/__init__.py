"""MLflow, which nothing else knows."""

from src.tracking.run_names import CELL, KIND, SWEEP
from src.tracking.runs import JOB, SUPERSEDED, TrackedRun, Tracking
from src.tracking.server import Unreachable
from src.tracking.spool import PARENT, SPOOLED, Sending, away_errors
from src.tracking.status import FINISHED, KILLED, RUNNING

__all__ = [
    "CELL",
    "FINISHED",
    "JOB",
    "KILLED",
    "KIND",
    "PARENT",
    "RUNNING",
    "SPOOLED",
    "SUPERSEDED",
    "SWEEP",
    "Sending",
    "TrackedRun",
    "Tracking",
    "Unreachable",
    "away_errors",
]
