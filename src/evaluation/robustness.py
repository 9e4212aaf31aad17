"""How far figures move when images are perturbed: a curve per perturbation, with intervals by patient.

The models stay what they are, and so do the cases: what is told of a level is paired with what the same models said of
the same images as they are, so that neither the choice of patients nor the luck of a training widens a difference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from src.evaluation.metrics import (
    METRICS,
    Probabilities,
    bootstrap_weights,
    label_numbers,
    measure_cases,
    patient_groups,
    percentile_interval,
)
from src.evaluation.predictions import average_by_case, class_names, probability_columns
from src.evaluation.proportions import Estimate, clustered_wilson
from src.evaluation.wording import measured

Setting = tuple[str, float]
"""A perturbation's name and its level."""
UNCHANGED: Setting = ("", 0.0)
"""Images as they are."""
LOST = 0.05
"""The loss of accuracy at which a model is said to keep its promise no longer: 5 points."""
FIGURES = ("accuracy", "auc")
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class LevelScale:
    """What levels of a perturbation are counted in, and the one that stands for images as they are."""

    unit: str
    unchanged: float


@dataclass(kw_only=True)
class Paired:
    """What models say of cases as they are and perturbed; of a case with several repeats the means over these.

    changed
        Whether the most probable class is another one (0..1).
    gain
        Whether it is right, less whether it was (-1..1).
    moved
        By how much the probability of the class that was predicted has changed (0..1).
    """

    before: pd.DataFrame
    after: pd.DataFrame
    changed: "pd.Series[float]"
    gain: "pd.Series[float]"
    moved: "pd.Series[float]"

    @classmethod
    def of(cls, before: pd.DataFrame, after: pd.DataFrame) -> "Paired":
        """Return the pairs of two tables by case (`src.evaluation.predictions.average_by_case`), of cases in both."""
        before = before[before["case"].isin(after["case"])].reset_index(drop=True)
        was, now, labels = values_of(before), values_of(after), label_numbers(before)
        called, call = was.argmax(axis=1), now.argmax(axis=1)
        each = np.arange(len(before))
        by_case = {
            "changed": call != called,
            "gain": (call == labels).astype(np.float64) - (called == labels),
            "moved": np.abs(now[each, called] - was[each, called]),
        }
        means = pd.DataFrame(by_case).astype(np.float64).groupby(before["case"]).mean()
        return cls(before=before, after=after, **{str(name): means[name] for name in means})

    @property
    def groups(self) -> Int[np.ndarray, " cases"]:
        """The number of each case's patient, in the order of `gain`."""
        return patient_groups(self.before.drop_duplicates("case").sort_values("case"))

    def figures(self, replicates: int) -> dict[str, float]:
        """Return what has changed, each figure with its 95 % interval by patient under `_low` and `_high`."""
        changed, gain, moved = (each.to_numpy() for each in (self.changed, self.gain, self.moved))
        groups = self.groups
        return {
            **Estimate(float(changed.mean()), *clustered_wilson(changed, groups)).named("changed"),
            **Estimate(float(moved.mean()), *clustered_mean(moved, groups, lowest=0.0)).named("moved"),
            **Estimate(float(gain.mean()), *clustered_difference(gain, groups)).named("accuracy_difference"),
            **auc_difference(self.before, self.after, replicates).named("auc_difference"),
        }


def robustness_table(
    answers: Mapping[str, Mapping[Setting, pd.DataFrame]], scales: Mapping[str, LevelScale], replicates: int = 1000
) -> pd.DataFrame:
    """Return a row per model, perturbation and level, in that order, images as they are (`unchanged`) among the levels.

    `answers` are predictions tables by model and setting, `UNCHANGED` among these; rows of samples that cannot be
    treated at a level are missing. Columns: `model, perturbation, level, unit, unchanged, cases, patients, left_out`,
    then fractions, each with `_low` and `_high`: `accuracy, auc` of the cases that could be treated; of the same cases
    against what they were as they are `changed` (the share whose most probable class is another), `moved` (the mean
    absolute change of the probability of the class that was predicted), `accuracy_difference, auc_difference`; and
    `excess_loss`, what the accuracy has lost beyond that of the first model, of the cases of both.
    """
    rows, gains = [], {}
    for model, tables in answers.items():
        whole = average_by_case(tables[UNCHANGED])
        alone = figures_of(whole, whole, replicates)
        for name, scale in scales.items():
            levels = {level for perturbation, level in tables if perturbation == name}
            for level in sorted({scale.unchanged, *levels}):
                start = {"model": model, "perturbation": name, "level": level, "unit": scale.unit}
                if level == scale.unchanged:
                    rows.append({**start, "unchanged": True, **alone})
                    continue
                after = average_by_case(tables[name, level])
                pair = Paired.of(whole, after)
                gains[model, name, level] = pair.gain
                paired = pair.figures(replicates) if len(after) else {}
                rows.append({**start, "unchanged": False, **figures_of(whole, after, replicates), **paired})
    table = pd.DataFrame(rows)
    return table.assign(**excess_losses(table, gains, average_by_case(next(iter(answers.values()))[UNCHANGED])))


