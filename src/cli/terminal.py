"""What commands show on the terminal and write into a run's folder."""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.evaluation.evaluation import Evaluation
from src.evaluation.fold_tables import FUSION, best, markdown, rounded, to_markdown
from src.evaluation.side_by_side import PROTOCOL, TRAINING, SideBySide, axis_title
from src.evaluation.slices import ALL, largest
from src.evaluation.wording import MISSING, ends, measured, number, signed, spread, titled
from src.system.files import replace

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Console

    from src.evaluation.side_by_side import Group


def console(error: bool = False) -> "Console":
    """Return the terminal; text is printed as it is, with its brackets, and what is piped not cut at 80 columns."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else 160
    return Console(stderr=error, highlight=False, markup=False, emoji=False, width=width)


def say(message: str) -> None:
    """Print a line for the user, beside the results."""
    console(error=True).print(message, soft_wrap=True)  # commands in it are copied


def show_evaluation(evaluation: Evaluation, title: str, notes: list[str]) -> None:
    """Print the table by fold, the metrics with their intervals, the two-class figures, and the slices."""
    terminal = console()
    show_table(evaluation, title, notes)
    terminal.print(metrics_table(evaluation.metrics, beside=evaluation.positive if len(evaluation.classes) > 2 else []))
    if len(evaluation.set_points):
        terminal.print(f"Two classes: {evaluation.view}")
        for point in evaluation.set_points.to_dict("records"):
            percent = {str(name): 100 * value for name, value in point.items()}
            terminal.print(
                f"  at {point['threshold']:.2f}: sensitivity {percent['sensitivity']:.1f}, specificity "
                f"{percent['specificity']:.1f}, accuracy {spread(percent['accuracy'], percent['accuracy_std'], 2)}"
            )
        missed = ", ".join(f"{count} {name}" for name, count in evaluation.missed.items())
        terminal.print(f"  missed at {evaluation.set_points['threshold'].iloc[-1]:.2f}: {missed}")
    if len(evaluation.slices):
        terminal.print(slices_table(evaluation.slices, evaluation.view))


def show_table(evaluation: Evaluation, title: str, notes: list[str]) -> None:
    """Print the table by fold, and the notes."""
    terminal = console()
    terminal.print(fold_table(evaluation.table, title))
    last = evaluation.table.iloc[-1]
    over = "folds" if last.name == FUSION else "folds and seeds"
    figure = f"{last.name}: {spread(last['mean'], last['std'], 2)} % (mean, population deviation over {over})"
    terminal.print(f"{figure}; {beside_it(evaluation)}")
    for note in [*notes, *evaluation.notes]:
        terminal.print(f"note: {note}", style="yellow")


def show_groups(groups: "list[Group]", together: SideBySide | None, title: str) -> None:
    """Print a sweep's fusion; of several groups the table of each, and then all of them side by side."""
    terminal = console()
    for group in groups:
        named = f"{title}, {group.title}" if group.title else title
        (show_evaluation if len(groups) == 1 else show_table)(group.evaluation, named, group.notes)
    if together is None:
        return
    if len(groups) > 1:
        header, rows = wide(together)
        terminal.print(plain_table(f"{title}: accuracy, %, side by side", header, rows, text=texts(together)))
        for line in remarks(together):
            terminal.print(line)
    if len(together.published):
        terminal.print(plain_table("published, and ours, %", *published_rows(together.published), text=2))
        for line in views(together):
            terminal.print(line)


def summary(evaluation: Evaluation, name: str) -> str:
    """Return one line on a cell of a sweep."""
    row = evaluation.table.iloc[-1]
    auc = measured(evaluation.metrics, "auc", digits=4)
    figure = f"accuracy by fold {spread(row['mean'], row['std'])} %"
    return f"{name}: {figure} ({beside_it(evaluation)}), AUC {auc}"


def beside_it(evaluation: Evaluation) -> str:
    """Return what an accuracy has to be held against."""
    name, share = evaluation.commonest
    return f"always naming {name}, the most frequent class: {100 * share:.1f} %"


def described(evaluation: Evaluation, notes: list[str]) -> str:
    """Return the table by fold in Markdown, with what its reader has to know of it and of the two-class figures."""
    said = [f"Accuracy in %; {beside_it(evaluation)}."]
    said += [f"Two classes: {evaluation.view}."] if evaluation.view else []
    return to_markdown(evaluation.table) + "".join(f"\n{line}\n" for line in [*said, *notes, *evaluation.notes])


