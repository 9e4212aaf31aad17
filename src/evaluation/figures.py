"""Draws the figures of an evaluation. All that is drawn is computed elsewhere, so that tests compare data."""

import io
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from src.evaluation.calibration import ERROR, INTERCEPT, SLOPE, Calibration
from src.evaluation.curves import area_under_curve
from src.evaluation.evaluation import Evaluation
from src.evaluation.fold_tables import FUSION
from src.evaluation.side_by_side import TRAINING
from src.evaluation.slices import ALL, largest_values
from src.evaluation.two_classes import POSITIVE
from src.evaluation.wording import measured, percent, whole

if TYPE_CHECKING:
    import matplotlib.figure

# Okabe and Ito 2008: told apart in every common kind of colour blindness; yellow is left out, too pale for a line.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
PALETTE = [BLUE, VERMILION, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000"]
DASHES = ["-", "--", "-.", ":"]
MARKERS = ["o", "s", "D", "^", "v"]
GREY = "#666666"


def draw_figures(evaluation: Evaluation, note: str = "") -> "dict[str, matplotlib.figure.Figure]":
    """Return the figures "roc", "confusion", "reliability", "calibration", "calibration_classes", "decision" and
    "slices", those whose data are known.

    `note` is printed under each title, such as "image-level folds: optimistic".
    """
    figures = {"confusion": draw_confusion(evaluation.confusion, note)}
    if evaluation.roc:
        figures["roc"] = draw_roc(evaluation, note)
    if evaluation.reliability is not None:
        figures["reliability"] = draw_reliability(evaluation.reliability, evaluation.metrics, note)
    figures |= draw_use(evaluation, note)
    if len(evaluation.slices):
        figures["slices"] = draw_slices(evaluation.slices, note)
    return figures


def draw_roc(evaluation: Evaluation, note: str = "") -> "matplotlib.figure.Figure":
    """Return the ROC curves; of a two-class view with its set points, and the interval of its area."""
    figure = _figure(6.0, 6.0)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    if POSITIVE in evaluation.roc:
        _draw_two_class(axes, evaluation)
        title = evaluation.view
    else:
        _draw_one_against_rest(axes, evaluation)
        title = "Each class against the rest"
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), aspect="equal")
    axes.set(xlabel="1 - specificity", ylabel="Sensitivity")
    axes.grid(color="#E4E4E4", linewidth=0.8)
    _title(axes, f"ROC: {title}", note)
    return figure


def draw_confusion(counts: pd.DataFrame, note: str = "") -> "matplotlib.figure.Figure":
    """Return the confusion matrix: counts, and their share of the true class, which is also the shade."""
    size = len(counts)
    figure = _figure(max(6.0, 2.2 + 0.85 * size), max(5.4, 1.6 + 0.85 * size))
    axes = figure.add_subplot()
    values = counts.to_numpy(dtype=np.float64)
    totals = values.sum(axis=1, keepdims=True)
    shares = np.divide(values, totals, out=np.full(values.shape, np.nan), where=totals > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(values.shape):
        _draw_cell(axes, row, column, whole(float(values[row, column])), float(shares[row, column]), size)
    slant: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if size > 4 else {}
    axes.set_xticks(range(size), counts.columns.tolist(), **slant)
    axes.set_yticks(range(size), counts.index.tolist())
    axes.set(xlabel="Predicted", ylabel="True")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    correct, total = float(np.trace(values)), float(values.sum())
    _title(axes, f"Confusion: {whole(correct)} of {whole(total)} correct ({percent(correct / total)} %)", note)
    return figure


def draw_reliability(table: pd.DataFrame, metrics: dict[str, float], note: str = "") -> "matplotlib.figure.Figure":
    """Accuracy against confidence with 95 % intervals, above the number of cases at each confidence."""
    figure = _figure(6.0, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)), label="perfectly calibrated")
    error = _error(table["accuracy"], table)
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
    _title(upper, f"Reliability: ECE {measured(metrics, 'ece', level=True)}", note)
    return figure


def draw_use(evaluation: Evaluation, note: str = "") -> "dict[str, matplotlib.figure.Figure]":
    """Return the figures "calibration", "calibration_classes" and "decision", those whose data are known."""
    figures = {}
    drawn = {name: each for name, each in evaluation.calibration.items() if len(each.curve)}
    if two := drawn.pop(POSITIVE, None):
        figures["calibration"] = draw_calibration(two, evaluation.view, note)
    if drawn:
        figures["calibration_classes"] = draw_calibration_classes(drawn, note)
    if len(evaluation.decision):
        figures["decision"] = draw_decision(evaluation.decision, evaluation.view, note)
    return figures


