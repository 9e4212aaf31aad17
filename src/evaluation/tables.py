"""The table of accuracies by model and fold, as Table 1 of Rakhlin et al. 2018, in percent."""

from pathlib import Path

import numpy as np
import pandas as pd

from src.evaluation.metrics import accuracy_by_fold, label_numbers
from src.evaluation.predictions import average, columns

FUSION = "Model fusion"
SPREAD = "std over models"


def correctness(cases: pd.DataFrame) -> pd.Series:
    """Whether the most probable class of each case (the first one of a tie) is its label."""
    highest = cases[columns(cases)].to_numpy(dtype=np.float64).argmax(axis=1)
    return pd.Series(highest == label_numbers(cases), index=cases.index)


def seed_accuracy(predictions: pd.DataFrame) -> pd.DataFrame:
    """The accuracy, in 0..1, of each model, seed and fold: `model, seed, fold, accuracy`; models as they appear.

    A case's probabilities are averaged over its views first.
    """
    parts = {}
    for model, of_model in predictions.groupby("model", sort=False):
        for seed, rows in of_model.groupby("seed"):
            cases = average(rows)
            parts[model, seed] = accuracy_by_fold(correctness(cases), cases["fold"])
    table: pd.DataFrame = pd.concat(parts, names=["model", "seed"]).rename("accuracy").reset_index()
    return table


def fold_accuracy(predictions: pd.DataFrame) -> pd.DataFrame:
    """The mean over seeds of each seed's accuracy, in 0..1: rows are models as they appear, columns are folds."""
    return _over_seeds(seed_accuracy(predictions))


def fold_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """The published kind of table in percent: a row per model, columns `f1..fK, mean, std`.

    Of more than one model also "std over models" (population) and "Model fusion", the accuracy of the mean
    probabilities. A model's `std` is the population one over its folds *and seeds*, the fusion's that over its folds.
    So it must be in the paper: the `std` of its single rows (such as 4.2) exceeds that of the row's ten values (3.9),
    in each of them by what a spread of 1.5 to 2.1 points between seeds adds; the fused row's 2.6 is that of its values.
    """
    accuracies = seed_accuracy(predictions)
    singles = 100 * _over_seeds(accuracies)
    spread = 100 * accuracies.groupby("model")["accuracy"].std(ddof=0)
    table = _with_mean(singles, spread.reindex(singles.index))
    if len(singles) == 1:
        return table
    models = _with_mean(singles.std(ddof=0).to_frame(SPREAD).T, pd.Series({SPREAD: np.nan}))
    cases = average(predictions)
    return pd.concat([table, models, fusion_row(correctness(cases), cases["fold"])]).rename_axis("model")


def fusion_row(correct: pd.Series, folds: pd.Series) -> pd.DataFrame:
    """The fused row of the table alone, in percent, from whether each case is correct."""
    row = 100 * accuracy_by_fold(correct, folds).to_frame(FUSION).T
    return _with_mean(row, row.std(axis=1, ddof=0))


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Whether a value is the best of its column, as shown: the highest of each fold and of the mean, ties too.

    The row "std over models" and the column `std` take no part, nor does a table of one row.
    """
    values = rounded(table).drop(columns="std").drop(index=SPREAD, errors="ignore")
    bold = pd.DataFrame(False, index=table.index, columns=table.columns)
    if len(values) > 1:
        bold.loc[values.index, values.columns] = values == values.max()
    return bold


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The table at one decimal, as published."""
    return table.round(1)


def to_markdown(table: pd.DataFrame) -> str:
    """The table in Markdown at one decimal, the best values bold, missing ones as "-"; ends with a new line."""
    bold = best(table)
    lines = [["model", *table.columns], ["---"] + ["---:"] * len(table.columns)]
    for name, row in rounded(table).iterrows():
        lines.append([str(name), *(_cell(row[column], bool(bold.at[name, column])) for column in table.columns)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def published_table(path: str | Path) -> pd.DataFrame:
    """A table of the same shape from a CSV file with the columns `model, f1..fK, mean, std`."""
    table = pd.read_csv(path)
    folds = [f"f{number}" for number in range(1, len(table.columns) - 2)]
    expected = ["model", *folds, "mean", "std"]
    if table.columns.tolist() != expected:
        raise ValueError(f"{path}: the columns must be model, f1..fK, mean, std, but are {table.columns.tolist()}")
    return table.set_index("model").astype(np.float64)


def _over_seeds(accuracies: pd.DataFrame) -> pd.DataFrame:
    means = accuracies.groupby(["model", "fold"])["accuracy"].mean().unstack("fold")
    return means.reindex(accuracies["model"].unique().tolist())


def _with_mean(rows: pd.DataFrame, spread: pd.Series) -> pd.DataFrame:
    """The rows with their columns named `f<fold>`, and with the columns `mean` and `std`."""
    named = rows.set_axis([f"f{fold}" for fold in rows.columns], axis=1)
    return named.assign(mean=rows.mean(axis=1), std=spread).rename_axis("model")


def _cell(value: float, bold: bool) -> str:
    text = "-" if np.isnan(value) else f"{value:.1f}"
    return f"**{text}**" if bold else text