def fold_table(table: "pd.DataFrame", title: str) -> Any:
    """Return the table by fold for the terminal, best values bold."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(f"{title}: accuracy, %"), title_justify="left")
    shown.add_column("model", no_wrap=True)
    for column in table.columns:
        shown.add_column(str(column), justify="right")
    for name, row, bold in zip(table.index, rounded(table).to_numpy(), best(table).to_numpy(), strict=True):
        marked = [Text(text, "bold" if mark else "") for text, mark in zip(map(number, row), bold, strict=True)]
        shown.add_row(Text(str(name)), *marked)
    return shown


def plain_table(title: str, header: list[str], rows: list[list[str]], text: int = 1) -> Any:
    """Return a table of texts for the terminal; all but the first `text` columns and notes stand to the right."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(title), title_justify="left")
    for place, name in enumerate(header):
        shown.add_column(Text(name), justify="left" if place < text or name == "note" else "right")
    for row in rows:
        shown.add_row(*map(Text, row))
    return shown


def slices_table(slices: "pd.DataFrame", view: str = "") -> Any:
    """Return the metrics by slice for the terminal; of a column with many values those with the most cases.

    `view` says what a two-class view holds against what.
    """
    names = ["accuracy", "auc", "binary_auc"] if "binary_auc" in slices else ["accuracy", "auc"]
    shown = largest(slices)
    rows, before = [], ""
    for row in shown.to_dict("records"):
        column = "all cases" if row["column"] == ALL else str(row["column"])
        rows.append([column if column != before else "", str(row["value"]), f"{row['cases']}", f"{row['patients']}"])
        rows[-1] += [measured(row, name) for name in names]
        before = column
    more = f"; {len(slices) - len(shown)} more in slices.csv" if len(shown) < len(slices) else ""
    header = ["", "value", "cases", "patients", *map(titled, names)]
    two = f"; two classes: {view}" if "binary_auc" in names else ""
    return plain_table(f"slices (95 % intervals){two}{more}", header, rows, text=2)


def wide(together: SideBySide) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the groups side by side: protocols in columns with their gaps, all else in rows."""
    table, gaps = together.table, together.gaps
    protocols, others = axes_of(table)
    sides = [protocols_title(row, protocols) for row in table.to_dict("records")]
    leaking = {side for side, leaks in zip(sides, table["leaks"], strict=True) if leaks}
    names = list(dict.fromkeys(sides))
    over = [] if gaps.empty else list(dict.fromkeys(zip(gaps["leaking"], gaps["other"], strict=True)))
    header = ["model", *("patients" if name == TRAINING else name for name in others)]
    header += [(f"{name} *" if name in leaking else name) or "accuracy" for name in names]
    header += ["gap" if len(over) == 1 else f"gap of {one} to {other}" for one, other in over]
    header += ["AUC"] if len(names) == 1 else []
    rows = []
    for key, part in table.assign(side=sides).groupby(["model", *others], sort=False):
        found = part.set_index("side").to_dict("index")
        cells = [key[0], *(cell_of(name, part) for name in others)]
        cells += [accuracy_of(found[name]) if name in found else MISSING for name in names]
        cells += [gap_of(gaps, dict(zip(["model", *others], key, strict=True)), pair) for pair in over]
        cells += [auc_of(found[names[0]])] if len(names) == 1 else []
        rows.append([str(cell) for cell in cells])
    return header, rows


def axes_of(table: "pd.DataFrame") -> tuple[list[str], list[str]]:
    """Return the axes of a table of groups: those of the protocol, and the others."""
    axes = [str(name) for name in table.columns[1 : table.columns.tolist().index("group")]]
    protocols = [name for name in axes if name.split(".")[0] == PROTOCOL]
    return protocols, [name for name in axes if name not in protocols]


def texts(together: SideBySide) -> int:
    """Return how many columns of the groups side by side are no figures."""
    return 1 + sum(name != TRAINING for name in axes_of(together.table)[1])


def remarks(together: SideBySide) -> list[str]:
    """Return what a reader of the groups side by side has to know."""
    lines = ["mean +- population deviation over folds (and seeds), 95 % interval over patients"]
    lines += views(together)
    if together.table["leaks"].any():
        lines.append("* image-level: patients stand on both sides of a split, so that figures are optimistic")
    if len(together.gaps):
        lines.append("gap: by how many points the image-level figure is above the patient-level one, 95 % interval")
    return lines


def views(together: SideBySide) -> list[str]:
    """Return what the two-class figures of the groups hold against what."""
    return [f"two-class figures: {view}" for view in dict.fromkeys(together.table["view"]) if view]


def protocols_title(row: Mapping[Any, Any], protocols: list[str]) -> str:
    """Return the name of the protocol of a row."""
    return " ".join(axis_title(name, str(row[name])) for name in protocols)


def cell_of(axis: str, rows: "pd.DataFrame") -> str:
    """Return the value of an axis: of the number of patients also how many there really are, by protocol."""
    value = str(rows[axis].iloc[0])
    if axis != TRAINING:
        return value
    real = [f"{count:.1f}".removesuffix(".0") for count in sorted(rows["patients"].unique())]
    name = "all" if value == "0" else value
    return name if real == [value] else f"{name} ({' to '.join(dict.fromkeys([real[0], real[-1]]))})"


def accuracy_of(row: Mapping[Any, Any]) -> str:
    """Return the accuracy of a model in a group, with deviation and interval."""
    return f"{spread(row['mean'], row['std'])} ({ends(row['low'], row['high'])})"


def gap_of(gaps: "pd.DataFrame", key: Mapping[str, Any], pair: tuple[str, str]) -> str:
    """Return the gap of a model between two protocols."""
    wanted = {**key, "leaking": pair[0], "other": pair[1]}
    found = gaps[(gaps[list(wanted)] == list(wanted.values())).all(axis=1)].to_dict("records")
    return signed(*(found[0][name] for name in ("gap", "low", "high"))) if found else MISSING


def auc_of(row: Mapping[Any, Any]) -> str:
    """Return the AUC of a model in a group: that of the two-class view where there is one."""
    name = "binary_auc" if row.get("binary_auc", float("nan")) == row.get("binary_auc") else "auc"
    return measured(row, name)


def published_rows(published: "pd.DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return header and rows of published figures beside ours, in percent."""
    ours = [str(name) for name in published if name not in ("model", "metric", "published", "published_std", "note")]
    noted = (published["note"] != "").any()
    rows = []
    for row in published.to_dict("records"):
        figures = [spread(row["published"], row["published_std"]), *(number(row[name]) for name in ours)]
        rows.append([str(row["model"]), str(row["metric"]), *figures, *([str(row["note"])] if noted else [])])
    return ["model", "metric", "published", *ours, *(["note"] if noted else [])], rows


