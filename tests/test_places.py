"""S3-compatible storage: few requests, clear words where it cannot be used, short outages sat out."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from src import places
from src.store import Store
from tests.buckets import BUCKET, Gate, Storage, storage
from tests.tracking.servers import free_port, misbehaving

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


def test_all_of_a_listing_is_read(here: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = store(tmp_path)
    for number in range(7):
        many.note(RECIPE, f"sample{number}", f"reason {number}")
    pages = many.place.pages
    monkeypatch.setattr(many.place, "pages", lambda name, **options: pages(name, MaxKeys=3, **options))
    assert many.held(RECIPE).notes == {f"sample{number}": f"reason {number}" for number in range(7)}


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


def test_a_long_outage_is_told_and_loses_nothing(
    here: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(here.address).open()
    monkeypatch.setenv("AWS_ENDPOINT_URL", gate.address)
    monkeypatch.setattr(places.Bucket.ask, "__kwdefaults__", {"within": 1.0})
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
    assert time.monotonic() - start < 20
    return str(raised.value)


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
    monkeypatch.setenv("AWS_ENDPOINT_URL", "secret")
    assert told(tmp_path).endswith("AWS_ENDPOINT_URL is no address")


def test_a_missing_bucket_is_told(tmp_path: Path, here: Storage) -> None:
    with pytest.raises(ValueError, match="has no bucket elsewhere .*; make it, or correct the address"):
        Store("s3://elsewhere/prefix", tmp_path).check()


def test_wrong_keys_are_told(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, here: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = {"INITIAL_NO_AUTH_ACTION_COUNT": "1"}  # what makes the bucket; from then on keys count
    with storage(tmp_path_factory.mktemp("strict"), environment=strict) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        message = told(tmp_path)
    assert "refuses these credentials (InvalidAccessKeyId); set AWS_ACCESS_KEY_ID" in message
    assert not any(key in message for key in ("member", "of the team"))


def test_no_keys_are_told(tmp_path: Path, here: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "refuses these credentials: there are none" in told(tmp_path)


def test_storage_needs_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(ValueError, match="needs s3fs, which is not here: pip install s3fs"):
        Store("s3://bucket/prefix", tmp_path).check()


@pytest.mark.parametrize(
    "address", ["s3://key:se/cret@bucket/x", "s3://bucket/../x", "s3://", "gs://bucket", "s3://bucket/x?y", "s3:///x"]
)
def test_other_addresses_are_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET/PREFIX") as raised:
        Store(address, tmp_path)
    assert "cret" not in str(raised.value)
