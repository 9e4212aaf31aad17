"""The comparison: its tests against published examples and other implementations, and its verdicts in simulations."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as some

from src.evaluation.comparison import case_contributions, compare, mcnemar_test
from src.evaluation.metrics import METRICS
from src.evaluation.predictions import average_by_case, probability_columns
from src.evaluation.two_classes import Binary
from src.evaluation.verdicts import BETTER, COLUMNS, NOT_SHOWN, WORSE
from tests.support.simulation import pair

Make = Callable[..., pd.DataFrame]
Change = Callable[[pd.DataFrame], pd.DataFrame]
NAMES = ["accuracy", "balanced_accuracy", "auc"]


def compared(tables: dict[str, pd.DataFrame], **given: object) -> pd.DataFrame:
    return compare(tables, Binary(), **given)  # type: ignore[arg-type]


def shown(seed: int, count: int, **given: object) -> list[pd.DataFrame]:
    """Comparisons of simulated pairs."""
    generator = np.random.default_rng(seed)
    return [compared(pair(generator, **given), seed=number) for number in range(count)]  # type: ignore[arg-type]


def test_a_row_per_model_and_metric(make: Make) -> None:
    tables = {name: make(name, draw=draw) for draw, name in enumerate("abc")}
    found = compared(tables, reference="b")
    assert found.columns.tolist() == COLUMNS
    assert found["model"].tolist() == ["a"] * 3 + ["c"] * 3
    assert set(found["reference"]) == {"b"}
    assert found["metric"].tolist() == NAMES * 2
    cases = average_by_case(tables["c"])
    right = (cases[probability_columns(cases)].to_numpy().argmax(axis=1) == np.arange(len(cases)) % 4).mean()
    assert found["value"][3] == pytest.approx(right)
    np.testing.assert_allclose(found["difference"], found["value"] - found["reference_value"])
    assert (found["low"] <= found["difference"]).all()
    assert (found["difference"] <= found["high"]).all()
    assert found["p_mcnemar"].notna().tolist() == [True, False, False] * 2


def test_the_first_is_the_reference_unless_it_is_named(make: Make) -> None:
    assert set(compared({"x": make("a"), "y": make("b", draw=1)})["reference"]) == {"x"}


def test_the_two_class_view_has_rows_of_its_own(make: Make) -> None:
    tables = {"a": make("a"), "b": make("b", draw=1)}
    found = compare(tables, Binary(positive=["InSitu", "Invasive"]))
    assert found["metric"].tolist() == [*NAMES, "binary_accuracy", "binary_auc"]
    assert found["p_mcnemar"].notna().tolist() == [True, False, False, True, False]


def test_exchanging_the_two_turns_the_signs_and_the_verdict() -> None:
    tables = pair(np.random.default_rng(0), patients=80, accuracies=(0.6, 0.95))
    one, other = compared(tables), compared(tables, reference="two")
    assert one["verdict"].tolist() == [BETTER] * 3
    assert other["verdict"].tolist() == [WORSE] * 3
    np.testing.assert_allclose(one["difference"], -other["difference"])
    np.testing.assert_allclose(one["low"], -other["high"])
    np.testing.assert_allclose(one["p_adjusted"], other["p_adjusted"])
    np.testing.assert_allclose(one["smallest"], other["smallest"])


def test_a_table_and_itself_do_not_differ(make: Make) -> None:
    found = compared({"a": make(cases=40), "b": make(cases=40)})
    assert found["verdict"].tolist() == [NOT_SHOWN] * 3
    for name, value in {
        "difference": 0,
        "low": 0,
        "high": 0,
        "p": 1,
        "p_adjusted": 1,
        "p_resampled_t": 1,
    }.items():
        assert (found[name] == value).all(), name
    assert found["p_mcnemar"][0] == 1


def test_the_order_of_rows_does_not_matter(make: Make) -> None:
    tables = {"a": make("a", cases=40), "b": make("b", cases=40, draw=1)}
    shuffled = {name: table.sample(frac=1, random_state=1) for name, table in tables.items()}
    pd.testing.assert_frame_equal(compared(tables), compared(shuffled))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[t["case"] != "0003"], "run 'b' lacks 1: 0003"),
        (lambda t: t.assign(label=t["label"].where(t["case"] != "0001", "Normal")), "same label in all runs.*0001"),
        (
            lambda t: t.assign(patient=t["patient"].where(t["case"] != "0001", "x")),
            "same patient in all runs.*'x'",
        ),
        (lambda t: t.assign(fold=t["fold"] % 3 + 1), "same fold in all runs, but 12 differ.*protocol"),
        (lambda t: t.rename(columns={"p_InSitu": "p_Odd"}).replace("InSitu", "Odd"), "same classes"),
    ],
    ids=["cases", "labels", "patients", "folds", "classes"],
)
def test_tables_that_differ_are_refused_by_name(
    change: Callable[[pd.DataFrame], pd.DataFrame], said: str, make: Make
) -> None:
    with pytest.raises(ValueError, match=said):
        compared({"a": make(), "b": change(make())})


def test_too_few_tables_and_unknown_references_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="two runs or more, but got 1: a"):
        compared({"a": make()})
    with pytest.raises(ValueError, match="`reference` must be one of a, b, but got reference=c"):
        compared({"a": make(), "b": make(draw=1)}, reference="c")


def test_one_class_has_no_auc_and_takes_no_part_in_the_correction(make: Make) -> None:
    tables = {name: make(name, draw=draw, cases=40).query("label == 'Benign'") for draw, name in enumerate("ab")}
    found = compared(tables).set_index("metric")
    assert found.loc["auc", ["value", "p", "p_adjusted", "smallest", "low"]].isna().all()
    assert found["verdict"]["auc"] == NOT_SHOWN
    assert found["p_adjusted"]["accuracy"] == found["p"]["accuracy"]
    assert found["p_adjusted"]["balanced_accuracy"] >= found["p"]["balanced_accuracy"]


def test_five_patients_show_nothing() -> None:
    found = compared(pair(np.random.default_rng(0), patients=5, images=20, accuracies=(0.1, 0.95), folds=2))
    assert (found["difference"] > 0.3).all()
    assert found["verdict"].tolist() == [NOT_SHOWN] * 3
    assert found["smallest"].isna().all()


def test_images_of_a_patient_are_not_independent() -> None:
    """Of each patient's 20 images all are right, or none: McNemar's test is sure of what 8 patients cannot tell."""
    tables = pair(
        np.random.default_rng(3), patients=8, images=20, alike=0.999, paired=0, accuracies=(0.4, 0.8), folds=2
    )
    row = compared(tables).iloc[0]
    assert row["p_mcnemar"] < 1e-6 < 0.01 < row["p"]
    assert row["verdict"] == NOT_SHOWN


def test_one_lucky_fold_is_no_better_way() -> None:
    tables = pair(np.random.default_rng(0), patients=200, accuracies=(0.8, 0.8))
    unlucky = tables["one"]["fold"] == 1
    values = tables["one"].loc[unlucky, ["p_c0", "p_c1"]].to_numpy()
    tables["one"].loc[unlucky, ["p_c0", "p_c1"]] = values[:, ::-1]
    row = compared(tables).iloc[0]
    assert row["p_mcnemar"] < 0.001
    assert row["low"] < 0 < row["high"]
    assert row["verdict"] == NOT_SHOWN


@given(some.integers(0, 10_000), some.integers(2, 4), some.integers(1, 2))
@settings(max_examples=40)
def test_what_cases_add_is_the_difference(seed: int, k: int, decimals: int) -> None:
    ours, theirs, labels = drawn(seed, k, decimals)
    for metric in NAMES:
        measured = [METRICS[metric](each, labels, np.ones((1, len(labels))))[0] for each in (ours, theirs)]
        parts = case_contributions(metric, ours, theirs, labels)
        assert parts.sum() == pytest.approx(measured[0] - measured[1], abs=1e-12), metric
        np.testing.assert_allclose(case_contributions(metric, theirs, ours, labels), -parts, atol=1e-15)


@given(some.integers(0, 10_000), some.integers(2, 3))
@settings(max_examples=40)
def test_to_exchange_cases_is_to_turn_their_signs(seed: int, k: int) -> None:
    ours, theirs, labels = (scipy.stats.rankdata(each, axis=0) if each.ndim > 1 else each for each in drawn(seed, k, 1))
    exchanged = np.random.default_rng(seed).random(len(labels)) < 0.5
    one, other = (np.where(exchanged[:, None], *sides) for sides in ((theirs, ours), (ours, theirs)))
    for metric in NAMES:
        measured = [METRICS[metric](each, labels, np.ones((1, len(labels))))[0] for each in (one, other)]
        parts = case_contributions(metric, ours, theirs, labels)
        assert np.where(exchanged, -parts, parts).sum() == pytest.approx(measured[0] - measured[1], abs=1e-12), metric


def drawn(seed: int, k: int, decimals: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of two models with many ties, and labels of which a class may be absent."""
    generator = np.random.default_rng(seed)
    count = int(generator.integers(4, 30))
    ours, theirs = (np.round(generator.dirichlet(np.ones(k), count), decimals) for _ in range(2))
    labels = generator.integers(0, generator.integers(2, k + 1), count)
    labels[:2] = 0, 1
    return ours, theirs, labels.astype(np.int64)


