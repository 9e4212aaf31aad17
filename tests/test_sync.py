"""A tracking server that goes away or misbehaves, as a user meets it: nothing is lost, and `src.sync` sends it."""

import time
from pathlib import Path

import pytest

from src.tracking import SWEEP, Tracking
from tests.support.commands import QUICK, Command, run
from tests.support.servers import Server, misbehaving

LONG = ["data.width=400", "data.height=300", "crop.size=140", "crop.count=60"]
"""Some seconds of work."""


def wait_for_descriptors(process: Command, workspace: Path) -> None:
    while not list(workspace.glob("store/*/*.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.slow
def test_a_run_outlives_its_server(server: Server, tmp_path: Path) -> None:
    there = f"tracking.uri={server.address}"
    process = Command("run", *QUICK, *LONG, there, "name=survivor", workspace=tmp_path)
    wait_for_descriptors(process, tmp_path)
    server.kill()
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "the run goes on, and what it logs is kept in" in errors
    assert "survivor: accuracy, %" in output

    early = run("sync", there, workspace=tmp_path)
    assert early.returncode == 1
    assert "does not answer" in early.stderr
    assert "Traceback" not in early.stderr

    server.start()
    late = run("sync", there, workspace=tmp_path)
    assert late.returncode == 0, late.stderr
    assert "survivor" in late.stderr
    assert "nothing is left" in late.stderr
    tracking = Tracking(uri=server.address)
    found = tracking.find("survivor")
    assert found.status == "FINISHED"
    assert len(tracking.predictions(found)) == 8
    assert {"accuracy", "fold_accuracy"} <= found.metrics.keys()
    assert {"encoded_crops", "data", "splits", "digest"} <= found.tags.keys()
    assert not list((tmp_path / "spool").glob("*/lines.jsonl"))


@pytest.mark.slow
def test_a_sweep_outlives_its_server_and_is_fused_later(server: Server, tmp_path: Path) -> None:
    arguments = [*QUICK, *LONG, f"tracking.uri={server.address}", "pool.p=1,3", "name=swept"]
    process = Command("run", *arguments, workspace=tmp_path, sweep=True)
    wait_for_descriptors(process, tmp_path)
    server.kill()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "the tracking server fails, so that the cells cannot be fused now" in errors
    assert "Traceback" not in errors

    server.start()
    again = run("run", *arguments, "resume=true", workspace=tmp_path, sweep=True)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("sent from the spool") == 3  # two cells, and how the sweep ended
    assert again.stderr.count("finished already") == 2
    assert "Model fusion" in again.stdout
    tracking = Tracking(uri=server.address)
    parent = tracking.find("swept", SWEEP)
    assert parent.status == "FINISHED"
    assert [each.status for each in tracking.children(parent.id)] == ["FINISHED"] * 2


def test_what_is_kept_can_be_looked_at(tmp_path: Path) -> None:
    Tracking(spool=f"{tmp_path}/spool", offline=True).create("waiting", SWEEP)
    shown = run("sync", "tracking.offline=true", workspace=tmp_path)
    assert shown.returncode == 0
    assert "waiting (spooled-" in shown.stderr
    assert "0 files are kept" in shown.stderr


@pytest.mark.slow
def test_a_whole_sweep_without_a_server(server: Server, tmp_path: Path) -> None:
    arguments = [*QUICK, "pool.p=1,3", "name=alone"]
    process = run("run", *arguments, "tracking.offline=true", workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    assert "Model fusion" in process.stdout
    assert not (tmp_path / "mlflow.db").exists()
    sent = run("sync", f"tracking.uri={server.address}", workspace=tmp_path)
    assert sent.returncode == 0, sent.stderr
    tracking = Tracking(uri=server.address)
    parent = tracking.find("alone", SWEEP)
    assert tracking.artifact(parent, "table.csv").startswith(b"model,")
    assert [each.status for each in tracking.children(parent.id)] == ["FINISHED"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(("status", "said"), [(500, "answers with an error (500"), (None, "does not answer")])
def test_a_server_that_misbehaves_is_told_before_any_work(status: int | None, said: str, tmp_path: Path) -> None:
    with misbehaving(status) as address:
        process = run("run", *QUICK, f"tracking.uri={address}", workspace=tmp_path)
    assert process.returncode == 1
    assert said in process.stderr
    assert address in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.extra("flask_wtf")  # MLflow's accounts
def test_a_server_with_passwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server").mkdir()
    accounts = tmp_path / "server" / "accounts.ini"
    accounts.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{tmp_path}/server/accounts.db\n"
        "admin_username = chief\nadmin_password = a-long-password\nauthorization_function = "
        "mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {"MLFLOW_AUTH_CONFIG_PATH": str(accounts), "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret"}
    server = Server(tmp_path / "server", ("--app-name", "basic-auth"), environment).start()
    try:
        there = f"tracking.uri={server.address}"
        for name, password in (("", ""), ("chief", "wrong")):
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
            process = run("run", *QUICK, there, workspace=tmp_path / "w")
            assert process.returncode == 1
            assert "refuses these credentials" in process.stderr
            assert "Traceback" not in process.stderr
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-long-password")
        process = run("run", *QUICK, there, "name=welcome", workspace=tmp_path / "w")
        assert process.returncode == 0, process.stderr
        assert Tracking(uri=server.address).find("welcome").status == "FINISHED"
    finally:
        server.kill()


@pytest.mark.slow
def test_no_password_is_kept(tmp_path: Path) -> None:
    there = "tracking.uri=http://me:secret@127.0.0.1:9"
    process = run("run", *QUICK, there, "tracking.offline=true", f"tracking.spool={tmp_path}/spool", workspace=tmp_path)
    assert process.returncode == 0, process.stderr
    assert list(tmp_path.glob("spool/*/artifacts/config.yaml"))
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert b"secret" not in file.read_bytes(), file
