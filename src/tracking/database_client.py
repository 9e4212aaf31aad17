"""MLflow's client of a database."""

from typing import Any

from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from src.system.interrupts import hold_signals


class DatabaseClient(MlflowClient):  # type: ignore[misc]
    """A client whose calls are not interrupted: halfway through, they would leave the database locked."""

    def __getattribute__(self, name: str) -> Any:
        """Return the method of a name, made whole."""
        found = super().__getattribute__(name)
        return hold_signals()(found) if callable(found) and not name.startswith("_") else found


def make_database(address: str) -> None:
    """Make MLflow's tables in a file of SQLite that is not there yet.

    It takes hundreds of steps, after each of which SQLite would wait for the disk. A file that is half made is of no
    use, so none does; the first thing that is kept in it afterwards waits for the whole file.
    """

    def hurry(connection: Any, record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    try:
        DatabaseClient(address).search_experiments()
    finally:
        event.remove(Engine, "connect", hurry)
