"""The optimism ledger: what habits of papers would have claimed of the same models, beside an honest figure.

A figure is the accuracy in percent of a row of the table by fold: the mean over folds of the mean over seeds. What
lies between the two is the optimism in points. Its 95 % interval is a bootstrap over patients, who are drawn alike for
both; which seed, model or parameters were chosen is left as it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from src.evaluation.metrics import percentile_interval
from src.evaluation.side_by_side import mean_of_folds, replicate_means, score_models

IMAGE_LEVEL = "folds by image"
BEST_SEED = "best of the seeds"
BEST_CELL = "best of the runs"
TUNED = "tuned on the reported folds"
UNKNOWN = float("nan")


@dataclass(kw_only=True)
class LedgerEntry:
    """A row of the ledger; figures are not a number where they cannot be had, and `note` says what would give them."""

    practice: str
    model: str
    claimed: float = UNKNOWN
    honest: float = UNKNOWN
    optimism: float = UNKNOWN
    low: float = UNKNOWN
    high: float = UNKNOWN
    note: str = ""


def optimism_ledger(entries: Iterable[LedgerEntry]) -> pd.DataFrame:
    """The table `practice, model, claimed, honest, optimism, low, high, note`: accuracies in percent, the rest in
    points."""
    return pd.DataFrame([asdict(entry) for entry in entries], columns=list(asdict(LedgerEntry(practice="", model=""))))


def compare_claim(
    practice: str,
    model: str,
    claimed: pd.DataFrame,
    honest: pd.DataFrame,
    note: str = "",
    replicates: int = 1000,
    seed: int = 0,
) -> LedgerEntry:
    """What one predictions table claims beside the honest one; they may have different folds, but are of the same
    patients."""
    return _entry(practice, model, score_cases(claimed), score_cases(honest), note, replicates, seed)


def best_seed(model: str, predictions: pd.DataFrame, replicates: int = 1000, seed: int = 0) -> LedgerEntry:
    """Return the best of a run's seeds beside the mean over them."""
    found = {int(str(number)): score_cases(rows) for number, rows in predictions.groupby("seed")}
    if len(found) < 2:
        return LedgerEntry(practice=BEST_SEED, model=model, note="one seed: seeds=[0,1,2,3,4] would show it")
    figures = {number: mean_accuracy(each) for number, each in found.items()}
    best = max(figures, key=lambda number: figures[number])
    note = f"seed {best} of {len(found)}; the worst has {min(figures.values()):.1f}"
    return _entry(BEST_SEED, model, found[best], score_cases(predictions), note, replicates, seed)


def best_cell(tables: Mapping[str, pd.DataFrame], replicates: int = 1000, seed: int = 0) -> LedgerEntry:
    """The best of several runs on the same cases and folds by its own figure, beside runs chosen without the fold.

    Honest is the figure of a run per fold, the one that is best on the other folds.
    """
    found = {name: score_cases(rows) for name, rows in tables.items()}
    folds = pd.DataFrame({name: each.groupby("fold")["right"].mean() for name, each in found.items()})
    if len(folds) < 2 or len(found) < 2:
        return LedgerEntry(practice=BEST_CELL, model=", ".join(found), note="needs two runs and two folds or more")
    chosen = {fold: str(folds.drop(index=[fold]).mean().idxmax()) for fold in folds.index}
    honest = pd.concat([found[name][found[name]["fold"] == fold] for fold, name in chosen.items()])
    best = str(folds.mean().idxmax())
    counts = pd.Series(chosen).value_counts()
    picked = ", ".join(f"{name} in {count} of {len(folds)} folds" for name, count in counts.items())
    return _entry(BEST_CELL, best, found[best], honest, f"without the fold: {picked}", replicates, seed)


def score_cases(predictions: pd.DataFrame) -> pd.DataFrame:
    """`case, patient, fold, right`: the share of the seeds that recognise a case."""
    return score_models(predictions.assign(model="one"))["one"]


def mean_accuracy(scores: pd.DataFrame) -> float:
    """Return the accuracy in percent: the mean of the folds'."""
    folds = pd.get_dummies(scores["fold"]).to_numpy(dtype=np.float64)
    right = scores["right"].to_numpy(dtype=np.float64)
    return 100 * float(mean_of_folds(right, folds, np.ones((1, len(scores))))[0])


def _entry(
    practice: str,
    model: str,
    claimed: pd.DataFrame,
    honest: pd.DataFrame,
    note: str,
    replicates: int,
    seed: int,
) -> LedgerEntry:
    first, second = replicate_means([claimed, honest], replicates, seed)
    low, high = percentile_interval(first - second)
    above, below = mean_accuracy(claimed), mean_accuracy(honest)
    return LedgerEntry(
        practice=practice,
        model=model,
        claimed=above,
        honest=below,
        optimism=above - below,
        low=100 * low,
        high=100 * high,
        note=note,
    )