def metrics_table(metrics: dict[str, float], beside: Sequence[str] = ()) -> Any:
    """Return the metrics with their 95 % intervals for the terminal; beside them, where positive classes are given,
    those of the two-class view."""
    from rich.table import Table
    from rich.text import Text

    binary = bool(beside) and any(name.startswith("binary_") for name in metrics)
    shown = Table("metric", "all classes")
    if binary:
        shown.add_column(Text(f"two classes (positive: {' + '.join(beside)})"))
    names = [name.removeprefix("binary_") for name in metrics if not name.endswith(("_low", "_high"))]
    for name in dict.fromkeys(names):
        sides = [name, f"binary_{name}"] if binary else [name]
        shown.add_row(name, *(measured(metrics, side, digits=4) for side in sides))
    return shown


def write_evaluation(evaluation: Evaluation, folder: Path, notes: list[str]) -> None:
    """Write the table, the metrics and the figures."""
    from src.evaluation.figures import draw_figures

    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "table.csv", evaluation.table.round(4).to_csv().encode())
    replace(folder / "table.md", described(evaluation, notes).encode())
    replace(folder / "metrics.json", (json.dumps(evaluation.metrics, indent=2) + "\n").encode())
    if len(evaluation.slices):
        replace(folder / "slices.csv", evaluation.slices.round(6).to_csv(index=False).encode())
    for name, figure in draw_figures(evaluation, "; ".join(notes)).items():
        save_evaluation(figure, folder / f"{name}.png")


def write_groups(groups: "list[Group]", together: SideBySide | None, folder: Path) -> None:
    """Write a sweep's fusion; of several groups each into a folder of its own, and all of them side by side."""
    from src.evaluation.figures import draw_groups, draw_learning_curve

    for group in groups:
        write_evaluation(group.evaluation, folder / slug(group.title), group.notes)
    if together is None:
        return
    if len(together.published):
        replace(folder / "published.csv", together.published.round(4).to_csv(index=False).encode())
    if len(groups) < 2:
        return
    header, rows = wide(together)
    text = markdown(header, rows, text=texts(together)) + "".join(f"\n{line}\n" for line in remarks(together))
    replace(folder / "groups.md", text.encode())
    replace(folder / "groups.csv", together.table.round(6).to_csv(index=False).encode())
    if len(together.gaps):
        replace(folder / "gaps.csv", together.gaps.round(4).to_csv(index=False).encode())
    if len(together.curve):
        replace(folder / "learning_curve.csv", together.curve.round(6).to_csv(index=False).encode())
        save_evaluation(draw_learning_curve(together.curve), folder / "learning_curve.png")
    else:
        save_evaluation(draw_groups(together.table), folder / "groups.png")


def slug(title: str) -> str:
    """Return the name of a group as a name for a folder; of the only one the folder itself.

    Names that differ by more than `=`, `_`, commas and blanks do so as folders, too: by a digest.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", title)
    told = re.fullmatch(r"[A-Za-z0-9._=, -]*", title)
    return plain if told else f"{plain}-{hashlib.sha256(title.encode()).hexdigest()[:6]}"


def save_evaluation(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG."""
    from src.evaluation.figures import image_of

    replace(path, image_of(figure, format="png", dpi=150))
