"""What a tracking server could not take: kept on disk as JSON lines and files, and sent later.

A folder per run: `lines.jsonl` with what was to be logged, in order, and `artifacts/`. Sending is idempotent: a line
may be sent twice, and a file is deleted once it has arrived, so that a sending that was killed goes on where it was.
"""

import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.system.next_commands import next_command
from src.tracking.datasets import link_dataset
from src.tracking.pages import link_model
from src.tracking.process_life import is_dead
from src.tracking.run_record import RunRecord, read_run, read_time
from src.tracking.server import Unreachable
from src.tracking.status import KILLED, RUNNING
from src.tracking.tags import HEARTBEAT, PARENT, SPOOLED, stored_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

AGAIN = 60.0
"""Seconds until a server that failed is tried again."""
BATCH = 100
"""The most params and tags, and fewer than the most metrics, that a server takes at once."""

Record = dict[str, Any]


def away_errors() -> tuple[type[Exception], ...]:
    """Return the errors with which a server or its store refuses what is sent."""
    from mlflow.exceptions import MlflowException

    return (MlflowException, OSError, Unreachable)  # those of requests are OSErrors


def first_line(error: BaseException) -> str:
    """Return the beginning of an error's message."""
    return (str(error) or type(error).__name__).splitlines()[0]


@dataclass
class SpooledRun:
    """What is kept of one run. It exists once something was added."""

    folder: Path

    @property
    def id(self) -> str:
        """The run's id: the server's, or our own where the run could not begin there."""
        return self.folder.name

    @property
    def file(self) -> Path:
        """Where the lines are."""
        return self.folder / "lines.jsonl"

    @property
    def exists(self) -> bool:
        """Whether anything is kept."""
        return self.file.exists()

    def add(self, **record: Any) -> None:
        """Keep what was to be logged; a line is written at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("a+b") as file:
            file.seek(max(0, file.tell() - 1))
            cut_off = file.read() not in (b"", b"\n")
            file.write(("\n" * cut_off + json.dumps(record) + "\n").encode())

    def records(self) -> list[Record]:
        """Return what was to be logged, without lines that were cut off; nothing where it has been sent."""
        try:
            lines = self.file.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [record for line in lines if (record := parse_record(line))]

    def found(self, key: str) -> Record:
        """Return the last record of a kind; an empty one where there is none."""
        return last_record(self.records(), key)

    def take(self, folder: Path) -> None:
        """Move a folder's files into the artefacts."""
        shutil.copytree(folder, self.folder / "artifacts", dirs_exist_ok=True)
        shutil.rmtree(folder)

    def files(self) -> list[Path]:
        """Return the artefacts that are left to send."""
        return sorted(path for path in (self.folder / "artifacts").rglob("*") if path.is_file())

    def beat(self) -> None:
        """Show that the run's process lives."""
        self.file.touch()

    def run(self) -> RunRecord | None:
        """Return a run that began here; None where it did not, or has been sent."""
        records = self.records()
        begun, end = last_record(records, "begun"), last_record(records, "end")
        if not begun:
            return None
        tags = begun["tags"] | {name: value for each in records for name, value in each.get("tags", {}).items()}
        with suppress(FileNotFoundError):
            tags[HEARTBEAT] = str(int(self.file.stat().st_mtime))
        return RunRecord(
            id=self.id,
            name=begun["name"],
            status=end.get("status", RUNNING),
            start=read_time(begun["time"]),
            end=read_time(end["time"]) if "time" in end else None,
            params={name: value for each in records for name, value in each.get("params", {}).items()},
            tags=tags,
            metrics={name: value for each in records for name, value, *_ in each.get("metrics", [])},
            datasets=[each["inputs"] for each in records if "inputs" in each],
        )


