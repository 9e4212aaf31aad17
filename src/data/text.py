"""Tables that people write by hand or in a spreadsheet."""

from pathlib import Path
from typing import Any

import pandas as pd


def read_text(path: str | Path, what: str, **options: Any) -> pd.DataFrame:
    """Return a CSV's cells as text without blanks around it, empty where a row is short.

    `options` are those of `pandas.read_csv`. `ValueError` where it cannot be read; it names the file as `what`.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", **options)
    except FileNotFoundError:
        raise ValueError(f"{what} is a CSV file, but there is no file {path}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{what} is a CSV file in UTF-8, but {path} cannot be read as one: {error}") from error
    return table.apply(lambda column: column.fillna("").str.strip())
