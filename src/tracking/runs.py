"""Runs and sweeps in MLflow: their parameters, metrics, artefacts and tables."""

import io
import os
import platform
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from src.tracking.environment import PROCESS, alive, environment
from src.tracking.server import quieten, reach

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
KIND = "kind"
CELL, SWEEP = "cell", "sweep"
"""The kinds of runs: a sweep's run is the parent of its cells'."""


@dataclass
class TrackedRun:
    """A run that is open. What is written into `folder` becomes its artefacts when it ends, however it ends."""

    client: "MlflowClient"
    id: str
    folder: Path

    def log(
        self,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """Log in one request; metrics that are not numbers (such as the AUC of one class) are left out."""
        from mlflow.entities import Metric, Param, RunTag

        logged = [Metric(name, value, 0, 0) for name, value in (metrics or {}).items() if value == value]
        given = [Param(name, str(value)) for name, value in (params or {}).items()]
        for start in range(0, len(given), 100):  # the most that a server takes at once
            self.client.log_batch(self.id, params=given[start : start + 100])
        self.client.log_batch(self.id, logged, tags=[RunTag(name, str(value)) for name, value in (tags or {}).items()])

    def log_steps(self, name: str, values: Mapping[int, float]) -> None:
        """Log a metric that has a value per step, such as a fold."""
        from mlflow.entities import Metric

        self.client.log_batch(self.id, [Metric(name, value, 0, step) for step, value in values.items()])


@dataclass(kw_only=True)
class Tracking:
    """Where runs are kept: `uri` a database or a server, `artifacts` their files (a server has its own place)."""

    uri: str = "sqlite:///mlruns/mlflow.db"
    artifacts: str = "mlruns/artifacts"
    experiment: str = "tenfold"

    def __post_init__(self) -> None:
        """Check the address."""
        if "://" not in self.uri:
            raise ValueError(f"`uri` must be sqlite:///FILE, http(s)://SERVER or a database, but got uri={self.uri}")

    @cached_property
    def client(self) -> "MlflowClient":
        """The client, once the server answers or the database exists; `ValueError` where neither can be had."""
        quieten()
        if self.uri.startswith(("http://", "https://")):
            reach(self.uri)
        from mlflow import MlflowClient

        if not self.uri.startswith("sqlite:///"):
            return MlflowClient(self.uri)
        from filelock import FileLock

        database = Path(self.uri.removeprefix("sqlite:///"))
        database.parent.mkdir(parents=True, exist_ok=True)
        # Two processes must not make the tables at the same time, nor may one that dies leave some of them.
        with FileLock(f"{database}.lock"):
            if not database.exists():
                with tempfile.TemporaryDirectory(dir=database.parent) as folder:
                    made = Path(folder) / database.name
                    MlflowClient(f"sqlite:///{made}").search_experiments()
                    made.replace(database)
            client = MlflowClient(self.uri)
            self.find_or_create(client)
        return client

    def find_or_create(self, client: "MlflowClient") -> str:
        """Return the experiment's id."""
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is not None and found.lifecycle_stage == "deleted":
            raise ValueError(
                f"the experiment {self.experiment!r} was deleted in MLflow; `mlflow experiments restore -x "
                f"{found.experiment_id}` brings it back, tracking.experiment=NAME begins another"
            )
        if found is not None:
            return str(found.experiment_id)
        place = Path(self.artifacts).absolute().as_uri() if self.uri.startswith("sqlite:///") else None
        try:
            return str(client.create_experiment(self.experiment, place))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return str(found.experiment_id)

    @contextmanager
    def run(self, name: str, kind: str, parent: str = "") -> Iterator[TrackedRun]:
        """Create and open a run."""
        self.bury()
        with self.open(self.create(name, kind, parent)) as run:
            yield run

    @contextmanager
    def open(self, run_id: str) -> Iterator[TrackedRun]:
        """Open a run that exists. It ends FINISHED, FAILED with its traceback, or KILLED when it is interrupted."""
        run = TrackedRun(self.client, run_id, Path(tempfile.mkdtemp(prefix="tenfold-")))
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        except Exception:
            (run.folder / "traceback.txt").write_text(traceback.format_exc())
            raise
        except BaseException:  # Ctrl-C, or a request to end
            status = "KILLED"
            raise
        finally:
            self.close(run, status)

    def close(self, run: TrackedRun, status: str) -> None:
        """Send a run's files and end it; where that fails, `ValueError` says where the files are kept."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.log_artifacts(run.id, str(run.folder))
            self.client.set_terminated(run.id, status)
        except (MlflowException, OSError) as error:
            with suppress(MlflowException, OSError):
                self.client.set_terminated(run.id, "FAILED")
            raise ValueError(
                f"the results of run {run.id} could not be stored at {self.artifacts or self.uri} "
                f"({str(error).splitlines()[0]}); they are kept in {run.folder}"
            ) from error
        shutil.rmtree(run.folder)

    def create(self, name: str, kind: str, parent: str = "", tags: Mapping[str, str] | None = None) -> str:
        """Create a run that is RUNNING, and return its id."""
        described = environment() | {KIND: kind} | ({PARENT: parent} if parent else {}) | dict(tags or {})
        experiment = self.find_or_create(self.client)
        return str(self.client.create_run(experiment, run_name=name, tags=described).info.run_id)

    def bury(self) -> None:
        """Mark as KILLED the runs that a process of this machine left RUNNING when it died."""
        experiment = self.find_or_create(self.client)
        left = f"attributes.status = 'RUNNING' and tags.host = '{platform.node()}'"
        for run in self.client.search_runs([experiment], left, max_results=50000):
            pid, process = int(run.data.tags["pid"]), run.data.tags["process"]
            if not alive(pid) or (pid == os.getpid() and process != PROCESS):
                self.client.set_terminated(run.info.run_id, "KILLED")

    def find(self, name: str, kind: str = "") -> "Run":
        """Return the run of an id, or the newest run of a name and kind; `ValueError` where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(name)
        except MlflowException:
            named = "attributes.run_name = '{}'".format(name.replace("'", ""))
            of_kind = f" and tags.{KIND} = '{kind}'" if kind else ""
            runs = self.client.search_runs([self.find_or_create(self.client)], named + of_kind, max_results=1)
        if not runs:
            wanted = kind or "run"
            raise ValueError(f"no {wanted} has the id or name {name!r} in experiment {self.experiment!r} of {self.uri}")
        return runs[0]

    def children(self, sweep: str) -> "list[Run]":
        """Return the runs of a sweep in the order in which they began."""
        experiment = self.find_or_create(self.client)
        return list(
            self.client.search_runs(
                [experiment], f"tags.`{PARENT}` = '{sweep}'", order_by=["attributes.start_time ASC"], max_results=50000
            )
        )

    def predictions(self, run: "Run") -> pd.DataFrame:
        """Return the predictions table of a run; `ValueError` where it has none."""
        return pd.read_parquet(io.BytesIO(self.artifact(run, "predictions.parquet")))

    def artifact(self, run: "Run", name: str) -> bytes:
        """Return the bytes of a run's artefact; `ValueError` where it has none of this name."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory(prefix="tenfold-") as folder:
            try:
                return Path(self.client.download_artifacts(run.info.run_id, name, folder)).read_bytes()
            except (MlflowException, OSError):
                raise ValueError(
                    f"run {run.info.run_name} ({run.info.run_id}, {run.info.status}) has no {name}; finished runs do"
                ) from None
