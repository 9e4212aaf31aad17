"""A store in a folder of this machine."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from src.storage.place import Item, Result
from src.system.files import check_folder, check_writable, replace_file


@dataclass
class StoreFolder:
    """A folder of this machine."""

    folder: Path

    def check(self) -> None:
        """Raise `ValueError` where the folder is none, or could not be made when it is needed.

        One that is there may be for reading only: it is enough where it holds all that is asked for.
        """
        (check_folder if self.folder.is_dir() else check_writable)(store=self.folder)

    def address(self, name: str) -> str:
        """Return the path."""
        return str(self.folder / name)

    def folders(self) -> list[str]:
        """Return the names of the folders."""
        return sorted(path.name for path in self.folder.glob("*/"))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the files of a folder, and their sizes."""
        with os.scandir(self.folder / folder) as entries:
            whole = (entry for entry in entries if not entry.name.startswith("."))  # others are being written
            return {entry.name: entry.stat().st_size for entry in whole}

    def names(self, folder: str) -> list[str]:
        """Return the names of a folder's files; none where there is no folder."""
        try:
            return os.listdir(self.folder / folder)
        except FileNotFoundError:
            return []

    def holds(self, name: str) -> bool:
        """Return whether there is a file."""
        return (self.folder / name).is_file()

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        return (self.folder / name).read_bytes()

    def local(self, name: str, check: Callable[[bytes], object]) -> Path:
        """Return the path."""
        return self.folder / name

    def create(self, name: str, content: Callable[[], bytes]) -> None:
        """Write a file, and its folder, unless it is there."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            replace_file(path, content())

    def write(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name, and rename it."""
        replace_file(self.folder / name, content)

    def finish(self) -> None:
        """Do nothing: what was given is written."""

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        (self.folder / name).unlink(missing_ok=True)

    def delete(self, folder: str) -> None:
        """Delete a folder."""
        shutil.rmtree(self.folder / folder)

    def abreast(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield function(item) in order."""
        return map(function, items)
