"""Which of a file's tensors are a network's: state dicts lie nested in checkpoints, under names with prefixes."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

AVERAGED = ("teacher", "ema")
"""What is in the name of the better of two networks that a checkpoint holds: DINO's teacher, an average of weights."""


def flatten_state(found: object, prefix: str = "") -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield the tensors of nested mappings, by their names with dots between the levels; all else is passed over."""
    import torch

    if isinstance(found, torch.Tensor) and prefix:
        yield prefix, found
    elif isinstance(found, Mapping):
        for name, value in found.items():
            yield from flatten_state(value, f"{prefix}.{name}" if prefix else str(name))


def find_prefix(names: Collection[str], wanted: Collection[str]) -> str:
    """Return what stands before most of a network's names in a file, with its dot; empty where nothing does.

    Of several networks that fit alike it is the averaged one, else the one with the shortest prefix.
    """
    prefixes = Counter(prefix for name in names for prefix in _prefixes(name, wanted))
    if not prefixes:
        return ""
    best = [prefix for prefix, times in prefixes.items() if times == max(prefixes.values())]
    return min(best, key=lambda prefix: (not any(word in prefix for word in AVERAGED), len(prefix), prefix))


def _prefixes(name: str, wanted: Collection[str]) -> Iterator[str]:
    parts = name.split(".")
    for start in range(len(parts)):
        if ".".join(parts[start:]) in wanted:
            yield "".join(f"{part}." for part in parts[:start])


def describe_choice(names: Collection[str], prefix: str) -> str:
    """Return which of a file's tensors are taken, and what lies beside them."""
    depth = prefix.count(".")
    beside = Counter(".".join(name.split(".")[:depth]) for name in names if not name.startswith(prefix))
    left = ", ".join(f"{name} ({times})" for name, times in beside.items())
    taken = f"the {len(names) - beside.total()} tensors of {prefix.rstrip('.')} are taken"
    return f"{taken}; left aside: {left}" if beside else taken
