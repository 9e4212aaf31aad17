"""Classes that derive from others, and the modules that bring them."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any


def import_modules(package: str) -> None:
    """Import every file that stands in a package, and of a folder there the file of its name."""
    for found in iter_modules(import_module(package).__path__):
        name = f"{package}.{found.name}" + f".{found.name}" * found.ispkg
        if find_spec(name):
            import_module(name)


def derived_classes(*kinds: type[Any]) -> Iterator[type[Any]]:
    """Yield classes and all that derive from them, those nearest to them first."""
    found = list(kinds)
    for kind in found:  # which grows
        yield kind
        further: list[type[Any]] = kind.__subclasses__()
        found += [each for each in further if each not in found]