def draw_calibration(calibration: Calibration, view: str, note: str = "") -> "matplotlib.figure.Figure":
    """The smoothed share of positive cases against the score, with its band, above the scores of both kinds."""
    figure = _figure(6.0, 6.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)), label="perfectly calibrated")
    curve, found = calibration.curve, calibration.figures
    upper.fill_between(curve["score"], curve["low"], curve["high"], color=BLUE, alpha=0.2, linewidth=0)
    upper.plot(curve["score"], curve["observed"], color=BLUE, linewidth=2, label="smoothed, with its 95 % band")
    for name, metric in {"slope": SLOPE, "intercept": INTERCEPT, "mean distance": ERROR}.items():
        upper.plot([], [], " ", label=f"{name} {measured(found, metric, digits=2)}")
    upper.set(ylim=(-0.02, 1.02), ylabel="Share of positive cases")
    upper.legend(loc="best", framealpha=1, edgecolor="#CCCCCC", fontsize=9)
    bars = calibration.histogram
    width = 1 / len(bars)
    for name, sign, color in (("positive", 1, VERMILION), ("negative", -1, GREY)):
        lower.bar(bars["start"] + width / 2, sign * bars[name], width=0.9 * width, color=color, label=name)
    lower.axhline(0, color=GREY, linewidth=0.8)
    lower.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    lower.set(xlim=(-0.02, 1.02), xlabel="Score: predicted probability of the positive side", ylabel="Cases")
    lower.legend(loc="best", fontsize=8, framealpha=1, edgecolor="#CCCCCC")
    for axes in (upper, lower):
        _plain(axes, "both")
    _title(upper, f"Calibration: {view}", note)
    return figure


def draw_calibration_classes(calibrations: dict[str, Calibration], note: str = "") -> "matplotlib.figure.Figure":
    """The smoothed share of each class against its probability, with pale bands."""
    figure = _figure(6.0, 6.0)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    for number, (name, calibration) in enumerate(calibrations.items()):
        curve, color = calibration.curve, PALETTE[number % len(PALETTE)]
        axes.fill_between(curve["score"], curve["low"], curve["high"], color=color, alpha=0.1, linewidth=0)
        found = calibration.figures
        slope = f": slope {measured(found, SLOPE, digits=2)}" if SLOPE in found else ""
        line, label = DASHES[number % len(DASHES)], _entry(f"{name}{slope}")
        axes.plot(curve["score"], curve["observed"], color=color, linestyle=line, linewidth=2, label=label)
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), aspect="equal")
    axes.set(xlabel="Predicted probability of the class", ylabel="Share of its cases (95 % bands)")
    _plain(axes, "both")
    axes.legend(loc="best", framealpha=1, edgecolor="#CCCCCC", fontsize=9)
    _title(axes, "Calibration: each class against the rest", note)
    return figure


def draw_decision(table: pd.DataFrame, view: str, note: str = "") -> "matplotlib.figure.Figure":
    """The net benefit of treating by the score, with its band, and of treating everybody and nobody."""
    figure = _figure(6.0, 5.2)
    axes = figure.add_subplot()
    places = table["threshold"]
    axes.fill_between(places, table["model_low"], table["model_high"], color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(places, table["model"], color=BLUE, linewidth=2, label="by the score, with its 95 % band")
    axes.plot(places, table["all"], color=VERMILION, linewidth=1.6, linestyle="--", label="treat everybody")
    axes.plot(places, table["none"], color=GREY, linewidth=1.6, linestyle=":", label="treat nobody")
    top = float(table[["model_high", "all"]].max().max())
    axes.set(xlim=(0, 1), ylim=(-0.25 * top, 1.05 * top))
    axes.set(xlabel="Threshold: the risk above which one would treat", ylabel="Net benefit per case")
    _plain(axes, "both")
    axes.legend(loc="best", framealpha=1, edgecolor="#CCCCCC", fontsize=9)
    _title(axes, f"Decision curve: {view}", note)
    return figure


def draw_slices(table: pd.DataFrame, note: str = "") -> "matplotlib.figure.Figure":
    """The accuracy of each slice with its 95 % interval, below the name of its column; the line is that of all cases.

    Of a column with more than twelve values those with the most cases.
    """
    every, rows = table[table["column"] == ALL].iloc[0], largest_values(table[table["column"] != ALL])
    labels, places = _headed(rows)
    figure = _figure(6.8, max(3.0, 1.5 + 0.27 * len(labels)))
    axes = figure.add_subplot()
    axes.axvspan(every["accuracy_low"], every["accuracy_high"], color="#E8E8E8", linewidth=0)
    axes.axvline(every["accuracy"], color=GREY, linewidth=1.2)
    _whiskers(axes, rows.rename(columns={"accuracy_low": "low", "accuracy_high": "high"}), "accuracy", places, BLUE)
    axes.set_yticks(range(len(labels)), labels)
    for number, tick in enumerate(axes.get_yticklabels()):
        tick.set_fontweight("normal" if number in places else "bold")
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(max(0.0, min(rows["accuracy_low"].min(), every["accuracy_low"]) - 0.05), 1.01))
    axes.set(ylim=(len(labels) - 0.4, -0.6))
    axes.set_xlabel(f"Accuracy (95 % interval); all {every['cases']} cases: {every['accuracy']:.3f}", loc="right")
    _plain(axes, "x")
    _wide_title(axes, "Accuracy by slice", note)
    return figure


