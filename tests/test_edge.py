"""Requests to end, which come at any moment."""

import subprocess
import sys

import pytest

from tests.commands import ROOT

HEARD = """
import os, signal, sqlite3, time
from src.edge import edge, heed
heed()
class Deleted:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0)
with edge():
    {work}
    time.sleep(20)
"""
ASKED = "os.kill(os.getpid(), signal.{name})"
DELETED = "held = Deleted(); del held"
QUERIED = """
    from sqlalchemy import create_engine, text

    class Cursor(sqlite3.Cursor):
        asked = False

        def execute(self, statement, *values):
            self.asked = statement == "select 7"
            return super().execute(statement, *values)

        def fetchall(self):
            if self.asked:
                os.kill(os.getpid(), signal.{name})
                time.sleep(0)
            return super().fetchall()

    class Connection(sqlite3.Connection):
        def cursor(self):
            return super().cursor(Cursor)

    connection = create_engine("sqlite:///:memory:", connect_args={"factory": Connection}).connect()
    with connection.execute(text("select 7")) as result:
        result.fetchall()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("work", [ASKED, DELETED, QUERIED], ids=["asked", "deleting", "querying"])
def test_a_request_to_end_is_heard(name: str, work: str) -> None:
    program = HEARD.replace("{work}", work).replace("{name}", name)
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=15, check=False
    )
    assert process.returncode == 130, process.stderr
    assert process.stderr == "interrupted\n"
