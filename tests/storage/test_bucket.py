"""S3-compatible storage: few requests, clear words where it cannot be used, short outages sat out."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from src.storage import bucket
from src.storage.store import Store
from src.tracking import Tracking
from tests.support.buckets import BUCKET, STORAGE, Gate, Storage, storage
from tests.support.commands import QUICK, ROOT, Command, run
from tests.support.servers import free_port, misbehaving

RECIPE = {"seed": 0}
ONE = np.ones((1, 2, 3), np.float32)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    with storage(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def here(served: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    for key, value in served.environment.items():
        monkeypatch.setenv(key, value)
    return served


def store(path: Path, copies: str = "copies") -> Store:
    return Store(f"s3://{BUCKET}/{path.name}", path / copies)


@STORAGE
def test_a_sample_is_a_request(here: Storage, tmp_path: Path) -> None:
    """One to write it, one to read it on another machine, none to read it again, and a listing for all of them."""
    names = [f"sample{number}" for number in range(40)]
    one, other = store(tmp_path), store(tmp_path, "others")
    one.check()
    before = here.asked()
    for name in names:
        one.write(RECIPE, name, ONE)
    one.finish()
    written = here.asked()
    assert written - before == {"PUT": 40 + 1, "GET": 1}  # and recipe.json, looked for and written
    assert other.held(RECIPE).samples == set(names)
    assert here.asked() - written == {"GET": 1}
    for _ in range(2):
        assert len(list(other.each(RECIPE, names))) == 40
        assert len(list(one.each(RECIPE, names))) == 40
        assert here.asked() - written == {"GET": 1 + 40}


@STORAGE
def test_all_of_a_listing_is_read(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, here: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage(tmp_path_factory.mktemp("paged"), environment={"MOTO_S3_DEFAULT_MAX_KEYS": "3"}) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        many = store(tmp_path)
        for number in range(7):
            many.note(RECIPE, f"sample{number}", f"reason {number}")
        many.finish()
        before = server.asked()
        assert set(many.place.names(many.open(RECIPE).name)) == {f"sample{number}.txt" for number in range(7)} | {
            "recipe.json"
        }
        assert server.asked() - before == {"GET": 3}


@STORAGE
def test_a_short_outage_is_sat_out(here: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(here.address).open()
    monkeypatch.setenv("AWS_ENDPOINT_URL", gate.address)
    one = store(tmp_path)
    one.write(RECIPE, "a", ONE)
    one.finish()
    gate.shut()
    one.write(RECIPE, "b", ONE)
    time.sleep(1)
    gate.open()
    assert one.held(RECIPE).samples == {"a", "b"}
    gate.shut()


@STORAGE
def test_a_long_outage_is_told_and_loses_nothing(
    here: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(here.address).open()
    monkeypatch.setenv("AWS_ENDPOINT_URL", gate.address)
    monkeypatch.setattr(bucket, "PATIENCE", timedelta(seconds=1))
    one = store(tmp_path)
    one.write(RECIPE, "a", ONE)
    one.finish()
    gate.shut()
    one.write(RECIPE, "b", ONE)
    with pytest.raises(ValueError, match=rf"^the store s3://{BUCKET}/.* at {gate.address} does not answer .*kept$"):
        one.finish()
    gate.open()
    assert one.held(RECIPE).samples == {"a"}
    one.write(RECIPE, "b", ONE)
    assert one.held(RECIPE).samples == {"a", "b"}
    gate.shut()


def told(path: Path) -> str:
    start = time.monotonic()
    with pytest.raises(ValueError, match="store") as raised:
        store(path).check()
    assert time.monotonic() - start < 30
    return str(raised.value)


@STORAGE
def test_what_does_not_answer_is_told(tmp_path: Path, here: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:secret@{address}")
    message = told(tmp_path)
    assert f"at http://{address} does not answer" in message
    assert "AWS_ENDPOINT_URL" in message
    assert "secret" not in message
    with misbehaving(500) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        assert "answers with an error (500)" in told(tmp_path)
    with misbehaving(301) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        assert "in another region; set AWS_DEFAULT_REGION" in told(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "secret")
    assert told(tmp_path).endswith("AWS_ENDPOINT_URL is no address")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://[::1")
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL is no address: Invalid IPv6 URL"):
        store(tmp_path)


@STORAGE
@pytest.mark.slow
def test_what_is_silent_is_told(tmp_path: Path, here: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets us in, and says nothing: whether it is asked, or given an object."""
    monkeypatch.setattr(bucket, "PATIENCE", timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "does not answer" in told(tmp_path)
        one = store(tmp_path)
        one.place.write("folder/file", b"content")
        start = time.monotonic()
        with pytest.raises(ValueError, match="does not answer"):
            one.finish()
        assert time.monotonic() - start < 30


WAITING = """
import os, signal, sys, threading, time
from pathlib import Path
from src.storage.store import Store
signal.signal(signal.SIGINT, signal.default_int_handler)
store = Store("s3://bucket/prefix", Path(sys.argv[1]))
threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.monotonic()
try:
    store.held({"seed": 0})
except KeyboardInterrupt:
    print(time.monotonic() - start, flush=True)
os._exit(0)
"""


@STORAGE
def test_who_waits_for_storage_can_go(tmp_path: Path, here: Storage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        command = [sys.executable, "-c", WAITING, str(tmp_path)]
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=True, cwd=ROOT, env=os.environ | there
        )
    assert 2 < float(process.stdout) < 6


@STORAGE
def test_a_missing_bucket_is_told(tmp_path: Path, here: Storage) -> None:
    with pytest.raises(ValueError, match="has no bucket elsewhere .*; make it, or correct the address"):
        Store("s3://elsewhere/prefix", tmp_path).check()


@STORAGE
def test_wrong_keys_are_told(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, here: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = {"INITIAL_NO_AUTH_ACTION_COUNT": "1"}  # what makes the bucket; from then on keys count
    with storage(tmp_path_factory.mktemp("strict"), environment=strict) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        message = told(tmp_path)
    assert "refuses these credentials (InvalidAccessKeyId); set AWS_ACCESS_KEY_ID" in message
    assert not any(key in message for key in ("member", "of the team"))


@STORAGE
def test_no_keys_are_told(tmp_path: Path, here: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "refuses these credentials: there are none" in told(tmp_path)


def test_storage_needs_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ValueError, match="needs obstore: `make s3` installs it"):
        Store("s3://bucket/prefix", tmp_path).check()


OTHERS = [
    "s3://key:se/cret@bucket/x",
    "s3://bucket/../x",
    "s3://",
    "gs://bucket",
    "s3://bucket/x?y",
    "s3://bucket/*",
    "s3://bucket/x//y",
]


@pytest.mark.parametrize("address", OTHERS)
def test_other_addresses_are_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET/PREFIX") as raised:
        Store(address, tmp_path)
    assert "cret" not in str(raised.value)


@dataclass
class Tracked:
    """What a workspace's newest run says of itself."""

    status: str
    tags: dict[str, str]
    predictions: bytes


SLOWER = [*QUICK, "data.cases=16", "data.width=400", "data.height=300", "crop.size=140", "crop.count=60"]
"""A cell with enough crops for an end to fall into the middle of them."""


def finished(workspace: Path, *overrides: str) -> Tracked:
    process = run("run", *overrides, workspace=workspace)
    assert process.returncode == 0, process.stderr
    assert "Warning" not in process.stderr
    return newest(workspace)


def newest(workspace: Path) -> Tracked:
    keep = Tracking(uri=f"sqlite:///{workspace}/mlflow.db")
    run = keep.search()[-1]
    predicted = keep.artifact(run, "predictions.parquet") if run.finished else b""
    return Tracked(run.status, run.tags, predicted)


@STORAGE
@pytest.mark.slow
class TestCommands:
    def test_a_cell_is_the_same_as_with_a_folder(self, here: Storage, tmp_path: Path) -> None:
        address = f"store=s3://{BUCKET}/{tmp_path.name}"
        one, other, local = (tmp_path / name for name in ("one", "other", "local"))
        made, again, plain = finished(one, *QUICK, address), finished(other, *QUICK, address), finished(local, *QUICK)
        assert made.predictions == again.predictions == plain.predictions
        assert [each.tags["encoded_crops"] for each in (made, again, plain)] == ["16", "0", "16"]
        assert made.tags["recipe"] == plain.tags["recipe"]
        assert not (one / "store").exists()
        folder, far = Store(local / "store"), Store(f"s3://{BUCKET}/{tmp_path.name}", one / "copies")
        assert folder.recipes() == far.recipes()
        for name in far.recipes():
            assert folder.place.sizes(name) == far.place.sizes(name)
        listed = run_store("list", far)
        assert "8 samples" in listed.stdout
        assert run_store("verify", far).returncode == 0

    def test_trained_networks_are_shared_and_checkpoints_are_not(self, here: Storage, tmp_path: Path) -> None:
        trained = ["method=finetune", "finetune.epochs=1", "finetune.batch=4", f"store=s3://{BUCKET}/{tmp_path.name}"]
        made, again = (finished(tmp_path / name, *QUICK, *trained) for name in ("one", "other"))
        assert [each.tags["trained_epochs"] for each in (made, again)] == ["2", "0"]
        assert made.predictions == again.predictions
        far = Store(f"s3://{BUCKET}/{tmp_path.name}", tmp_path / "third")
        fits = [name for name, recipe in far.recipes().items() if recipe.get("kind") == "fit"]
        assert len(fits) == 2
        for name in fits:
            assert set(far.place.names(name)) == {"recipe.json", "training.json", "model.safetensors"}

    def test_storage_that_goes_away_fails_the_run_and_loses_nothing(
        self, here: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = Gate(here.address).open()
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.address)
        arguments = [*SLOWER, f"store=s3://{BUCKET}/{tmp_path.name}"]
        process = Command("run", *arguments, workspace=tmp_path / "far")
        first = 16 + 16 + 1  # hashes, keypoints, what overlaps
        while len(list((tmp_path / "far").glob("copies/*/*/*/*/*.safetensors"))) < first + 4:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        gate.shut()
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 1
        assert f"error: the store s3://{BUCKET}/{tmp_path.name} at {gate.address} does not answer" in errors
        assert "Traceback" not in errors
        assert newest(tmp_path / "far").status == "FAILED"
        gate.open()
        again, plain = finished(tmp_path / "far", *arguments), finished(tmp_path / "near", *SLOWER)
        assert 0 < int(again.tags["encoded_crops"]) <= 12 * 60
        assert again.predictions == plain.predictions
        assert run_store("verify", Store(f"s3://{BUCKET}/{tmp_path.name}", tmp_path)).returncode == 0
        gate.shut()

    def test_two_cells_write_to_one_store_together(self, here: Storage, tmp_path: Path) -> None:
        address = f"store=s3://{BUCKET}/{tmp_path.name}"
        processes = [Command("run", *SLOWER, address, workspace=tmp_path / name) for name in ("one", "other")]
        errors = [process.communicate(timeout=280)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
        assert newest(tmp_path / "one").predictions == newest(tmp_path / "other").predictions
        far = Store(f"s3://{BUCKET}/{tmp_path.name}", tmp_path / "third")
        held = [len(far.held(recipe).samples) for recipe in far.recipes().values()]
        assert sorted(held) == [1, 16, 16, 16]  # what overlaps; hashes, keypoints, descriptors
        assert run_store("verify", far).returncode == 0

    def test_storage_that_cannot_be_used_is_told_before_any_work(self, here: Storage, tmp_path: Path) -> None:
        process = run("run", *QUICK, "store=s3://elsewhere/x", workspace=tmp_path)
        assert "error: the store s3://elsewhere/x" in process.stderr
        assert "has no bucket elsewhere" in process.stderr
        assert newest(tmp_path).status == "FAILED"
        assert not (tmp_path / "copies").exists()
        told = run_store("list", Store("s3://elsewhere/x", tmp_path))
        assert (told.returncode, "has no bucket elsewhere" in told.stderr) == (1, True)

    @pytest.mark.parametrize("sweep", [False, True])
    def test_keys_in_an_address_are_not_kept(self, tmp_path: Path, sweep: bool) -> None:
        process = run("run", *QUICK, "store=s3://key:hid/den@bucket/x", workspace=tmp_path, sweep=sweep)
        assert process.returncode == 1
        assert "error: a store is a folder, or on S3-compatible storage s3://BUCKET/PREFIX" in process.stderr
        assert "hid/den" not in process.stderr + process.stdout
        assert not any(b"hid/den" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def run_store(action: str, far: Store) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "src.store", action, "--root", str(far.root)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
