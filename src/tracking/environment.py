"""What a run is tagged with: code, versions, machine, process, command."""

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from src.tracking.life import identity

LIBRARIES = ("torch", "timm", "keras", "lightgbm", "numpy", "scikit-learn", "opencv-python-headless", "mlflow")


def environment() -> dict[str, str]:
    """Return what a run is tagged with: code, versions, machine, process, command."""
    commit, status = git("rev-parse", "HEAD"), git("status", "--porcelain")
    return {
        "git_commit": commit or "unknown",
        "git_dirty": str(bool(status)).lower(),
        "mlflow.source.name": " ".join(sys.argv),
        "python": platform.python_version(),
        **{f"version.{name}": version(name) for name in LIBRARIES},
        **identity(),
    }


def git(*arguments: str) -> str:
    """Return what git prints of the code's checkout; empty where it is none."""
    here = Path(__file__).parent
    result = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""
