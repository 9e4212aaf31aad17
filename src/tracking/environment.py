"""What a run is tagged with: code, versions, machine, process, command."""

import getpass
import os
import platform
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from src.system.addresses import mask_passwords
from src.tracking.process_life import process_marks

LIBRARIES = ("torch", "timm", "keras", "lightgbm", "numpy", "scikit-learn", "opencv-python-headless", "mlflow")


def describe_environment() -> dict[str, str]:
    """Return what a run is tagged with: code, versions, machine, process, command."""
    # An image of our code has no checkout: it says what it was built from.
    commit = os.environ.get("TENFOLD_COMMIT") or ask_git("rev-parse", "HEAD")
    status = ask_git("status", "--porcelain")
    program = Path(sys.argv[0])
    return {
        "git_commit": commit or "unknown",
        "git_dirty": str(bool(status)).lower(),
        "command": mask_passwords(" ".join([f"python -m src.{program.stem}", *map(shlex.quote, sys.argv[1:])])),
        "mlflow.source.name": f"src/{program.name}",  # its page shows what follows the last slash
        "mlflow.source.type": "LOCAL",
        "mlflow.user": os.environ.get("MLFLOW_TRACKING_USERNAME") or find_user(),
        "python": platform.python_version(),
        **{f"version.{name}": version(name) for name in LIBRARIES},
        **process_marks(),
    }


def find_user() -> str:
    """Return who is logged in; empty where the machine knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def ask_git(*arguments: str) -> str:
    """Return what git prints of the code's checkout; empty where it is none, or no git."""
    if shutil.which("git") is None:
        return ""
    here = Path(__file__).parent
    result = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""
