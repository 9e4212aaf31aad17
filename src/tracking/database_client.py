"""MLflow's client of a database."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from src.system.interrupts import hold_signals
from src.tracking.runs import sqlite_address


class DatabaseClient(MlflowClient):  # type: ignore[misc]
    """A client whose calls are not interrupted: halfway through, they would leave the database locked."""

    def __getattribute__(self, name: str) -> Any:
        """Return the method of a name, made whole."""
        found = super().__getattribute__(name)
        return hold_signals()(found) if callable(found) and not name.startswith("_") else found


@cache
def empty_database() -> bytes:
    """Return a file of SQLite with MLflow's tables.

    It takes MLflow hundreds of steps, after each of which SQLite would wait for the disk. A file that is half made is
    of no use, so none does, and one process makes it once.
    """

    def hurry(connection: Any, record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    try:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "empty.db"
            DatabaseClient(sqlite_address(file)).search_experiments()
            return file.read_bytes()
    finally:
        event.remove(Engine, "connect", hurry)
