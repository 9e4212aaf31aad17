"""The optimism ledger: what habits of papers would have claimed of the same models, beside an honest figure.

A figure is the accuracy in percent of a row of the table by fold: the mean over folds of the mean over seeds. What
lies between the two is the optimism in points. Its 95 % interval is a bootstrap over patients, who are drawn alike for
both; which seed, model or parameters were chosen is left as it was.
"""

from collections.abc import Iterable, Mapping, Sequence
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


def best_cell(
    tables: Mapping[str, pd.DataFrame],
    inner: Mapping[str, pd.DataFrame],
    way_out: str = "",
    replicates: int = 1000,
    seed: int = 0,
) -> LedgerEntry:
    """The best of several runs on the same cases and folds by its own figure, beside runs chosen without the fold.

    Honest is the figure of a run per fold: the one that is best on the fold's training part, as predicted by `inner`
    folds (Varma and Simon 2006). Choosing by the other folds is not: their models learnt from this one. Where a run has
    no inner predictions there is no honest figure, and `way_out` says what would give it.
    """
    found = {name: score_cases(rows) for name, rows in tables.items()}
    figures = {name: mean_accuracy(each) for name, each in found.items()}
    best = max(figures, key=lambda name: figures[name])
    if lacking := [name for name in tables if name not in inner]:
        what = "these runs have" if len(lacking) == len(tables) else f"{list_few(lacking)} of {len(tables)} runs have"
        note = (
            f"claims {figures[best]:.1f} %, and what choosing adds to that is not known: {what} no predictions by "
            f"inner folds, on which alone a run can be chosen without the fold that it is judged on{way_out}"
        )
        return LedgerEntry(practice=BEST_CELL, model=best, claimed=figures[best], note=note)
    honest, chosen = nested_choice(tables, inner)
    folds = sum(chosen.values())
    picked = ", ".join(f"{name} in {count} of {folds} folds" for name, count in chosen.items())
    return _entry(BEST_CELL, best, found[best], score_cases(honest), f"by inner folds: {picked}", replicates, seed)


def nested_choice(
    tables: Mapping[str, pd.DataFrame], inner: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the predictions of the run that inner folds choose in each fold, as those of one model, and in how many
    folds each was chosen."""
    chosen = choose_runs({name: inner[name] for name in tables})
    parts = [tables[name][tables[name]["fold"] == fold] for fold, name in chosen.items()]
    counts = {str(name): int(count) for name, count in chosen.value_counts().items()}
    return pd.concat(parts, ignore_index=True).assign(model="chosen by inner folds"), counts


def choose_runs(inner: Mapping[str, pd.DataFrame]) -> "pd.Series[str]":
    """Return, by fold, the run that is best on the training part: by its accuracy there, the mean over seeds.

    Runs are held against each other on the cases that all of them predicted; of several that are equally good, the
    first is taken.
    """
    right = {
        name: pd.concat({fold: score_cases(part).set_index("case")["right"] for fold, part in table.groupby("fold")})
        for name, table in inner.items()
    }
    return pd.DataFrame(right).dropna().groupby(level=0).mean().idxmax(axis=1).astype(str)


def list_few(names: Sequence[str]) -> str:
    """Return up to two names, or else how many there are."""
    return " and ".join(names) if len(names) < 3 else str(len(names))


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
