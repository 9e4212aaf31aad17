"""Where the files of a store lie: what a folder and a bucket have in common."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

Item = TypeVar("Item")
Result = TypeVar("Result")


@runtime_checkable
class Place(Protocol):
    """Folders of files, each of which is there as a whole or not at all. A name is `FOLDER/FILE`."""

    folder: Path
    """Where the files, or copies of them, lie on this machine."""

    def check(self) -> None:
        """Raise `ValueError`, with what to do, where the place cannot be used."""

    def address(self, name: str) -> str:
        """Return what a file is called in messages."""

    def folders(self) -> list[str]:
        """Return the names of the folders, in order."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the files of a folder, and their sizes in octets."""

    def names(self, folder: str) -> list[str]:
        """Return the names of a folder's files."""

    def holds(self, name: str) -> bool:
        """Return whether there is a file."""

    def read(self, name: str) -> bytes:
        """Return what a file holds; `FileNotFoundError` where there is none."""

    def local(self, name: str, check: Callable[[bytes], object]) -> Path:
        """Return a file on this machine. What has to be fetched is checked before it is kept."""

    def create(self, name: str, content: Callable[[], bytes]) -> None:
        """Write a file that says what its folder holds, unless it is there."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, at the latest when `finish` returns."""

    def finish(self) -> None:
        """Wait until all is written that this process gave."""

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""

    def delete(self, folder: str) -> None:
        """Delete a folder."""

    def abreast(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield function(item) in order, several at a time where each one waits for storage."""
