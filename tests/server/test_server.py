"""The team's server as docker/compose.yaml sets it up, on a real PostgreSQL and a store that speaks S3."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.commands import QUICK, ROOT, once
from tests.server.settings import DOCKER, SECRETS, compose

ADMIN = (SECRETS["MLFLOW_ADMIN_USERNAME"], SECRETS["MLFLOW_ADMIN_PASSWORD"])
MEMBER = ("member", "a member's own password")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
MISSING = [name for name in ("psycopg", "boto3", "moto", "flask_wtf") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not POSTGRES, reason="needs PostgreSQL (apt-get install postgresql)"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}; make test-server installs them"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(command: list[str], log: Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a session of its own, ended with all its children."""
    with log.open("wb") as file:
        running = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, **options)
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, 15)
        running.wait(timeout=60)


def wait(running: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    for _ in range(1200):
        try:
            if requests.get(address, timeout=2).status_code < 500:
                return
        except requests.RequestException:
            time.sleep(0.1)
        assert running.poll() is None, log.read_text()
    raise AssertionError(f"{address} does not answer:\n{log.read_text()}")


@contextmanager
def postgres(folder: Path, port: int, password: str) -> Iterator[None]:
    """A PostgreSQL that asks for the password, with the user and the database of the compose file."""
    settings = compose(SECRETS)["services"]["postgres"]["environment"]
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder.mkdir()
    (folder / "password").write_text(password)
    if user:
        entry = pwd.getpwnam("postgres")
        for path in (folder, folder / "password"):
            os.chown(path, entry.pw_uid, entry.pw_gid)
    (folder / "password").chmod(0o600)
    bin_folder, data = POSTGRES[-1], folder / "data"
    rule = settings["POSTGRES_INITDB_ARGS"].split()
    made = [bin_folder / "initdb", "-D", data, "-U", settings["POSTGRES_USER"], "--pwfile", folder / "password"]
    subprocess.run([*made, *rule, "--auth-local=scram-sha-256"], check=True, capture_output=True, cwd=folder, **user)
    options = ["-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", folder, "-c", "fsync=off"]
    with process([str(item) for item in (bin_folder / "postgres", *options)], folder.parent / "pg", cwd=folder, **user):
        client = {
            "PGPASSWORD": password,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": settings["POSTGRES_USER"],
        }
        for _ in range(200):
            ready = subprocess.run([bin_folder / "pg_isready", "-q"], env=os.environ | client, check=False)
            if ready.returncode == 0:
                break
            time.sleep(0.1)
        create = [bin_folder / "createdb", settings["POSTGRES_DB"]]
        subprocess.run(create, env=os.environ | client, check=True, capture_output=True)
        yield


@dataclass
class Server:
    address: str
    store: str
    folder: Path
    environment: dict[str, str]


def let_others_in(folder: Path) -> None:
    """Let the database's user through to a test's folder: those above it are for the tests' user alone."""
    for each in takewhile(lambda path: path != Path(tempfile.gettempdir()), (folder, *folder.parents)):
        each.chmod(0o755)


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