@pytest.mark.parametrize(
    ("only_ours", "only_theirs", "p"),
    [(1, 11, 26 / 4096), (9, 2, 0.0654296875), (25, 15, 0.1538599441628321), (5, 5, 1), (0, 6, 2 / 64), (0, 0, 1)],
)
def test_mcnemar_by_hand_and_as_statsmodels_has_it(only_ours: int, only_theirs: int, p: float) -> None:
    """By hand: 2 (1 + 12) / 2^12. The third and second: statsmodels 0.15's `mcnemar(..., exact=True)`."""
    ours = np.array([True] * only_ours + [False] * only_theirs + [True] * 30 + [False] * 4)
    theirs = np.array([False] * only_ours + [True] * only_theirs + [True] * 30 + [False] * 4)
    assert mcnemar_test(ours, theirs) == pytest.approx(p, rel=1e-12)


def test_the_real_ratio_of_held_out_to_training_cases_counts(make: Make) -> None:
    tables = {"a": make("a", cases=60), "b": make("b", cases=60, draw=1, signal=2.5)}
    usual, told = compared(tables), compared(tables, ratios={"a": 1 / 2, "b": 1 / 2})
    np.testing.assert_allclose(usual["p_resampled_t"], told["p_resampled_t"])  # three folds of the same size
    fewer = compared(tables, ratios={"a": 1 / 2, "b": 3.0})
    assert (fewer["p_resampled_t"] > usual["p_resampled_t"]).all()


