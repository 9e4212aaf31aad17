"""What commands show of an evaluation, and of the fusion of a sweep, and write into a folder."""

import hashlib
import json
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.cli.terminal import console, print_table
from src.evaluation.chosen_threshold import ChosenThresholds
from src.evaluation.evaluation import Evaluation
from src.evaluation.fold_tables import FUSION
from src.evaluation.side_by_side import SideBySide
from src.evaluation.text_tables import (
    VALUES,
    TextTable,
    describe_decision,
    tabulate_beside,
    tabulate_folds,
    tabulate_groups,
    tabulate_slices,
    to_latex,
    to_markdown,
)
from src.evaluation.two_classes import POSITIVE
from src.evaluation.wording import ends, measured, percent, spread, titled, whole
from src.system.files import replace_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from src.evaluation.side_by_side import Group


def show_evaluation(evaluation: Evaluation, title: str, notes: list[str]) -> None:
    """Print the table by fold, and the figures."""
    show_folds(evaluation, title, notes)
    show_figures(evaluation)


def show_figures(evaluation: Evaluation) -> None:
    """Print the metrics with their intervals, the two-class figures, and the slices."""
    terminal = console()
    print_table(metrics_table(evaluation))
    if len(evaluation.set_points):
        terminal.print(f"Two classes: {evaluation.view}")
        for point in evaluation.set_points.to_dict("records"):
            terminal.print(f"  {point_line(point, evaluation.chosen)}")
        missed = ", ".join(f"{whole(count)} {name}" for name, count in evaluation.missed.items())
        terminal.print(f"  missed at {evaluation.set_points['threshold'].iloc[-1]:.2f}: {missed}")
        for line in use_lines(evaluation):
            terminal.print(f"  {line}")
    if len(evaluation.slices):
        print_table(slices_table(evaluation))
    for said in evaluation.estimand:
        terminal.print(said, style="dim")


def point_line(point: Mapping[Hashable, Any], chosen: ChosenThresholds | None) -> str:
    """Return one line on a threshold, with 95 % intervals."""
    rates = [f"{name} {measured(point, name, 100, 1)}" for name in ("sensitivity", "specificity")]
    accuracy = spread(100 * point["accuracy"], 100 * point["accuracy_std"], 2)
    rates.append(f"accuracy {accuracy} ({ends(100 * point['accuracy_low'], 100 * point['accuracy_high'])})")
    how = ""
    if chosen is not None and point.get("rule"):
        how = f" on average ({chosen.rule}, chosen by inner folds: {ends(*chosen.ends, digits=2)})"
    return f"at {point['threshold']:.2f}{how}: {', '.join(rates)}"


def use_lines(evaluation: Evaluation) -> Iterator[str]:
    """Yield predictive values and net benefit, and why there is no calibration slope, if there is none."""
    for point in evaluation.predictive.to_dict("records"):
        values = ", ".join(f"{title} {measured(point, name, 100, 1)}" for name, title in VALUES.items())
        yield f"at {point['threshold']:.2f}, where {percent(point['prevalence'])} % are positive: {values}"
    yield describe_decision(evaluation.decision)
    if reason := evaluation.calibration[POSITIVE].reason:
        yield f"no calibration slope: {reason}"


def show_folds(evaluation: Evaluation, title: str, notes: list[str]) -> None:
    """Print the table by fold, and the notes."""
    terminal = console()
    print_table(tabulate_folds(evaluation.table, f"{title}: accuracy, %"), no_wrap=True)
    last = evaluation.table.iloc[-1]
    over = f"{evaluation.part}s" + ("" if last.name == FUSION else " and seeds")
    figure = f"{last.name}: {spread(last['mean'], last['std'], 2)} % (mean, population deviation over {over})"
    terminal.print(f"{figure}; {beside_it(evaluation)}")
    for note in [*notes, *evaluation.notes]:
        terminal.print(f"note: {note}", style="yellow")


def show_groups(groups: "list[Group]", together: SideBySide | None, title: str) -> None:
    """Print a sweep's fusion; of several groups the table of each, and then all of them side by side."""
    for group in groups:
        named = f"{title}, {group.title}" if group.title else title
        (show_evaluation if len(groups) == 1 else show_folds)(group.evaluation, named, group.notes)
    if together is None:
        return
    if len(groups) > 1:
        print_table(tabulate_groups(together, f"{title}: accuracy, %, side by side"))
    if len(together.published):
        print_table(tabulate_beside(together, "published, and ours, %"))


def cell_summary(evaluation: Evaluation, name: str) -> str:
    """Return one line on a cell of a sweep."""
    row = evaluation.table.iloc[-1]
    auc = measured(evaluation.metrics, "auc", digits=4)
    figure = f"accuracy by {evaluation.part} {spread(row['mean'], row['std'])} %"
    return f"{name}: {figure} ({beside_it(evaluation)}), AUC {auc}"


def beside_it(evaluation: Evaluation) -> str:
    """Return what an accuracy has to be held against."""
    name, share = evaluation.commonest
    return f"always naming {name}, the most frequent class: {percent(share)} %"


def markdown_with_notes(evaluation: Evaluation, notes: list[str]) -> str:
    """Return the table by fold in Markdown, with what its reader has to know of it and of the two-class figures."""
    said = [f"Accuracy in %; {beside_it(evaluation)}."]
    said += [f"Two classes: {evaluation.view}."] if evaluation.view else []
    return to_markdown(replace(tabulate_folds(evaluation.table), notes=[*said, *notes, *evaluation.notes]))


