"""Our own record of a run: what MLflow knows of it, in our words. Nothing outside of `tracking` reads MLflow's."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from src.tracking.status import FINISHED
from src.tracking.tags import INNER_FOLDS, JOB, KIND, PARENT, STRESSED, SUPERSEDED, SWEPT, VALIDATED, known_tags

if TYPE_CHECKING:
    from mlflow.entities import Run

AUDITED = "audit_"
"""With what the tags begin that count what the leak audit found."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as it was when it was looked up.

    status
        How it stands (`src.tracking.status`).
    start, end
        In UTC; `end` is None while it runs.
    params
        The config by dotted key, and the option that was chosen of each group, as texts. The artefact config.yaml has
        the values, but not the options; and to fetch it of each cell of a sweep takes as long as their predictions.
    tags
        What it is, where it ran, and digests of what it was made of (`src.tracking.tags`).
    metrics
        Its figures; of one that is logged by step the last.
    datasets
        As `src.tracking.datasets.describe_dataset` describes them: one, but for a sweep over several.
    artifacts
        The address of the folder of its files; empty where it began in the spool.
    """

    id: str
    name: str
    status: str
    start: datetime
    end: datetime | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    datasets: Sequence[Mapping[str, str]] = ()
    artifacts: str = ""

    @property
    def finished(self) -> bool:
        """Whether it did all it was to do, so that it has results."""
        return self.status == FINISHED

    @property
    def seconds(self) -> float:
        """How long it took; 0 while it runs."""
        return ((self.end or self.start) - self.start).total_seconds()

    @property
    def kind(self) -> str:
        """What it is, as CELL or SWEEP; empty for what others tracked."""
        return self.tags.get(KIND, "")

    @property
    def parent(self) -> str:
        """The id of the run that it is part of: of a cell its sweep; empty where it is alone."""
        return self.tags.get(PARENT, "")

    @property
    def job(self) -> str:
        """The number of a cell in its sweep; empty where it is alone."""
        return self.tags.get(JOB, "")

    @property
    def superseded(self) -> bool:
        """Whether another cell of its sweep took its place."""
        return SUPERSEDED in self.tags

    @property
    def swept(self) -> list[str]:
        """The keys that a sweep varied."""
        return self.tags.get(SWEPT, "").split()

    @property
    def stressed(self) -> list[str]:
        """The ids of the runs whose models a stress test is of."""
        return self.tags.get(STRESSED, "").split()

    @property
    def process(self) -> str:
        """The process that it belongs to, in words."""
        return f"process {self.tags.get('pid')} on {self.tags.get('host')}"

    @property
    def command(self) -> str:
        """What was typed."""
        return self.tags.get("command", "")

    @property
    def data(self) -> str:
        """The digest of its data."""
        return self.tags.get("data", "")

    @property
    def data_names(self) -> list[str]:
        """The names of its data sets."""
        return list(dict.fromkeys(each["name"] for each in self.datasets))

    @property
    def splits(self) -> str:
        """The digest of its splits; empty where it came to none."""
        return self.tags.get("splits", "")

    @property
    def audit(self) -> dict[str, int]:
        """The counts of its leak audit, by name; empty where there was none."""
        return {name: int(value) for name, value in self.tags.items() if name.startswith(AUDITED)}

    @property
    def notes(self) -> str:
        """What a reader of its figures has to know."""
        return self.tags.get("notes", "")

    @property
    def tuned(self) -> str:
        """How its parameters were chosen (`src.classifiers.tuned`); empty where they were given."""
        return self.tags.get("tuned", "")

    @property
    def inner_folds(self) -> int:
        """By how many inner folds it predicted the training parts of its folds; 0 where it did not."""
        return int(self.tags.get(INNER_FOLDS, 0))

    @property
    def validated(self) -> str:
        """The id of the run whose model it judged on another cohort; empty where it is no validation."""
        return self.tags.get(VALIDATED, "")

    @property
    def threshold(self) -> str:
        """The rule by which its threshold was chosen; empty where none was."""
        return self.params.get("threshold", "")

    @property
    def study(self) -> str:
        """The study that chose its parameters; empty where they were given."""
        return self.tags.get("study", "")

    @property
    def method(self) -> str:
        """The option of its method."""
        return self.params.get("method", "")

    @property
    def protocol(self) -> str:
        """The option of its protocol."""
        return self.params.get("protocol", "")

    @property
    def published(self) -> str:
        """The file of published figures to hold it against; empty where there is none."""
        return self.params.get("published", "")

    @property
    def slices(self) -> list[str]:
        """The columns of the manifest by whose values its figures are told apart, those whose values its folds are,
        too."""
        groups = [self.params["protocol.group"]] if "protocol.group" in self.params else []
        return [*parse_param(self.params.get("slices", "[]")), *groups]

    def values(self, group: str) -> dict[str, Any]:
        """Return the values of the keys of a group."""
        start = f"{group}."
        return {
            key.removeprefix(start): parse_param(text) for key, text in self.params.items() if key.startswith(start)
        }


def parse_param(text: str) -> Any:
    """Return the value of a param, which is logged as Python writes it: a list, a number; else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def read_run(run: "Run") -> RunRecord:
    """Return the record of a run of MLflow's."""
    info, inputs = run.info, run.inputs.dataset_inputs if run.inputs else []
    return RunRecord(
        id=str(info.run_id),
        name=str(info.run_name),
        status=str(info.status),
        start=read_time(info.start_time),
        end=read_time(info.end_time) if info.end_time else None,
        params=dict(run.data.params),
        tags=known_tags(run.data.tags),
        metrics=dict(run.data.metrics),
        datasets=[dict(each.dataset) for each in inputs],
        artifacts=str(info.artifact_uri),
    )


def read_time(milliseconds: int) -> datetime:
    """Return a time as MLflow counts it, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
