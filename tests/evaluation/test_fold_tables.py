from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.evaluation.fold_tables import (
    FUSION,
    SPREAD,
    fold_table,
    mark_best,
    published_results,
    published_table,
    result_table,
    round_table,
    seed_accuracy,
)
from src.evaluation.predictions import align_tables

Make = Callable[..., pd.DataFrame]


def rows_of(model: str, scores: list[list[float]], views: tuple[str, ...] = ("",)) -> pd.DataFrame:
    """Four cases labelled yes, of folds 1, 1, 2, 2: `scores[seed]` are their probabilities of yes."""
    rows = [
        (f"{case}{view}", str(case), "", view, "yes", model, 1 + case // 2, seed, 1 - score, score)
        for seed, line in enumerate(scores)
        for case, score in enumerate(line)
        for view in views
    ]
    names = ["sample", "case", "patient", "view", "label", "model", "fold", "seed", "p_no", "p_yes"]
    return pd.DataFrame(rows, columns=names)


def test_a_single_model_by_hand() -> None:
    predictions = rows_of("a", [[0.9, 0.1, 0.8, 0.7], [0.9, 0.9, 0.2, 0.1]])
    accuracies = seed_accuracy(predictions)
    assert accuracies.to_dict("list") == {
        "model": ["a"] * 4,
        "seed": [0, 0, 1, 1],
        "fold": [1, 2, 1, 2],
        "accuracy": [0.5, 1.0, 1.0, 0.0],
    }
    table = fold_table(predictions)
    assert table.columns.tolist() == ["f1", "f2", "mean", "std"]
    assert table.index.tolist() == ["a"]
    # std over folds and seeds: that of 50, 100, 100, 0
    np.testing.assert_allclose(table.loc["a"], [75, 50, 62.5, np.std([50, 100, 100, 0])])


def test_fusion_by_hand() -> None:
    first = rows_of("z", [[0.9, 0.4, 0.9, 0.1]])  # right: yes no | yes no
    second = rows_of("a", [[0.2, 0.7, 0.6, 0.6]])  # right: no yes | yes yes; the mean 0.55 0.55 | 0.75 0.35
    table = fold_table(align_tables({"one": first, "two": second}))
    assert table.index.tolist() == ["z", "a", SPREAD, FUSION]
    np.testing.assert_allclose(table.loc["z"], [50, 50, 50, 0])
    np.testing.assert_allclose(table.loc["a"], [50, 100, 75, 25])
    np.testing.assert_allclose(table.loc[SPREAD], [0, 25, 12.5, np.nan])
    np.testing.assert_allclose(table.loc[FUSION], [100, 50, 75, 25])


def test_views_are_averaged_within_a_seed() -> None:
    predictions = rows_of("a", [[0.9, 0.9, 0.9, 0.4]], views=("cc", "mlo"))
    predictions.loc[(predictions["case"] == "3") & (predictions["view"] == "mlo"), ["p_no", "p_yes"]] = [0.3, 0.7]
    assert fold_table(predictions).loc["a", ["f1", "f2"]].tolist() == [100.0, 100.0]


def test_views_have_rows_of_their_own() -> None:
    """The view mlo of `a` is right where cc is wrong; two of four cases have no mlo."""
    cc, mlo = rows_of("a", [[0.4, 0.9, 0.9, 0.4]], ("cc",)), rows_of("a", [[0.7, 0.4, 0.9, 0.9]], ("mlo",))
    one = pd.concat([cc, mlo[mlo["case"].isin(["0", "3"])]], ignore_index=True)
    table = fold_table(one)
    assert table.index.tolist() == ["a (cc)", "a (mlo)", "a"]
    np.testing.assert_allclose(table["mean"], [50, 100, 100])
    other = rows_of("b", [[0.9, 0.1, 0.1, 0.1]], ("cc",)).assign(model="b")
    fused = fold_table(align_tables({"one": one, "two": other}))
    wanted = ["a (cc)", "a (mlo)", "a", "b", SPREAD, f"{FUSION} (cc)", f"{FUSION} (mlo)", FUSION]
    assert fused.index.tolist() == wanted
    np.testing.assert_allclose(fused.loc[SPREAD, "mean"], (25 + 50) / 2)
    pd.testing.assert_frame_equal(fused.loc[["a (cc)", "a (mlo)", "a"]], table)
    np.testing.assert_allclose(fused.loc[f"{FUSION} (cc)"], fold_table(align_tables({"1": cc, "2": other})).loc[FUSION])


def test_a_fold_without_a_view_has_no_value() -> None:
    both = rows_of("a", [[0.9, 0.9, 0.9, 0.9]], views=("cc", "mlo"))
    table = fold_table(both[(both["view"] == "cc") | (both["fold"] == 2)])
    assert table.columns.tolist() == ["f1", "f2", "mean", "std"]
    assert np.isnan(table.loc["a (mlo)", "f1"])
    assert table.loc["a (mlo)", "mean"] == 100
    assert table.loc["a (mlo)", "f2"] == 100


def test_single_views_are_never_the_best() -> None:
    names = ["a (cc)", "a (mlo)", "a", "b (mlo)", SPREAD, f"{FUSION} (cc)", FUSION]
    table = pd.DataFrame({"f1": [99.0, 80, 85, 85, 99, 90, 84], "mean": 1.0, "std": 1.0}, index=names)
    assert mark_best(table)["f1"].tolist() == [False, False, True, True, False, False, False]


def test_best_marks_all_ties_as_shown() -> None:
    table = pd.DataFrame(
        {"f1": [80.0, 90.04, 5.0, 90.0], "f2": [70.0, 60.0, 99.0, 65.0], "mean": [75, 75.0, 52, 77.5], "std": 1.0},
        index=["a", "b", SPREAD, FUSION],
    )
    bold = mark_best(table)
    assert bold["f1"].tolist() == [False, True, False, True]
    assert bold["f2"].tolist() == [True, False, False, False]
    assert bold["mean"].tolist() == [False, False, False, True]
    assert not bold["std"].any()
    assert not mark_best(table.head(1)).to_numpy().any()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(order=st.permutations(range(24)), draw=st.integers(0, 1000))
def test_the_order_of_rows_only_orders_the_models(make: Make, order: list[int], draw: int) -> None:
    table = align_tables({"one": make("a", draw=draw, seeds=1), "two": make("b", draw=draw + 1, seeds=1)})
    wanted, found = fold_table(table), fold_table(table.iloc[order])
    assert found.index.tolist()[:2] == table.iloc[order]["model"].unique().tolist()
    pd.testing.assert_frame_equal(found.loc[wanted.index], wanted, rtol=1e-12)


def test_a_model_fused_with_itself_has_its_own_row(make: Make) -> None:
    one = make("a", seeds=1, cases=24)
    table = fold_table(align_tables({"one": one, "two": one.assign(model="b")}))
    pd.testing.assert_series_equal(table.loc[FUSION], table.loc["a"], check_names=False)
    assert (table.loc[SPREAD].drop("std") == 0).all()


def test_the_published_means_follow_from_the_folds(table1: Path) -> None:
    table = published_table(table1)
    assert table.index.tolist()[-2:] == [SPREAD, FUSION]
    assert table.shape == (8, 12)
    folds = table.drop(columns=["mean", "std"])
    np.testing.assert_allclose(folds.mean(axis=1), table["mean"], atol=0.0501)
    np.testing.assert_allclose(folds.head(6).std(ddof=0), folds.loc[SPREAD], atol=0.0501)
    assert np.isnan(table.loc[SPREAD, "std"])


def test_the_published_deviations(table1: Path) -> None:
    """The fused row's is the population one of its values; a single row's also holds the spread between its seeds."""
    table = published_table(table1)
    over_folds = table.drop(columns=["mean", "std"]).std(axis=1, ddof=0)
    assert over_folds[FUSION] == pytest.approx(table.loc[FUSION, "std"], abs=0.05)
    between_seeds = np.sqrt((table["std"] ** 2 - over_folds**2).head(6))
    assert between_seeds.between(1.4, 2.2).all()
    assert table["std"].head(6).tolist() == [4.2, 5.2, 2.9, 4.4, 6.5, 5.5]


def test_a_table_is_written_and_read(make: Make, tmp_path: Path) -> None:
    table = fold_table(align_tables({"one": make("a"), "two": make("b", draw=1)}))
    round_table(table).to_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(published_table(tmp_path / "table.csv"), round_table(table))


def test_published_results_have_two_forms(table1: Path, tmp_path: Path) -> None:
    found = published_results(table1).set_index("model")
    assert len(found) == 7
    assert found.loc[FUSION, ["metric", "value", "std"]].tolist() == ["accuracy", 87.2, 2.6]
    (tmp_path / "results.csv").write_text("model,metric,value,note\na,accuracy,85,both views\na,auc,91,\n")
    results = published_results(tmp_path / "results.csv")
    assert results.columns.tolist() == ["model", "metric", "value", "std", "note"]
    assert results["value"].tolist() == [85, 91]
    assert results["note"].tolist() == ["both views", ""]


def test_published_results_are_read_as_any_table(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("model;metric;value;std\na;accuracy;85;NA\nb;auc;91;1.5;\n")
    results = published_results(path)
    assert results["std"].isna().tolist() == [True, False]
    path.write_text("model,metric,value,value\na,accuracy,85,86\n")
    with pytest.raises(ValueError, match=r"results\.csv has two that are called 'value'"):
        published_results(path)
    path.write_text("model,metric,value,std\na,accuracy,85,small\n")
    with pytest.raises(ValueError, match=r"results\.csv: published figures are numbers, but std is 'small'"):
        published_results(path)
    with pytest.raises(ValueError, match="there is no file"):
        published_results(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "row", ["a,acuracy,85", "a,accuracy,850", "a,accuracy,high", "a,auc,0.91", "a,accuracy,", ",accuracy,85"]
)
def test_a_strange_published_result_is_refused_by_its_path(row: str, tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(f"model,metric,value\n{row}\n")
    with pytest.raises(ValueError, match=r"results\.csv: a row has a model, a metric of accuracy, balanced_accuracy"):
        published_results(tmp_path / "results.csv")


def test_a_strange_published_table_is_refused_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("model,f1,f3,mean,std\na,1,2,3,4\n")
    with pytest.raises(ValueError, match=r"odd\.csv: the columns must be .* but are \['model', 'f1', 'f3'"):
        published_table(tmp_path / "odd.csv")


def test_of_repeats_the_table_is_by_repeat(make: Make) -> None:
    rows = pd.concat([make(repeats=3, cases=24), make("vgg", repeats=3, cases=24, draw=1)])
    table = result_table(rows)
    assert table.columns.tolist() == ["r1", "r2", "r3", "mean", "std"]
    for repeat, part in rows.groupby("repeat"):
        alone = fold_table(part)
        np.testing.assert_allclose(table[f"r{repeat}"].drop(SPREAD), alone["mean"].drop(SPREAD))
    fused = table.loc[FUSION, ["r1", "r2", "r3"]].to_numpy(float)
    np.testing.assert_allclose(table.loc[FUSION, ["mean", "std"]].to_numpy(float), [fused.mean(), fused.std()])
    pd.testing.assert_frame_equal(result_table(make()), fold_table(make()))
