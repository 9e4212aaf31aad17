"""The order in which people list names with numbers in them."""

import re


def natural_order(value: str) -> tuple[bool, list[tuple[float, str]]]:
    """Return a key that sorts 40X before 100X, and "" last."""
    parts = re.findall(r"(\d+)|(\D+)", value)
    return not value, [(float(number or "inf"), text) for number, text in parts]
