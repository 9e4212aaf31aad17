"""The table of accuracies by model and fold, as Table 1 of Rakhlin et al. 2018, or by repeat, in percent."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from src.evaluation.metrics import accuracy_by_fold, label_numbers
from src.evaluation.predictions import average_by_case, count_repeats, probability_columns, view_names
from src.system.spreadsheets import blank_missing, read_text

FUSION = "Model fusion"
SPREAD = "std over models"
OF_VIEW = re.compile(r"(.*) \((.+)\)")
"""The name of a row that is of a view of a model alone."""
FOLD, REPEAT = "fold", "repeat"
RESULTS = ["model", "metric", "value"]
RESULT_METRICS = ["accuracy", "balanced_accuracy", "auc", "binary_accuracy", "binary_auc", "sensitivity", "specificity"]


def mark_correct(cases: pd.DataFrame) -> pd.Series:
    """Return whether the most probable class of each case (the first one of a tie) is its label."""
    highest = cases[probability_columns(cases)].to_numpy(dtype=np.float64).argmax(axis=1)
    return pd.Series(highest == label_numbers(cases), index=cases.index)


def seed_accuracy(predictions: pd.DataFrame, part: str = FOLD) -> pd.DataFrame:
    """Return the accuracy, in 0..1, of each model, seed and fold: `model, seed, fold, accuracy`; models as they appear.

    A case's probabilities are averaged over its views first. By repeat (`part`) it is the mean of the repeat's folds.
    """
    parts = {}
    for model, of_model in predictions.groupby("model", sort=False):
        for seed, rows in of_model.groupby("seed"):
            parts[model, seed] = accuracy_by_part(average_by_case(rows), part)
    table: pd.DataFrame = pd.concat(parts, names=["model", "seed"]).rename("accuracy").reset_index()
    return table


def accuracy_by_part(cases: pd.DataFrame, part: str = FOLD) -> pd.Series:
    """Return the accuracy, in 0..1, of each fold, or of each repeat: the mean of its folds."""
    folds = accuracy_by_fold(mark_correct(cases), cases["fold"])
    if part == FOLD:
        return folds
    repeats = cases.groupby("fold")["repeat"].first()
    return folds.groupby(repeats).mean()


def result_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the table of a run: by fold, or where splits are repeated by repeat (`r1..rN, mean, std`)."""
    return fold_table(predictions, REPEAT if count_repeats(predictions) > 1 else FOLD)


def fold_table(predictions: pd.DataFrame, part: str = FOLD) -> pd.DataFrame:
    """Return the published kind of table in percent: a row per model, columns `f1..fK, mean, std`.

    Of more than one model also "std over models" (population) and "Model fusion", the accuracy of the mean
    probabilities. A model's `std` is the population one over its folds *and seeds*, the fusion's that over its folds;
    by repeat (`part`, columns `r1..rN`) they are those over repeats, of the mean of each one's folds.
    So it is in the paper: of ResNet-400 4.2, where the row's ten values have 3.9; the fused row's 2.6 is that of its
    values (`experiments/rakhlin2018/published/by_seed.csv`).

    Where there are two views or more, the rows `NAME (cc)`, `NAME (mlo)` above a model's, and above the fusion's, are
    those of the samples of one view alone, and thus of the cases that have it.
    """
    singles = _single_rows(predictions, part)
    rows = [_by_view(predictions, str(name), singles.loc[[name]], part) for name in singles.index]
    if len(singles) > 1:
        over_models = singles.drop(columns=["mean", "std"]).std(ddof=0).to_frame(SPREAD).T
        rows.append(over_models.assign(mean=over_models.mean(axis=1)))
        rows.append(_by_view(predictions, FUSION, _fused(predictions, part), part))
    return pd.concat(rows)[singles.columns].rename_axis("model")


def fusion_row(accuracies: pd.Series, part: str = FOLD) -> pd.DataFrame:
    """Return the fused row of the table alone, in percent, from the accuracy (0..1) of each fold, or repeat."""
    row = 100 * accuracies.to_frame(FUSION).T
    return _with_mean(row, row.std(axis=1, ddof=0), part)


def mark_best(table: pd.DataFrame) -> pd.DataFrame:
    """Return whether a value is the best of its column, as shown: the highest of each fold and of the mean, ties too.

    The row "std over models", those of a single view (they may be of fewer cases) and the column `std` take no part,
    nor does a table of one row.
    """
    names = table.index.tolist()
    taking = [name != SPREAD and not of_one_view(name, names) for name in names]
    values = round_table(table).drop(columns="std").loc[taking]
    bold = pd.DataFrame(False, index=table.index, columns=table.columns)
    if len(values) > 1:
        bold.loc[taking, values.columns] = (values == values.max()).to_numpy()
    return bold


