"""What every executor is to the methods: work in, results out, in order."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Work(Protocol):
    """What is done with each of many items."""

    def __call__(self, item: Any, /) -> Any:
        """Return the result of an item."""

    def abroad(self) -> "Work":
        """Return the same work for processes on other machines: it can be pickled, and its paths are absolute."""

    def check(self) -> None:
        """Raise `ValueError` where this machine lacks what the work needs."""


class Batched(Work, Protocol):
    """What is done with a list of items at once, leaving its results in a place that all machines share."""

    device: str
    """Where networks run, as `Method.device` says."""

    def __call__(self, items: list[Any], /) -> Iterator[int]:
        """Yield how much is done, while it is done."""

    def prepare(self) -> Callable[[], None]:
        """Leave a token in the shared place, by which `check` knows it on every machine; return what takes it away."""


@dataclass(kw_only=True)
class Executor(ABC):
    """Has work done. It changes no result, and so is part of no recipe, model or digest."""

    @abstractmethod
    def check(self) -> None:
        """Raise `ValueError`, before any work, where it cannot be reached."""

    @abstractmethod
    def shares(self, seeds: list[int]) -> list[list[int]]:
        """Return the seeds of models that are fitted together, in order."""

    @abstractmethod
    def map(self, work: Work, items: Sequence[Any], workers: int) -> Iterator[Any]:
        """Yield the result of each item, in order. `workers` is how many this machine does at the same time."""

    @abstractmethod
    def spread(self, work: Batched, items: list[Any]) -> Iterator[int]:
        """Have work done on all items, and yield how much more is done now and then."""