def slices_table(evaluation: Evaluation) -> TextTable:
    """Return the metrics by slice for the terminal: the name of a column stands once."""
    table = tabulate_slices(evaluation.slices, measured, titled)
    left = len(evaluation.slices) - len(table.rows)
    two = f"; two classes: {evaluation.view}" if "binary_auc" in evaluation.slices else ""
    more = f"; {left} more in slices.csv" if left else ""
    rows = [[row[0] if row[0] != before[0] else "", *row[1:]] for before, row in pairwise([[""], *table.rows])]
    return replace(table, caption=f"slices (95 % intervals){two}{more}", rows=rows)


def metrics_table(evaluation: Evaluation) -> TextTable:
    """Return the metrics with their 95 % intervals for the terminal; of many classes beside them those of the two-class
    view, where there is one."""
    metrics, header, sides = evaluation.metrics, ["metric", "all classes"], [""]
    if evaluation.positive and len(evaluation.classes) > 2:
        header.append(f"two classes (positive: {' + '.join(evaluation.positive)})")
        sides.append("binary_")
    shown = (name for name in metrics if not name.endswith(("_low", "_high")) and not name.startswith("threshold_"))
    names = [name.removeprefix("binary_") for name in shown]
    rows = [[name, *(measured(metrics, side + name, digits=4) for side in sides)] for name in dict.fromkeys(names)]
    return TextTable(header=header, rows=rows, text=len(header))


def write_evaluation(evaluation: Evaluation, folder: Path, notes: list[str]) -> None:
    """Write the table, the metrics and the figures."""
    from src.evaluation.figures import draw_figures

    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "table.csv", evaluation.table.round(4).to_csv().encode())
    if len(evaluation.folds):
        replace_file(folder / "folds.csv", evaluation.folds.round(4).to_csv().encode())
    replace_file(folder / "table.md", markdown_with_notes(evaluation, notes).encode())
    replace_file(folder / "table.tex", to_latex(tabulate_folds(evaluation.table, "Accuracy, %")).encode())
    replace_file(folder / "metrics.json", (json.dumps(evaluation.metrics, indent=2) + "\n").encode())
    if evaluation.chosen is not None:
        replace_file(folder / "thresholds.csv", evaluation.chosen.folds.round(6).to_csv().encode())
    tables = {"calibration_curve": calibration_curves(evaluation), "decision_curve": evaluation.decision}
    tables |= {"calibration": calibration_table(evaluation), "predictive_values": evaluation.predictive}
    tables |= {"set_points": evaluation.set_points}
    for name, table in tables.items():
        if len(table):
            replace_file(folder / f"{name}.csv", table.round(6).to_csv(index=False).encode())
    if len(evaluation.slices):
        replace_file(folder / "slices.csv", evaluation.slices.round(6).to_csv(index=False).encode())
        replace_file(folder / "slices.md", to_markdown(tabulate_slices(evaluation.slices, measured, titled)).encode())
    for name, figure in draw_figures(evaluation, "; ".join(notes)).items():
        save_figure(figure, folder / f"{name}.png")


def calibration_table(evaluation: Evaluation) -> "pd.DataFrame":
    """Return the figures of calibration, a row per class against the rest: `class, calibration_..., reason`."""
    import pandas as pd

    found = evaluation.calibration.items()
    return pd.DataFrame([{"class": name, **each.figures, "reason": each.reason} for name, each in found])


def calibration_curves(evaluation: Evaluation) -> "pd.DataFrame":
    """Return the smoothed curves of calibration: `class, score, observed, low, high`."""
    import pandas as pd

    curves = {name: each.curve for name, each in evaluation.calibration.items() if len(each.curve)}
    return pd.concat(curves, names=["class"]).reset_index("class") if curves else pd.DataFrame()


def write_groups(groups: "list[Group]", together: SideBySide | None, folder: Path) -> None:
    """Write a sweep's fusion; of several groups each into a folder of its own, and all of them side by side."""
    from src.evaluation.figures import draw_groups, draw_learning_curve

    for group in groups:
        write_evaluation(group.evaluation, folder / slug(group.title), group.notes)
    if together is None:
        return
    if len(together.published):
        replace_file(folder / "published.csv", together.published.round(4).to_csv(index=False).encode())
    if len(groups) < 2:
        return
    replace_file(folder / "groups.md", to_markdown(tabulate_groups(together)).encode())
    replace_file(folder / "groups.csv", together.table.round(6).to_csv(index=False).encode())
    if len(together.gaps):
        replace_file(folder / "gaps.csv", together.gaps.round(4).to_csv(index=False).encode())
    if len(together.curve):
        replace_file(folder / "learning_curve.csv", together.curve.round(6).to_csv(index=False).encode())
        save_figure(draw_learning_curve(together.curve), folder / "learning_curve.png")
    else:
        save_figure(draw_groups(together.table), folder / "groups.png")


def slug(title: str) -> str:
    """Return the name of a group as a name for a folder; of the only one the folder itself.

    Names that differ by more than `=`, `_`, commas and blanks do so as folders, too: by a digest.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", title)
    told = re.fullmatch(r"[A-Za-z0-9._=, -]*", title)
    return plain if told else f"{plain}-{hashlib.sha256(title.encode()).hexdigest()[:6]}"


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG."""
    from src.evaluation.figures import image_of

    replace_file(path, image_of(figure, format="png", dpi=150))
