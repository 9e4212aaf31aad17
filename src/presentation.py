"""What commands show on the terminal and write into a run's folder."""

import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.evaluation.evaluation import Evaluation
from src.evaluation.tables import best, rounded, to_markdown
from src.files import replace

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console


def console(error: bool = False) -> "Console":
    """Return the terminal; piped output is not cut at 80 columns."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    return Console(stderr=error, highlight=False, width=None if stream.isatty() else 160)


def say(message: str) -> None:
    """Print a line for the user, beside the results."""
    console(error=True).print(message, markup=False)


def track(
    items: Iterable[Any], description: str, total: int, size: Callable[[Any], int] = lambda _: 1
) -> Iterator[Any]:
    """Pass items on and show progress, rate and time to go; `size` says how many steps an item is."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("to go"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=console(error=True)) as progress:
        task = progress.add_task(description, total=total, rate="")
        for item in items:
            yield item
            progress.advance(task, size(item))
            done = progress.tasks[task].completed
            progress.update(task, rate=f"{done / (time.monotonic() - start):.1f}/s")


@contextmanager
def byte_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows how far a transfer is: what, bytes done, bytes in all."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(error=True)) as progress:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield report


def show(evaluation: Evaluation, title: str, notes: list[str]) -> None:
    """Print the table by fold, the metrics with their intervals, and the two-class figures."""
    terminal = console()
    terminal.print(fold_table(evaluation.table, title))
    last = evaluation.table.iloc[-1]
    over = "folds" if len(evaluation.table) > 1 else "folds and seeds"
    terminal.print(f"{last.name}: {last['mean']:.2f} +- {last['std']:.2f} % (mean, population deviation over {over})")
    for note in notes:
        terminal.print(f"note: {note}", style="yellow", markup=False)
    terminal.print(metrics_table(evaluation.metrics, beside=len(evaluation.classes) > 2))
    if len(evaluation.set_points):
        terminal.print(f"Two classes: {' + '.join(evaluation.positive)} against the rest", markup=False)
        for point in evaluation.set_points.to_dict("records"):
            percent = {str(name): 100 * value for name, value in point.items()}
            terminal.print(
                f"  at {point['threshold']:.2f}: sensitivity {percent['sensitivity']:.1f}, specificity "
                f"{percent['specificity']:.1f}, accuracy {percent['accuracy']:.2f} +- {percent['accuracy_std']:.2f}"
            )
        missed = ", ".join(f"{count} {name}" for name, count in evaluation.missed.items())
        terminal.print(f"  missed at {evaluation.set_points['threshold'].iloc[-1]:.2f}: {missed}")


def summary(evaluation: Evaluation, name: str) -> str:
    """Return one line on a cell of a sweep."""
    row = evaluation.table.iloc[0]
    auc = with_interval(evaluation.metrics, "auc")
    return f"{name}: accuracy by fold {row['mean']:.1f} +- {row['std']:.1f} %, AUC {auc}"


def fold_table(table: "pd.DataFrame", title: str) -> Any:
    """Return the table by fold for the terminal, best values bold."""
    from rich.table import Table

    bold = best(table)
    shown = Table(title=f"{title}: accuracy, %", title_justify="left")
    shown.add_column("model", no_wrap=True)
    for column in table.columns:
        shown.add_column(str(column), justify="right")
    for name, row in rounded(table).iterrows():
        cells = ["-" if value != value else f"{value:.1f}" for value in row]
        marked = [
            f"[bold]{text}[/bold]" if bold.at[name, column] else text
            for text, column in zip(cells, row.index, strict=True)
        ]
        shown.add_row(str(name), *marked)
    return shown


def metrics_table(metrics: dict[str, float], beside: bool) -> Any:
    """Return the metrics with their 95 % intervals for the terminal, those of the two-class view beside where asked."""
    from rich.table import Table

    binary = beside and any(name.startswith("binary_") for name in metrics)
    shown = Table("metric", "all classes", *(["two classes"] if binary else []))
    names = [name.removeprefix("binary_") for name in metrics if not name.endswith(("_low", "_high"))]
    for name in dict.fromkeys(names):
        sides = [name, f"binary_{name}"] if binary else [name]
        shown.add_row(name, *(with_interval(metrics, side) for side in sides))
    return shown


def with_interval(metrics: dict[str, float], name: str) -> str:
    """Return a metric as text, with its interval where there is one."""
    if name not in metrics:
        return ""
    interval = f" ({metrics[f'{name}_low']:.4f} to {metrics[f'{name}_high']:.4f})" if f"{name}_low" in metrics else ""
    return f"{metrics[name]:.4f}{interval}"


def write(evaluation: Evaluation, folder: Path, notes: list[str]) -> None:
    """Write the table, the metrics and the figures."""
    from src.evaluation.figures import draw

    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "table.csv", evaluation.table.round(4).to_csv().encode())
    replace(folder / "table.md", (to_markdown(evaluation.table) + "".join(f"\n{note}\n" for note in notes)).encode())
    replace(folder / "metrics.json", (json.dumps(evaluation.metrics, indent=2) + "\n").encode())
    for name, figure in draw(evaluation, "; ".join(notes)).items():
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=150)
        replace(folder / f"{name}.png", image.getvalue())
