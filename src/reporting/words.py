"""How figures and names are written on a page."""

import re
from collections.abc import Mapping
from typing import Any

from src.addresses import masked

MISSING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def number(value: float, digits: int = 1) -> str:
    """Return a figure as text, with a true minus; a dash where it is not a number."""
    return MISSING if value != value else f"{plain(value, digits):.{digits}f}".replace("-", MINUS)


def plain(value: float, digits: int) -> float:
    """Return a figure rounded, a zero without a sign."""
    return round(value, digits) + 0.0


def signed(value: float, digits: int = 1) -> str:
    """Return a difference as text, with its sign."""
    return MISSING if value != value else f"{plain(value, digits):+.{digits}f}".replace("-", MINUS)


def percent(value: float, digits: int = 1) -> str:
    """Return a fraction in percent."""
    return number(100 * value, digits)


def ranged(value: float, low: float, high: float, digits: int = 1) -> str:
    """Return a figure with its interval, where there is one."""
    known = low == low and high == high
    return number(value, digits) + (f" ({number(low, digits)} to {number(high, digits)})" if known else "")


def measured(found: Mapping[Any, Any], name: str, unit: float = 1, digits: int = 3) -> str:
    """Return a figure with its interval, held under its name with `_low` and `_high`; 100 is the `unit` of percent."""
    value, low, high = (unit * found.get(key, float("nan")) for key in (name, f"{name}_low", f"{name}_high"))
    return ranged(value, low, high, digits)


def typeset(text: str) -> str:
    """Return a text of figures made for a terminal, with the signs of print."""
    return re.sub(r"(?<![\w.])-(?=\d)", MINUS, text.replace(" +- ", " ± ")) if text != "-" else MISSING


def counted(count: int, one: str, several: str = "") -> str:
    """Return how many there are of something: 1 case, 2 cases."""
    return f"{count} {one if count == 1 else several or one + 's'}"


def listed(names: list[str], most: int = 6) -> str:
    """Return names as a list in a sentence; of many the first, and how many more there are."""
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def command(line: str) -> str:
    """Return a command as it would be typed, from the arguments of its process."""
    return masked(re.sub(r"^\S*?src/(\w+)\.py\b", r"python -m src.\1", line))
