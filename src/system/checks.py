"""Checks of parameters: `ValueError` says the rule that is broken, and what was given under which name.

A `group` is the part of the config that the values are from: with group=executor, the message has `executor.samples=0`.
"""

import difflib
from collections.abc import Collection, Iterable

NEAR = 0.7
"""How alike a choice is to what was mistyped for it (`difflib`): gpu is not meant for cpu."""


def holds(rule: str, held: bool, /, *, group: str = "", **values: object) -> None:
    """Raise `ValueError`, with the rule and all values, unless it held."""
    if not held:
        named = ", ".join(f"{_full(name, group)}={value}" for name, value in values.items())
        raise ValueError(f"`{rule}` must hold, but got {named}")


def at_least(least: float, /, *, group: str = "", **values: float) -> None:
    """Raise `ValueError` for the first value that is less, or not a number."""
    for name, value in values.items():
        holds(f"{name} >= {least}", value >= least, group=group, **{name: value})


def one_of(choices: Collection[object], /, *, group: str = "", **values: object) -> None:
    """Raise `ValueError`, with the choices, for the first value that is none of them."""
    for name, value in values.items():
        if value not in tuple(choices):
            known = ", ".join(filter(None, map(str, choices)))
            got = f"{_full(name, group)}={value}{suggest_choice(value, choices)}"
            raise ValueError(f"`{name}` must be one of {known}, but got {got}")


def suggest_choice(value: object, choices: Iterable[object]) -> str:
    """Return `; did you mean X?` for the choice that a mistyped value is nearest to; empty where none is near."""
    folded = {str(choice).casefold(): str(choice) for choice in choices}
    close = difflib.get_close_matches(str(value).casefold(), folded, n=1, cutoff=NEAR)
    return f"; did you mean {folded[close[0]]}?" if close else ""


def needs_extra(asked: str, library: str, extra: str) -> str:
    """Return what to say of something that needs a library which an extra brings, and which is not here."""
    return f"{asked} needs {library}, which is not here: `make {extra}` installs it"


def _full(name: str, group: str) -> str:
    return f"{group}.{name}" if group else name
