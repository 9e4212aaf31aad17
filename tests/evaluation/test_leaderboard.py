"""The leaderboard: every pair is compared, the best is picked by data, and the honest figure by inner folds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.evaluation.comparison import compare, compare_pairs
from src.evaluation.leaderboard import answer, needed_patients, rank_ways
from src.evaluation.optimism_ledger import score_cases
from src.evaluation.text_tables import tabulate_leaderboard
from src.evaluation.two_classes import Binary
from src.plan import patients_to_show
from tests.support.predictions import make_predictions

SIGNALS = {"floor": 0.5, "network": 2.0, "twin": 2.0}


def tables_of(cases: int = 160, signals: dict[str, float] = SIGNALS) -> dict[str, pd.DataFrame]:
    return {
        name: make_predictions(name, cases=cases, folds=5, seeds=1, draw=10 + draw, signal=signal)
        for draw, (name, signal) in enumerate(signals.items())
    }


def inner_of(tables: dict[str, pd.DataFrame], right: dict[str, float]) -> dict[str, pd.DataFrame]:
    """Inner predictions of every fold's training part, by which a run has about so high a share of right ones."""
    found = {}
    for draw, name in enumerate(tables):
        cases = tables[name]
        columns = [column for column in cases if column.startswith("p_")]
        own = cases["label"].map({column.removeprefix("p_"): place for place, column in enumerate(columns)}).to_numpy()
        parts = []
        for fold in sorted(cases["fold"].unique()):
            rows = cases[cases["fold"] != fold]
            hit = np.random.default_rng([draw, fold]).random(len(rows)) < right[name]
            said = np.where(hit, own[cases["fold"] != fold], (own[cases["fold"] != fold] + 1) % len(columns))
            parts.append(rows.assign(fold=fold, **dict(zip(columns, np.eye(len(columns))[said].T, strict=True))))
        found[name] = pd.concat(parts, ignore_index=True)
    return found


def test_ways_stand_by_accuracy_and_verdicts_are_those_of_all_pairs() -> None:
    tables = tables_of()
    board = rank_ways(tables, {}, Binary(), "floor")
    assert board.table["accuracy"].is_monotonic_decreasing
    assert board.table["way"].iloc[-1] == "floor"
    assert board.best in ("network", "twin")
    rows = board.table.set_index("way")
    assert rows.loc[board.best, "against_best"] == "best"
    assert rows.loc["floor", ["against_best", "against_floor"]].tolist() == ["worse", "floor"]
    other = ({"network", "twin"} - {board.best}).pop()
    assert rows.loc[other, ["against_best", "against_floor"]].tolist() == ["not shown", "better"]
    alone = compare({name: tables[name] for name in ("floor", board.best)}, Binary(), primary="accuracy")
    assert rows.loc["floor", "p_best"] >= alone["p"].iloc[0]


def test_of_two_ways_the_pair_is_what_compare_says() -> None:
    tables = tables_of(signals={"one": 1.2, "other": 0.6})
    pair = compare_pairs(tables, Binary()).iloc[0]
    plain = compare({name: tables[name] for name in ("other", "one")}, Binary()).set_index("metric").loc["accuracy"]
    assert pair["verdict"] == plain["verdict"]
    for column in ("difference", "low", "high", "p", "p_adjusted", "value"):
        assert pair[column] == pytest.approx(plain[column]), column


def test_the_honest_figure_is_that_of_the_way_that_inner_folds_choose() -> None:
    tables = tables_of()
    board = rank_ways(tables, inner_of(tables, {"floor": 0.9, "network": 0.5, "twin": 0.4}), Binary(), "floor")
    assert board.chosen == {"floor": 5}
    assert board.best != "floor"
    assert board.honest["accuracy"] == pytest.approx(score_cases(tables["floor"])["right"].mean())
    assert "floor in 5 of 5" in answer(board)[-1]


def test_without_inner_folds_it_says_that_the_best_was_picked() -> None:
    board = rank_ways(tables_of(), {}, Binary(), "floor")
    assert not board.honest
    assert "picked after the fact" in answer(board)[-1]


def test_sixteen_images_are_too_few_to_tell() -> None:
    tables = tables_of(16, {"floor": 0.3, "network": 0.6, "twin": 0.5})
    board = rank_ways(tables, {}, Binary(), "floor")
    assert answer(board)[0].startswith("Too few to tell")
    needed = needed_patients(board)
    assert all(count > 16 for count in needed.values())
    for which in ("between two ways named before", "among all 3 pairs"):
        five, ten = (needed[f"to show a difference of {points} points {which}"] for points in (5, 10))
        assert five > 3 * ten


def test_the_patients_are_those_of_the_plan_command() -> None:
    board = rank_ways(tables_of(), {}, Binary(), "floor")
    board = replace(board, honest={"accuracy": 0.8}, patients=board.cases)
    asked = {"difference": 0.05, "accuracy": 0.75, "correlation": 0.4, "luck": 0, "folds": 5, "repeats": 1}
    for comparisons, which in {1: "between two ways named before", 3: "among all 3 pairs"}.items():
        planned = patients_to_show(asked | {"power": 0.8, "images": 1, "comparisons": comparisons}, 1.0)
        assert needed_patients(board)[f"to show a difference of 5 points {which}"] == planned


def test_the_table_says_times_and_verdicts_in_words() -> None:
    board = rank_ways(tables_of(), {}, Binary(), "floor")
    table = tabulate_leaderboard(board, {board.best: (90.0, 0.25)})
    assert table.rows[0][:2] == [board.best, "best"]
    assert table.rows[0][-2:] == ["90 s", "250 ms"]
    assert table.rows[-1][1].startswith("worse (p")
    assert table.rows[-1][-2:] == ["-", "-"]


def test_one_way_has_figures_and_no_verdict() -> None:
    board = rank_ways(tables_of(signals={"floor": 1.0}), {}, Binary(), "floor")
    assert board.table["against_best"].tolist() == ["best"]
    assert not board.honest
