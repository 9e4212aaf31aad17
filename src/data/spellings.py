"""Values that differ in form only: are they one patient, one class, or several?"""

import re
import unicodedata
from collections.abc import Sequence

import pandas as pd

from src.data.manifest import list_first
from src.system.checks import one_of

SPELLINGS = ("fail", "unite", "keep")


def plain_form(value: str) -> str:
    """What a value is whatever its form: `Benign` is `benign`, `in  situ` is `In situ`, `01` and `1.0` are `1`."""
    plain = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    number = re.fullmatch(r"(-?)0*(\d+)(?:\.0*)?", plain)
    return number[1] + number[2] if number else plain


def unify_spellings(
    values: "pd.Series[str]", what: str, spellings: str, where: str, preferred: Sequence[str] = ()
) -> "pd.Series[str]":
    """Return the values, of which those that differ in form only are what `spellings` says.

    `unite`: one, written as is `preferred`, else most often. `keep`: several. `fail`: `ValueError` names them as `what`
    (plural) and `where` they are.
    """
    one_of(SPELLINGS, spellings=spellings)
    counts = values[values != ""].value_counts().sort_index()
    order = [*preferred, *counts.sort_values(ascending=False, kind="stable").index]
    chosen = {plain_form(value): value for value in reversed(order)}
    other = [value for value in counts.index if chosen[plain_form(value)] != value]
    if spellings == "keep" or not other:
        return values
    if spellings == "fail":
        pairs = [f"{value!r} ({counts[value]}) and {chosen[plain_form(value)]!r}" for value in other]
        raise ValueError(
            f"{what} differ by more than their form, but {where} has {list_first(pairs)}: correct it, or take "
            "data.spellings=unite if such are one, data.spellings=keep if they are several"
        )
    return values.map(lambda value: chosen.get(plain_form(value), value))
