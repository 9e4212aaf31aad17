"""MLflow, which nothing else knows."""

from src.tracking.runs import CELL, SWEEP, TrackedRun, Tracking

__all__ = ["CELL", "SWEEP", "TrackedRun", "Tracking"]
