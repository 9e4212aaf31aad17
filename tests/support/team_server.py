"""The team's server: its compose file as compose reads it, with variables filled in, and its database."""

import os
import pwd
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from tests.support.servers import process

DOCKER = Path(__file__).resolve().parents[2] / "docker"
SECRETS = {
    "MLFLOW_ADMIN_USERNAME": "chief",
    "MLFLOW_ADMIN_PASSWORD": "correct horse battery: @/%#",
    "MLFLOW_SECRET_KEY": "signs forms",
    "POSTGRES_PASSWORD": "pass@word/with:all?of#it %20",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": "secret of the store",
}
"""What a team writes into docker/.env; passwords with all that an address could not hold."""
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<rule>[-?])(?P<text>[^}]*))?\}")


def compose(environment: Mapping[str, str], file: str = "compose.yaml") -> dict[str, Any]:
    """Return the compose file; `ValueError` names a variable that has to be set and is not."""

    def value(match: re.Match[str]) -> str:
        found = environment.get(match["name"], "")
        if not found and match["rule"] == "?":
            raise ValueError(f"required variable {match['name']} is missing a value: {match['text']}")
        return found or (match["text"] or "" if match["rule"] == "-" else "")

    def filled(node: Any) -> Any:
        if isinstance(node, str):
            return VARIABLE.sub(value, node)
        if isinstance(node, list):
            return [filled(item) for item in node]
        return {key: filled(item) for key, item in node.items()} if isinstance(node, dict) else node

    whole: dict[str, Any] = filled(yaml.safe_load((DOCKER / file).read_text()))
    return whole


POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


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


def let_others_in(folder: Path) -> None:
    """Let the database's user through to a test's folder: those above it are for the tests' user alone."""
    for each in takewhile(lambda path: path != Path(tempfile.gettempdir()), (folder, *folder.parents)):
        each.chmod(0o755)
