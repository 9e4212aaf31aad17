"""MLflow, which nothing else knows."""

from src.tracking.names import CELL, KIND, SWEEP
from src.tracking.runs import FINISHED, JOB, SUPERSEDED, TrackedRun, Tracking
from src.tracking.server import Unreachable
from src.tracking.spool import PARENT, SPOOLED, Sending, away

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
    "away",
]
