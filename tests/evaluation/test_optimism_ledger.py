"""What habits of papers claim, beside an honest figure: on models that know nothing, and on one that is really best."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from src.evaluation.fold_tables import fold_table
from src.evaluation.optimism_ledger import (
    BEST_CELL,
    BEST_SEED,
    LedgerEntry,
    best_cell,
    best_seed,
    choose_runs,
    compare_claim,
    mean_accuracy,
    optimism_ledger,
    score_cases,
)
from tests.support.simulation import pair, table

Make = Callable[..., pd.DataFrame]
COLUMNS = ["practice", "model", "claimed", "honest", "optimism", "low", "high", "note"]


def guesses(generator: np.random.Generator, seeds: int = 1, patients: int = 60) -> pd.DataFrame:
    """A model that guesses between two classes, a fold having as many patients as any other."""
    patient, label, fold = (np.arange(patients) // part % of for part, of in ((1, patients), (1, 2), (2, 5)))
    tables = [table(generator, patient, label, fold, generator.random(patients) < 0.5, 2) for _ in range(seeds)]
    return pd.concat([each.assign(seed=seed) for seed, each in enumerate(tables)])


def test_a_figure_is_that_of_the_table_by_fold(make: Make) -> None:
    predictions = make(cases=40, seeds=3)
    assert mean_accuracy(score_cases(predictions)) == pytest.approx(fold_table(predictions)["mean"].iloc[0])


def test_the_best_of_the_seeds_by_hand(make: Make) -> None:
    predictions = make(cases=48, seeds=4)
    each = [fold_table(rows)["mean"].iloc[0] for _, rows in predictions.groupby("seed")]
    entry = best_seed("m", predictions, replicates=200)
    assert (entry.practice, entry.model) == (BEST_SEED, "m")
    assert (entry.claimed, entry.honest) == pytest.approx((max(each), np.mean(each)))
    assert entry.optimism == pytest.approx(max(each) - np.mean(each))
    assert entry.low <= entry.optimism <= entry.high
    assert entry.note == f"seed {np.argmax(each)} of 4; the worst has {min(each):.1f}"


def test_one_seed_says_what_would_show_it(make: Make) -> None:
    entry = best_seed("m", make(seeds=1))
    assert np.isnan(entry.claimed)
    assert "seeds=[0,1,2,3,4]" in entry.note


@pytest.mark.slow
def test_of_seeds_that_guess_the_best_claims_more_than_chance() -> None:
    generator = np.random.default_rng(1)
    entries = [best_seed("m", guesses(generator, seeds=8), replicates=2) for _ in range(8)]
    assert np.mean([entry.claimed for entry in entries]) > 55
    assert np.mean([entry.honest for entry in entries]) == pytest.approx(50, abs=2)


def inner_of(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Inner predictions that are as right as those held out: of each fold's training part, the rows of other folds."""
    return {
        name: pd.concat([table[table["fold"] != fold].assign(fold=fold, inner_fold=1) for fold in range(1, 6)])
        for name, table in tables.items()
    }


def test_a_model_that_is_really_best_is_no_optimism() -> None:
    tables = pair(np.random.default_rng(0), patients=100, accuracies=(0.6, 0.95))
    entry = best_cell(tables, inner_of(tables), replicates=50)
    assert (entry.practice, entry.model, entry.optimism, entry.low, entry.high) == (BEST_CELL, "two", 0, 0, 0)
    assert entry.note == "by inner folds: two in 5 of 5 folds"


def test_a_run_is_chosen_by_the_training_part_and_judged_on_what_is_held_out() -> None:
    """Runs of which either is best on the training part of some folds: figures by hand."""
    tables = pair(np.random.default_rng(0), patients=100, accuracies=(0.8, 0.8))
    inner = inner_of(tables)
    swapped = {1: "two", 2: "two", 3: "one", 4: "one", 5: "two"}
    best = {name: [fold for fold, chosen in swapped.items() if chosen == name] for name in tables}
    for name, rows in inner.items():
        right = rows["fold"].isin(best[name]).to_numpy()
        known = np.where(right, rows["label"] == "c0", rows["label"] != "c0").astype(float)
        inner[name] = rows.assign(p_c0=known, p_c1=1 - known)
    assert choose_runs(inner).to_dict() == swapped
    entry = best_cell(tables, inner, replicates=50)
    held = [score_cases(tables[name])[lambda rows, fold=fold: rows["fold"] == fold] for fold, name in swapped.items()]
    assert entry.honest == pytest.approx(100 * np.mean([rows["right"].mean() for rows in held]))
    assert entry.note == "by inner folds: two in 3 of 5 folds, one in 2 of 5 folds"


def test_without_inner_folds_nothing_honest_is_claimed() -> None:
    tables = pair(np.random.default_rng(0), accuracies=(0.6, 0.9))
    entry = best_cell(tables, {}, "; to make them: COMMAND inner_folds=5")
    assert entry.claimed == pytest.approx(mean_accuracy(score_cases(tables["two"])))
    assert np.isnan([entry.honest, entry.optimism, entry.low, entry.high]).all()
    assert "these runs have no predictions by inner folds" in entry.note
    assert entry.note.endswith("; to make them: COMMAND inner_folds=5")
    assert "one of 2 runs" in best_cell(tables, {"two": inner_of(tables)["two"]}).note


def test_folds_may_differ_and_patients_are_drawn_alike() -> None:
    tables = pair(np.random.default_rng(0), patients=100, accuracies=(0.9, 0.7), paired=0.9)
    other = tables["two"].assign(fold=tables["two"]["fold"] % 5 + 1)
    entry = compare_claim("folds by image", "m", tables["one"], other, replicates=300)
    assert entry.optimism == pytest.approx(
        mean_accuracy(score_cases(tables["one"])) - mean_accuracy(score_cases(other))
    )
    assert 0 < entry.low < entry.optimism < entry.high
    same = compare_claim("folds by image", "m", other, other, replicates=300)
    assert (same.optimism, same.low, same.high) == (0, 0, 0)


def test_the_ledger_is_a_table_even_if_it_is_empty() -> None:
    assert optimism_ledger([]).columns.tolist() == COLUMNS
    found = optimism_ledger([LedgerEntry(practice="a", model="m", note="no such run yet")])
    assert found.columns.tolist() == COLUMNS
    assert found.loc[0, ["claimed", "honest", "optimism", "low", "high"]].isna().all()
