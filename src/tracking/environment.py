"""What a run is tagged with: code, versions, machine, process, command."""

import os
import platform
import subprocess
import sys
import uuid
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("torch", "timm", "keras", "lightgbm", "numpy", "scikit-learn", "opencv-python-headless", "mlflow")
PROCESS = uuid.uuid4().hex
"""Tells this process's runs from those of a dead one that had its number."""


def alive(pid: int) -> bool:
    """Return whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def environment() -> dict[str, str]:
    """Return what a run is tagged with: code, versions, machine, process, command."""
    commit, status = git("rev-parse", "HEAD"), git("status", "--porcelain")
    return {
        "git_commit": commit or "unknown",
        "git_dirty": str(bool(status)).lower(),
        "mlflow.source.name": " ".join(sys.argv),
        "host": platform.node(),
        "pid": str(os.getpid()),
        "process": PROCESS,
        "python": platform.python_version(),
        **{f"version.{name}": version(name) for name in LIBRARIES},
    }


def git(*arguments: str) -> str:
    """Return what git prints of the code's checkout; empty where it is none."""
    here = Path(__file__).parent
    result = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""
