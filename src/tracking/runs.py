"""Runs and sweeps in MLflow: their parameters, metrics, artefacts and tables."""

import io
import logging
import re
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from src.system.addresses import mask_passwords
from src.system.files import nearest_existing, replace_file, writing_refusal
from src.tracking.environment import describe_environment
from src.tracking.pages import EXPERIMENT, NOTE, describe_page
from src.tracking.process_life import heartbeat_time, is_dead, keep_beating
from src.tracking.run_names import check_kind, kind_word, newest_run, tell_run, tell_several
from src.tracking.run_record import RunRecord, read_run
from src.tracking.server import Unreachable, quieten_mlflow, reach_server
from src.tracking.spool import Outbox, Sent, Spool, away_errors, deliver_spool, first_line, now_in_milliseconds
from src.tracking.status import FAILED, FINISHED, KILLED, RUNNING
from src.tracking.tags import HEARTBEAT, KIND, PARENT, SPOOLED, stored_name, stored_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

INNER_PREDICTIONS = "inner_predictions.parquet"
"""The artefact of a run with what it predicted of its folds' training parts by inner folds."""
SQLITE = "sqlite:///"
"""With what the address of a database begins that is a file; in `tracking.uri` the file's path follows as it is."""
MANY = 50000
"""The most runs that a server lists at once."""


