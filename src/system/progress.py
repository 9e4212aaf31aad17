"""How far work is, and the curves that it draws, as it goes on."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Progress:
    """Is told of work while it is done. This one tells nobody; the terminal's is in `src.cli.progress`."""

    @contextmanager
    def counting(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Announce work of `total` steps, which ends with the block; what is given is called with the steps done."""
        yield lambda steps: None

    def track(
        self, items: Iterable[Item], description: str, total: int, size: Callable[[Item], int] = lambda _: 1
    ) -> Iterator[Item]:
        """Pass items on, and count each, once it has been worked on, as so many steps as `size` says."""
        with self.counting(description, total) as count:
            for item in items:
                yield item
                count(size(item))

    def point(self, curve: str, value: float, step: int) -> None:
        """Be told a point of a curve, such as the loss after an epoch."""


class PartProgress(Progress):
    """The progress of a part of a work, shown under its name; its curves are nobody's."""

    def __init__(self, whole: Progress, name: str) -> None:
        self.whole, self.name = whole, name

    @contextmanager
    def counting(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Announce work of the part."""
        with self.whole.counting(f"{self.name}: {description}", total) as count:
            yield count
