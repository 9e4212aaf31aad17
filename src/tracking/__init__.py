"""MLflow, which nothing else knows."""

from src.tracking.runs import CELL, FINISHED, JOB, KIND, SUPERSEDED, SWEEP, TrackedRun, Tracking
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
