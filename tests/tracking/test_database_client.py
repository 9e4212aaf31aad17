"""A workspace's database has what MLflow would make there itself."""

import sqlite3
from pathlib import Path

from mlflow import MlflowClient

from src.tracking.database_client import empty_database


def schema(database: Path) -> list[tuple[str, str, list[str]]]:
    """Return what there is and its lines in order, for MLflow writes the constraints of a table in any order."""
    with sqlite3.connect(database) as opened:
        made = opened.execute("select type, name, coalesce(sql, '') from sqlite_master order by type, name").fetchall()
    return [(kind, name, sorted(line.strip(" \t,") for line in sql.splitlines())) for kind, name, sql in made]


def test_an_empty_database_is_as_mlflow_makes_it(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.db", tmp_path / "ours.db"
    MlflowClient(f"sqlite:///{theirs}").search_experiments()
    ours.write_bytes(empty_database())
    assert schema(ours) == schema(theirs)
    (default,) = MlflowClient(f"sqlite:///{ours}").search_experiments()
    (usual,) = MlflowClient(f"sqlite:///{theirs}").search_experiments()
    assert (default.name, default.artifact_location) == (usual.name, usual.artifact_location)
    with sqlite3.connect(ours) as opened:
        assert opened.execute("pragma integrity_check").fetchone() == ("ok",)