def of_one_view(name: str, names: list[str]) -> bool:
    """Return whether a row among those of `names` is of one view of a model, or of the fusion, that has a row, too."""
    found = OF_VIEW.fullmatch(name)
    return found is not None and found[1] in names


def round_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table at one decimal, as published."""
    return table.round(1)


def published_table(path: str | Path) -> pd.DataFrame:
    """Return a table of the same shape from a CSV file with the columns `model, f1..fK, mean, std`."""
    table = read_text(path, "a table of published figures")
    folds = [f"f{number}" for number in range(1, len(table.columns) - 2)]
    expected = ["model", *folds, "mean", "std"]
    if table.columns.tolist() != expected:
        raise ValueError(f"{path}: the columns must be model, f1..fK, mean, std, but are {table.columns.tolist()}")
    return table.set_index("model").apply(_numbers, path=path)


def published_results(path: str | Path) -> pd.DataFrame:
    """Return published figures: rows `model, metric, value, std, note`, `std` not a number where it is not known.

    From a CSV file of `published_table`'s form, or with the columns `model, metric, value` and where wished `std` and
    `note`. `model` is the name of a row of ours (`ResNet-400`, `Model fusion`), `metric` one of `accuracy`,
    `balanced_accuracy`, `auc`, `binary_accuracy`, `binary_auc`, `sensitivity`, `specificity`; values are in percent,
    areas, too.
    """
    table = read_text(path, "a table of published figures")
    if "metric" not in table:
        rows = published_table(path).drop(index=SPREAD, errors="ignore").reset_index()
        return pd.DataFrame(
            {"model": rows["model"], "metric": "accuracy", "value": rows["mean"], "std": rows["std"], "note": ""}
        )
    lacking = [name for name in RESULTS if name not in table]
    if lacking:
        raise ValueError(f"{path}: published results have the columns {', '.join(RESULTS)}, but lack {lacking}")
    percent = pd.to_numeric(table["value"], errors="coerce").between(1, 100)  # below 1 it was given as a fraction
    wrong = table[~(percent & (table["model"] != "") & table["metric"].isin(RESULT_METRICS))]
    if len(wrong):
        raise ValueError(
            f"{path}: a row has a model, a metric of {', '.join(RESULT_METRICS)} and a value in percent (1 to 100), "
            f"but one is {wrong.iloc[0][RESULTS].tolist()}"
        )
    full = table.reindex(columns=[*RESULTS, "std", "note"], fill_value="").reset_index(drop=True)
    return full.assign(value=_numbers(full["value"], path), std=_numbers(full["std"], path))


def _numbers(values: "pd.Series[str]", path: str | Path) -> "pd.Series[float]":
    """Figures from text, not a number where they are missing."""
    found = pd.to_numeric(blank_missing(values), errors="coerce").astype(np.float64)
    wrong = values[found.isna() & (blank_missing(values) != "")]
    if len(wrong):
        raise ValueError(f"{path}: published figures are numbers, but {values.name} is {wrong.iloc[0]!r}")
    return found


def _single_rows(predictions: pd.DataFrame, part: str) -> pd.DataFrame:
    """Return the models' rows in percent: means over seeds, and the deviation over folds or repeats, and seeds."""
    accuracies = seed_accuracy(predictions, part)
    means = accuracies.groupby(["model", part])["accuracy"].mean().unstack(part)
    rows = 100 * means.reindex(accuracies["model"].unique().tolist())
    spread = 100 * accuracies.groupby("model")["accuracy"].std(ddof=0)
    return _with_mean(rows, spread.reindex(rows.index), part)


def _fused(predictions: pd.DataFrame, part: str) -> pd.DataFrame:
    return fusion_row(accuracy_by_part(average_by_case(predictions), part), part)


def _by_view(predictions: pd.DataFrame, name: str, row: pd.DataFrame, part: str) -> pd.DataFrame:
    """Return the row of a model, or of the fusion, below those of its single views where it has two or more."""
    rows = predictions if name == FUSION else predictions[predictions["model"] == name]
    parts = {view: rows[rows["view"] == view] for view in view_names(rows)}
    if len(parts) < 2:
        return row
    made = [(_fused if name == FUSION else _single_rows)(of_view, part) for of_view in parts.values()]
    named = [each.set_axis([f"{name} ({view})"]) for each, view in zip(made, parts, strict=True)]
    return pd.concat([*named, row])


def _with_mean(rows: pd.DataFrame, spread: pd.Series, part: str) -> pd.DataFrame:
    """Return the rows with their columns named `f<fold>` or `r<repeat>`, and with the columns `mean` and `std`."""
    named = rows.set_axis([f"{part[0]}{number}" for number in rows.columns], axis=1)
    return named.assign(mean=rows.mean(axis=1), std=spread).rename_axis("model")