def common_cases(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the predictions of the first of several models, by name, of the cases that all of them predict.

    Errors: ValueError where there are none, where classes differ, or a case's label or patient does.
    """
    (first, table), *others = found.items()
    for name, other in others:
        if set(class_names(other)) != set(class_names(table)):
            one, two = (", ".join(class_names(each)) for each in (table, other))
            raise ValueError(f"models are held against each other on the same classes: {first} has {one}, {name} {two}")
        common = table[table["case"].isin(other["case"])]
        if common.empty:
            raise ValueError(f"no case was held out by both {first} and {name}: stress each by itself")
        ours, theirs = (each.groupby("case")[["label", "patient"]].first() for each in (common, other))
        unlike = ours.index[(ours != theirs.loc[ours.index]).any(axis=1)]
        if len(unlike):
            raise ValueError(f"{first} and {name} know case {unlike[0]} by another label or patient")
        table = common
    return table


def figures_of(whole: pd.DataFrame, cases: pd.DataFrame, replicates: int) -> dict[str, float]:
    """Return the figures of cases, which are those of the whole that could be treated."""
    counts = {"cases": cases["case"].nunique(), "left_out": whole["case"].nunique() - cases["case"].nunique()}
    if cases.empty:
        return {**counts, "patients": 0}
    found = measure_cases(cases, replicates, names=FIGURES)
    patients = len(np.unique(patient_groups(cases)))
    return {**counts, "patients": patients} | {key: value for key, value in found.items() if key != "accuracy_std"}


def excess_losses(
    table: pd.DataFrame, gains: Mapping[tuple[str, str, float], "pd.Series[float]"], cases: pd.DataFrame
) -> dict[str, list[float]]:
    """Return the columns `excess_loss`, by which each model loses more than the first one, and its ends."""
    first = str(table["model"].iloc[0])
    patients = cases.drop_duplicates("case").set_index("case", drop=False)
    found: dict[str, list[float]] = {key: [] for key in Estimate().named("excess_loss")}
    for row in table.to_dict("records"):
        ours, theirs = (gains.get((model, row["perturbation"], row["level"])) for model in (row["model"], first))
        figure = Estimate()
        if row["model"] != first and ours is not None and theirs is not None:
            more = (theirs - ours).dropna()  # of the cases of both
            groups = patient_groups(patients.loc[more.index])
            ends = clustered_difference(more.to_numpy(), groups) if len(more) else (NAN, NAN)
            figure = Estimate(float(more.mean()), *ends)
        for key, value in figure.named("excess_loss").items():
            found[key].append(value)
    return found


def clustered_difference(values: Float[np.ndarray, " cases"], groups: Int[np.ndarray, " cases"]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of differences of outcomes (-1, 0 and 1, or means of such), by patient.

    That of Agresti and Min 2005 (Statistics in Medicine 24, section 2.2: half a pair added to each cell of the table),
    a pair being a patient of the mean size here, with the variance of sums over patients and t. It holds what is true
    in 95 % or more of simulated studies of 20 to 400 patients, where the same without added pairs has 18 to 95 %, as it
    has no width where nothing has changed; in 90 % where of 400 images 1 in 100 changes, all to one side.
    """
    sums, sizes = np.bincount(groups, values), np.bincount(groups).astype(np.float64)
    size = sizes.mean()
    total = sizes.sum() + 2 * size
    middle = sums.sum() / total
    return ends_of(middle, sums - sizes * middle, size**2, total)


def clustered_mean(
    values: Float[np.ndarray, " cases"], groups: Int[np.ndarray, " cases"], lowest: float = -np.inf
) -> tuple[float, float]:
    """Return the 95 % interval of a mean, by patient (Liang and Zeger 1986) with t; it begins at `lowest` or above."""
    sums, sizes = np.bincount(groups, values), np.bincount(groups)
    low, high = ends_of(values.mean(), sums - sizes * values.mean(), 0.0, len(values))
    return max(low, lowest), high


def ends_of(middle: float, parts: Float[np.ndarray, " patients"], more: float, total: float) -> tuple[float, float]:
    """Return the ends of an interval about a mean of `total` cases, from what patients add to its error.

    Not a number for a single patient.
    """
    from scipy.stats import t

    count = len(parts)
    if count < 2:
        return NAN, NAN
    variance = count / (count - 1) * (parts**2).sum() + more
    half = float(t.ppf(0.975, count - 1) * np.sqrt(variance) / total)
    return float(middle) - half, float(middle) + half


def auc_difference(before: pd.DataFrame, after: pd.DataFrame, replicates: int) -> Estimate:
    """Return the difference of two tables' AUC, and its 95 % interval by a paired bootstrap over patients."""
    parts = [(values_of(one), values_of(other), label_numbers(one)) for one, other in repeats_of(before, after)]
    groups = patient_groups(next(repeats_of(before, after))[0])
    once = np.ones((1, len(groups)))

    def of_weights(weights: Float[np.ndarray, "replicates cases"]) -> Float[np.ndarray, " replicates"]:
        gains = [
            METRICS["auc"](now, labels, weights) - METRICS["auc"](was, labels, weights) for was, now, labels in parts
        ]
        return np.mean(gains, axis=0)

    drawn = np.concatenate([of_weights(weights) for weights in bootstrap_weights(groups, replicates, 0)])
    return Estimate(float(of_weights(once)[0]), *percentile_interval(drawn))


def repeats_of(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield the rows of each repeat of two tables by case, in the order of the cases."""
    for repeat in sorted(before["repeat"].unique()):
        yield before[before["repeat"] == repeat], after[after["repeat"] == repeat]


def values_of(cases: pd.DataFrame) -> Probabilities:
    """Return the probabilities (cases, classes) of a table by case."""
    return cases[probability_columns(cases)].to_numpy(dtype=np.float64)


def summarise_robustness(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per perturbation and model: how far it may go.

    Columns: `perturbation, unit, model`; the levels `unchanged, lowest, highest`; `below, above`, the levels on both
    sides of images as they are at which the accuracy has lost 5 points (`level_of_loss`); and of the level `worst`, at
    which it has lost most, `accuracy_difference, changed, excess_loss`, each with `_low` and `_high`.
    """
    kinds = [part for _, part in table.groupby("perturbation", sort=False)]
    return pd.DataFrame([summary_row(part) for kind in kinds for _, part in kind.groupby("model", sort=False)])


def summary_row(part: pd.DataFrame) -> dict[str, Any]:
    """Return the row of a perturbation and a model, from those of its levels."""
    first = part[part["unchanged"]].to_dict("records")[0]
    start, known = first["level"], part[part["accuracy_difference"].notna()]
    worst = known.sort_values("accuracy_difference", kind="stable").to_dict("records")[0] if len(known) else first
    kept = ("accuracy_difference", "changed", "excess_loss")
    return {
        **{name: first[name] for name in ("perturbation", "unit", "model")},
        "unchanged": start,
        "lowest": part["level"].min(),
        "highest": part["level"].max(),
        "below": level_of_loss(part[part["level"] <= start], start),
        "above": level_of_loss(part[part["level"] >= start], start),
        "worst": worst["level"] if len(known) else NAN,
        **{name: worst[name] for key in kept for name in Estimate().named(key)},
    }


def level_of_loss(side: pd.DataFrame, start: float) -> float:
    """Return the level nearest to `start` at which the accuracy has lost 5 points, from the rows of one side of it.

    Between levels the accuracy is taken to change evenly. Not a number where no level of the side has lost so much.
    """
    last, lost = start, 0.0
    for row in side.iloc[(side["level"] - start).abs().argsort(kind="stable")].to_dict("records"):
        now = 0.0 if row["unchanged"] else -row["accuracy_difference"]
        if now >= LOST - 1e-9:
            return float(last + (row["level"] - last) * (LOST - lost) / (now - lost))
        last, lost = (row["level"], now) if now == now else (last, lost)
    return NAN


def explain_robustness(table: pd.DataFrame) -> list[str]:
    """Return the accuracy of images as they are, and how a summary is read."""
    lines = [
        f"Images as they are: {row['model']} {measured(row, 'accuracy', 100, 1)} %, of {row['cases']} cases of "
        f"{row['patients']} patients"
        for row in table[table["unchanged"]].drop_duplicates("model").to_dict("records")
    ]
    lines.append(
        "Differences are of the same models on the same images, intervals by patient; one that holds 0 may be chance. "
        "The level at which 5 points are lost is interpolated; < and >: not within the levels"
    )
    worst = table.sort_values("left_out", kind="stable").to_dict("records")[-1]
    if worst["left_out"]:
        where = f"{worst['perturbation']} {worst['level']:g} of {worst['model']}"
        lines.append(
            f"Cases that cannot be treated when perturbed are left out: {worst['left_out']} at {where}, the most"
        )
    return lines
