"""The predictions table: its classes, its checks, the alignment of several runs, and its mean per case.

Where splits are repeated every case is predicted once in each repeat: a figure is the mean over repeats of the figure
of each, and never that of probabilities averaged over repeats, which would be a larger ensemble than any run has.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

KEY = ["sample", "view", "model", "fold", "seed"]
COLUMNS = ["sample", "case", "patient", "view", "label", "model", "fold", "seed"]
OF_A_CASE = {"label": "labels", "fold": "held-out folds", "patient": "patients"}
"""What a case has one of; of folds one in each repeat."""
REPEATED = ["repeat", "case"]
TOLERANCE = 1e-6


def class_names(predictions: pd.DataFrame) -> list[str]:
    """Return the names of the classes, in the order of the columns `p_<class>`."""
    return [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]


def probability_columns(predictions: pd.DataFrame) -> list[str]:
    """Return the names of the columns that hold probabilities, in the order of the classes."""
    return [f"p_{name}" for name in class_names(predictions)]


def view_names(predictions: pd.DataFrame) -> list[str]:
    """Return the different views of the samples, in order; "" where samples have none."""
    return sorted(predictions["view"].unique().tolist())


def check_predictions(predictions: pd.DataFrame) -> None:
    """Refuse a table that is no predictions table.

    Errors: ValueError if it lacks a column, a probability is impossible, a label is no class, a sample is predicted
    twice under one key, or a case has two labels, held-out folds or patients. The message names the offender.
    """
    _check_columns(predictions)
    _check_probabilities(predictions)
    unknown = predictions.loc[~predictions["label"].isin(class_names(predictions)), "label"]
    if len(unknown):
        raise ValueError(f"a label must be one of {class_names(predictions)}, but got {_some(unknown)}")
    twice = predictions[predictions.duplicated(KEY)]
    if len(twice):
        key = ", ".join(f"{name}={twice.iloc[0][name]}" for name in KEY)
        raise ValueError(f"a sample must be predicted once under one key, but {len(twice)} rows are repeated: {key}")
    for column, several in OF_A_CASE.items():
        _check_constant(number_repeats(predictions), column, several)


def align_tables(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one predictions table of all the runs in `tables` (name of the run: its table), for their fusion.

    Errors: ValueError if the runs cannot be fused: other classes, other cases, another label, fold or patient of a
    case, or a model's name that occurs twice. The message names the runs and up to three of the offenders.
    """
    if not tables:
        raise ValueError("at least one run is needed to align, but got none")
    for name, table in tables.items():
        try:
            check_predictions(table)
        except ValueError as error:
            raise ValueError(f"run {name!r}: {error}") from error
    (first, reference), *others = tables.items()
    for name, table in others:
        _check_same_classes(first, reference, name, table)
    _check_same_cases(tables)
    for name, table in others:
        _check_same_facts(first, reference, name, table)
    _check_models(tables)
    kept = ["repeat", *COLUMNS, *probability_columns(reference)]
    return pd.concat([number_repeats(table)[kept] for table in tables.values()], ignore_index=True)


