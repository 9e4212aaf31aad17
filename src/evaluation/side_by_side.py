"""Fusions that cannot be fused with each other, side by side: other folds, other tasks, fewer training patients.

The accuracy of a model is that of its row by fold: the mean over folds of the mean over seeds. Its 95 % interval is
that of every proportion (`src.evaluation.proportions`); that of a gap between two protocols is a percentile bootstrap
over patients.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from src.evaluation.chosen_threshold import ThresholdChoice
from src.evaluation.evaluation import Evaluation
from src.evaluation.fold_tables import FUSION, mark_correct
from src.evaluation.metrics import (
    Values,
    Weights,
    bootstrap_weights,
    measure_cases,
    patient_groups,
    percentile_interval,
    prefix_names,
)
from src.evaluation.predictions import REPEATED, average_by_case, class_names, number_repeats
from src.evaluation.proportions import (
    ABSENT,
    Folds,
    Parts,
    estimate_proportion,
    share_strata,
    stratum_columns,
    weighted_ends,
)
from src.evaluation.two_classes import Binary, set_points

PROTOCOL, TRAINING = "protocol", "training_patients"
ALL = "0"
"""The number of training patients that stands for all."""
SCORED = [*REPEATED, "patient", "label", "fold"]
BALANCED = "balanced_accuracy"
OURS, ENDINGS = ("value", "std", "low", "high"), ("", "_std", "_low", "_high")
"""What there is of one of our figures, and how its columns end."""
BARE = ("data", PROTOCOL)
"""The axes whose values speak for themselves."""


@dataclass(kw_only=True)
class Group:
    """Runs on the same cases and folds that learnt from as many patients, and their fusion.

    axes
        What tells the group from others, by name, such as `protocol: kfold`; empty where it is the only one.
    leaks
        Whether patients stand on both sides of its splits.
    patients
        The mean number, over runs and folds, of the patients that models learn from or decide by when to stop; not a
        number where it is not asked for.
    choice
        What its thresholds are chosen by; None where none are.
    """

    axes: dict[str, str]
    leaks: bool
    patients: float
    predictions: pd.DataFrame
    binary: Binary
    evaluation: Evaluation
    notes: list[str] = field(default_factory=list)
    choice: ThresholdChoice | None = None

    @property
    def title(self) -> str:
        """The group's name: `kfold`, `kfold 8 patients`."""
        return axes_title(self.axes)

    def accuracy(self, model: str) -> tuple[float, float]:
        """Return the mean and the deviation, in percent, of a row of the table by fold."""
        table = self.evaluation.table
        return float(table["mean"].to_dict()[model]), float(table["std"].to_dict()[model])


@dataclass(kw_only=True)
class SideBySide:
    """What groups say when they are held against each other: the tables of this module's functions."""

    table: pd.DataFrame
    gaps: pd.DataFrame
    published: pd.DataFrame

    @property
    def curve(self) -> pd.DataFrame:
        """The rows of the table by the number of training patients; empty where it was not varied."""
        if TRAINING not in self.table or self.table[TRAINING].nunique() < 2:
            return pd.DataFrame()
        return self.table.sort_values(["patients"], kind="stable", ignore_index=True)


def side_by_side(
    groups: Sequence[Group], published: pd.DataFrame | None = None, replicates: int = 1000, seed: int = 0
) -> SideBySide:
    """Return the groups side by side, and beside published results (`src.evaluation.fold_tables.published_results`)."""
    table = group_table(groups, replicates, seed)
    found = pd.DataFrame() if published is None else published_beside_ours(published, table)
    return SideBySide(table=table, gaps=protocol_gaps(groups, replicates, seed), published=found)


def axes_title(axes: Mapping[str, str]) -> str:
    """Return the name of a group that its axes make: `kfold`, `kfold 8 patients`."""
    return " ".join(axis_title(name, value) for name, value in axes.items())


def axis_title(name: str, value: str) -> str:
    """Return how the value of an axis is called: kfold, 8 patients, data.task=binary."""
    if name == TRAINING:
        return "all patients" if value == ALL else f"{value} patients"
    return value if name in BARE else f"{name}={value}"


