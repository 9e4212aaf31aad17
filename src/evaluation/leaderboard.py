"""Ways of learning on the same cases and folds in one table, what it says in words, and what choosing from it costs.

Every way is compared with every other one, and p is corrected for all pairs
(`src.evaluation.comparison.compare_pairs`): only so may the verdicts against the best be read, which is not known
before. The figure of whichever way is chosen is that of a choice which has not seen the fold that it is judged on
(`src.evaluation.optimism_ledger.nested_choice`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

import pandas as pd

from src.evaluation.comparison import compare_pairs
from src.evaluation.metrics import measure_cases, patient_groups
from src.evaluation.optimism_ledger import nested_choice
from src.evaluation.predictions import average_by_case, class_names
from src.evaluation.sample_size import (
    CORRELATION,
    LIKENESS,
    POWER,
    correlation_limits,
    design_effect,
    difference_variance,
    fewest,
    patients_for_power,
    proportion_interval,
)
from src.evaluation.two_classes import Binary
from src.evaluation.verdicts import BETTER, NOT_SHOWN, WORSE
from src.evaluation.wording import listed, measured, number, percent

BEST, FLOOR = "best", "floor"
"""What stands instead of a verdict in the rows against which the others are held."""
METRICS = ("accuracy", "auc")
DIFFERENCES = (0.05, 0.1)
"""Differences of accuracy of which it is said how many patients would show them."""
FEW = 4, "others"
"""How many ways are named in a sentence, and what the rest are."""
WIDTH = 0.1
"""That of an interval of which it is said how many patients it takes."""


@dataclass(kw_only=True)
class Leaderboard:
    """The ways, from the most accurate one down, and what is to be known of them.

    table
        `way, accuracy, accuracy_low, accuracy_high, auc, auc_low, auc_high, against_best, p_best, against_floor,
        p_floor`: fractions; verdicts are those of `src.evaluation.verdicts`, or `best` and `floor` for these rows.
    honest
        Accuracy and AUC, with `_low` and `_high`, of the way that inner folds choose in each fold; empty where a way
        has no predictions by inner folds, or there is one way only.
    chosen
        In how many folds which way was chosen so.
    commonest
        The most frequent class (the first one of a tie), and its share of the cases.
    """

    table: pd.DataFrame
    honest: dict[str, float]
    chosen: dict[str, int]
    floor: str
    commonest: tuple[str, float]
    patients: int
    cases: int
    folds: int
    known: bool
    """Whether patients are known; else every case counts as one."""

    @property
    def best(self) -> str:
        """The most accurate way."""
        return str(self.table["way"].iloc[0])

    @property
    def comparisons(self) -> dict[int, str]:
        """How many comparisons are made, and in words."""
        pairs = comb(len(self.table), 2)
        return {1: "between two ways named before"} | ({pairs: f"among all {pairs} pairs"} if pairs > 1 else {})

    @property
    def unit(self) -> str:
        """What is counted."""
        return "patients" if self.known else "images"


def rank_ways(
    tables: Mapping[str, pd.DataFrame],
    inner: Mapping[str, pd.DataFrame],
    binary: Binary,
    floor: str,
    replicates: int = 1000,
    ratios: Mapping[str, float] | None = None,
) -> Leaderboard:
    """Return the leaderboard of predictions tables and of those by inner folds, both by the name of the way.

    `floor` is the way that every other one has to beat.

    Errors: ValueError for other cases, classes, labels, patients or folds.
    """
    found = {name: average_by_case(rows) for name, rows in tables.items()}
    measures = {name: measure_cases(cases, replicates, names=METRICS) for name, cases in found.items()}
    order = sorted(measures, key=lambda name: [-measures[name].get(each, 0.0) for each in METRICS])
    pairs = compare_pairs({name: tables[name] for name in order}, binary, ratios) if len(order) > 1 else pd.DataFrame()
    rows = [
        {"way": name}
        | {key: value for key, value in measures[name].items() if key != "accuracy_std"}
        | dict(zip(("against_best", "p_best"), verdict_on(pairs, name, order[0], BEST), strict=True))
        | dict(zip(("against_floor", "p_floor"), verdict_on(pairs, name, floor, FLOOR), strict=True))
        for name in order
    ]
    first = found[order[0]]
    share = first.drop_duplicates("case")["label"].value_counts(normalize=True).reindex(class_names(first))
    table, chosen = nested_choice(tables, inner) if set(tables) == set(inner) and len(tables) > 1 else (None, {})
    return Leaderboard(
        table=pd.DataFrame(rows),
        honest={} if table is None else measure_cases(average_by_case(table), replicates, names=METRICS),
        chosen=chosen,
        floor=floor,
        commonest=(str(share.idxmax()), float(share.max())),
        patients=int(patient_groups(first).max()) + 1,
        cases=first["case"].nunique(),
        folds=first["fold"].nunique(),
        known=bool((first["patient"] != "").any()),
    )


def verdict_on(pairs: pd.DataFrame, name: str, other: str, itself: str) -> tuple[str, float]:
    """Return what a way is against another, and the corrected p; of one against itself what is said instead."""
    if name == other:
        return itself, float("nan")
    for row in pairs.to_dict("records"):
        if (row["model"], row["reference"]) == (name, other):
            return str(row["verdict"]), float(row["p_adjusted"])
        if (row["model"], row["reference"]) == (other, name):
            turned = {BETTER: WORSE, WORSE: BETTER}.get(row["verdict"], NOT_SHOWN)
            return turned, float(row["p_adjusted"])
    return NOT_SHOWN, float("nan")  # the floor did not finish


def answer(board: Leaderboard) -> list[str]:
    """Return what the leaderboard says, in sentences."""
    count = f"{board.patients} {board.unit}"
    rows = board.table.set_index("way")
    others = rows["against_best"].drop(board.best)
    worse = [str(name) for name in others.index[others == WORSE]]
    alike = [str(name) for name in others.index[others == NOT_SHOWN]]
    name, share = board.commonest
    figures = board.honest or rows.loc[board.best].to_dict()
    if figures.get("accuracy_low", 0.0) <= share:
        said = (
            f"Too few to tell: of these {count} not even the best way is shown to learn more than to always name "
            f"{name}, which is right in {percent(share)} %."
        )
    elif not worse and (rows["against_floor"] != BETTER).all() and len(rows) > 1:
        said = f"Too few to tell: on these {count} no way is shown to be worse than the most accurate, {board.best}."
    elif alike:
        said = f"{board.best} is the most accurate, and not shown to be better than {listed(alike, *FEW)}."
    else:
        said = f"{board.best} is the most accurate."
    lines = [said]
    lines += [f"Shown to be worse than {board.best}: {listed(worse, *FEW)}."] if worse else []
    return [*lines, floor_line(board), *honest_lines(board)]


def floor_line(board: Leaderboard) -> str:
    """Return which ways are better than the floor."""
    better = [str(row["way"]) for row in board.table.to_dict("records") if row["against_floor"] == BETTER]
    if board.floor not in set(board.table["way"]):
        return f"The floor, {board.floor}, has no figures: whether a way is worth its network is not known."
    if not better:
        return f"No way is shown to be better than the floor, {board.floor}."
    rest = len(board.table) - 1 - len(better)
    which = "Every other way is" if not rest else f"{listed(better, *FEW)} {'is' if len(better) == 1 else 'are'}"
    return f"{which} shown to be better than the floor, {board.floor}."


def honest_lines(board: Leaderboard) -> list[str]:
    """Return the figure of the way that is chosen, and how it was chosen."""
    if not board.honest:
        return [
            f"The figure of {board.best} is that of the one that is best on these folds: picked after the fact, it "
            "looks better than it is."
        ] * (len(board.table) > 1)
    picks = ", ".join(f"{name} in {count} of {board.folds}" for name, count in board.chosen.items())
    claimed = 100 * float(board.table["accuracy"].iloc[0])
    return [
        f"The honest figure of the winner: {measured(board.honest, 'accuracy', 100, 1, level=True)} % are right, AUC "
        f"{measured(board.honest, 'auc', level=True)}. In each fold the way was chosen by inner folds of the training "
        f"part alone ({picks}). {board.best} itself has {number(claimed)} %, as the best of {len(board.table)} on the "
        "folds that are reported, which flatters it."
    ]


def needed_patients(board: Leaderboard) -> dict[str, int]:
    """Return how many patients (cases, where they are unknown) it takes, by what for: as `python -m src.plan` reckons.

    For a difference of accuracy that is to be shown between the best way and a lesser one, with a power of 80 %, where
    these two were named before and where all pairs of ways are tested together (at most: `difference_power`), and for
    an interval of the accuracy that is 10 points wide.
    """
    images = board.cases / board.patients
    design = design_effect(images, LIKENESS)
    best = min(max(float((board.honest or board.table.iloc[0]).get("accuracy", 0.5)), 0.2), 0.95)
    found = {}
    for difference in DIFFERENCES:
        alike = min(CORRELATION, correlation_limits(difference, best - difference)[1])
        variance = difference_variance(difference, best - difference, alike) * design / images
        for comparisons, which in board.comparisons.items():
            purpose = f"to show a difference of {number(100 * difference, 0)} points {which}"
            found[purpose] = patients_for_power(difference, variance, POWER, board.folds, comparisons=comparisons)

    def width(count: int) -> float:
        low, high = proportion_interval(best, count, images, design)
        return high - low

    found[f"to know the accuracy within an interval of {number(100 * WIDTH, 0)} points"] = fewest(
        lambda count: width(count) <= WIDTH
    )
    return found


def needed_line(board: Leaderboard) -> str:
    """Return how many patients it takes, in a sentence."""
    said = ", ".join(f"{count:,} {purpose}" for purpose, count in needed_patients(board).items())
    return f"There are {board.patients} {board.unit}; it takes about {said}."