def test_splits_into_two_that_are_drawn_anew_have_their_ratio(make: Make) -> None:
    """A repeat predicts nothing but the cases that it holds out: here a third of all."""
    every = {name: make(name, draw=draw, cases=48, folds=1, repeats=6) for draw, name in enumerate("ab")}
    tables = {name: rows[(rows["case"].astype(int) + rows["repeat"]) % 3 == 0] for name, rows in every.items()}
    found, told = compared(tables), compared(tables, ratios=dict.fromkeys(tables, 0.5))
    assert found["p_resampled_t"].between(0, 1, inclusive="neither").all()
    pd.testing.assert_frame_equal(found, told)


def test_seeds_that_differ_are_averaged_for_each_fold(make: Make) -> None:
    other = make("b", cases=60, draw=1, signal=2.5)
    tables = {"a": make("a", cases=60), "b": other.assign(seed=other["seed"] + 7)}
    assert np.isfinite(compared(tables)["p_resampled_t"]).all()


def test_more_seeds_that_say_the_same_change_nothing(make: Make) -> None:
    """Models of other seeds learned from the same patients: they are no resamples."""
    tables = {"a": make("a", cases=60), "b": make("b", cases=60, draw=1, signal=2.5)}
    more = {
        name: pd.concat([table.assign(seed=seed, model=table["model"] + f" {seed}") for seed in range(20)])
        for name, table in {name: table[table["seed"] == table["seed"].min()] for name, table in tables.items()}.items()
    }
    one = {name: table[table["seed"] == 0] for name, table in more.items()}
    pd.testing.assert_frame_equal(compared(more), compared(one))


def repeated(generator: np.random.Generator, repeats: int, **given: object) -> dict[str, pd.DataFrame]:
    """The simulated pair whose folds are drawn again, with other luck each time."""
    drawn = int(generator.integers(1_000_000))
    found: dict[str, list[pd.DataFrame]] = {"one": [], "two": []}
    for repeat in range(repeats):
        for name, table in pair(np.random.default_rng(drawn), **given).items():  # type: ignore[arg-type]
            folds = table["fold"].to_numpy()
            moved = np.random.default_rng(repeat).permutation(folds.max())[folds - 1] + 1
            found[name].append(table.assign(repeat=repeat + 1, fold=moved + repeat * folds.max(), model=f"m{repeat}"))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}


def test_a_repeat_that_says_the_same_leaves_the_difference() -> None:
    once, thrice = (compared(repeated(np.random.default_rng(0), repeats, patients=80)) for repeats in (1, 3))
    for name in ("value", "reference_value", "difference"):
        np.testing.assert_allclose(once[name], thrice[name])
    assert thrice["p_mcnemar"].isna().all()  # it is of one prediction for each case
    np.testing.assert_allclose(thrice["p"], np.maximum(thrice["p"], thrice["p_resampled_t"]))


def test_figures_are_the_mean_over_repeats() -> None:
    one, other = (pair(np.random.default_rng(0), patients=40, accuracies=(0.6, share)) for share in (0.7, 0.9))
    tables = {
        name: pd.concat(
            [
                one[name].assign(repeat=1),
                other[name].assign(repeat=2, fold=other[name]["fold"] + 5, model="m2"),
            ]
        )
        for name in one
    }
    apart = [compared(each)["difference"].to_numpy() for each in (one, other)]
    np.testing.assert_allclose(compared(tables)["difference"], np.mean(apart, axis=0))