def group_table(groups: Sequence[Group], replicates: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Return a row per model, its groups in order; the fusion last. Columns:

    `model`, the axes, `group` (its title), `leaks`, `patients`; in percent `mean, std` as in the table by fold, and
    `low, high`; fractions `balanced_accuracy` (`balance_scores`), `auc` and, of the two-class view, `binary_accuracy,
    binary_auc` (all with `_low, _high`), `sensitivity, specificity` at its last threshold; `view`, what it holds
    against what.
    """
    rows = []
    for group in groups:
        facts = {**group.axes, "group": group.title, "leaks": group.leaks, "patients": group.patients}
        for model, scores in score_models(group.predictions).items():
            mean, std = group.accuracy(model)
            low, high = accuracy_ends(scores)
            accuracy = {"mean": mean, "std": std, "low": 100 * low, "high": 100 * high}
            areas = _areas(group, model, replicates, seed)
            figures = {**accuracy, **balance_scores(scores), **areas}
            rows.append({"model": model, **facts, **figures, "view": group.evaluation.view})
    order = list(dict.fromkeys(row["model"] for row in sorted(rows, key=lambda row: row["model"] == FUSION)))
    table = pd.DataFrame(rows)
    return table.sort_values("model", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def protocol_gaps(groups: Sequence[Group], replicates: int = 1000, seed: int = 0) -> pd.DataFrame:
    """How much better a protocol that leaks looks than one that does not, in points: a row per model and such a pair.

    Columns: `model`, the other axes, `leaking, other` (protocols), `gap, low, high`. Both protocols are drawn with the
    same patients, so that what the cases of one patient have in common is taken off the gap's interval.
    """
    rows = []
    for leaking, other in protocol_pairs(groups):
        rest = {name: value for name, value in leaking.axes.items() if name != PROTOCOL}
        named = {"leaking": leaking.axes[PROTOCOL], "other": other.axes[PROTOCOL]}
        ours, theirs = score_models(leaking.predictions), score_models(other.predictions)
        for model in [name for name in ours if name in theirs]:
            first, second = replicate_means([ours[model], theirs[model]], replicates, seed)
            low, high = percentile_interval(first - second)
            gap = leaking.accuracy(model)[0] - other.accuracy(model)[0]
            rows.append({"model": model, **rest, **named, "gap": gap, "low": 100 * low, "high": 100 * high})
    return pd.DataFrame(rows)


def protocol_pairs(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Yield a group that leaks and one that does not, which differ in nothing but the protocol."""
    for leaking in groups:
        for other in groups:
            differ = {name for name in leaking.axes if leaking.axes[name] != other.axes[name]}
            if leaking.leaks and not other.leaks and differ == {PROTOCOL}:
                yield leaking, other


def published_beside_ours(published: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Published results in percent beside ours: `model, metric, published, published_std`, ours by group, `note`.

    Where the number of training patients was varied, ours are those of all patients. A published model without a row
    of this name among ours stays, with no figure of ours; and where balanced accuracies are published, which no other
    table of several models has, so do those of ours that nobody published.
    """
    if TRAINING in table and (table[TRAINING] == ALL).any():
        table = table[table[TRAINING] == ALL]
    if (published["metric"] == BALANCED).any():
        known = published.loc[published["metric"] == BALANCED, "model"]
        ours_alone = [name for name in dict.fromkeys(table["model"]) if name not in set(known)]
        added = pd.DataFrame({"model": ours_alone, "metric": BALANCED, "note": ""})
        published = pd.concat([published, added], ignore_index=True)
    found = published.rename(columns={"value": "published", "std": "published_std"}).drop(columns="note")
    for title, rows in table.groupby("group", sort=False):
        ours = rows.set_index("model")
        found[title or "ours"] = [
            _ours(ours, str(row["model"]), str(row["metric"])) for row in published.to_dict("records")
        ]
    return found.assign(note=published["note"])


def score_models(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """By model, and of several also fused: `repeat, case, patient, fold, right`, the share of seeds that know it."""
    found = {str(model): _scores(rows) for model, rows in predictions.groupby("model", sort=False)}
    if len(found) > 1:
        cases = average_by_case(predictions)
        found[FUSION] = cases[SCORED].assign(right=mark_correct(cases).astype(np.float64))
    return found


def accuracy_ends(scores: pd.DataFrame) -> tuple[float, float]:
    """Return the ends, in 0..1, of the interval of the mean of the folds of a table of scores (`score_models`).

    Where folds are alike in size, and there is one seed, it is that of the accuracy of all cases.
    """
    hits, numbers, cases = scores_by_repeat(scores)
    held = numbers != ABSENT
    weights = np.zeros(held.shape)
    weights[held] = 1 / np.bincount(numbers[held])[numbers[held]]
    return weighted_ends(hits, weights / weights.sum(), patient_groups(cases), numbers)


def balance_scores(scores: pd.DataFrame) -> dict[str, float]:
    """Return the balanced accuracy (0..1), a mean over repeats, of a table of scores (`score_models`).

    Its names are `balanced_accuracy`, with `_low` and `_high`, and of several repeats `_std`: the population deviation
    over them, each being the mean over seeds. Where a repeat is one split, that is what the luck of a split comes to.
    """
    hits, numbers, cases = scores_by_repeat(scores)
    held, labels = numbers != ABSENT, np.unique(cases["label"].to_numpy(dtype=str), return_inverse=True)[1]
    found = estimate_proportion(hits, held, patient_groups(cases), numbers, labels).named(BALANCED)
    shares = share_strata(hits, held, stratum_columns(labels))[0]
    return found | ({f"{BALANCED}_std": float(shares.std())} if len(shares) > 1 else {})


def scores_by_repeat(scores: pd.DataFrame) -> tuple[Parts, Folds, pd.DataFrame]:
    """Return what is right and the number of the fold, by repeat and case, and the cases: `case, patient, label`.

    Nothing is right, and there is no fold (`ABSENT`), where a repeat does not hold a case out.
    """
    cases, scores = ["case", "patient", "label"], number_repeats(scores)
    right, fold = (scores.pivot(index=cases, columns="repeat", values=name) for name in ("right", "fold"))
    held = right.notna().to_numpy().T
    numbers = np.full(held.shape, ABSENT)
    numbers[held] = np.unique(fold.to_numpy().T[held], return_inverse=True)[1]
    return right.fillna(0.0).to_numpy(dtype=np.float64).T, numbers, right.index.to_frame(index=False)


def mean_of_folds(
    right: Float[np.ndarray, " cases"], fold: Float[np.ndarray, "cases folds"], weights: Weights
) -> Values:
    """Return the mean over folds of the weighted mean of `right`; `fold` is 1 where a case is of a fold.

    A fold of which no case has a weight takes no part.
    """
    below = weights @ fold
    means = np.divide((weights * right) @ fold, below, out=np.zeros_like(below), where=below > 0)
    known = (below > 0).sum(axis=1)
    return np.divide(means.sum(axis=1), known, out=np.full(len(weights), np.nan), where=known > 0)


def _scores(rows: pd.DataFrame) -> pd.DataFrame:
    tables = [average_by_case(of_seed) for _, of_seed in rows.groupby("seed")]
    right = pd.concat([table[REPEATED].assign(right=mark_correct(table).astype(np.float64)) for table in tables])
    mean = right.groupby(REPEATED)["right"].mean()
    return average_by_case(rows)[SCORED].merge(mean, on=REPEATED)


def replicate_means(tables: Sequence[pd.DataFrame], replicates: int, seed: int) -> list[Values]:
    """Return the mean of the folds of each table of scores, at each of the same draws of patients."""
    every = pd.concat(tables, ignore_index=True)
    ends = np.cumsum([len(table) for table in tables])[:-1]
    right = np.split(every["right"].to_numpy(dtype=np.float64), ends)
    folds = [pd.get_dummies(table["fold"]).to_numpy(dtype=np.float64) for table in tables]
    drawn = [
        [mean_of_folds(*each) for each in zip(right, folds, np.split(weights, ends, axis=1), strict=True)]
        for weights in bootstrap_weights(patient_groups(every), replicates, seed)
    ]
    return [np.concatenate(values) for values in zip(*drawn, strict=True)]


def _areas(group: Group, model: str, replicates: int, seed: int) -> Mapping[str, float]:
    """Return the AUC of a model or of the fusion, and what its two-class view gives."""
    rows = group.predictions if model == FUSION else group.predictions[group.predictions["model"] == model]
    cases = average_by_case(rows)
    view = group.binary(cases)
    if view is None:
        found = measure_cases(cases, replicates, seed, ["auc"])
    else:
        found = prefix_names(measure_cases(view, replicates, seed, ["accuracy", "auc"]), "binary_")
        point = set_points(view, group.binary.thresholds[-1:]).iloc[0]
        found |= {name: float(point[name]) for name in ("sensitivity", "specificity")}
        # Of two classes it is the same, whichever of them is the positive one.
        two = len(class_names(cases)) == 2
        area = {name: found[f"binary_{name}"] for name in ("auc", "auc_low", "auc_high") if f"binary_{name}" in found}
        found = (area if two else measure_cases(cases, replicates, seed, ["auc"])) | found
    return {name: value for name, value in found.items() if not name.endswith("accuracy_std")}


def _ours(ours: pd.DataFrame, model: str, metric: str) -> float:
    """Return our value in percent of a published one; not a number where there is none."""
    return ours_in_percent(ours.loc[model].to_dict() if model in ours.index else {}, metric)["value"]


def ours_in_percent(row: Mapping[Any, Any], metric: str) -> dict[str, float]:
    """Return `value, std, low, high` of a metric in percent, of a row of `group_table`; not a number where absent."""
    names = ["mean", "std", "low", "high"] if metric == "accuracy" else [metric + end for end in ENDINGS]
    unit = 1 if metric == "accuracy" else 100
    return {each: unit * row.get(name, np.nan) for each, name in zip(OURS, names, strict=True)}
