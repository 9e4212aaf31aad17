"""Draws the figures of an evaluation. All that is drawn is computed elsewhere, so that tests compare data."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from src.evaluation.binary import POSITIVE
from src.evaluation.curves import area
from src.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    import matplotlib.figure

# Okabe and Ito 2008: told apart in every common kind of colour blindness; yellow is left out, too pale for a line.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
PALETTE = [BLUE, VERMILION, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000"]
DASHES = ["-", "--", "-.", ":"]
MARKERS = ["o", "s", "D", "^", "v"]
GREY = "#666666"


def draw(evaluation: Evaluation, note: str = "") -> "dict[str, matplotlib.figure.Figure]":
    """The figures "roc", "confusion" and "reliability", those whose data are known.

    `note` is printed under each title, such as "image-level folds: optimistic".
    """
    figures = {"confusion": draw_confusion(evaluation.confusion, note)}
    if evaluation.roc:
        figures["roc"] = draw_roc(evaluation, note)
    if evaluation.reliability is not None:
        figures["reliability"] = draw_reliability(evaluation.reliability, evaluation.metrics, note)
    return figures


def draw_roc(evaluation: Evaluation, note: str = "") -> "matplotlib.figure.Figure":
    """The ROC curves; of a two-class view with its set points, and the interval of its area."""
    figure = _figure(6.0, 6.0)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    if POSITIVE in evaluation.roc:
        _draw_two_class(axes, evaluation)
        title = " + ".join(evaluation.positive) + " against the rest"
    else:
        _draw_one_against_rest(axes, evaluation)
        title = "Each class against the rest"
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), aspect="equal")
    axes.set(xlabel="1 - specificity", ylabel="Sensitivity")
    axes.grid(color="#E4E4E4", linewidth=0.8)
    _title(axes, f"ROC: {title}", note)
    return figure


def draw_confusion(counts: pd.DataFrame, note: str = "") -> "matplotlib.figure.Figure":
    """The confusion matrix: counts, and their share of the true class, which is also the shade."""
    size = len(counts)
    figure = _figure(max(6.0, 2.2 + 0.85 * size), max(5.4, 1.6 + 0.85 * size))
    axes = figure.add_subplot()
    values = counts.to_numpy()
    totals = values.sum(axis=1, keepdims=True)
    shares = np.divide(values, totals, out=np.full(values.shape, np.nan), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(values.shape):
        _draw_cell(axes, row, column, int(values[row, column]), float(shares[row, column]), size)
    slant: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if size > 4 else {}
    axes.set_xticks(range(size), counts.columns.tolist(), **slant)
    axes.set_yticks(range(size), counts.index.tolist())
    axes.set(xlabel="Predicted", ylabel="True")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    correct, total = int(np.trace(values)), int(values.sum())
    _title(axes, f"Confusion: {correct} of {total} correct ({100 * correct / total:.1f} %)", note)
    return figure


def draw_reliability(table: pd.DataFrame, metrics: dict[str, float], note: str = "") -> "matplotlib.figure.Figure":
    """Accuracy against confidence with Wilson's 95 % intervals, above the number of cases at each confidence."""
    figure = _figure(6.0, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)), label="perfectly calibrated")
    error = np.maximum([table["accuracy"] - table["low"], table["high"] - table["accuracy"]], 0)
    upper.errorbar(table["confidence"], table["accuracy"], error, color=BLUE, marker="o", capsize=3, linewidth=1.6)
    upper.set(ylim=(-0.02, 1.02), ylabel="Accuracy (95 % interval)")
    upper.legend(loc="best", framealpha=1, edgecolor="#CCCCCC")
    lower.bar(table["confidence"], table["count"], width=0.025, color=BLUE)
    start = max(0.0, float(table["confidence"].min()) - 0.1)
    lower.set(xlim=(start, 1.02), xlabel="Confidence: probability of the predicted class", ylabel="Cases")
    for axes in (upper, lower):
        axes.grid(color="#E4E4E4", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    _title(upper, f"Reliability: ECE {_with_interval(metrics, 'ece')}", note)
    return figure


def _draw_two_class(axes: Any, evaluation: Evaluation) -> None:
    curve = evaluation.roc[POSITIVE]
    known = "binary_auc" in evaluation.metrics
    text = _with_interval(evaluation.metrics, "binary_auc") if known else f"{area(curve):.3f}"
    axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], color=BLUE, linewidth=2.2, label=f"AUC {text}")
    for number, point in enumerate(evaluation.set_points.to_dict("records")):
        where = (1 - point["specificity"], point["sensitivity"])
        rates = f"sensitivity {100 * point['sensitivity']:.1f} %, specificity {100 * point['specificity']:.1f} %"
        style = {"color": PALETTE[1 + number % 4], "marker": MARKERS[number % len(MARKERS)]}
        label = f"at {point['threshold']:.2f}: {rates}"
        axes.plot(*where, linestyle="", markersize=9, markeredgecolor="white", zorder=3, label=label, **style)
        offset = {"xytext": (12, -12), "textcoords": "offset points", "va": "top"}
        axes.annotate(f"{point['threshold']:.2f}", where, color=style["color"], weight="bold", **offset)
    axes.legend(loc="lower right", framealpha=1, edgecolor="#CCCCCC")


def _draw_one_against_rest(axes: Any, evaluation: Evaluation) -> None:
    for number, (name, curve) in enumerate(evaluation.roc.items()):
        style = {"color": PALETTE[number % len(PALETTE)], "linestyle": DASHES[number % len(DASHES)]}
        label = f"{name}: AUC {area(curve):.3f}"
        axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], linewidth=2, label=label, **style)
    title = f"mean AUC {_with_interval(evaluation.metrics, 'auc')}" if "auc" in evaluation.metrics else None
    axes.legend(loc="lower right", title=title, alignment="left", framealpha=1, edgecolor="#CCCCCC")


def _draw_cell(axes: Any, row: int, column: int, count: int, share: float, size: int) -> None:
    color = "white" if share > 0.55 else "black"
    large = 16 if size <= 5 else 12
    axes.text(column, row - 0.08, str(count), ha="center", va="center", color=color, fontsize=large)
    text = "-" if np.isnan(share) else f"{100 * share:.1f} %"
    axes.text(column, row + 0.22, text, ha="center", va="center", color=color, fontsize=0.65 * large)


def _figure(width: float, height: float) -> "matplotlib.figure.Figure":
    """An empty figure of this size in inches that belongs to no window and to no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _title(axes: Any, title: str, note: str) -> None:
    lines = textwrap.wrap(note, 68, max_lines=3, placeholder=" ...")  # as wide as the narrowest figure
    axes.set_title(title, loc="left", fontsize=13, weight="bold", pad=10 + 14 * len(lines))
    if lines:
        place = {"xycoords": "axes fraction", "xytext": (0, 8), "textcoords": "offset points"}
        axes.annotate("\n".join(lines), (0, 1), color=GREY, fontsize=10, **place)


def _with_interval(metrics: dict[str, float], name: str) -> str:
    value = f"{metrics[name]:.3f}"
    if f"{name}_low" not in metrics:
        return value
    return f"{value} (95 %: {metrics[f'{name}_low']:.3f} to {metrics[f'{name}_high']:.3f})"