@dataclass
class TrackedRun:
    """A run that is open. What is written into `folder` becomes its artefacts when it ends, however it ends.

    A server that goes away does not fail it: what cannot be sent is spooled (`src.tracking.spool`).
    """

    id: str
    folder: Path
    outbox: Outbox

    def log(
        self,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """Log; metrics that are not numbers (such as the AUC of one class) are left out."""
        moment = now_in_milliseconds()
        self.outbox.log(
            params={name: mask_passwords(str(value)) for name, value in (params or {}).items()},
            metrics=[(name, float(value), moment, 0) for name, value in (metrics or {}).items() if value == value],
            tags={name: str(value) for name, value in (tags or {}).items()},
        )

    def log_steps(self, name: str, values: Mapping[int, float]) -> None:
        """Log a metric that has a value per step, such as a fold."""
        moment = now_in_milliseconds()
        self.outbox.log(metrics=[(name, float(value), moment, step) for step, value in values.items()])

    def present(self, status: str) -> None:
        """Let the run's page open with its table and figures, and link the model of a run that finished."""
        if text := describe_page(self.folder, self.id):
            self.log(tags={NOTE: text})
        if status == FINISHED and (self.folder / "model").is_dir():
            self.outbox.log(model=True)

    def log_data(self, described: Mapping[str, str]) -> None:
        """Link a data set, as `src.tracking.datasets.describe_dataset` describes it."""
        self.outbox.log(inputs=dict(described))


@dataclass(kw_only=True)
class Tracking:
    """Where runs are kept: `uri` a database or a server, `artifacts` their files (a server has its own place).

    `spool` is the folder for what a server cannot take; with `offline` it takes everything.
    """

    uri: str = "sqlite:///mlruns/mlflow.db"
    artifacts: str = "mlruns/artifacts"
    experiment: str = "tenfold"
    spool: str = "mlruns/spool"
    offline: bool = False
    """Keep all that a run logs on disk, without asking the server, until `python -m src.sync` sends it."""

    def __post_init__(self) -> None:
        """Check the address."""
        if "://" not in self.uri:
            raise ValueError(f"`uri` must be sqlite:///FILE, http(s)://SERVER or a database, but got uri={self.uri}")

    @property
    def spooled(self) -> Spool:
        """What the server could not take."""
        return Spool(Path(self.spool).absolute())

    @property
    def served(self) -> bool:
        """Whether runs are kept by a server, which has a place of its own for their files."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def address(self) -> str:
        """The address of database or server as MLflow takes it."""
        return sqlite_address(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else self.uri

    @property
    def there(self) -> bool:
        """Whether anything was ever tracked here, so that asking for it leaves no empty database behind."""
        return not self.uri.startswith(SQLITE) or Path(self.uri.removeprefix(SQLITE)).exists()

    def connect(self) -> "MlflowClient":
        """Return the client; `Unreachable` where the server does not answer now."""
        if self.served:
            quieten_mlflow()
            reach_server(self.uri)
        return self.client

    @cached_property
    def client(self) -> "MlflowClient":
        """The client, once the server answers or the database exists; `ValueError` where neither can be had."""
        quieten_mlflow()
        if self.served:
            reach_server(self.uri)
            from mlflow import MlflowClient

            return MlflowClient(self.uri)
        from src.tracking.database_client import DatabaseClient, empty_database

        if not self.uri.startswith(SQLITE):
            return DatabaseClient(self.uri)
        from filelock import FileLock

        database = Path(self.uri.removeprefix(SQLITE))
        if why := writing_refusal(nearest_existing(database.parent)):  # a database is locked to be read, too
            raise ValueError(
                f"runs are tracked in {database}, but nothing can be written in its folder ({why}): give another "
                "workspace=FOLDER, such as a copy of this one"
            )
        database.parent.mkdir(parents=True, exist_ok=True)
        # Two processes must not make the tables at the same time, nor may one that dies leave some of them.
        with FileLock(f"{database}.lock"):
            if not database.exists():
                with tempfile.TemporaryDirectory(dir=database.parent) as folder:
                    made = Path(folder) / database.name
                    made.write_bytes(empty_database())
                    made.replace(database)
            client = DatabaseClient(self.address)
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
            for name in EXPERIMENT.keys() - found.tags.keys():  # made by hand, on MLflow's pages
                client.set_experiment_tag(found.experiment_id, name, EXPERIMENT[name])
            return str(found.experiment_id)
        here = self.artifacts if "://" in self.artifacts else Path(self.artifacts).absolute().as_uri()
        try:
            return str(client.create_experiment(self.experiment, None if self.served else here, EXPERIMENT))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                raise
            return str(found.experiment_id)

    @contextmanager
    def run(
        self, name: str, kind: str, parent: str = "", tags: Mapping[str, str] | None = None
    ) -> Iterator[TrackedRun]:
        """Create and open a run."""
        created = self.create(name, kind, parent, tags)
        with suppress(*away_errors()):
            self.bury()
        with self.open(created) as run:
            yield run

    @contextmanager
    def open(self, run_id: str) -> Iterator[TrackedRun]:
        """Open a run that exists. It ends FINISHED, FAILED with its traceback, or KILLED when it is interrupted."""
        entry = self.spooled.entry(run_id)
        outbox = Outbox(None if entry.found("begun") else self.client, self.connect, entry)
        run = TrackedRun(run_id, Path(tempfile.mkdtemp(prefix="tenfold-")), outbox)
        status = FAILED
        with self.beats(run_id):
            try:
                yield run
                status = FINISHED
            except Exception:
                (run.folder / "traceback.txt").write_text(traceback.format_exc())
                raise
            except BaseException:  # Ctrl-C, or a request to end
                status = KILLED
                raise
            finally:
                self.close(run, status)

    def close(self, run: TrackedRun, status: str) -> None:
        """Send or spool a run's files and end it; where both fail, `ValueError` says where the files are kept."""
        try:
            run.present(status)
            run.outbox.end(run.folder, status)
        except OSError as error:
            with suppress(*away_errors()):
                self.client.set_terminated(run.id, FAILED)
            raise ValueError(
                f"the results of run {run.id} could not be stored at {self.artifacts or self.uri}, nor in {self.spool} "
                f"({str(error).splitlines()[0]}); they are kept in {run.folder}"
            ) from error

    def beats(self, run_id: str) -> AbstractContextManager[None]:
        """Show, while the context lasts, that the process of a run lives."""
        return keep_beating(lambda: self.beat(run_id))

    def beat(self, run_id: str) -> None:
        """Show that the process of a run lives."""
        entry = self.spooled.entry(run_id)
        with suppress(*away_errors()):
            if run_id.startswith(SPOOLED):
                entry.beat()
            else:
                self.client.set_tag(run_id, stored_name(HEARTBEAT), heartbeat_time())

    def create(self, name: str, kind: str, parent: str = "", tags: Mapping[str, str] | None = None) -> str:
        """Create a run that is RUNNING, and return its id. One with a parent begins in the spool if it must."""
        described = describe_environment() | {KIND: kind} | ({PARENT: parent} if parent else {}) | dict(tags or {})
        if self.offline:
            return self.spooled.begin(name, described)
        try:
            client = self.connect()
            return str(
                client.create_run(self.find_or_create(client), run_name=name, tags=stored_tags(described)).info.run_id
            )
        except away_errors():
            if not parent:
                raise
            return self.spooled.begin(name, described)

    def reopen(self, run_id: str, tags: Mapping[str, str] | None = None) -> None:
        """Make an ended run RUNNING, as this process's."""
        described = describe_environment() | dict(tags or {})
        if run_id.startswith(SPOOLED):
            self.spooled.entry(run_id).add(tags=described, end={})
            return
        client = self.connect()
        self.tag(run_id, described)
        client.update_run(run_id, RUNNING)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, open or not."""
        entry = self.spooled.entry(run_id)
        Outbox(None if run_id.startswith(SPOOLED) else self.client, self.connect, entry, time.monotonic()).log(
            tags=dict(tags)
        )

    def end(self, run_id: str, status: str) -> None:
        """End a run that is not open."""
        entry = self.spooled.entry(run_id)
        if not run_id.startswith(SPOOLED):
            try:
                self.client.set_terminated(run_id, status)
                return
            except away_errors():
                pass
        entry.add(end={"status": status, "time": now_in_milliseconds()})

    def bury(self) -> None:
        """Mark as KILLED the runs that a dead process left RUNNING."""
        for run in self.search(status=RUNNING):
            # Its process may have ended it between the two looks.
            if is_dead(run.tags) and self.find(run.id).status == RUNNING:
                self.end(run.id, KILLED)

    def search(self, tags: Mapping[str, str] | None = None, status: str = "", name: str = "") -> list[RunRecord]:
        """Return the runs that have tags, a status and a name, in the order in which they began."""
        wanted = dict(tags or {})
        found = [
            run
            for run in self.spooled.runs()
            if wanted.items() <= run.tags.items() and status in ("", run.status) and name in ("", run.name)
        ]
        if not self.offline and self.there:
            clauses = [f"tags.`{key}` = {quote_text(value)}" for key, value in wanted.items()]
            clauses += [f"attributes.status = '{status}'"] if status else []
            clauses += [f"attributes.run_name = {quote_text(name)}"] if name else []
            where = [self.find_or_create(self.client)]
            listed = [*map(read_run, self.client.search_runs(where, " and ".join(clauses), max_results=MANY))]
            sent = {run.tags.get(SPOOLED) for run in listed}
            found = [*listed, *(run for run in found if run.id not in sent)]
        return sorted(found, key=lambda run: run.start)

    def find(self, name: str, kind: str = "") -> RunRecord:
        """Return the run of a kind as `known` finds it; `ValueError` where there is none."""
        found = self.known(name, kind)
        if found is None:
            newest = dict.fromkeys(run.name for run in self.search({KIND: kind} if kind else {})[::-1])
            there = (
                f"the newest are {', '.join(list(newest)[:5])}" if newest else f"there are no {kind_word(kind)}s yet"
            )
            raise ValueError(f"{self.missing(name, kind)}; {there}")
        return found

    def known(self, name: str, kind: str = "") -> RunRecord | None:
        """Return the run of an id, the newest of a name, or the one whose id so begins; say which where several are.

        Of runs that are no sweeps the newest that finished stands for a name, where one did. None where there is none;
        `ValueError` where it is of another kind.
        """
        of_kind = {KIND: kind} if kind else {}
        if found := self.by_id(name):
            check_kind(found, kind)
            return found
        runs = self.search(of_kind, name=name) or self.beginning(name, of_kind)
        if len(runs) > 1:
            log.warning(tell_several(name, runs))
        if not runs and (others := self.search(name=name) or self.beginning(name, {})):
            check_kind(others[-1], kind)
        return newest_run(runs) if runs else None

    def missing(self, name: str, kind: str = "") -> str:
        """Return that there is no run of a name."""
        return f"no {kind_word(kind)} has the id or name {name!r} in experiment {self.experiment!r} of {self.uri}"

    def by_id(self, run_id: str) -> RunRecord | None:
        """Return the run of an id, also of the one that it had in the spool."""
        from mlflow.exceptions import MlflowException

        kept = [run for run in self.spooled.runs() if run.id == run_id]
        if kept or self.offline or not self.there:
            return kept[0] if kept else None
        if run_id.startswith(f"{SPOOLED}-"):
            return next(iter(self.search({SPOOLED: run_id})), None)
        try:
            return read_run(self.client.get_run(run_id))
        except MlflowException:
            return None

    def beginning(self, start: str, tags: Mapping[str, str]) -> list[RunRecord]:
        """Return the run with tags whose id begins so, in a list; `ValueError` where several do."""
        if not re.fullmatch(rf"({SPOOLED}-)?[0-9a-f]{{6,31}}", start):
            return []
        found = [run for run in self.search(tags) if run.id.startswith(start)]
        if len(found) > 1:
            raise ValueError(
                f"{len(found)} ids begin with {start}: {', '.join(map(tell_run, found))}; give more of one"
            )
        return found

    def children(self, sweep: str) -> list[RunRecord]:
        """Return the runs of a sweep in the order of their jobs, without those that were run anew."""
        runs = [run for run in self.search({PARENT: sweep}) if not run.superseded]
        return sorted(runs, key=lambda run: int(run.job or len(runs)))

    def deliver(self, patience: float = 0.0) -> Iterator[Sent]:
        """Send what is spooled, run by run (`src.tracking.spool.deliver_spool`)."""
        if self.spooled.entries():
            client = self.connect()
            yield from deliver_spool(client, self.find_or_create(client), self.spooled, patience)

    def predictions(self, run: RunRecord) -> pd.DataFrame:
        """Return the predictions table of a run; `ValueError` where it has none."""
        return pd.read_parquet(io.BytesIO(self.artifact(run, "predictions.parquet")))

    def inner_predictions(self, run: RunRecord) -> pd.DataFrame | None:
        """Return what a run predicted of its folds' training parts by inner folds; None where it was not asked to."""
        return pd.read_parquet(io.BytesIO(self.artifact(run, INNER_PREDICTIONS))) if run.inner_folds else None

    def curve(self, run: RunRecord, name: str) -> list[tuple[int, float]]:
        """Return the steps and values of a metric that is logged by step; Unreachable where they cannot be had now."""
        records = self.spooled.entry(run.id).records()
        points = [(step, value) for each in records for key, value, _, step in each.get("metrics", []) if key == name]
        if run.id.startswith(SPOOLED):
            return points
        with had_now(f"the curves of run {run.name} ({run.id})"):
            history = self.client.get_metric_history(run.id, name)
        return [(point.step, point.value) for point in history] + points

    def files(self, run: RunRecord, folder: str) -> list[str]:
        """Return the paths of a run's artefacts below a folder, in order; Unreachable where they cannot be had now."""
        entry = self.spooled.entry(run.id)
        kept = [path.relative_to(entry.folder / "artifacts").as_posix() for path in entry.files()]
        found = {path for path in kept if path.startswith(f"{folder}/")}
        if not run.id.startswith(SPOOLED):
            with had_now(f"the artefacts of run {run.name} ({run.id})"):
                found |= set(artefacts_below(self.client, run.id, folder))
        return sorted(found)

    def attach(self, run_id: str, name: str, text: str) -> None:
        """Add a text to a run's artefacts; Unreachable where that cannot be done now."""
        if run_id.startswith(SPOOLED):
            path = self.spooled.entry(run_id).folder / "artifacts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, text.encode())
            return
        with had_now(f"the artefacts of run {run_id}"):
            self.client.log_text(run_id, text, name)

    def artifact(self, run: RunRecord, name: str) -> bytes:
        """Return the bytes of a run's artefact. Errors: as `download`."""
        kept = self.spooled.entry(run.id).folder / "artifacts" / name
        if kept.is_file():
            return kept.read_bytes()
        with tempfile.TemporaryDirectory(prefix="tenfold-") as folder:
            return self.download(run, name, Path(folder)).read_bytes()

    def download(self, run: RunRecord, name: str, folder: Path) -> Path:
        """Return where in a folder an artefact, a file or a folder of files, has been put.

        `ValueError` where the run has none of this name, Unreachable where it cannot be had now.
        """
        called = f"run {run.name} ({run.id}, {run.status})"
        try:
            return Path(self.client.download_artifacts(run.id, name, str(folder)))
        except away_errors() as error:
            why = first_line(error)
        with had_now(f"the artefacts of {called}"):
            listed = self.client.list_artifacts(run.id, name.rpartition("/")[0] or None)
        if name in [item.path for item in listed]:
            raise Unreachable(f"{name} of {called} cannot be had now: {why}")
        raise ValueError(f"{called} has no {name}; finished runs do")


def sqlite_address(database: Path | str) -> str:
    """Return the address of a database file: in one, % begins a sign's number, and ? ends the path.

    Where that matters the driver is named: else MLflow would make a folder that is called like the address.
    """
    path = str(database)
    told = path.replace("%", "%25").replace("?", "%3F")
    return f"{SQLITE if told == path else 'sqlite+pysqlite:///'}{told}"


def quote_text(text: str) -> str:
    """Return a text as MLflow's searches take it, which have no way to write both kinds of quotes."""
    quote = '"' if "'" in text else "'"
    return quote + text.replace(quote, "") + quote


@contextmanager
def had_now(what: str) -> Iterator[None]:
    """Say that something cannot be had now where the server does not give it."""
    try:
        yield
    except away_errors() as error:
        raise Unreachable(f"{what} cannot be had now: {first_line(error)}") from None


def artefacts_below(client: "MlflowClient", run_id: str, folder: str) -> Iterator[str]:
    """Yield the paths of all artefacts below a folder."""
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from artefacts_below(client, run_id, item.path)
        else:
            yield str(item.path)
