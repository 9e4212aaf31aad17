"""Nothing that a stage does or holds grows faster than the number of samples."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.data import leaks
from src.data.manifest import case_groups
from src.data.splits import commonest_labels, ordered_groups
from src.evaluation.evaluation import evaluate
from src.evaluation.metrics import measure_cases
from src.evaluation.predictions import average_by_case
from src.evaluation.sign_flips import sign_flip_test
from src.methods.frozen.extraction import pooled_descriptors
from src.methods.preparation import samples_of
from tests.benchmarks.scale import FOLDS, STAGES, Simulation, growth, lay, predictions, slope, table

GIBIBYTES = 4
SMALL, LARGE = 3_000, 12_000


def held(function: Callable[[], object]) -> float:
    """The most memory in MiB that a call holds, beyond what was there: the least of three, for threads that go on."""
    function()  # imports, and what is made once
    return min(map(traced, [function] * 3))


def traced(function: Callable[[], object]) -> float:
    """The most memory in MiB that is held during a call."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def cases_of(count: int) -> pd.DataFrame:
    return average_by_case(predictions(count, "kfold", 1.0, 0))


@pytest.mark.slow
def test_an_evaluation_holds_what_its_cases_hold() -> None:
    rows = [predictions(count, "kfold", 1.0, 0).query("view == 'cc'") for count in (300, 3_000)]
    few, many = (held(lambda each=each: evaluate(each, replicates=2)) for each in rows)
    assert many < 12 * few


@pytest.mark.parametrize("count", [60, 15_000])
def test_replicates_are_computed_in_chunks(count: int) -> None:
    cases = cases_of(count)
    few, many = (held(lambda n=n: measure_cases(cases, n, names=["accuracy"])) for n in (600, 1200))
    assert many < 1.1 * few + 1


def test_signs_are_drawn_in_chunks_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.evaluation.sign_flips.DRAWS", 1000)
    parts = {count: np.random.default_rng(0).normal(0.01, 1, (count, 3)) for count in (500, 50_000)}
    few, many = (held(lambda rows=rows: flipped(rows)) for rows in parts.values())
    assert many < 64
    assert few < 64
    wanted = flipped(parts[500])
    monkeypatch.setattr("src.evaluation.sign_flips.CHUNK", 3_500)
    np.testing.assert_array_equal(flipped(parts[500]), wanted)


def flipped(by_patient: np.ndarray) -> np.ndarray:
    return np.stack(sign_flip_test(by_patient, np.full(len(by_patient), 1 / len(by_patient)), 0))


@pytest.mark.slow
def test_pooled_descriptors_are_held_once(tmp_path: Path) -> None:
    made = lay(tmp_path, 1_500)
    rows = samples_of(made.manifest())
    size = 1_500 * 64 * 4 / 2**20
    assert held(lambda: pooled_descriptors(made.cell, made.store, made.recipe, rows)) < 1.5 * size


def test_pairs_of_many_blocks_are_looked_up_together() -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (2_000, 8, 32), np.uint8)
    hashes[1::2, 0] = hashes[::2, 0]
    found = list(leaks.find_alike({str(number): each for number, each in enumerate(hashes)}, 4))
    assert [len(each) for each in found] == [2_000]


def test_portions_are_full_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "PORTION", 4)
    rows = np.arange(30).reshape(10, 3)
    found = list(leaks.cut_portions(np.split(rows, [3, 3, 9])))
    assert [len(each) for each in found] == [4, 4, 2]
    assert np.concatenate(found).tolist() == rows.tolist()
    assert [len(each) for each in leaks.cut_portions([rows[:0]])] == [0]


def test_the_label_of_a_group_is_the_one_that_most_of_its_cases_have() -> None:
    draws = np.random.default_rng(0)
    group = draws.integers(0, 60, 300)
    rows = pd.DataFrame({"group": [f"g{n}" for n in group], "label": np.array(list("abc"))[draws.integers(0, 3, 300)]})
    rows = rows.assign(label=pd.Categorical(rows["label"], list("cab")))
    wanted = rows.assign(label=rows["label"].astype(str)).groupby("group")["label"].agg(lambda each: each.mode()[0])
    pd.testing.assert_series_equal(commonest_labels(rows), wanted)


def test_groups_are_ordered_without_a_call_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd.Series, "mode", None)
    manifest = table(900).assign(label=lambda rows: rows["label"].astype("category"))
    assert set(ordered_groups(manifest, 0).index) == set(case_groups(manifest))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_stage_is_linear_and_fits_the_memory() -> None:
    """At 12,000 samples; `python -m tests.benchmarks scale` goes on to 100,000."""
    found = growth((SMALL, LARGE), [name for name in STAGES if name != "write"])
    for name, (few, many) in found.items():
        beyond = 100_000 / LARGE * (many["memory"] - many["before"])
        assert many["before"] + beyond < GIBIBYTES * 1024, name
        # A tenth of a second is what any stage takes.
        assert slope((SMALL, LARGE), (few["processor"] + 0.1, many["processor"] + 0.1)) < 1.3, name


@pytest.mark.slow
def test_the_simulation_is_what_it_says(tmp_path: Path) -> None:
    made = lay(tmp_path, 600)
    manifest = made.reader.manifest()
    assert manifest["sample"].tolist() == sorted(made.manifest()["sample"])
    assert manifest.groupby("case")["view"].nunique().value_counts().to_dict() == {1: 200, 2: 200}
    assert made.splits()["fold"].nunique() == FOLDS
    for name in ("folder", "manifest", "listing", "frozen", "audit"):
        STAGES[name](Simulation(tmp_path, 600))