def parse_record(line: str) -> Record:
    """Return the record of a line; an empty one where the line was cut off."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return {}


def last_record(records: list[Record], key: str) -> Record:
    """Return the last record of a kind; an empty one where there is none."""
    return next((record[key] for record in reversed(records) if key in record), {})


@dataclass
class Spool:
    """The folder of all that is kept."""

    root: Path

    def entry(self, run: str) -> SpooledRun:
        """Return the place of a run."""
        return SpooledRun(self.root / run)

    def entries(self) -> list[SpooledRun]:
        """Return what is kept."""
        return [SpooledRun(file.parent) for file in sorted(self.root.glob("*/lines.jsonl"))]

    def begin(self, name: str, tags: Mapping[str, str]) -> str:
        """Begin a run that the server has not heard of, and return its id."""
        entry = self.entry(f"spooled-{uuid.uuid4().hex}")
        entry.add(begun={"name": name, "time": now_in_milliseconds(), "tags": dict(tags)})
        return entry.id

    def runs(self) -> list[RunRecord]:
        """Return the runs that began here."""
        found = [run for entry in self.entries() if (run := entry.run())]
        return sorted(found, key=lambda run: run.start)


def now_in_milliseconds() -> int:
    """Return the time as MLflow counts it."""
    return int(time.time() * 1000)


@dataclass
class Outbox:
    """Takes what a run logs to the server, or keeps it while the server is away: that never fails a run."""

    client: "MlflowClient | None"
    """None where the run began in the spool."""
    connect: "Callable[[], MlflowClient]"
    """Gives the client if the server answers."""
    entry: SpooledRun
    tried: float = 0.0

    def log(self, **record: Any) -> None:
        """Send or keep one record: `params`, `metrics` (name, value, milliseconds, step), `tags`, `inputs`, `model`."""
        if time.monotonic() - self.tried > AGAIN:
            self.catch_up()
        if self.client is not None and not self.entry.exists:
            try:
                send_record(self.client, self.entry.id, record)
                return
            except away_errors() as error:
                self.fall_back(error)
        self.entry.add(**record)

    def fall_back(self, error: Exception) -> None:
        """Say that from here on things are kept."""
        self.tried = time.monotonic()
        log.warning(
            "tracking fails (%s): the run goes on, and what it logs is kept in %s",
            first_line(error),
            self.entry.folder,
        )

    def catch_up(self) -> None:
        """Send what was kept, if the server is back."""
        if self.client is None or not self.entry.exists:
            return
        self.tried = time.monotonic()
        try:
            client = self.connect()
            for record in self.entry.records():
                send_record(client, self.entry.id, record)
        except away_errors():
            return
        shutil.rmtree(self.entry.folder)
        log.warning("tracking works again: what was kept is sent")

    def end(self, folder: Path, status: str) -> None:
        """End the run, with the files of a folder, which goes."""
        self.catch_up()
        if self.client is not None and not self.entry.exists:
            try:
                self.client.log_artifacts(self.entry.id, str(folder))
                self.client.set_terminated(self.entry.id, status)
            except away_errors() as error:
                self.fall_back(error)
            else:
                shutil.rmtree(folder)
                return
        self.entry.take(folder)
        self.entry.add(end={"status": status, "time": now_in_milliseconds()})
        log.warning("run %s is kept in %s; `%s` sends it", self.entry.id, self.entry.folder, next_command("sync"))


def send_record(client: "MlflowClient", run: str, record: Record) -> None:
    """Send one record of a run."""
    from mlflow.entities import Metric, Param, RunTag

    params = [Param(name, value) for name, value in record.get("params", {}).items()]
    tags = [RunTag(name, value) for name, value in stored_tags(record.get("tags", {})).items()]
    metrics = [Metric(*point) for point in record.get("metrics", [])]
    for start in range(0, max(len(params), len(tags), len(metrics)), BATCH):
        part = slice(start, start + BATCH)
        client.log_batch(run, metrics[part], params[part], tags[part])
    if "inputs" in record:
        link_dataset(client, run, record["inputs"])
    if "model" in record:
        link_model(client, run)


@dataclass
class Sent:
    """What became of one run's entry: how many files were sent, and why something is left."""

    run: str
    name: str = ""
    files: int = 0
    left: str = ""


class Sending(ValueError):  # noqa: N818
    """Another process sends what is kept."""


def deliver_spool(client: "MlflowClient", experiment: str, spool: Spool, patience: float = 0.0) -> Iterator[Sent]:
    """Send all that is kept, run by run; what fails is left, and told.

    Errors: Sending, where another process does so and goes on for so many seconds.
    """
    from filelock import FileLock, Timeout

    if not spool.entries():
        return
    try:
        with FileLock(spool.root / ".lock", timeout=patience):
            # A parent before its cells.
            for entry in sorted(spool.entries(), key=lambda entry: entry.found("begun").get("time", 0)):
                yield deliver_run(client, experiment, entry)
    except Timeout:
        raise Sending(f"another process is sending what is kept in {spool.root}; wait until it has ended") from None


def deliver_run(client: "MlflowClient", experiment: str, entry: SpooledRun) -> Sent:
    """Send what is kept of one run, if it has ended or its process is dead."""
    sent = Sent(entry.id, entry.found("begun").get("name", ""))
    try:
        end = entry.found("end") or {"status": KILLED} if is_complete(client, entry) else {}
        run = server_run(client, experiment, entry) if end else ""
        if not run:
            sent.left = "its sweep is not sent yet" if end else "it is still running"
            return sent
        there = client.get_run(run).info
        sent.run, sent.name = run, str(there.run_name)
        for record in entry.records():
            send_record(client, run, record)
        for file in entry.files():
            place = file.parent.relative_to(entry.folder / "artifacts").as_posix()
            client.log_artifact(run, str(file), None if place == "." else place)
            file.unlink()
            sent.files += 1
        if entry.found("end") or there.status == RUNNING:  # else only something was added to it
            client.set_terminated(run, end["status"], end.get("time"))
        shutil.rmtree(entry.folder)
    except away_errors() as error:
        sent.left = first_line(error)
    return sent


def is_complete(client: "MlflowClient", entry: SpooledRun) -> bool:
    """Return whether nothing more will be added to an entry."""
    if entry.found("end"):
        return True
    run = entry.run() or read_run(client.get_run(entry.id))
    return run.status != RUNNING or is_dead(run.tags)


def server_run(client: "MlflowClient", experiment: str, entry: SpooledRun) -> str:
    """Return the id that a run has on the server, where it is begun if it has not; empty where its parent has none."""
    begun = entry.found("begun")
    if not begun:
        return entry.id
    if known := on_server(client, experiment, entry.id):
        return known
    tags = dict(begun["tags"])
    if tags.get(PARENT, "").startswith("spooled-"):
        tags[PARENT] = on_server(client, experiment, tags[PARENT])
        if not tags[PARENT]:
            return ""
    made = client.create_run(experiment, begun["time"], stored_tags(tags) | {SPOOLED: entry.id}, begun["name"])
    return str(made.info.run_id)


def on_server(client: "MlflowClient", experiment: str, spooled: str) -> str:
    """Return the id on the server of a run that began in the spool; empty where it is not there."""
    found = client.search_runs([experiment], f"tags.{SPOOLED} = '{spooled}'", max_results=1)
    return str(found[0].info.run_id) if found else ""
