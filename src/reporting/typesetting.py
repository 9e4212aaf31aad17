"""How figures and names are written on a page."""

import re

from src.evaluation import wording
from src.system.addresses import mask_passwords

MISSING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def number(value: float, digits: int = 1) -> str:
    """Return a figure as text, with a true minus; a dash where it is not a number."""
    return typeset(wording.number(value, digits))


def typeset(text: str) -> str:
    """Return a text of figures made for a terminal, with the signs of print."""
    return re.sub(r"(?<![\w.])-(?=\d)", MINUS, text.replace(" +- ", " ± ")) if text != wording.MISSING else MISSING


def counted(count: int, one: str, several: str = "") -> str:
    """Return how many there are of something: 1 case, 2 cases."""
    return f"{count} {one if count == 1 else several or one + 's'}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def command(line: str) -> str:
    """Return a command as it would be typed, from the arguments of its process."""
    return mask_passwords(re.sub(r"^\S*?src/(\w+)\.py\b", r"python -m src.\1", line))
