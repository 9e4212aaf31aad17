"""MLflow's client of a database."""

from typing import Any

from mlflow import MlflowClient

from src.system.interrupts import hold_signals


class DatabaseClient(MlflowClient):  # type: ignore[misc]
    """A client whose calls are not interrupted: halfway through, they would leave the database locked."""

    def __getattribute__(self, name: str) -> Any:
        """Return the method of a name, made whole."""
        found = super().__getattribute__(name)
        return hold_signals()(found) if callable(found) and not name.startswith("_") else found
