"""What `python -m src.stress` shows and writes."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from src.cli.evaluations import save_figure
from src.cli.terminal import print_table
from src.evaluation.robustness import explain_robustness, summarise_robustness
from src.evaluation.text_tables import TextTable, tabulate_robustness, to_markdown
from src.evaluation.wording import capital
from src.system.files import replace_file

if TYPE_CHECKING:
    import pandas as pd


def show_robustness(table: "pd.DataFrame", title: str, notes: list[str]) -> None:
    """Print a row per perturbation and model, and what its reader has to know."""
    print_table(replace(summary_table(table, notes), caption=f"{title}: accuracy by perturbation"))


def write_robustness(table: "pd.DataFrame", folder: Path, notes: list[str]) -> None:
    """Write robustness.csv, a row per model, perturbation and level, the summary as table.md, and robustness.png."""
    from src.evaluation.robustness_figure import draw_robustness

    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "robustness.csv", table.round(6).to_csv(index=False).encode())
    replace_file(folder / "table.md", to_markdown(summary_table(table, notes)).encode())
    save_figure(draw_robustness(table), folder / "robustness.png")


def summary_table(table: "pd.DataFrame", notes: list[str]) -> TextTable:
    """Return the summary of a table of `src.evaluation.robustness.robustness_table`, with how it is read."""
    summary = summarise_robustness(table)
    return tabulate_robustness(summary, notes=[*explain_robustness(table), *map(capital, notes)])
