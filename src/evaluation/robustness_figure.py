"""Draws how far the accuracy moves when images are perturbed (`src.evaluation.robustness`)."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from src.evaluation.figures import DASHES, GREY, MARKERS, PALETTE, _entry, _figure, _plain, _title
from src.evaluation.wording import capital

if TYPE_CHECKING:
    import matplotlib.figure

COLUMNS = 2


def draw_robustness(table: pd.DataFrame, note: str = "") -> "matplotlib.figure.Figure":
    """Return a panel per perturbation: the change of accuracy in points by level, a line and a band (95 %) per model.

    The dotted line stands where images are as they are.
    """
    names, models = table["perturbation"].unique().tolist(), table["model"].unique().tolist()
    rows = -(-len(names) // COLUMNS)
    figure = _figure(7.2, 1.0 + 2.3 * rows + 0.2 * len(models))
    all_axes = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).ravel()
    for axes, name in zip(all_axes, names, strict=False):
        _draw_panel(axes, table[table["perturbation"] == name], models)
        axes.set_xlabel(f"{_kind(name)}: {table.loc[table['perturbation'] == name, 'unit'].iloc[0]}", fontsize=9)
    for axes in all_axes[::COLUMNS]:
        axes.set_ylabel("Accuracy, points", fontsize=9)
    for axes in all_axes[len(names) :]:
        axes.set_axis_off()
    _title(all_axes[0], "Change of accuracy, with 95 % bands", note)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", frameon=False, fontsize=9)
    return figure


def _draw_panel(axes: Any, rows: pd.DataFrame, models: list[str]) -> None:
    """Draw the lines of a perturbation."""
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.axvline(rows.loc[rows["unchanged"], "level"].iloc[0], color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    for number, model in enumerate(models):
        part = rows[rows["model"] == model]
        part = part[part["unchanged"] | part["accuracy_difference"].notna()]
        keys = ["accuracy_difference", "accuracy_difference_low", "accuracy_difference_high"]
        change, low, high = (100 * part[key].where(~part["unchanged"], 0.0).to_numpy() for key in keys)
        color = PALETTE[number % len(PALETTE)]
        style = {"linestyle": DASHES[number // len(PALETTE) % len(DASHES)], "marker": MARKERS[number % len(MARKERS)]}
        axes.fill_between(part["level"], low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(part["level"], change, color=color, linewidth=1.6, markersize=4, label=_entry(model), **style)
    axes.tick_params(labelsize=9)
    _plain(axes, "both")


def _kind(name: str) -> str:
    """Return how a perturbation's name begins the title of an axis."""
    return name.upper() if name == "jpeg" else capital(name)
