"""New images, without labels: those of a folder, of a CSV, or one."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from src.data.found_files import EXTENSIONS, find_files, printable_name
from src.data.manifest import as_sample, check_views
from src.data.reader import LeftOut
from src.system.spreadsheets import blank_missing, read_text

KINDS = (*EXTENSIONS, ".dcm")
SHEETS = (".xlsx", ".xls", ".ods", ".tsv", ".txt")


@dataclass
class Listing:
    """Images to predict.

    images
        A row per image, text: `sample, case, view`.
    root
        The folder that samples are relative to.
    left_out
        What else lies in the folder, and is not read.
    """

    images: pd.DataFrame
    root: Path
    left_out: list[LeftOut] = field(default_factory=list)


def list_images(path: Path) -> Listing:
    """Return the images of a folder, of a CSV, or one.

    A CSV has the column `sample`, and may have `case` and `view`; others mean nothing here. Where the case is empty, or
    one of `src.system.spreadsheets.MISSING`, it is the sample. In a folder, at any depth, and alone, an image is a case
    of its own.
    Errors: ValueError for what is none of these, and for names that are no UTF-8.
    """
    if path.is_dir():
        found = find_files(path, KINDS)
        if not found.files:
            raise ValueError(f"input={printable_name(str(path))} holds no images ({' '.join(KINDS)})")
        return Listing(rows_of(found.files), path, found.left_out)
    if not path.is_file():
        raise ValueError(f"input is a folder of images, a CSV or an image, but there is no {printable_name(str(path))}")
    if path.suffix.lower() in SHEETS:
        raise ValueError(f"input is a folder of images, a CSV or an image, but got {path}: save the table as CSV")
    if path.suffix.lower() == ".csv":
        return Listing(_table(path), path.parent)
    if printable_name(path.name) != path.name:
        raise ValueError(f"the name of an image is UTF-8, but input is {printable_name(str(path))}: rename it")
    return Listing(rows_of([path.name]), path.parent)


def rows_of(samples: list[str]) -> pd.DataFrame:
    """Return the rows of samples that are cases of their own, without views."""
    return pd.DataFrame({"sample": samples, "case": samples, "view": ""})


def _table(path: Path) -> pd.DataFrame:
    table = read_text(path, "input")
    if "sample" not in table:
        raise ValueError(f"{path} needs a column sample, the images' paths, but has {', '.join(map(str, table))}")
    if table.empty:
        raise ValueError(f"{path} lists no images")
    samples = table["sample"].map(as_sample)
    cases, views = (blank_missing(table[name]) if name in table else "" for name in ("case", "view"))
    rows = pd.DataFrame({"sample": samples, "case": cases, "view": views})
    rows["case"] = rows["case"].where(rows["case"] != "", samples)
    rows["view"] = rows["view"].str.lower()
    _check(rows, path)
    return rows.reset_index(drop=True)


def _check(rows: pd.DataFrame, path: Path) -> None:
    for wrong, rule in (
        (rows["sample"] == "", "every row has a sample"),
        (rows["sample"].duplicated(), "an image has one row"),
    ):
        if wrong.any():
            row = rows[wrong].iloc[0]
            raise ValueError(
                f"{rule}, but not so in row {row.name} of {path}: sample {row['sample']!r}, view {row['view']!r}"
            )
    check_views(rows)
