"""The data set of a run, as MLflow names it and links it: in the list of runs, on the run's page, in comparisons."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from src.tracking.run_record import RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHORT = 12
"""Characters of a digest, which would hide the name."""
CONTEXT = "mlflow.data.context"
TYPES = {"i": "long", "u": "long", "f": "double", "b": "boolean", "M": "datetime"}
"""MLflow's names of NumPy's kinds; all else is text."""


def describe_dataset(name: str, digest: str, root: str, manifest: pd.DataFrame) -> dict[str, str]:
    """Return a data set as MLflow keeps it: name, digest, source, and as JSON the manifest's columns and its counts.

    Of `digest` the beginning is kept, as it stands beside the name in lists.
    """
    columns = [{"name": str(column), "type": TYPES.get(column_kind(manifest[column]), "string")} for column in manifest]
    classes = manifest.drop_duplicates("case")["label"].value_counts(sort=False)
    profile = {
        "num_rows": len(manifest),
        "num_elements": int(manifest.size),
        "cases": int(manifest["case"].nunique()),
        "patients": int(manifest["patient"].replace("", None).nunique()),
        "classes": {str(label): int(count) for label, count in classes.items()},
    }
    return {
        "name": name,
        "digest": digest[:SHORT],
        "source_type": "local",
        "source": json.dumps({"uri": root}),
        "schema": json.dumps({"mlflow_colspec": columns}),
        "profile": json.dumps(profile),
    }


def of_runs(runs: Iterable[RunRecord]) -> list[dict[str, str]]:
    """Return the data sets of runs, each once."""
    given = [each for run in runs for each in run.datasets]
    return list({(each["name"], each["digest"]): dict(each) for each in given}.values())


def column_kind(column: "pd.Series[Any]") -> str:
    """Return NumPy's letter for what a column holds; `O` for what NumPy does not know."""
    return str(getattr(column.dtype, "kind", "O"))


def link_dataset(client: "MlflowClient", run: str, described: dict[str, str]) -> None:
    """Make a data set of `describe_dataset` the input of a run; a second time changes nothing."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tags = [InputTag(CONTEXT, "cross-validation")]
    client.log_inputs(run, [DatasetInput(Dataset(**described), tags)])
