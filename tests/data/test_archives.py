import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from src.data import archives
from src.data.archives import fetch_file, list_files, obtain_archives, unpack_archive
from src.data.reader import ArchiveRecord, Reader
from tests.support.commands import ROOT

CONTENT = bytes(range(256)) * 8192  # 2 MiB
MD5 = hashlib.md5(CONTENT).hexdigest()
CLOSED = "http://127.0.0.1:9/file.zip"


@dataclass
class Site:
    """What the server serves and how it behaves; `asked` lists the Range headers it got."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {"/file.zip": CONTENT})
    stop_after: int = 0  # bytes of one answer, after which the connection is closed
    go_on: threading.Event | None = None  # until then the connection stays open instead
    ranges: bool = True
    length: bool = True  # whether it says how many bytes come
    encoding: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = state.files.get(self.path)
            state.asked.append(self.headers.get("Range", ""))
            if content is None:
                self.send_error(404)
                return
            wanted = self.headers.get("Range") if state.ranges else None
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if wanted and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if state.length:
                self.send_header("Content-Length", str(len(content) - start))
            if state.encoding:
                self.send_header("Content-Encoding", state.encoding)
            self.end_headers()
            self.wfile.write(content[start : start + state.stop_after] if state.stop_after else content[start:])
            self.wfile.flush()
            if state.go_on:
                state.go_on.wait(30)

        def log_message(self, format: str, *arguments: object) -> None:
            """Be silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


def get(site: Site, path: Path, md5: str = MD5, size: int = len(CONTENT)) -> Path:
    return fetch_file(f"{site.address}/file.zip", path, size, md5, silent)