def draw_groups(table: pd.DataFrame, note: str = "") -> "matplotlib.figure.Figure":
    """Return the accuracy in percent of each model in each group, with its 95 % interval.

    Hollow where patients leak.
    """
    models, groups = table["model"].unique().tolist(), table["group"].unique().tolist()
    figure = _figure(7.0, max(3.0, 1.8 + (0.25 + 0.2 * len(groups)) * len(models)))
    axes = figure.add_subplot()
    labelled = False
    for number, group in enumerate(groups):
        rows = table[table["group"] == group]
        places = [models.index(model) + (number - (len(groups) - 1) / 2) * 0.7 / len(groups) for model in rows["model"]]
        leaks = bool(rows["leaks"].iloc[0])
        label = f"{group} (image-level: optimistic)".lstrip() if leaks else group
        labelled = labelled or bool(label)
        color, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        _whiskers(axes, rows, "mean", places, color, marker=marker, hollow=leaks, label=label)
    axes.set_yticks(range(len(models)), models)
    axes.set(ylim=(len(models) - 0.4, -0.6))
    axes.set_xlabel("Accuracy, % (95 % interval)", loc="right")
    _plain(axes, "x")
    if labelled:
        figure.legend(loc="outside lower left", frameon=False)
    _wide_title(axes, "Accuracy, side by side", note)
    return figure


def draw_learning_curve(table: pd.DataFrame, note: str = "") -> "matplotlib.figure.Figure":
    """Accuracy, and of a two-class view the AUC, against the number of training patients, with 95 % intervals.

    A line per model (and whatever else tells groups apart), hollow markers where patients leak.
    """
    panels = [("mean", "low", "high", "Accuracy, %")]
    panels += [("binary_auc", "binary_auc_low", "binary_auc_high", "AUC")] if "binary_auc" in table else []
    lines = _lines(table)
    figure = _figure(6.8 * len(panels), 5.0 + 0.2 * len(lines) / len(panels))
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, low, high, title) in zip(all_axes, panels, strict=True):
        for number, (label, rows) in enumerate(lines.items()):
            shift = 1.012 ** (number - (len(lines) - 1) / 2)  # whiskers at one place stand beside each other
            points = rows.assign(patients=shift * rows["patients"], value=rows[name], low=rows[low], high=rows[high])
            _draw_line(axes, points, label)
        _patient_axis(axes, table["patients"])
        axes.set(xlabel="Training patients (mean over folds)", ylabel=f"{title} (95 % interval)")
        _plain(axes, "both")
    _title(figure.axes[0], "Learning curve", "; ".join(filter(None, [*_views(table), note])))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", frameon=False, ncols=len(panels))
    return figure


def draw_training(table: pd.DataFrame, note: str = "") -> "matplotlib.figure.Figure":
    """A panel per curve of `src.evaluation.curves.training_curves`, a line per cell, over the range of its fits."""
    curves, cells = table["curve"].unique().tolist(), table["cell"].unique().tolist()
    figure = _figure(max(6.0, 4.6 * len(curves)), 4.4 + 0.2 * len(cells) / len(curves))
    for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        rows = table[table["curve"] == curve]
        for number, cell in enumerate(cells):
            part = rows[rows["cell"] == cell].sort_values("epoch")
            color, dash = PALETTE[number % len(PALETTE)], DASHES[number // len(PALETTE) % len(DASHES)]
            axes.fill_between(part["epoch"], part["low"], part["high"], color=color, alpha=0.15, linewidth=0)
            axes.plot(part["epoch"], part["mean"], color=color, linestyle=dash, linewidth=1.8, label=_entry(cell))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="Epoch", ylabel=str(curve).replace("_", " ").capitalize())
        _plain(axes, "both")
    _title(figure.axes[0], "Training: mean and range over fits", note)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", frameon=False, ncols=len(curves))
    return figure


