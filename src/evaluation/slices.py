"""Metrics of a part of the cases at a time: by view, by magnification, by any column of the manifest."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from src.evaluation.metrics import measure_cases, patient_groups, prefix_names
from src.evaluation.predictions import average_by_case, class_names, view_names
from src.evaluation.subgroups import fewest_patients, slice_differences
from src.evaluation.two_classes import Binary
from src.system.natural_order import natural_order

MOST = 30
"""Values that a column may have to be sliced by."""
IDENTITIES = ("sample", "case", "content")
ALL, UNKNOWN = "all", "unknown"
METRICS = ("accuracy", "balanced_accuracy", "auc")
WHOLE_NUMBERS = r"^(-?\d+)\.0$"


def slice_facts(manifest: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the columns `sample` and `names` of a manifest as text, "" where a value is not known.

    Errors: ValueError if the manifest lacks one of the columns, or one has more than 30 different values.
    """
    names = list(dict.fromkeys(names))
    known = [str(name) for name in manifest if name not in IDENTITIES]
    if lacking := [name for name in names if name not in known]:
        raise ValueError(f"`slices` must name columns of the manifest, {', '.join(known)}, but got {lacking[0]!r}")
    facts = pd.DataFrame({name: manifest[name].map(_text) for name in ["sample", *names]})
    facts[names] = facts[names].replace(WHOLE_NUMBERS, r"\1", regex=True)  # a number where others are missing
    for name in names:
        if (count := facts[name].nunique()) > MOST:
            raise ValueError(
                f"a column of `slices` may have {MOST} different values, but {name!r} has {count}: leave it out, or "
                "put ranges of it into a column of its own"
            )
    return facts


def slice_table(
    predictions: pd.DataFrame, facts: pd.DataFrame, binary: Binary, replicates: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return a row per value of each column of `facts` (`sample`, and others as text), in the values' natural order.

    Columns: `column, value, cases, patients`, `fewest` (patients of the class that has the fewest), and `accuracy,
    balanced_accuracy, auc`, each with `_low` and `_high`; fractions, not a number where they cannot be computed, such
    as the AUC of a single class. `binary_auc` is added where more than two classes have a two-class view. The first row
    is of all the cases. Of a column that differs among the samples of a case, such as the view, a value's row is of the
    samples that have it, averaged per case. The view is a column wherever there are two or more. `p_accuracy` and
    `p_auc` say, in each row of a column, whether the figure differs between its values
    (`src.evaluation.subgroups.slice_differences`).

    Intervals are those of `src.evaluation.metrics.measure_cases`.
    """
    rows = [_row(ALL, "", predictions, binary, replicates, seed)]
    for column, values in slice_columns(predictions, facts).items():
        for value in sorted(values.unique().tolist(), key=natural_order):
            part = predictions[values == value]
            rows.append(_row(column, value or UNKNOWN, part, binary, replicates, seed))
    differ = slice_differences(slice_columns(predictions, facts), predictions, binary, seed)
    return pd.DataFrame(rows).merge(differ, on="column", how="left")


def name_folds(predictions: pd.DataFrame, facts: pd.DataFrame) -> dict[int, str]:
    """Return the names of folds that are the values of a column of `facts`, such as hospitals; empty where they are
    none's."""
    for name, values in slice_columns(predictions, facts).items():
        pairs = pd.DataFrame({"fold": predictions["fold"], "value": values}).drop_duplicates()
        same = pairs["fold"].is_unique and pairs["value"].is_unique and len(pairs) > 1
        if name != "view" and same and not pairs["value"].isin(["", "mean", "std"]).any():
            return dict(zip(pairs["fold"].tolist(), pairs["value"].tolist(), strict=True))
    return {}


def largest_values(table: pd.DataFrame, limit: int = 12) -> pd.DataFrame:
    """Return the rows of a slice table without those beyond the `limit` values of a column with the most cases."""
    place = table.groupby("column")["cases"].rank(method="first", ascending=False)
    return table[place <= limit]


def slice_columns(predictions: pd.DataFrame, facts: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the values (rows of predictions) by column, those of the view first."""
    of_sample = facts.set_index("sample")
    names = [str(name) for name in of_sample if name != "view"]
    found = {name: predictions["sample"].map(of_sample[name]).fillna("") for name in names}
    sliced_by_view = len(view_names(predictions)) > 1 or "view" in of_sample
    return {"view": predictions["view"]} | found if sliced_by_view else found


def _row(
    column: str, value: str, rows: pd.DataFrame, binary: Binary, replicates: int, seed: int
) -> dict[str, str | int | float]:
    cases = average_by_case(rows)
    groups = patient_groups(cases)
    counts = {"cases": cases["case"].nunique(), "patients": len(np.unique(groups)), "fewest": fewest_patients(cases)}
    found = dict.fromkeys(_with_ends(METRICS), np.nan) | _measured(cases, replicates, seed)
    view = binary(cases) if len(class_names(cases)) > 2 else None
    if view is not None:
        found |= dict.fromkeys(_with_ends(["binary_auc"]), np.nan)
        found |= prefix_names(_measured(view, replicates, seed, ["auc"]), "binary_")
    return {"column": column, "value": value, **counts, **found}


def _measured(cases: pd.DataFrame, replicates: int, seed: int, names: Sequence[str] = METRICS) -> dict[str, float]:
    found = measure_cases(cases, replicates, seed, names)
    return {name: found[name] for name in _with_ends(names) if name in found}


def _with_ends(names: Sequence[str]) -> list[str]:
    return [name + end for name in names for end in ("", "_low", "_high")]


def _text(value: object) -> str:
    return "" if pd.isna(value) else str(value)  # type: ignore[call-overload]