def test_fetches_and_renames(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = tmp_path / "file.zip"
    fetch_file(f"{site.address}/file.zip", path, len(CONTENT), MD5, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert [item.name for item in tmp_path.iterdir()] == ["file.zip"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_what_is_there_is_checked_and_not_fetched_again(site: Site, tmp_path: Path) -> None:
    get(site, tmp_path / "file.zip")
    get(site, tmp_path / "file.zip")
    assert site.asked == [""]
    (tmp_path / "file.zip").write_bytes(b"by hand, and wrong")
    with pytest.raises(ValueError, match=f"must have MD5 {MD5}, but has .*: delete it"):
        get(site, tmp_path / "file.zip")


def test_goes_on_where_it_broke_off(site: Site, tmp_path: Path) -> None:
    site.stop_after = 700_000
    with pytest.raises(ValueError, match=r"broke off\. \d+ of 2097152 bytes are there, run this again.*By hand: put"):
        get(site, tmp_path / "file.zip")
    kept = (tmp_path / "file.zip.part").stat().st_size
    assert 600_000 < kept <= 700_000
    assert not (tmp_path / "file.zip").exists()
    site.stop_after = 0
    assert get(site, tmp_path / "file.zip").read_bytes() == CONTENT
    assert site.asked == ["", f"bytes={kept}-"]


def test_goes_on_where_it_was_killed(site: Site, tmp_path: Path) -> None:
    site.stop_after, site.go_on = 700_000, threading.Event()
    code = (
        "import sys; from pathlib import Path; from src.data.archives import fetch_file;"
        "fetch_file(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], lambda done, total: None)"
    )
    path = tmp_path / "file.zip"
    command = [sys.executable, "-c", code, f"{site.address}/file.zip", str(path), str(len(CONTENT)), MD5]
    process = subprocess.Popen(command, cwd=ROOT)
    part, deadline = tmp_path / "file.zip.part", time.monotonic() + 30
    while not part.exists() or part.stat().st_size < 500_000:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    site.go_on.set()
    site.stop_after = 0
    assert get(site, path).read_bytes() == CONTENT
    assert int(site.asked[-1].removeprefix("bytes=").rstrip("-")) >= 500_000


def test_a_server_without_ranges_starts_anew(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1000)
    site.ranges = False
    assert get(site, tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_range_that_the_server_does_not_have_starts_anew(site: Site, tmp_path: Path) -> None:
    site.files["/file.zip"] = CONTENT[:1000]
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1500)
    with pytest.raises(ValueError, match="1000 of 2097152 bytes"):
        get(site, tmp_path / "file.zip")
    assert site.asked == ["bytes=1500-", ""]


def test_a_part_that_is_too_long_is_thrown_away(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"x" * (len(CONTENT) + 1))
    assert get(site, tmp_path / "file.zip").read_bytes() == CONTENT
    assert site.asked == [""]


def test_a_whole_part_is_checked_without_asking(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    assert get(site, tmp_path / "file.zip").read_bytes() == CONTENT
    assert site.asked == []


@pytest.mark.parametrize("part", [b"", b"x" * 1000])
def test_a_wrong_md5_deletes_what_came(site: Site, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "file.zip.part").write_bytes(part)
    with pytest.raises(ValueError, match=r"MD5 .*came: they were deleted"):
        get(site, tmp_path / "file.zip", md5="0" * 32 if not part else MD5)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_too_long_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must have 1000 bytes"):
        fetch_file(f"{site.address}/file.zip", tmp_path / "file.zip", 1000, MD5, lambda done, total: None)
    assert list(tmp_path.iterdir()) == []


def test_without_an_md5_the_size_is_checked(site: Site, tmp_path: Path) -> None:
    site.stop_after = 700_000
    path = tmp_path / "file.zip"
    with pytest.raises(ValueError, match=r"broke off.*go on from them.*it is then unpacked and counted"):
        get(site, path, md5="")
    site.stop_after = 0
    assert get(site, path, md5="").read_bytes() == CONTENT
    assert site.asked[-1].startswith("bytes=")
    with pytest.raises(ValueError, match=r"must have 2097151 bytes, but has 2097152: delete it"):
        get(site, path, md5="", size=len(CONTENT) - 1)
    path.unlink()
    with pytest.raises(ValueError, match=r"must have 1000 bytes, but \d+ bytes came: they were deleted"):
        fetch_file(f"{site.address}/file.zip", path, 1000, "", lambda done, total: None)


def test_a_compressed_file_stays_compressed(site: Site, tmp_path: Path) -> None:
    content = gzip.compress(CONTENT)
    site.files["/file.zip"], site.encoding = content, "x-gzip"  # as web servers say of a .tar.gz
    assert get(site, tmp_path / "file.zip", hashlib.md5(content).hexdigest(), len(content)).read_bytes() == content


def test_no_network_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    with pytest.raises(ValueError, match=f"{CLOSED} cannot be fetched: no connection.*put the file at {path}.*{MD5}"):
        fetch_file(CLOSED, path, 10, MD5, silent)


def test_a_file_that_the_server_lacks_is_named(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.zip cannot be fetched: 404"):
        fetch_file(f"{site.address}/none.zip", tmp_path / "none.zip", 10, MD5, silent)


def test_a_disk_that_is_too_small_is_named(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"file\.zip needs 1000000000\.00 GB, but .* GB free: make room"):
        get(site, tmp_path / "file.zip", size=10**18)
    assert site.asked == []


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def tarred(path: Path, members: list[tarfile.TarInfo], content: bytes = b"") -> Path:
    with tarfile.open(path, "w:gz") as file:
        for member in members:
            file.addfile(member, io.BytesIO(content[: member.size]))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def test_unpacks_zip_and_tar_and_knows_when_it_is_done(tmp_path: Path) -> None:
    members = {"data/a.txt": b"a" * 1000, "data/deeper/b.txt": b"b"}
    for source in (
        zipped(tmp_path / "x.zip", members),
        tarred(
            tmp_path / "x.tar.gz", [entry("./data/a.txt", size=1000), entry("data/deeper/b.txt", size=1)], b"a" * 1000
        ),
    ):
        target = tmp_path / f"out-{source.name}"
        seen: list[tuple[int, int]] = []
        paths = unpack_archive(source, target, lambda done, total, seen=seen: seen.append((done, total)))
        assert [path.relative_to(target).as_posix() for path in paths] == list(members)
        assert (target / "data" / "a.txt").read_bytes() == b"a" * 1000
        assert [path.name for path in target.iterdir()] == ["data"]
        assert seen == [(1000, 1001), (1001, 1001)]
        times = [path.stat().st_mtime_ns for path in paths]
        assert unpack_archive(source, target, silent) == paths
        assert [path.stat().st_mtime_ns for path in paths] == times


def test_an_unpacking_that_broke_off_is_completed(tmp_path: Path) -> None:
    source = zipped(tmp_path / "x.zip", {"data/a.txt": b"a" * 10, "data/b.txt": b"b" * 10})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_bytes(b"a")
    (tmp_path / "data" / "mine.txt").write_bytes(b"kept")
    unpack_archive(source, tmp_path, silent)
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == {
        "a.txt": b"a" * 10,
        "b.txt": b"b" * 10,
        "mine.txt": b"kept",
    }


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/tmp/evil.txt", "good/../../evil.txt", "C:/evil.txt", "good\\..\\evil.txt"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_leaves_its_folder_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, kind: str
) -> None:
    if kind == "zip":
        source = zipped(tmp_path / "x.zip", {"good.txt": b"good", name: b"evil"})
    else:
        source = tarred(tmp_path / "x.tar.gz", [entry("good.txt"), entry(name)])
    with pytest.raises(ValueError, match=r"members stay in their folder.*evil\.txt.*nothing was unpacked"):
        unpack_archive(source, tmp_path / "out", silent)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize(
    ("member", "what"),
    [
        (entry("evil", tarfile.SYMTYPE, "../outside"), "link"),
        (entry("evil", tarfile.SYMTYPE, "/etc"), "link"),
        (entry("evil", tarfile.LNKTYPE, "../outside"), "link"),
        (entry("evil", tarfile.CHRTYPE), "device"),
        (entry("evil", tarfile.FIFOTYPE), "device"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, member: tarfile.TarInfo, what: str) -> None:
    source = tarred(tmp_path / "x.tar", [entry("good.txt"), member])
    with pytest.raises(ValueError, match=f"'evil', a {what}: nothing was unpacked"):
        unpack_archive(source, tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("evil")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(link, "../outside")
    with pytest.raises(ValueError, match="'evil', a link"):
        unpack_archive(tmp_path / "x.zip", tmp_path / "out", silent)


def test_a_damaged_archive_leaves_nothing_behind(tmp_path: Path) -> None:
    source = zipped(tmp_path / "x.zip", {"a.txt": os.urandom(5000), "b.txt": b"b"})
    content = bytearray(source.read_bytes())
    content[2000] ^= 0xFF
    source.write_bytes(content)
    for damaged in (bytes(content), b"not an archive", b""):
        source.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.zip cannot be unpacked"):
            unpack_archive(source, tmp_path / "out", silent)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tar_is_read_to_the_checksum_at_its_end(tmp_path: Path) -> None:
    source = tarred(tmp_path / "x.tar.gz", [entry("a.txt", size=5000)], os.urandom(5000))
    content = source.read_bytes()
    wrong = bytes([content[-8] ^ 0xFF])  # the last eight bytes are gzip's CRC and length
    for damaged in (content[:-8] + wrong + content[-7:], content[:-9], content[: len(content) // 2]):
        source.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.tar\.gz cannot be unpacked.*fetch it again"):
            unpack_archive(source, tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()
    source.write_bytes(content)
    unpack_archive(source, tmp_path / "out", silent)
    assert (tmp_path / "out" / "a.txt").stat().st_size == 5000


def test_a_disk_that_is_too_small_for_the_contents_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = zipped(tmp_path / "x.zip", {"a.txt": b"a" * 5000})
    free = archives.shutil.disk_usage(tmp_path)._replace(free=4999)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: free)
    with pytest.raises(ValueError, match=r"unpacked x\.zip needs .* GB free"):
        unpack_archive(source, tmp_path / "out", silent)
    assert list((tmp_path / "out").iterdir()) == []


def reader_of(site: Site, root: Path, pinned: str) -> Reader:
    """A reader whose record is on the local server: one archive with one file, pinned or not."""

    @dataclass(kw_only=True)
    class Local(Reader):
        records: ClassVar[tuple[ArchiveRecord, ...]] = (
            ArchiveRecord(url=f"{site.address}/record", files={"set.zip": pinned}),
        )

        def manifest(self) -> pd.DataFrame:
            raise NotImplementedError

    return Local(root=str(root))


@pytest.fixture
def record(site: Site, tmp_path: Path) -> str:
    """The MD5 of set.zip, which the server lists and serves."""
    content = zipped(tmp_path / "served.zip", {"set/a.txt": b"a" * 100}).read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    listed = {
        "key": "set.zip",
        "size": len(content),
        "checksum": f"md5:{md5}",
        "links": {"self": f"{site.address}/set.zip"},
    }
    site.files |= {"/set.zip": content, "/record": json.dumps({"files": [listed]}).encode()}
    return md5


@pytest.mark.parametrize("pinned", [True, False])
def test_obtains_fetches_checks_and_unpacks(site: Site, record: str, tmp_path: Path, pinned: bool) -> None:
    reader = reader_of(site, tmp_path / "root", record if pinned else "")
    seen: list[str] = []
    for _ in range(2):
        assert obtain_archives(reader, lambda what, done, total: seen.append(what)) == [tmp_path / "root" / "set.zip"]
    assert (tmp_path / "root" / "set" / "a.txt").read_bytes() == b"a" * 100
    assert seen == ["fetch set.zip", "unpack set.zip"]


def test_a_file_put_by_hand_needs_no_network_where_its_md5_is_pinned(site: Site, record: str, tmp_path: Path) -> None:
    reader = reader_of(site, tmp_path, record)
    (tmp_path / "set.zip").write_bytes(site.files["/set.zip"])
    obtain_archives(reader, lambda what, done, total: None)
    assert (tmp_path / "set" / "a.txt").exists()
    assert site.asked == []


def test_a_record_that_changed_is_refused(site: Site, record: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"must have MD5 {'0' * 32}, but .* lists {record}: it was changed"):
        obtain_archives(reader_of(site, tmp_path, "0" * 32), lambda what, done, total: None)


@pytest.mark.parametrize("content", [b"no JSON", b"[]", b'{"files": [{"key": "set.zip"}]}', b'{"files": []}'])
def test_what_is_no_record_is_named(site: Site, content: bytes) -> None:
    site.files["/record"] = content
    with pytest.raises(ValueError, match=r"/record (cannot be read as a record|must list set\.zip)"):
        list_files(ArchiveRecord(url=f"{site.address}/record", files={"set.zip": ""}))


def test_without_a_network_it_says_where_to_put_the_file(tmp_path: Path) -> None:
    site = Site(address="http://127.0.0.1:9")
    with pytest.raises(
        ValueError, match=r"127\.0\.0\.1:9/record .*no connection.*By hand: put set\.zip .* at .*/set\.zip"
    ):
        obtain_archives(reader_of(site, tmp_path, ""), lambda what, done, total: None)


def direct_reader(address: str, root: Path) -> Reader:
    """A reader whose one file is at a plain address, its MD5 unknown."""

    @dataclass(kw_only=True)
    class Plain(Reader):
        records: ClassVar[tuple[ArchiveRecord, ...]] = (
            ArchiveRecord(url=f"{address}/set.tar.gz", files={"set.tar.gz": ""}, direct=True),
        )

        def manifest(self) -> pd.DataFrame:
            raise NotImplementedError

    return Plain(root=str(root))


@pytest.fixture
def plain(site: Site, tmp_path: Path) -> bytes:
    """What the server serves as set.tar.gz."""
    content = tarred(tmp_path / "served.tar.gz", [entry("set/a.txt", size=100)], b"a" * 100).read_bytes()
    site.files["/set.tar.gz"] = content
    return content


def test_a_plain_address_is_fetched_and_unpacked(site: Site, plain: bytes, tmp_path: Path) -> None:
    root = tmp_path / "root"
    reader = direct_reader(site.address, root)
    assert list_files(reader.records[0])["set.tar.gz"].size == len(plain)
    site.asked.clear()
    seen: list[tuple[str, int, int]] = []
    for _ in range(2):
        assert obtain_archives(reader, lambda *step: seen.append(step)) == [root / "set.tar.gz"]
    assert (root / "set" / "a.txt").read_bytes() == b"a" * 100
    assert seen == [("fetch set.tar.gz", len(plain), len(plain)), ("unpack set.tar.gz", 100, 100)]
    assert site.asked == ["", ""]  # its size and its bytes: what is there is not asked for again


def test_a_plain_address_goes_on_where_it_broke_off(site: Site, plain: bytes, tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz.part").write_bytes(plain[:50])
    obtain_archives(direct_reader(site.address, tmp_path), lambda what, done, total: None)
    assert site.asked == ["", "bytes=50-"]
    assert (tmp_path / "set" / "a.txt").exists()


def test_an_archive_put_by_hand_needs_no_network_and_is_checked(plain: bytes, tmp_path: Path) -> None:
    reader = direct_reader("http://127.0.0.1:9", tmp_path)
    (tmp_path / "set.tar.gz").write_bytes(plain[:-10])
    with pytest.raises(ValueError, match=r"set\.tar\.gz cannot be unpacked.*delete it and fetch it again"):
        obtain_archives(reader, lambda what, done, total: None)
    (tmp_path / "set.tar.gz").write_bytes(plain)
    obtain_archives(reader, lambda what, done, total: None)
    assert (tmp_path / "set" / "a.txt").exists()


def test_what_is_wrong_with_a_plain_address_is_named(site: Site, plain: bytes, tmp_path: Path) -> None:
    def nothing(what: str, done: int, total: int) -> None:
        raise AssertionError(what)

    reader = direct_reader("http://127.0.0.1:9", tmp_path)
    with pytest.raises(ValueError, match=r"9/set\.tar\.gz cannot be fetched: no connection.*put set\.tar\.gz .* at .*"):
        obtain_archives(reader, nothing)
    site.length = False
    with pytest.raises(ValueError, match=r"does not say how many bytes it has\. By hand"):
        obtain_archives(direct_reader(site.address, tmp_path), nothing)
    site.files.clear()
    with pytest.raises(ValueError, match=r"set\.tar\.gz cannot be fetched: 404"):
        obtain_archives(direct_reader(site.address, tmp_path), nothing)
    with pytest.raises(AssertionError, match="one file"):
        ArchiveRecord(url="", files={"a": "", "b": ""}, direct=True)


def test_a_reader_without_records_has_nothing_to_obtain(tmp_path: Path) -> None:
    from src.data.sets.folder import Folder

    assert obtain_archives(Folder(root=str(tmp_path / "none")), lambda what, done, total: None) == []
    assert not (tmp_path / "none").exists()
