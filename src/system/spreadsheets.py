"""Tables that people write by hand or in a spreadsheet."""

import csv
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

MISSING = ("NA", "N/A", "#N/A", "<NA>", "NaN", "NULL", "None", "nil", "missing", "unknown", "-", "--", "?", ".")
"""What people and programs write where a value is missing; the case of letters means nothing."""
DELIMITERS = (",", ";", "\t")
FORMS = {
    b"\xff\xfe": "it is text in UTF-16",
    b"\xfe\xff": "it is text in UTF-16",
    b"PK\x03\x04": "it is a workbook (.xlsx, .ods) or another archive, whatever its ending is",
    b"\xd0\xcf\x11\xe0": "it is a workbook (.xls)",
}
"""What is taken for a CSV file, by the octets that it begins with."""


def read_text(path: str | Path, what: str, header: bool = True) -> pd.DataFrame:
    """Return a CSV's cells as text without blanks around it, by the number of their row as a spreadsheet shows it.

    Cells are parted by commas, semicolons or tabs, whichever parts the first row the most. Empty where a row is short;
    rows without any value and columns without a name, such as R's row names, are left out. Without `header` the columns
    are numbers from 0 on.

    `ValueError` where it cannot be read, a row has more cells than the first, or two columns have one name; it names
    the file as `what`.
    """
    try:
        rows = _rows(Path(path))
    except FileNotFoundError:
        raise ValueError(f"{what} is a CSV file, but there is no file {path}") from None
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        reason = _form(Path(path)) if isinstance(error, UnicodeDecodeError) else error
        raise ValueError(f"{what} is a CSV file in UTF-8, but {path} cannot be read as one: {reason}") from error
    names = rows.pop(min(rows)) if header else list(range(len(rows[min(rows)])))
    table = pd.DataFrame.from_dict(rows, orient="index", columns=names, dtype="str")
    table = table.loc[:, [name != "" for name in names]]
    if len(twice := table.columns[table.columns.duplicated()]):
        raise ValueError(f"a column has a name of its own, but {path} has two that are called {twice[0]!r}")
    return table


def blank_missing(values: "pd.Series[str]", missing: Iterable[str] = MISSING) -> "pd.Series[str]":
    """Return the values, "" where one is among those that stand for a missing value, whatever its letters' case."""
    return values.where(~values.str.casefold().isin([word.casefold() for word in missing]), "")


def _form(path: Path) -> str:
    """Return what a file that is no text in UTF-8 is, by its first octets, and how to get one."""
    with path.open("rb") as file:
        start = file.read(8)
    found = next((form for octets, form in FORMS.items() if start.startswith(octets)), "it is in another encoding")
    return f"{found}; a spreadsheet saves it as `CSV UTF-8`"


def _rows(path: Path) -> dict[int, list[str]]:
    """Return the cells of the rows that have a value, by number; as many in each as in the first."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = next((line for line in file if line.strip()), "")
        delimiter = max(DELIMITERS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))
        file.seek(0)
        read = csv.reader(file, delimiter=delimiter, strict=True)
        rows = {number: [cell.strip() for cell in cells] for number, cells in enumerate(read, start=1)}
    rows = {number: cells for number, cells in rows.items() if any(cells)}
    if not rows:
        raise csv.Error("it is empty")
    width = len(rows[min(rows)])
    for number, cells in rows.items():
        if any(cells[width:]):
            above = "take away what stands above the columns' names, or " if width == 1 else ""
            raise csv.Error(
                f"row {number} has {len(cells)} cells, but the first row has {width}: {above}put values that hold "
                f"{delimiter!r} in double quotes"
            )
    return {number: (cells + [""] * width)[:width] for number, cells in rows.items()}
