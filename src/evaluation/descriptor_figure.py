"""Draws maps of images by their descriptors (`src.evaluation.descriptors`)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from src.evaluation.descriptors import RIGHT, WRONG, DescriptorMap
from src.evaluation.figures import GREY, MARKERS, PALETTE, _entry, _figure
from src.evaluation.wording import capital
from src.system.natural_order import natural_order

if TYPE_CHECKING:
    import matplotlib.figure

COLUMNS = 3
PANEL = 3.5
"""Inches that a panel is wide."""
SHOWN = 12
"""Values with a colour and mark of their own; the images of rarer ones are grey."""
PATIENT = "patient"


def draw_descriptor_map(found: DescriptorMap, images: pd.DataFrame, columns: list[str]) -> "matplotlib.figure.Figure":
    """Return the map, a panel for each column of `images`, coloured by its values as text, "" where not known.

    Of patients, of whom there may be hundreds, lines join the images of each.
    """
    rows = -(-len(columns) // COLUMNS)
    figure = _figure(PANEL * min(len(columns), COLUMNS), (PANEL + 0.4) * rows)
    grid = figure.subplots(rows, min(len(columns), COLUMNS), squeeze=False, sharex=True, sharey=True).ravel()
    for axes, column in zip(grid, columns, strict=False):
        (draw_stars if column == PATIENT else draw_values)(axes, found.places, images[column].to_numpy(dtype=str))
        axes.set_title(capital(column), loc="left", fontsize=11, weight="bold")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("#CCCCCC")
        axes.set_xlabel(found.axes[0], fontsize=8, color=GREY, loc="right")
        axes.set_ylabel(found.axes[1], fontsize=8, color=GREY, loc="top")
    for axes in grid[len(columns) :]:
        axes.set_axis_off()
    return figure


def draw_values(axes: Any, places: np.ndarray, values: np.ndarray) -> None:
    """Draw images by their value: the most frequent ones in colours and marks of their own, the others in grey."""
    counts = pd.Series(values[values != ""]).value_counts()
    shown = sorted(counts.index[:SHOWN], key=natural_order)
    if set(counts.index) <= {RIGHT, WRONG}:
        shown = [WRONG]
    others = ~np.isin(values, shown)
    if others.any():
        name = RIGHT if shown == [WRONG] else "others" if len(counts) > SHOWN else "not known"
        draw_points(axes, places[others], "#BBBBBB", "o", f"{name} ({others.sum()})")
    for number, value in enumerate(shown):
        own = values == value
        color = PALETTE[1] if shown == [WRONG] else PALETTE[number % len(PALETTE)]
        draw_points(axes, places[own], color, MARKERS[number // len(PALETTE)], f"{value} ({own.sum()})")
    style = {"loc": "upper left", "bbox_to_anchor": (0, -0.06), "frameon": False, "fontsize": 8, "borderaxespad": 0.2}
    axes.legend(ncols=3 if max(map(len, shown)) < 8 else 2, handletextpad=0.1, columnspacing=1.0, **style)


def draw_points(axes: Any, places: np.ndarray, color: str, marker: str, label: str) -> None:
    """Draw images as marks."""
    axes.scatter(*places.T, s=16, color=color, marker=marker, linewidths=0, alpha=0.8, label=_entry(label))


def draw_stars(axes: Any, places: np.ndarray, patients: np.ndarray) -> None:
    """Draw the images of each patient with lines to their mean, in a colour by turns; single ones in grey."""
    names, number, counts = np.unique(patients, return_inverse=True, return_counts=True)
    several = (counts > 1) & (names != "")
    means = np.stack([np.bincount(number, values) / counts for values in places.T], axis=1)[number]
    joined, turn = several[number], (np.cumsum(several) - 1)[number] % len(PALETTE)
    draw_points(axes, places[~joined], "#BBBBBB", "o", "")
    for place, color in enumerate(PALETTE):
        own = joined & (turn == place)
        ends = np.stack([places[own], means[own], np.full((own.sum(), 2), np.nan)], axis=1)  # a gap after each line
        axes.plot(*ends.reshape(-1, 2).T, color=color, linewidth=0.8, alpha=0.6)
        draw_points(axes, places[own], color, "o", "")
    text = f"{several.sum()} patients of two images or more,\njoined by lines; colours by turns"
    axes.annotate(text, (0, -0.1), xycoords="axes fraction", fontsize=8, va="top")
