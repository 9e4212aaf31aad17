"""The files under a folder: those that are wanted, and why the others are left out."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from src.data.manifest import list_first
from src.data.reader import LeftOut

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif", ".avif"),
    *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
)
"""Of images that Pillow reads."""
PART = re.compile(r"(train(ing)?|test(ing)?|val(id(ation)?)?)([ _-]?(set|data|images?|split))?", re.IGNORECASE)
"""The name of a folder that holds a part of a split."""


@dataclass(frozen=True)
class Found:
    """Files as paths relative to their folder, sorted, and what was left out, by name."""

    files: list[str]
    left_out: list[LeftOut]


def find_files(folder: str | os.PathLike[str], endings: Sequence[str] = EXTENSIONS) -> Found:
    """Return the files with one of the endings, at any depth, links to files and folders followed.

    `ValueError` where the name of such a file, or of a folder that it lies in, is no UTF-8; OSError where a folder
    cannot be read.
    """
    root = os.fspath(folder)
    entries = [(os.path.relpath(path, root), kind) for path, kind in _entries(root, (os.path.realpath(root),), endings)]
    files = [PurePosixPath(name) for name, kind in entries if not kind]
    wrong = [printable_name(name) for name in map(str, files) if printable_name(name) != name]
    if wrong:
        raise ValueError(
            f"names of images and their folders are UTF-8, but in {root} not {list_first(wrong)}: rename them"
        )
    left_out = [LeftOut(printable_name(name), kind) for name, kind in entries if kind]
    return Found([str(file) for file in sorted(files)], sorted(left_out, key=lambda each: each.name))


def printable_name(name: str) -> str:
    """Return a file's name as text that can be written; octets that are no UTF-8 as `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_hidden(folder: str) -> bool:
    """Whether a folder is the system's own by its name: hidden, or what macOS puts beside the files in an archive."""
    return folder.startswith(".") or folder == "__MACOSX"


def is_part(name: str) -> bool:
    """Return whether a folder or class is called as the parts of a split are: train, test, validation and the like."""
    return PART.fullmatch(name) is not None


def _entries(folder: str, above: tuple[str, ...], endings: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the files under a folder, and why each is left out, or ""; `above` are the real folders that it lies in."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if not os.path.isdir(entry.path):
            if (kind := _kind(entry, endings)) is not None:
                yield entry.path, kind
            continue
        real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)
        if is_hidden(entry.name):
            yield entry.path, "hidden folders"
        elif any(PurePosixPath(each).is_relative_to(real) for each in above):
            yield entry.path, "links to a folder that they lie in"
        else:
            yield from _entries(entry.path, (*above, real), endings)


def _kind(entry: "os.DirEntry[str]", endings: Sequence[str]) -> str | None:
    """Return what a file is that is left out; "" where it is not, None where nobody misses it."""
    ending = os.path.splitext(entry.name)[1].lower()
    if entry.name.startswith("."):
        return "hidden images" if ending in endings else None
    if not os.path.isfile(entry.path):
        return "links that lead nowhere" if entry.is_symlink() else "neither files nor folders"
    if ending in endings:
        return ""
    return f"{printable_name(ending)} files" if ending else "files without an ending"
