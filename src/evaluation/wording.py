"""How figures with their intervals, differences, p-values and metrics are put into words, in the signs of a terminal.

What is written for print passes these texts on through `src.reporting.typesetting.typeset`.
"""

from collections.abc import Mapping
from typing import Any

NAN = float("nan")
MISSING = "-"
"""What stands for a figure that is not a number."""
METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
TWO_CLASS = "binary_"
UNITS = {"accuracy": "%", "balanced_accuracy": "%", "macro_f1": "%", "log_loss": "nats"}


def number(value: float, digits: int = 1, sign: str = "") -> str:
    """Return a figure as text; `sign` is "+" for a difference. What is rounded to zero has no sign."""
    if value != value:
        return MISSING
    text = f"{value:{sign}z.{digits}f}"
    return text if float(text) else text.removeprefix("+")


def whole(value: float) -> str:
    """Return a number of cases, which is whole but for means over repeats."""
    return number(value).removesuffix(".0")


def percent(fraction: float, digits: int = 1) -> str:
    """Return a fraction in percent."""
    return number(100 * fraction, digits)


def ends(low: float, high: float, digits: int = 1, sign: str = "", level: bool = False) -> str:
    """Return the ends of an interval, where both are known; `level` says that it is one of 95 %."""
    if low != low or high != high:
        return ""
    return f"{'95 %: ' if level else ''}{number(low, digits, sign)} to {number(high, digits, sign)}"


def ranged(value: float, low: float, high: float, digits: int = 1, sign: str = "", level: bool = False) -> str:
    """Return a figure with its interval, where there is one."""
    found = "" if value != value else ends(low, high, digits, sign, level)
    return number(value, digits, sign) + (f" ({found})" if found else "")


def signed(difference: float, low: float, high: float, digits: int = 1, level: bool = False) -> str:
    """Return a difference with its sign, and with its interval, where there is one."""
    return ranged(difference, low, high, digits, "+", level)


def measured(found: Mapping[Any, Any], name: str, unit: float = 1, digits: int = 3, level: bool = False) -> str:
    """Return a figure with its interval, held under its name with `_low` and `_high`; 100 is the `unit` of percent."""
    return ranged(*figures(found, name, unit), digits, level=level)


def figures(found: Mapping[Any, Any], name: str, unit: float = 1) -> tuple[float, float, float]:
    """Return a figure and the ends of its interval in a unit, as of `measured`; what is not held is not a number."""
    value, low, high = (unit * found.get(key, NAN) for key in (name, f"{name}_low", f"{name}_high"))
    return value, low, high


def spread(mean: float, deviation: float, digits: int = 1) -> str:
    """Return a mean with its deviation, where there is one."""
    return number(mean, digits) + (f" +- {number(deviation, digits)}" if deviation == deviation else "")


def spell_seconds(seconds: float) -> str:
    """Return a time as one reads it: 40 ms, 3.2 s, 4 min, 2.5 h."""
    if seconds < 1:
        return f"{number(1000 * seconds, 0)} ms"
    if seconds < 100:
        return f"{number(seconds, 1 if seconds < 10 else 0)} s"
    return f"{number(seconds / 60, 0)} min" if seconds < 5400 else f"{number(seconds / 3600)} h"


def p_value(value: float) -> str:
    """Return a p as text."""
    return "<0.001" if value < 0.001 else number(value, 3)


def shown(found: Mapping[Any, Any], metric: str) -> str:
    """Return a metric with its interval, as of `measured`, in its unit: accuracies are in percent."""
    return measured(found, metric, *scale(metric))


def titled(metric: str) -> str:
    """Return how a metric is called, one of the two-class view, too."""
    view = "two-class " if metric.startswith(TWO_CLASS) else ""
    return view + METRICS[metric.removeprefix(TWO_CLASS)]


def headed(metric: str, percent: str = "%") -> str:
    """Return the heading of a metric's figures, with their unit; differences in percent are in `percent="points"`."""
    return capital(", ".join(filter(None, [titled(metric), unit_of(metric).replace("%", percent)])))


def scale(metric: str) -> tuple[int, int]:
    """Return by what a metric is multiplied where it is shown, and its digits: accuracies are in percent."""
    return (100, 1) if unit_of(metric) == "%" else (1, 3)


def unit_of(metric: str) -> str:
    """Return the unit in which a metric is shown, empty where it has none."""
    return UNITS.get(metric.removeprefix(TWO_CLASS), "")


def capital(text: str) -> str:
    """Return a text as it begins a sentence."""
    return text[:1].upper() + text[1:]


def listed(names: list[str], most: int = 6, rest: str = "more") -> str:
    """Return names as a list in a sentence; of many the first, and how many the rest are."""
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} {rest}"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