def test_one_metric_is_primary_and_the_others_hang_on_it() -> None:
    tables = pair(np.random.default_rng(0), patients=80, accuracies=(0.6, 0.95))
    tables |= {"three": pair(np.random.default_rng(0), patients=80, accuracies=(0.6, 0.6))["two"]}
    found = {primary: compared(tables, primary=primary) for primary in ("accuracy", "auc", "all")}
    for primary in ("accuracy", "auc"):
        first = found[primary][found[primary]["metric"] == primary].set_index("model")["p_adjusted"]
        assert (found[primary]["p_adjusted"] >= found[primary]["model"].map(first)).all()
    of_accuracy = found["accuracy"]["metric"] == "accuracy"
    assert (found["all"]["p_adjusted"] >= found["accuracy"]["p_adjusted"])[of_accuracy].all()
    assert (found["all"]["smallest"] > found["accuracy"]["smallest"])[of_accuracy].all()
    for name in ("low", "high", "p"):
        assert (found["all"][name] == found["auc"][name]).all()


def test_a_primary_metric_that_is_not_there_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="`primary` must be one of accuracy, .*all, but got primary=binary_auc"):
        compared({"a": make(), "b": make(draw=1)}, primary="binary_auc")


def test_the_smallest_shrinks_with_patients_and_grows_with_rows() -> None:
    few, many = (shown(0, 1, patients=n, folds=1)[0]["smallest"][0] for n in (50, 450))
    assert few / many == pytest.approx(3, rel=0.3)
    tables = pair(np.random.default_rng(0), patients=100)
    third = {"three": pair(np.random.default_rng(0), patients=100, accuracies=(0.8, 0.7))["two"]}
    assert compared(tables | third)["smallest"][0] > compared(tables)["smallest"][0]


NOISE = {
    "few patients": {"patients": 12, "images": 4, "folds": 3},
    "an image each": {"patients": 60, "images": 1},
    "several classes": {"patients": 100, "images": 3, "classes": 4, "folds": 10},
    "nearly equal images": {"patients": 40, "images": 5, "classes": 3, "alike": 0.95},
}
LUCK = {"lucky folds": {"patients": 100, "images": 3, "luck": 0.3}}


@pytest.mark.parametrize("given", (NOISE | LUCK).values(), ids=(NOISE | LUCK).keys())
def test_noise_alone_is_not_shown(given: dict[str, object]) -> None:
    noise = shown(1, 12, **given)
    assert sum((found["verdict"] == NOT_SHOWN).all() for found in noise) >= 11


@pytest.mark.slow
@pytest.mark.parametrize("given", NOISE.values(), ids=NOISE.keys())
def test_noise_alone_is_not_shown_in_94_of_100_simulations(given: dict[str, object]) -> None:
    noise = shown(2, 100, **given)
    assert sum((found["verdict"] == NOT_SHOWN).all() for found in noise) >= 94


@pytest.mark.slow
def test_lucky_folds_are_seldom_taken_for_a_better_way() -> None:
    """Each model of a fold adds luck of its own: without folds in the test every fourth comparison would show it."""
    noise = shown(3, 100, **LUCK["lucky folds"])
    assert sum((found["verdict"] == NOT_SHOWN).all() for found in noise) >= 90


POWER = {"an image each": {"images": 1, "folds": 5}, "several classes": {"images": 3, "classes": 4, "folds": 10}}


def enough(given: dict[str, object], pilots: int) -> int:
    """The patients with whom 10 points are the smallest difference shown: the variance falls with their number."""
    smallest = np.median([found["smallest"][0] for found in shown(4, pilots, patients=120, **(TEN | given))])
    return int(np.ceil(120 * (smallest / 0.1) ** 2))


TEN = {"accuracies": (0.75, 0.85)}


@pytest.mark.slow
def test_ten_points_are_found_where_the_power_says_so() -> None:
    given = TEN | POWER["several classes"]
    found = shown(5, 15, patients=enough(given, 15), **given)
    assert np.median([each["smallest"][0] for each in found]) == pytest.approx(0.1, abs=0.02)
    assert sum(each["verdict"][0] == BETTER for each in found) >= 11


@pytest.mark.slow
@pytest.mark.parametrize("given", POWER.values(), ids=POWER.keys())
def test_ten_points_are_found_in_80_of_100_simulations(given: dict[str, object]) -> None:
    found = shown(6, 100, patients=enough(given, 20), **(TEN | given))
    assert sum(each["verdict"][0] == BETTER for each in found) >= 78
    assert not any((each["verdict"] == WORSE).any() for each in found)
