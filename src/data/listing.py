"""New images, without labels: those of a folder, of a CSV, or one."""

from pathlib import Path

import pandas as pd

from src.data.folder import EXTENSIONS, hidden
from src.data.manifest import VIEWS
from src.data.text import read_text

KINDS = (*EXTENSIONS, ".dcm")


def listed(path: Path) -> tuple[pd.DataFrame, Path]:
    """The images as `sample, case, view`, text, and the folder that samples are relative to.

    A CSV has the column `sample`, and may have `case` (empty: the sample) and `view`; others mean nothing here. In a
    folder, at any depth, and alone, an image is a case of its own. Errors: ValueError for what is none of these.
    """
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in KINDS and file.is_file())
        samples = [name.as_posix() for file in found if not hidden(name := file.relative_to(path))]
        if not samples:
            raise ValueError(f"input={path} holds no images ({' '.join(KINDS)})")
        return of(samples), path
    if not path.is_file():
        raise ValueError(f"input is a folder of images, a CSV or an image, but there is no {path}")
    return (_table(path), path.parent) if path.suffix.lower() == ".csv" else (of([path.name]), path.parent)


def of(samples: list[str]) -> pd.DataFrame:
    """The rows of samples that are cases of their own, without views."""
    return pd.DataFrame({"sample": samples, "case": samples, "view": ""})


def _table(path: Path) -> pd.DataFrame:
    table = read_text(path, "input")
    if "sample" not in table:
        raise ValueError(f"{path} needs a column sample, the images' paths, but has {', '.join(map(str, table))}")
    if table.empty:
        raise ValueError(f"{path} lists no images")
    samples = table["sample"].str.replace("\\", "/")
    cases = table.get("case", samples)
    rows = pd.DataFrame({"sample": samples, "case": cases.where(cases != "", samples), "view": table.get("view", "")})
    rows["view"] = rows["view"].str.lower()
    _check(rows, path)
    return rows


def _check(rows: pd.DataFrame, path: Path) -> None:
    for wrong, rule in (
        (rows["sample"] == "", "every row has a sample"),
        (rows["sample"].duplicated(), "an image has one row"),
        (~rows["view"].isin(VIEWS), "a view is cc, mlo or empty"),
    ):
        if wrong.any():
            number = wrong.to_numpy().argmax()
            row = rows.iloc[number]
            raise ValueError(
                f"{rule}, but not so in row {number + 2} of {path}: sample {row['sample']!r}, view {row['view']!r}"
            )
