"""Work by threads of this process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from src.executors.executor import Batched, Executor, Work


@dataclass(kw_only=True)
class Local(Executor):
    """This process, which shares what it holds with its threads without a copy."""

    def check(self) -> None:
        """Do nothing: this process is here."""

    def shares(self, seeds: list[int]) -> list[list[int]]:
        """Return all seeds together: what they have in common is done once."""
        return [seeds]

    def map(self, work: Work, items: Sequence[Any], workers: int) -> Iterator[Any]:
        """Yield the result of each item, in order."""
        from joblib import Parallel, delayed

        # Threads: the classifiers leave Python's lock.
        calls = (delayed(work)(item) for item in items)
        yield from Parallel(min(workers, len(items)), prefer="threads", return_as="generator")(calls)

    def spread(self, work: Batched, items: list[Any]) -> Iterator[int]:
        """Do the work on all items in one go."""
        yield from work(items)
