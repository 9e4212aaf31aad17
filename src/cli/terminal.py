"""The terminal: lines and tables for the user."""

import sys
from typing import TYPE_CHECKING, Literal

from src.evaluation.text_tables import BEST, TextTable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def console(error: bool = False) -> "Console":
    """Return the terminal; text is printed as it is, with its brackets, and what is piped not cut at 80 columns."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else 160
    return Console(stderr=error, highlight=False, markup=False, emoji=False, width=width)


def say(message: str) -> None:
    """Print a line for the user, beside the results."""
    console(error=True).print(message, soft_wrap=True)  # commands in it are copied


def print_table(table: TextTable, no_wrap: bool = False) -> None:
    """Print a table and the notes below it; with `no_wrap` the first column keeps its width on a narrow terminal."""
    terminal = console()
    terminal.print(rich_table(table, no_wrap))
    for note in table.notes:
        terminal.print(note)


def rich_table(table: TextTable, no_wrap: bool = False) -> "Table":
    """Return a table for the terminal, the best values bold."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(table.caption), title_justify="left")
    for column, name in enumerate(table.header):
        side: Literal["left", "right"] = "left" if table.worded(column) else "right"
        shown.add_column(Text(name), justify=side, no_wrap=no_wrap and not column)
    for place, row in enumerate(table.rows):
        bold = [table.tones.get((place, column)) == BEST for column in range(len(row))]
        shown.add_row(*(Text(text, "bold" if best else "") for text, best in zip(row, bold, strict=True)))
    return shown
