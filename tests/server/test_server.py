"""The team's server as docker/compose.yaml sets it up, on a real PostgreSQL and a store that speaks S3."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.commands import QUICK, ROOT, once
from tests.support.servers import free_port, process, wait
from tests.support.team_server import DOCKER, POSTGRES, SECRETS, compose, let_others_in, postgres

ADMIN = (SECRETS["MLFLOW_ADMIN_USERNAME"], SECRETS["MLFLOW_ADMIN_PASSWORD"])
MEMBER = ("member", "a member's own password")
MISSING = [name for name in ("psycopg", "boto3", "moto", "flask_wtf") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not POSTGRES, reason="needs PostgreSQL (apt-get install postgresql)"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}; make test-server installs them"),
]


@dataclass
class Server:
    address: str
    store: str
    folder: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The compose file's server, with this machine's ports in the place of its containers' names."""
    folder = tmp_path_factory.mktemp("team")
    let_others_in(folder)
    services = compose(SECRETS)["services"]
    database, store, web = free_port(), free_port(), free_port()
    settings = services["mlflow"]["environment"] | {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(database),
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{store}",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{web}",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_", "PG"))}
    environment |= settings
    working = folder / "working"
    working.mkdir()
    (folder / "home").mkdir()
    environment["HOME"] = str(folder / "home")
    shutil.copy(DOCKER / "basic_auth.ini", working)
    command = [*services["mlflow"]["command"][:-3], "--host=127.0.0.1", f"--port={web}", "--workers=1"]
    s3 = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(store)]
    with ExitStack() as stack:
        stack.enter_context(postgres(folder / "postgres", database, SECRETS["POSTGRES_PASSWORD"]))
        running = stack.enter_context(process(s3, folder / "s3.log"))
        wait(running, f"http://127.0.0.1:{store}/moto-api/", folder / "s3.log")
        for _ in range(2):  # a second time it is there
            subprocess.run([sys.executable, DOCKER / "bucket.py"], env=environment, check=True, capture_output=True)
        web_command = [str(Path(sys.executable).parent / "mlflow"), *command]
        log = folder / "mlflow.log"
        running = stack.enter_context(process(web_command, log, env=environment, cwd=working))
        address = f"http://127.0.0.1:{web}"
        wait(running, f"{address}/health", log)
        yield Server(address, f"http://127.0.0.1:{store}", folder, environment)


def command(module: str, *overrides: str, server: Server, account: tuple[str, str], workspace: Path) -> Any:
    """Run a command against the server as a member of the team does."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "MLFLOW_TRACKING_URI": server.address}
    environment |= dict(zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), account, strict=True))
    given = once(*overrides, "tracking=server", f"workspace={workspace}")
    whole = [sys.executable, "-m", f"src.{module}", *given]
    return subprocess.run(whole, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def member(server: Server) -> tuple[str, str]:
    """An account that the administrator makes, as docker/README.md says."""
    body = {"username": MEMBER[0], "password": MEMBER[1]}
    made = requests.post(f"{server.address}/api/2.0/mlflow/users/create", json=body, auth=ADMIN, timeout=30)
    assert made.status_code == 200, made.text
    return MEMBER


def test_nobody_comes_in_without_an_account(server: Server) -> None:
    search = f"{server.address}/api/2.0/mlflow/experiments/search?max_results=1"
    assert requests.get(search, timeout=30).status_code == 401
    assert requests.get(search, auth=(ADMIN[0], "wrong"), timeout=30).status_code == 401
    assert requests.get(search, auth=ADMIN, timeout=30).status_code == 200
    assert requests.get(f"{server.address}/", timeout=30).status_code == 401


def test_health_checks_tell_a_server_that_is_well(server: Server) -> None:
    for address, code in ((server.address, 0), (f"http://127.0.0.1:{free_port()}", 1), ("", 0), (server.store, 1)):
        asked = subprocess.run(
            [sys.executable, DOCKER / "healthy.py"], env=os.environ | {"MLFLOW_TRACKING_URI": address}, check=False
        )
        assert asked.returncode == code, address


def test_a_sweep_is_tracked_and_can_be_fused_from_elsewhere(
    server: Server, member: tuple[str, str], tmp_path: Path
) -> None:
    swept = [*QUICK, "crop.size=32,48", "name=team"]
    process = command("run", "-m", *swept, server=server, account=member, workspace=tmp_path / "one")
    assert process.returncode == 0, process.stdout + process.stderr
    again = command("fuse", "sweep=team", "replicates=50", server=server, account=ADMIN, workspace=tmp_path / "two")
    assert again.returncode == 0, again.stderr
    table = [line for line in process.stdout.splitlines() if line.startswith("│")]
    assert len(table) > 4
    assert set(table) <= set(again.stdout.splitlines())
    # Runs are in PostgreSQL, artefacts in the store, and the client knows of neither.
    assert kept(server) >= {"predictions.parquet", "config.yaml", "table.md"}
    # Its container's file system is read-only, but for /tmp.
    assert [path.name for path in (server.folder / "working").iterdir()] == ["basic_auth.ini"]
    assert not list((server.folder / "home").iterdir())
    assert not (tmp_path / "one" / "mlflow.db").exists()


def kept(server: Server) -> set[str]:
    """The names of the objects in the store."""
    import boto3

    settings = server.environment
    keys = {"aws_access_key_id": settings["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": "any"}
    store = boto3.client("s3", endpoint_url=server.store, region_name=settings["AWS_DEFAULT_REGION"], **keys)
    return {item["Key"].rsplit("/", 1)[-1] for item in store.list_objects_v2(Bucket="mlflow")["Contents"]}


@pytest.mark.parametrize("account", [(ADMIN[0], "not the password"), ("", "")])
def test_wrong_credentials_are_told_before_any_work(server: Server, account: tuple[str, str], tmp_path: Path) -> None:
    process = command("run", *QUICK, server=server, account=account, workspace=tmp_path)
    assert process.returncode == 1
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("error: ")
    for part in (server.address, "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        assert part in line
    assert not (tmp_path / "store").exists()


def test_an_address_that_is_not_set_is_asked_for(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    whole = [sys.executable, "-m", "src.run", *QUICK, "tracking=server", f"workspace={tmp_path}"]
    process = subprocess.run(whole, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "MLFLOW_TRACKING_URI" in process.stderr
    assert "Traceback" not in process.stderr
