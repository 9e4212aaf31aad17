"""Files that appear as a whole or not at all, their hashes, and files of tensors."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy.typing as npt


def replace_file(path: Path, content: bytes) -> None:
    """Write a file as a whole: under a temporary name in its folder, then renamed."""
    with replacement(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Give the name of an empty file beside a file, whose place it takes at the end; after an error it is gone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say where it is
            error.filename = str(path)
        raise


def check_unwritten(overwrite: bool, **outputs: str) -> None:
    """Raise `ValueError` where a file that is to be written is there, or a folder that is not empty, unasked."""
    for name, output in outputs.items():
        path = Path(output)
        if not output or overwrite or not path.exists() or (path.is_dir() and not any(path.iterdir())):
            continue
        there = "is a folder that is not empty" if path.is_dir() else "exists"
        raise ValueError(f"{name}={output} {there}: give another, or overwrite=true to write over it")


def check_folder(**folders: str | Path) -> None:
    """Raise `ValueError` for the first that neither is a folder nor could be made, as a file stands in its place."""
    for name, folder in folders.items():
        there = nearest_existing(folder)
        if not there.is_dir():
            what = "is a link to nothing" if there.is_symlink() else "is a file"
            raise ValueError(f"`{name}` is a folder, but got {name}={folder}, and {there} {what}: give another")


def check_writable(**folders: str | Path) -> None:
    """Raise `ValueError` for the first that is no folder to write in, and could not be made one."""
    check_folder(**folders)
    for name, folder in folders.items():
        _check_allowed(nearest_existing(folder), f"`{name}` is a folder to write in, but got {name}={folder}")


def check_file(**files: str) -> None:
    """Raise `ValueError` for the first that is no file which could be written in a folder that exists; empty: none."""
    for name, file in files.items():
        if not file:
            continue
        folder = Path(file).absolute().parent
        asked = f"`{name}` is a file in a folder that exists, but got {name}={file}"
        if Path(file).is_dir():
            raise ValueError(f"{asked}, which is a folder: name a file in it")
        if not folder.is_dir():
            raise ValueError(f"{asked}, and there is no folder {folder}: make it, or name another")
        _check_allowed(folder, f"`{name}` is a file to write, but got {name}={file}")


def _check_allowed(folder: Path, asked: str) -> None:
    """Raise `ValueError`, beginning with what was asked for, where nothing can be written in a folder."""
    if why := writing_refusal(folder):
        raise ValueError(f"{asked}, and nothing can be written in {folder} ({why}): give another")


def nearest_existing(folder: str | Path) -> Path:
    """Return what there is of a path: itself, or the nearest above it."""
    path = Path(folder).absolute()
    return next(each for each in (path, *path.parents) if os.path.lexists(each))


def writing_refusal(folder: Path) -> str:
    """Return why nothing can be written in a folder, by trying: rights do not tell; empty where it can."""
    try:
        tempfile.TemporaryDirectory(prefix=".tenfold-", dir=folder).cleanup()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file's content, in hexadecimal, computed once per process while the file stays as it is."""
    status = path.stat()
    return _hash_file(path, algorithm, status.st_size, status.st_mtime_ns)


@lru_cache
def _hash_file(path: Path, algorithm: str, size: int, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Return the tensors of a safetensors file by name, and its metadata; `SafetensorError` where it is damaged."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
        return tensors, file.metadata() or {}