def number_repeats(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the column `repeat`: 1 throughout where it has none, as where splits were drawn once."""
    return predictions if "repeat" in predictions else predictions.assign(repeat=1)


def count_repeats(predictions: pd.DataFrame) -> int:
    """Return how many repeats predictions, or cases, are of."""
    return int(predictions["repeat"].nunique()) if "repeat" in predictions else 1


def average_by_case(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return one row per repeat and case, in this order: `repeat, case, patient, label, fold, p_<class>...`.

    The probabilities are the mean over the samples of a view, then over views, then seeds, then models.
    """
    predictions = number_repeats(predictions)
    facts = predictions.groupby(REPEATED)[["patient", "label", "fold"]].first()
    *_, means, _ = stepwise_means(predictions, [*REPEATED, "model", "seed", "view"])
    return facts.join(means).reset_index()


def stepwise_means(predictions: pd.DataFrame, keys: list[str]) -> Iterator[pd.DataFrame]:
    """The mean probabilities by all keys, over samples; of these the means by all keys but the last; and so on, until
    those by the first."""
    # Sorted first: a sum of floats depends on its order, and the result must not depend on that of the rows.
    means, names = predictions.sort_values([*keys, "sample"]), probability_columns(predictions)
    for count in range(len(keys), 0, -1):
        means = means.groupby(keys[:count])[names].mean()
        yield means


def _some(values: pd.Series | pd.Index) -> str:
    """Up to three different values, and how many more there are."""
    different = [str(value) for value in pd.unique(values)]
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    return ", ".join(different[:3]) + more


def _check_columns(predictions: pd.DataFrame) -> None:
    missing = [name for name in COLUMNS if name not in predictions.columns]
    if missing:
        raise ValueError(f"a predictions table needs the columns {COLUMNS}, but lacks {missing}")
    if len(class_names(predictions)) < 2:
        raise ValueError(
            f"a predictions table needs p_<class> columns of two classes or more, but has {class_names(predictions)}"
        )
    if not len(predictions):
        raise ValueError("a predictions table needs at least one row, but is empty")
    for name in COLUMNS:
        if predictions[name].isna().any():
            raise ValueError(
                f"the column {name!r} must have a value in every row, but lacks {predictions[name].isna().sum()}"
            )


def _check_probabilities(predictions: pd.DataFrame) -> None:
    values = predictions[probability_columns(predictions)].to_numpy(dtype=np.float64)
    wrong = ~((values >= 0) & (values <= 1)).all(axis=1)  # not a number compares false, so it is wrong, too
    if wrong.any():
        row = int(np.argmax(wrong))
        where = f"sample {predictions['sample'].iloc[row]!r} of model {predictions['model'].iloc[row]!r}"
        raise ValueError(f"probabilities must be finite and in 0..1, but {where} has {values[row].tolist()}")
    sums = values.sum(axis=1)
    wrong = np.abs(sums - 1) > TOLERANCE
    if wrong.any():
        row = int(np.argmax(wrong))
        where = f"sample {predictions['sample'].iloc[row]!r} of model {predictions['model'].iloc[row]!r}"
        raise ValueError(f"probabilities must sum to 1 within {TOLERANCE}, but those of {where} sum to {sums[row]}")


def _check_constant(predictions: pd.DataFrame, column: str, several: str) -> None:
    rows = predictions.groupby(REPEATED if column == "fold" else ["case"])[column]
    broken = predictions.loc[rows.transform("nunique") > 1, "case"].unique()
    if len(broken):
        found = sorted(predictions.loc[predictions["case"] == broken[0], column].unique().tolist())
        raise ValueError(
            f"a case must have one {column}, but {len(broken)} have two or more {several}: "
            f"{_some(pd.Index(broken))}; {broken[0]} has {found}"
        )


def _check_same_classes(first: str, reference: pd.DataFrame, name: str, table: pd.DataFrame) -> None:
    if set(class_names(reference)) != set(class_names(table)):
        raise ValueError(
            f"runs must have the same classes, but {first!r} has {class_names(reference)} and {name!r} has "
            f"{class_names(table)}"
        )


def _check_same_cases(tables: Mapping[str, pd.DataFrame]) -> None:
    repeats = {name: count_repeats(table) for name, table in tables.items()}
    if len(set(repeats.values())) > 1:
        counted = ", ".join(f"run {name!r} has {count}" for name, count in repeats.items())
        raise ValueError(f"runs must have the same number of repeats (protocol.repeats), but {counted}")
    every = pd.Index(pd.unique(pd.concat([table["case"] for table in tables.values()])))
    lacking = {name: every.difference(pd.Index(table["case"])) for name, table in tables.items()}
    found = [f"run {name!r} lacks {len(cases)}: {_some(cases)}" for name, cases in lacking.items() if len(cases)]
    if found:
        raise ValueError(f"runs must predict the same cases, but of {len(every)} " + "; ".join(found))


def _check_same_facts(first: str, reference: pd.DataFrame, name: str, table: pd.DataFrame) -> None:
    one, other = (number_repeats(each).groupby(REPEATED)[list(OF_A_CASE)].first() for each in (reference, table))
    if len(differs := one.index.symmetric_difference(other.index)):
        repeat, case = differs[0]
        raise ValueError(
            f"runs must hold out the same cases in each repeat, but {len(differs)} are held out in one only of "
            f"{first!r} and {name!r}, first {case} in repeat {repeat}"
        )
    for column in OF_A_CASE:
        rows = one.index[one[column] != other.loc[one.index, column]]
        if len(rows):
            differs = rows.get_level_values("case").unique()
            case = differs[0]
            here, there = (facts.loc[[rows[0]], column].tolist()[0] for facts in (one, other))
            raise ValueError(
                f"a case must have the same {column} in all runs, but {len(differs)} differ: {_some(differs)}; {case} "
                f"has {here!r} in run {first!r} and {there!r} in run {name!r}"
            )


def _check_models(tables: Mapping[str, pd.DataFrame]) -> None:
    owner: dict[str, str] = {}
    for name, table in tables.items():
        for model in table["model"].unique().tolist():
            if model in owner:
                raise ValueError(
                    f"a model's name must occur in one run, but {model!r} is in {owner[model]!r} and {name!r}"
                )
            owner[model] = name
