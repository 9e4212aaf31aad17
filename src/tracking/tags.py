"""The tags of a run: their names here, and in MLflow, whose pages hide what begins with mlflow."""

from collections.abc import Mapping

KIND = "kind"
CELL, SWEEP, VALIDATION, STRESS = "cell", "sweep", "validation", "stress"
"""The kinds of runs: a sweep's run is the parent of its cells', a validation's is of a model on another cohort, a
stress test's of the models of cells on perturbed images."""
VALIDATED = "validated"
"""The tag of a validation: the run of the model."""
STRESSED = "stressed"
"""The tag of a stress test: the ids of the runs whose models it is of."""
PARENT = "mlflow.parentRunId"
JOB = "job"
"""The tag of a cell: its number in the sweep."""
SUPERSEDED = "superseded"
"""The tag of a cell of a sweep that was run anew: the run that took its place."""
SWEPT = "sweep_keys"
"""The tag of a sweep: the keys that it varies."""
INNER_FOLDS = "inner_folds"
"""The tag of a cell that predicted the training parts of its folds, too: by so many inner folds."""
SPOOLED = "spooled"
"""The tag of a run that began in the spool: its id there."""
HEARTBEAT = "heartbeat"
"""The tag of a run that is open: when its process last showed that it lives."""
PREFIX = "mlflow.tenfold."
HIDDEN = ("machine", "pid", "born", "process", HEARTBEAT, "python", JOB, "point", SWEPT, "sweep_options")
"""What a page would begin with, and nobody reads; the versions of libraries, too. No search is by one of them."""


def stored_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags under the names that they have in MLflow."""
    return {stored_name(name): value for name, value in tags.items()}


def stored_name(name: str) -> str:
    """Return the name of a tag in MLflow."""
    return f"{PREFIX}{name}" if name in HIDDEN or name.startswith("version.") else name


def known_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return MLflow's tags of a run under our names."""
    return {name.removeprefix(PREFIX): value for name, value in tags.items()}
