"""MLflow, which nothing else knows."""

from src.tracking.run_names import CELL, FINISHED, KIND, SWEEP
from src.tracking.runs import JOB, SUPERSEDED, TrackedRun, Tracking
from src.tracking.server import Unreachable
from src.tracking.spool import PARENT, SPOOLED, Sending, away_errors

__all__ = [
    "CELL",
    "FINISHED",
    "JOB",
    "KIND",
    "PARENT",
    "SPOOLED",
    "SUPERSEDED",
    "SWEEP",
    "Sending",
    "TrackedRun",
    "Tracking",
    "Unreachable",
    "away_errors",
]
