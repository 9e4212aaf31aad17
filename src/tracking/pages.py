"""What MLflow's pages show of an experiment and of a run beside its figures: kind, description, model."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from src.evaluation.wording import capital, measured, titled
from src.system.next_commands import next_command

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOTE = "mlflow.note.content"
VIEW = "tenfold"
"""The name of the view of the list that tells runs apart at a glance: `viewStateShareKey` in its address."""
COLUMNS = (
    *("attributes.`Dataset`", "metrics.`accuracy`", "metrics.`accuracy_low`", "metrics.`accuracy_high`"),
    *("metrics.`auc`", "params.`method`", "params.`classifier`", "params.`stain`", "params.`pool.p`"),
)
"""The columns of that view, in order: the data and the figures first, which else lie beyond the window."""
EXPERIMENT = {
    "mlflow.experimentKind": "custom_model_development",
    NOTE: "A sweep is a run whose child runs are its cells. Its description has the fused table; sort and filter cells "
    "by any metric or param, tick some and press *Compare* to see in which params they differ.",
    f"mlflow.sharedViewState.{VIEW}": json.dumps(
        {"selectedColumns": COLUMNS, "columnOrder": COLUMNS, "orderByKey": "attributes.start_time", "orderByAsc": False}
    ),
}
"""The tags of the experiment: its pages are those of trained models, not of language models and their traces."""
TABLES = ("groups.md", "table.md")
"""The artefacts that a description begins with, the first that is there."""
FUSED = "Model fusion"
"""The row of a table that a sweep is about (`src.evaluation.fold_tables`)."""
FIGURES = (
    "groups.png",
    "learning_curve.png",
    "roc.png",
    "confusion.png",
    "reliability.png",
    "calibration.png",
    "decision.png",
    "robustness.png",
)
LONGEST = 4000
"""Characters of a table; a tag has at most 8000."""
SLICES = "slices.md"
"""The artefact that follows a run's first figures."""
LONGEST_SLICES = 2500
"""Characters of it."""
HEADLINE = ("accuracy", "balanced_accuracy", "auc", "binary_auc")
"""The metrics that stand first, and on the model's page."""


def describe_page(folder: Path, run: str) -> str:
    """Return a run's description in Markdown: table and notes, figures with their intervals, slices, pictures.

    It is empty where there is no table. `folder` holds the artefacts, `run` is the id under which the server has them;
    pictures are left out where that is not known yet.
    """
    table = next((folder / name for name in TABLES if (folder / name).exists()), None)
    if table is None:
        return ""
    text = shorten_table(fused_first(table.read_text().strip()), LONGEST, table.name)
    slices = folder / SLICES
    parts = shorten_table(slices.read_text().strip(), LONGEST_SLICES, SLICES) if slices.exists() else ""
    pictures = [name for name in FIGURES if (folder / name).exists() and not run.startswith("spooled")]
    shown = [embed_picture(run, name) for name in pictures]
    return "\n\n".join(filter(None, [text, write_headline(folder / "metrics.json"), parts, *shown]))


def shorten_table(text: str, longest: int, name: str) -> str:
    """Return the first rows of a table in Markdown, and where the others are: the artefact of that name."""
    if len(text) <= longest:
        return text
    return f"{text[:longest].rsplit(chr(10), 1)[0]}\n\n... and more in the artefact `{name}`"


def fused_first(table: str) -> str:
    """Return a table with its fused row first: of a long description MLflow shows some lines until it is opened."""
    lines = table.split("\n")
    fused = [line for line in lines if line.startswith(f"| {FUSED} |") or line.startswith(f"| **{FUSED}** |")]
    return "\n".join([*lines[:2], *fused, *(line for line in lines[2:] if line not in fused)])


def write_headline(file: Path) -> str:
    """Return the first figures of a run with their intervals as a sentence; empty where it has none of its own."""
    metrics: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    known = [name for name in HEADLINE if name in metrics and metrics[name] == metrics[name]]
    return capital(", ".join(f"{titled(name)} {measured(metrics, name, level=True)}" for name in known))


def embed_picture(run: str, name: str) -> str:
    """Return an artefact as a picture: its address holds from any page of the server that has it."""
    return f"![{Path(name).stem}](get-artifact?path={name}&run_uuid={run})"


def link_model(client: "MlflowClient", run: str) -> None:
    """Make what a run learnt a model of MLflow's, with figures and choices, that the run links to and that links to it.

    The files stay where they are, in the run's `model/`. A second time changes nothing.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
    from mlflow.exceptions import MlflowException

    known = client.get_run(run)
    if known.outputs and known.outputs.model_outputs:
        return
    name = re.sub(r"[/:.%\"']+", "-", str(known.info.run_name))  # which a model's name must not have
    params = {key: value for key, value in known.data.params.items() if "." not in key}
    apply = next_command("predict", f"model={run}", "input=FOLDER", "output=FILE.csv")
    tags = {"run": run, NOTE: f"The files are in the run's `model/`. `{apply}` applies them."}
    try:
        made = client.create_logged_model(known.info.experiment_id, name, run, tags, params, "tenfold")
    except MlflowException as error:
        if error.get_http_status_code() == 404:  # a server from before MLflow 3 knows no models of runs
            return
        raise
    client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    client.log_outputs(run, [LoggedModelOutput(made.model_id, 0)])
    data = next((each.dataset for each in known.inputs.dataset_inputs), None) if known.inputs else None
    where = (data.name, data.digest) if data else (None, None)
    found = [point for key in HEADLINE if key in known.data.metrics for point in client.get_metric_history(run, key)]
    # The same points once more, now as the model's on this data set: the run does not get any twice.
    points = [Metric(each.key, each.value, each.timestamp, each.step, made.model_id, *where) for each in found]
    client.log_batch(run, points)