def to_svg(figure: "matplotlib.figure.Figure") -> bytes:
    """Return a figure as SVG without a background, its letters as paths; the same bytes for the same figure."""
    import matplotlib

    file = io.BytesIO()
    with _literal(figure), matplotlib.rc_context({"svg.hashsalt": "tenfold", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def _views(table: pd.DataFrame) -> list[str]:
    """Return what two-class figures hold against what."""
    found = dict.fromkeys(table["view"]) if "view" in table and "binary_auc" in table else {}
    return [f"AUC: {view}" for view in found if view]


def _lines(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each line of a learning curve by its name, with the numbers of its model and of its variant."""
    axes = table.columns[1 : table.columns.tolist().index("group")]
    others = [name for name in axes if name != TRAINING]
    variants = table[others].agg(", ".join, axis=1) if others else pd.Series("", index=table.index)
    order = sorted(table["model"].unique(), key=lambda name: name == FUSION)
    numbers = table.assign(
        model_number=table["model"].map(order.index), variant=variants, variant_number=pd.factorize(variants)[0]
    )
    found = {}
    for (_, _), rows in numbers.groupby(["model_number", "variant_number"]):
        mark = " (image-level: optimistic)" if rows["leaks"].any() else ""
        name = ", ".join(filter(None, [rows["model"].iloc[0], rows["variant"].iloc[0]]))
        found[name + mark] = rows.sort_values("patients")
    return found


def _draw_line(axes: Any, rows: pd.DataFrame, label: str) -> None:
    """A model has a colour and a marker, a variant of it a dash."""
    model, variant = int(rows["model_number"].iloc[0]), int(rows["variant_number"].iloc[0])
    color, marker = PALETTE[model % len(PALETTE)], MARKERS[model % len(MARKERS)]
    style = {"color": color, "marker": marker, "linestyle": DASHES[variant % len(DASHES)], "linewidth": 1.6}
    style |= {"markerfacecolor": "white" if rows["leaks"].any() else color, "capsize": 3}
    patients, values = rows["patients"].to_numpy(), rows["value"].to_numpy()
    axes.errorbar(patients, values, _error(rows["value"], rows), label=_entry(label), **style)


def _error(values: pd.Series, rows: pd.DataFrame) -> Float[np.ndarray, "2 values"]:
    """Return the distances from values to the ends `low` and `high` of their intervals."""
    distances: Float[np.ndarray, "2 values"] = np.maximum([values - rows["low"], rows["high"] - values], 0.0)
    return distances


def _patient_axis(axes: Any, patients: pd.Series) -> None:
    """A scale with a mark at each number of patients, logarithmic where they differ much."""
    from matplotlib.ticker import FixedLocator, NullLocator

    places = sorted(set(patients.round(1)))
    # A mark close to the one before it would stand on top of it.
    places = [place for place, before in zip(places, [0.0, *places], strict=False) if place > 1.1 * before]
    if places[0] > 0 and places[-1] / places[0] > 4:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{place:.1f}".removesuffix(".0") for place in places])


def _headed(rows: pd.DataFrame) -> tuple[list[str], list[int]]:
    """Return the labels from the top, each column's name above its values, and the places of the values."""
    labels: list[str] = []
    places: list[int] = []
    for column, part in rows.groupby("column", sort=False):
        labels.append(str(column))
        for row in part.to_dict("records"):
            places.append(len(labels))
            labels.append(f"{textwrap.shorten(str(row['value']), 36, placeholder='...')}  (n = {row['cases']})")
    return labels, places


def _whiskers(
    axes: Any,
    rows: pd.DataFrame,
    column: str,
    places: list[int] | list[float],
    color: str,
    marker: str = "o",
    hollow: bool = False,
    label: str = "",
) -> None:
    """A dot with its interval `low`..`high` for each row, at heights `places`."""
    face = "white" if hollow else color
    style = {"linestyle": "", "marker": marker, "markerfacecolor": face, "capsize": 3, "linewidth": 1.6}
    axes.errorbar(
        rows[column].to_numpy(), places, xerr=_error(rows[column], rows), color=color, label=_entry(label), **style
    )


def _plain(axes: Any, grid: str) -> None:
    axes.grid(color="#E4E4E4", linewidth=0.8, axis=grid)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_two_class(axes: Any, evaluation: Evaluation) -> None:
    curve = evaluation.roc[POSITIVE]
    known = "binary_auc" in evaluation.metrics
    text = measured(evaluation.metrics, "binary_auc", level=True) if known else f"{area_under_curve(curve):.3f}"
    axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], color=BLUE, linewidth=2.2, label=f"AUC {text}")
    places: list[tuple[float, float]] = []
    for number, point in enumerate(evaluation.set_points.to_dict("records")):
        where = (1 - point["specificity"], point["sensitivity"])
        rates = f"sensitivity {percent(point['sensitivity'])} %, specificity {percent(point['specificity'])} %"
        style = {"color": PALETTE[1 + number % 4], "marker": MARKERS[number % len(MARKERS)]}
        rule = f" ({point['rule']})" if point.get("rule") else ""
        label = f"at {point['threshold']:.2f}{rule}: {rates}"
        axes.plot(*where, linestyle="", markersize=9, markeredgecolor="white", zorder=3, label=label, **style)
        below = -12 - 13 * places.count(where)  # set points may coincide
        places.append(where)
        offset = {"xytext": (12, below), "textcoords": "offset points", "va": "top"}
        axes.annotate(f"{point['threshold']:.2f}", where, color=style["color"], weight="bold", **offset)
    axes.legend(loc="lower right", framealpha=1, edgecolor="#CCCCCC")


def _draw_one_against_rest(axes: Any, evaluation: Evaluation) -> None:
    for number, (name, curve) in enumerate(evaluation.roc.items()):
        style = {"color": PALETTE[number % len(PALETTE)], "linestyle": DASHES[number % len(DASHES)]}
        label = _entry(f"{name}: AUC {area_under_curve(curve):.3f}")
        axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], linewidth=2, label=label, **style)
    title = f"mean AUC {measured(evaluation.metrics, 'auc', level=True)}" if "auc" in evaluation.metrics else None
    axes.legend(loc="lower right", title=title, alignment="left", framealpha=1, edgecolor="#CCCCCC")


