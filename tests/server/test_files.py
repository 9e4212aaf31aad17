"""The files of the team's server, checked without a container engine: who runs, who listens, what is secret."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values

from tests.support.team_server import DOCKER, SECRETS, VARIABLE, compose

DOCKERFILE = (DOCKER / "Dockerfile").read_text()
EXAMPLE = dotenv_values(DOCKER / ".env.example")
SERVICES = compose(SECRETS)["services"]
LASTING = {name: service for name, service in SERVICES.items() if name != "bucket"}


def images() -> list[str]:
    """Every image that is fetched: those of services that are not built, and those that ours build on."""
    fetched = [service["image"] for service in SERVICES.values() if "build" not in service]
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    return [*fetched, *(name.replace("${PYTHON}", python) for name in re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.M))]


def stages() -> dict[str, str]:
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.extra("compose_spec")
@pytest.mark.parametrize("file", ["compose.yaml", "compose.cuda.yaml"])
def test_compose_files_keep_to_the_specification(file: str) -> None:
    specification = importlib.import_module("compose_spec")
    specification.PyCompose.from_yaml(yaml.safe_dump(compose(SECRETS, file))).validate()


@pytest.mark.extra("compose_spec")  # what brings it brings the linter
def test_the_linter_has_nothing_to_say() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter
    found = subprocess.run([linter, "--no-color", DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert found.stdout + found.stderr == ""


def test_images_are_pinned() -> None:
    assert len(images()) == 3
    for image in images():
        assert re.fullmatch(r"[\w./-]+:\d[\w.-]*", image), image


def test_nothing_runs_as_root() -> None:
    for target in ("worker", "server"):
        assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", stages()[target], re.MULTILINE), target
    for name in ("worker", "mlflow", "bucket"):
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["read_only"] is True
    assert all(service["security_opt"] == ["no-new-privileges:true"] for service in SERVICES.values())


def test_images_and_lasting_services_are_asked_how_they_are() -> None:
    assert all("HEALTHCHECK" in stages()[target] for target in ("worker", "server"))
    assert all(service["healthcheck"]["test"][0] == "CMD" for service in LASTING.values())


def test_a_service_waits_for_those_that_it_needs() -> None:
    needs = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert {other: wait["condition"] for other, wait in needs["mlflow"].items()} == {
        "postgres": "service_healthy",
        "store": "service_healthy",
        "bucket": "service_completed_successfully",
    }
    assert needs["worker"]["mlflow"] == needs["bucket"]["store"] == {"condition": "service_healthy"}


def test_only_the_server_listens_and_on_this_machine_alone() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "mlflow": ["127.0.0.1:5000:5000"]
    }
    assert EXAMPLE["BIND_ADDRESS"] == "127.0.0.1"
    assert not any(service.get("network_mode") or service.get("privileged") for service in SERVICES.values())


def test_the_worker_reaches_neither_database_nor_store() -> None:
    inner = {name for name, network in compose(SECRETS)["networks"].items() if network.get("internal")}
    assert {name for name, service in SERVICES.items() if set(service["networks"]) <= inner} == {
        "postgres",
        "store",
        "bucket",
    }
    assert not set(SERVICES["worker"]["networks"]) & inner
    assert not set(SECRETS.values()) & set(SERVICES["worker"]["environment"].values())


@pytest.mark.parametrize("secret", SECRETS)
def test_without_a_secret_compose_refuses_to_start(secret: str) -> None:
    assert set(EXAMPLE) >= set(SECRETS)
    with pytest.raises(ValueError, match=rf"required variable {secret} is missing a value: set it in docker/.env"):
        compose(SECRETS | {secret: ""})


def test_the_example_holds_no_secret_and_every_variable() -> None:
    assert [name for name in SECRETS if EXAMPLE[name]] == ["MLFLOW_ADMIN_USERNAME"]
    assert EXAMPLE["WORKER_PASSWORD"] == ""
    used = {match["name"] for match in VARIABLE.finditer((DOCKER / "compose.yaml").read_text())}
    assert used == set(EXAMPLE)
    with pytest.raises(ValueError, match="is missing a value"):
        compose({name: text or "" for name, text in EXAMPLE.items()})


def test_secrets_stand_in_no_image_and_on_no_command_line() -> None:
    assert not re.search(r"(?i)(ARG|ENV).*(password|secret|key)", DOCKERFILE)
    commands = str(
        [[service.get(key) for key in ("command", "entrypoint", "healthcheck")] for service in LASTING.values()]
    )
    assert not [secret for secret in SECRETS.values() if secret in commands]
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not [line for line in ignored if line.startswith("!") and ".env" in line]


def test_what_is_kept_is_on_named_volumes() -> None:
    volumes = set(compose(SECRETS)["volumes"])
    mounted = {name: [v.split(":") for v in s.get("volumes", [])] for name, s in SERVICES.items()}
    assert {source for places in mounted.values() for source, *_ in places} - volumes == {"./data"}
    assert mounted["postgres"] == [["postgres", "/var/lib/postgresql/data"]]
    assert mounted["store"] == [["store", "/data"]]
    assert ["./data", "/data", "ro"] in mounted["worker"]


def test_the_worker_starts_only_when_it_is_asked_to() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["worker"]
    assert 'ENTRYPOINT ["python", "-m", "src.run"]' in stages()["worker"]


def test_what_the_images_copy_is_there_and_not_ignored() -> None:
    root, kept = DOCKER.parent, (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--from)", line)]
    for name in {name for names in copied for name in names}:
        assert (root / name).exists(), name
        assert f"!{name}" in kept, name
