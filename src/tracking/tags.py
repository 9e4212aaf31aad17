"""The tags of a run that are for machines: MLflow's pages hide what begins with mlflow, and show the others."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Run

PREFIX = "mlflow.tenfold."
HIDDEN = ("machine", "pid", "born", "process", "heartbeat", "python", "job", "point", "sweep_keys", "sweep_options")
"""What a page would begin with, and nobody reads; the versions of libraries, too. No search is by one of them."""


def stored(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags under the names that they have in MLflow."""
    return {stored_name(name): value for name, value in tags.items()}


def stored_name(name: str) -> str:
    """Return the name of a tag in MLflow."""
    return f"{PREFIX}{name}" if name in HIDDEN or name.startswith("version.") else name


def plain(run: "Run") -> "Run":
    """Return a run of MLflow's with its tags under our names; one from before they were hidden has them so."""
    tags = run.data.tags
    for name in [name for name in tags if name.startswith(PREFIX)]:
        tags[name.removeprefix(PREFIX)] = tags.pop(name)
    return run