def _draw_cell(axes: Any, row: int, column: int, count: str, share: float, size: int) -> None:
    color = "white" if share > 0.55 else "black"
    large = 16 if size <= 5 else 12
    axes.text(column, row - 0.08, count, ha="center", va="center", color=color, fontsize=large)
    text = "-" if np.isnan(share) else f"{percent(share)} %"
    axes.text(column, row + 0.22, text, ha="center", va="center", color=color, fontsize=0.65 * large)


def image_of(figure: "matplotlib.figure.Figure", **options: Any) -> bytes:
    """Return the bytes of a figure as an image file, by `savefig` with these options.

    It is laid out once and drawn once.
    """
    file = io.BytesIO()
    with _literal(figure):
        engine = figure.get_layout_engine()
        if engine is not None:  # `savefig` would draw everything for the layout, and then again
            engine.execute(figure)
            figure.set_layout_engine(None)
        figure.savefig(file, **options)
    return file.getvalue()


@contextmanager
def _literal(figure: "matplotlib.figure.Figure") -> Iterator[None]:
    """Yield where a figure is drawn with its texts as they are: names of classes, files and runs are no formulas.

    A letter that the font lacks is drawn as a box, as the tables beside the figures have it.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from", category=UserWarning)
        yield


def _entry(name: object) -> str:
    """Return a name as an entry of a legend, which leaves out what begins with an underscore."""
    text = str(name)
    return f" {text}" if text.startswith("_") else text


def _figure(width: float, height: float) -> "matplotlib.figure.Figure":
    """Return an empty figure of this size in inches that belongs to no window and to no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _title(axes: Any, title: str, note: str) -> None:
    lines = textwrap.wrap(note, 68, max_lines=3, placeholder=" ...")  # as wide as the narrowest figure
    headings = textwrap.wrap(title, 48)  # as wide, in bold
    axes.set_title("\n".join(headings), loc="left", fontsize=13, weight="bold", pad=10 + 14 * len(lines))
    if lines:
        place = {"xycoords": "axes fraction", "xytext": (0, 8), "textcoords": "offset points"}
        axes.annotate("\n".join(lines), (0, 1), color=GREY, fontsize=10, **place)


def _wide_title(axes: Any, title: str, note: str) -> None:
    """A title at the figure's edge, where long names stand left of the axes; the note is above what is left of them."""
    lines = textwrap.wrap(note, 44, max_lines=4, placeholder=" ...")
    axes.figure.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
    if lines:
        axes.set_title("\n".join(lines), loc="left", fontsize=10, color=GREY)
