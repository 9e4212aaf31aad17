"""Draws what a study of parameters found, from plain tables: its history, what mattered, and where the good values are.

A study's table has a row per trial: `trial, state, value, ...` and the parameters' values by dotted key.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from src.evaluation.figures import BLUE, GREY, VERMILION, _figure, _title
from src.evaluation.wording import capital, titled

if TYPE_CHECKING:
    import matplotlib.figure

COMPLETE, PRUNED = "complete", "pruned"


def best_so_far(trials: pd.DataFrame, minimize: bool) -> "pd.Series[float]":
    """By trial: the best value of the complete trials up to it."""
    complete = trials[trials["state"] == COMPLETE].set_index("trial")["value"].astype(float)
    return complete.cummin() if minimize else complete.cummax()


def draw_studies(
    trials: pd.DataFrame, importance: Mapping[str, float], keys: list[str], objective: str, minimize: bool, note: str
) -> "dict[str, matplotlib.figure.Figure]":
    """Return the figures "history", "slice", and where it is known "importance" of a study that varied `keys`."""
    figures = {"history": draw_history(trials, objective, minimize, note)}
    if (trials["state"] == COMPLETE).any():
        figures["slice"] = draw_slices(trials, keys, objective, note)
    if importance:
        figures["importance"] = draw_importance(importance, objective, note)
    return figures


def draw_history(trials: pd.DataFrame, objective: str, minimize: bool, note: str) -> "matplotlib.figure.Figure":
    """Return the value of every trial, and the best so far; that of a pruned trial is of the folds before its end."""
    figure = _figure(7.0, 4.5)
    axes = figure.add_subplot()
    for state, colour, marker in ((COMPLETE, BLUE, "o"), (PRUNED, GREY, "x")):
        rows = trials[trials["state"] == state]
        if len(rows):
            axes.plot(rows["trial"], rows["value"].astype(float), marker, color=colour, label=state)
    best = best_so_far(trials, minimize)
    if len(best):
        axes.step(best.index, best, where="post", color=VERMILION, label="best so far")
    axes.set(xlabel="Trial", ylabel=capital(titled(objective)))
    _in_view(axes, trials)
    if len(axes.get_legend_handles_labels()[1]):
        axes.legend(frameon=False)
    _title(axes, "Trials", note)
    return figure


def draw_importance(importance: Mapping[str, float], objective: str, note: str) -> "matplotlib.figure.Figure":
    """Return the share of each parameter in what makes a trial good."""
    figure = _figure(7.0, 1.6 + 0.4 * len(importance))
    axes = figure.add_subplot()
    ordered = sorted(importance.items(), key=lambda item: (item[1], item[0]))
    names, shares = [name for name, _ in ordered], [share for _, share in ordered]
    axes.barh(names, shares, color=BLUE)
    for row, share in enumerate(shares):
        axes.annotate(f"{share:.2f}", (share, row), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set(xlim=(0, 1.1 * max(shares) or 1.0), xlabel=f"Share in what makes {titled(objective)} good (PED-ANOVA)")
    _title(axes, "What mattered", note)
    return figure


def draw_slices(trials: pd.DataFrame, keys: list[str], objective: str, note: str) -> "matplotlib.figure.Figure":
    """Return the value of every complete trial by each parameter; later trials are darker."""
    complete = trials[trials["state"] == COMPLETE]
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure = _figure(max(7.0, 1.0 + 3.0 * columns), 0.8 + 2.8 * rows)  # as wide as its title
    for number, key in enumerate(keys):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.scatter(
            place_values(axes, complete[key]),
            complete["value"].astype(float),
            c=complete["trial"],
            cmap="Blues",
            vmin=-0.5 * len(trials),
            edgecolors=BLUE,
            linewidths=0.6,
            s=24,
        )
        axes.set(xlabel=key)
        if number % columns == 0:
            axes.set(ylabel=capital(titled(objective)))
        _in_view(axes, complete)
        if number == 0:
            _title(axes, "Values by parameter, later trials darker", note)
    return figure


def place_values(axes: Any, values: "pd.Series[Any]") -> Any:
    """Return where values stand on the axis: numbers where they are, others side by side.

    Logarithmic over two decades.
    """
    numbers = pd.to_numeric(values, errors="coerce")
    if values.map(lambda value: isinstance(value, bool)).any() or not np.isfinite(numbers.astype(float)).all():
        names = sorted(values.astype(str).unique())
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        return values.astype(str).map(names.index)
    if numbers.min() > 0 and numbers.max() / numbers.min() > 30:
        axes.set_xscale("log")
    return numbers.astype(float)


def _in_view(axes: Any, trials: pd.DataFrame) -> None:
    """Leave out of the view what is far worse than most: a few hopeless trials would flatten all others."""
    values = trials["value"].astype(float).dropna()
    if len(values) < 4:
        return
    low, high = np.percentile(values, [25, 75])
    reach = 3 * (high - low) or 1.0
    bottom, top = max(values.min(), low - reach), min(values.max(), high + reach)
    margin = 0.05 * (top - bottom) or 0.05
    axes.set_ylim(bottom - margin, top + margin)
