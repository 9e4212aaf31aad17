"""MLflow, which nothing else knows."""

from src.tracking.runs import CELL, JOB, SUPERSEDED, SWEEP, TrackedRun, Tracking
from src.tracking.server import Unreachable
from src.tracking.spool import PARENT, away

__all__ = ["CELL", "JOB", "PARENT", "SUPERSEDED", "SWEEP", "TrackedRun", "Tracking", "Unreachable", "away"]
