"""Public archives to a folder: fetched, resumed, checked, unpacked without leaving the folder."""

import hashlib
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from src.data.reader import ArchiveRecord, Reader
from src.system.downloads import BLOCK, BytesDone, content_length, download_rest, explain_failure, open_url, size_of

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file as a record lists it: where it is, how many bytes it has, and its MD5 ("" = unknown)."""

    url: str
    size: int
    md5: str


def obtain_archives(reader: Reader, progress: Callable[[str, int, int], None]) -> list[Path]:
    """Fetch, check and unpack all that the reader can download into its root; the archives, which stay there.

    `progress` takes what is being done ("fetch NAME", "unpack NAME"), bytes done and bytes in all. What is there
    already is neither fetched nor unpacked again. One process at a time works on a root; another waits.
    """
    from filelock import FileLock

    root = Path(reader.root)
    archives = []
    for record in reader.records:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".download.lock"):
            archives += [_obtain(record, name, root, progress) for name in record.files]
    return archives


def list_files(record: ArchiveRecord) -> dict[str, Listed]:
    """The record's files by name, as its API lists them; of a direct record, its file as the server describes it.

    Raises ValueError where that cannot be had, or a pinned MD5 differs.
    """
    if record.direct:
        (name,) = record.files
        try:
            return {name: Listed(url=record.url, size=content_length(record.url), md5=record.files[name])}
        except OSError as error:
            raise ValueError(f"{record.url} cannot be fetched: {explain_failure(error)}") from error
    try:
        with open_url(record.url) as response:
            files = {
                entry["key"]: Listed(url=entry["links"]["self"], size=int(entry["size"]), md5=_md5(entry["checksum"]))
                for entry in response.json()["files"]
            }
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{record.url} cannot be read as a record of files: {explain_failure(error)}") from error
    for name, pinned in record.files.items():
        if name not in files:
            raise ValueError(f"{record.url} must list {name}, but lists {', '.join(files)}")
        if pinned and files[name].md5 != pinned:
            raise ValueError(f"{name} must have MD5 {pinned}, but {record.url} lists {files[name].md5}: it was changed")
    return files


def fetch_file(url: str, path: Path, size: int, md5: str, progress: BytesDone) -> Path:
    """The file at `url`, checked and at `path`. Where it is there already it is only checked; where an earlier fetch
    broke off (`path`.part), the rest is fetched. Without an MD5 ("") the size alone is checked.

    Raises ValueError, with what to do: no network, broken off, wrong size or MD5, disk too small.
    """
    if path.exists():
        _check_there(path, size, md5)
        return path
    part = path.with_name(path.name + ".part")
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    _check_space(path.parent, size - size_of(part), path.name)
    try:
        download_rest(url, part, size, progress)
    except OSError as error:
        raise ValueError(_broken_off(url, path, size_of(part), size, md5, error)) from error
    _check_part(part, url, size, md5)
    os.replace(part, path)
    return path


def unpack_archive(archive: Path, folder: Path, progress: BytesDone) -> list[Path]:
    """Unpack a zip or tar archive into the folder; the paths of its files there.

    Nothing is written where a member would leave the folder, is a link or a device, or the disk is too small. Members
    are unpacked beside their targets and renamed into place. Where all are there with their sizes, nothing is done.
    """
    try:
        members = _members(archive)
        targets = [folder / name for name, _ in members]
        if all(
            target.is_file() and size_of(target) == size for target, (_, size) in zip(targets, members, strict=True)
        ):
            return targets
        total = sum(size for _, size in members)
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(folder, total, f"unpacked {archive.name}")
        _unpack(archive, folder, total, progress)
    except DAMAGED as error:
        raise ValueError(
            f"{archive} cannot be unpacked into {folder}: {error}; delete it and fetch it again, or unpack it by hand"
        ) from error
    return targets


def _obtain(record: ArchiveRecord, name: str, root: Path, progress: Callable[[str, int, int], None]) -> Path:
    archive = _fetched(record, name, root, partial(progress, f"fetch {name}"))
    unpack_archive(archive, root, partial(progress, f"unpack {name}"))
    return archive


def _fetched(record: ArchiveRecord, name: str, folder: Path, progress: BytesDone) -> Path:
    path = folder / name
    if path.exists() and (record.files[name] or record.direct):  # what nobody lists or is pinned needs no network
        _check_there(path, size_of(path), record.files[name])
        return path
    try:
        listed = list_files(record)[name]
    except ValueError as error:
        raise ValueError(
            f"{error}. By hand: put {name} from there at {path} and run this again, it is then checked and unpacked"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    return fetch_file(listed.url, path, listed.size, listed.md5, progress)


def _broken_off(url: str, path: Path, done: int, size: int, md5: str, error: Exception) -> str:
    check = f"its MD5 is then checked ({md5})" if md5 else "it is then unpacked and counted"
    return (
        f"{url} cannot be fetched: {explain_failure(error)}. {done} of {size} bytes are there, run this again to go on "
        f"from them. By hand: put the file at {path} and run this again, {check}"
    )


def _check_there(path: Path, size: int, md5: str) -> None:
    if not md5 and size_of(path) != size:
        raise ValueError(f"{path} must have {size} bytes, but has {size_of(path)}: delete it to fetch it again")
    if md5 and (found := _digest(path)) != md5:
        raise ValueError(f"{path} must have MD5 {md5}, but has {found}: delete it to fetch it again")


def _check_part(part: Path, url: str, size: int, md5: str) -> None:
    found, length = _digest(part) if md5 else "", size_of(part)
    if (found, length) != (md5, size):
        part.unlink()
        wanted, came = (f" and MD5 {md5}", f" with MD5 {found}") if md5 else ("", "")
        raise ValueError(
            f"{url} must have {size} bytes{wanted}, but {length} bytes{came} came: "
            "they were deleted, run this again to fetch it anew"
        )


def _check_space(folder: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{what} needs {needed / 1e9:.2f} GB, but {folder} has {free / 1e9:.2f} GB free: "
            "make room, or choose another data.root"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _md5(checksum: str) -> str:
    kind, _, value = checksum.partition(":")
    if kind != "md5" or not re.fullmatch("[0-9a-f]{32}", value):
        raise ValueError(f"a checksum is md5:..., but got {checksum}")
    return value


def _members(archive: Path) -> list[tuple[str, int]]:
    """Name and size of every file in it, or ValueError naming a member that must not be unpacked."""
    members = []
    for name, size, kind in _entries(archive):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or re.match("[A-Za-z]:", name):
            raise ValueError(f"members stay in their folder, but {archive} has {name!r}: nothing was unpacked")
        if kind not in ("file", "folder"):
            raise ValueError(
                f"members are files and folders, but {archive} has {name!r}, a {kind}: nothing was unpacked"
            )
        if kind == "file":
            members.append((path.as_posix(), size))
    return members


def _entries(archive: Path) -> Iterator[tuple[str, int, str]]:
    """Name, size and kind (file, folder, link, device) of every entry."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                mode = info.external_attr >> 16
                kind = "folder" if info.is_dir() else "link" if stat.S_ISLNK(mode) else "file"
                yield info.filename, info.file_size, kind
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                link = member.issym() or member.islnk()
                kind = "folder" if member.isdir() else "link" if link else "file" if member.isreg() else "device"
                yield member.name, member.size, kind
            while tar.fileobj and tar.fileobj.read(BLOCK):
                pass  # to the end, where gzip has its checksum


def _contents(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and opened content of every file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, zipped.open(info)
    else:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file:
                    yield member.name, file


def _unpack(archive: Path, folder: Path, total: int, progress: BytesDone) -> None:
    done = 0
    with tempfile.TemporaryDirectory(prefix=f".{archive.name}.", dir=folder) as temporary:
        for name, file in _contents(archive):
            path = Path(temporary, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(file), path.open("wb") as target:
                shutil.copyfileobj(file, target, BLOCK)
                done += target.tell()
            progress(done, total)
        for path in sorted(Path(temporary).rglob("*")):
            if path.is_file():
                target_path = folder / path.relative_to(temporary)
                target_path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target_path)
