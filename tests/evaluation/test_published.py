"""The figures of Rakhlin et al. 2018 follow from their released predictions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.evaluation.evaluation import Evaluation
from src.evaluation.fold_tables import FUSION, SPREAD, fold_table, published_table
from src.evaluation.published import evaluate_published, subtract_published
from src.evaluation.side_by_side import published_beside_ours
from src.evaluation.verdicts import BETTER, NOT_SHOWN, WORSE


@pytest.fixture(scope="module")
def evaluation(published: pd.DataFrame) -> Evaluation:
    return evaluate_published(published, replicates=100)


@pytest.mark.parametrize(
    ("copy", "released"),
    [
        ("crossvalidation.csv", "rakhlin2018_crossvalidation.csv"),
        ("by_seed.csv", "rakhlin2018_by_seed.csv"),
        ("../../eva_bach/published/eva_split.csv", "eva_bach_split.csv"),
    ],
)
def test_the_committed_copies_are_the_released_ones(copy: str, released: str, table1: Path, shared: Path) -> None:
    assert (table1.parent / copy).read_bytes() == (shared / "published" / released).read_bytes()


def test_four_classes(evaluation: Evaluation, table1: Path) -> None:
    assert evaluation.table.index.tolist() == [FUSION]
    row = evaluation.table.loc[FUSION]
    np.testing.assert_allclose(row.iloc[:10], [92.5, 82.5, 87.5, 87.5, 87.5, 90.0, 85.0, 87.5, 87.5, 85.0])
    assert row["mean"] == pytest.approx(87.25)
    assert row["std"] == pytest.approx(2.61, abs=0.005)
    np.testing.assert_allclose(row, published_table(table1).loc[FUSION], atol=0.0501)
    assert evaluation.metrics["accuracy"] == pytest.approx(0.8725)
    assert evaluation.metrics["accuracy_std"] == pytest.approx(0.0261, abs=5e-5)
    np.testing.assert_allclose(100 * evaluation.fold_accuracy, row.iloc[:10])


def as_predictions(accuracies: pd.DataFrame) -> pd.DataFrame:
    """A predictions table with these accuracies by seed and fold: 40 cases a fold, so many of them right."""
    tables = []
    for row in accuracies.to_dict("records"):
        right = np.arange(40) < round(40 * row["accuracy"])
        case = [f"{row['fold']:02d}-{number:02d}" for number in range(40)]
        shown = {"patient": "", "view": "", "label": "A", "model": f"{row['encoder']}-{row['crop']}"}
        place = {"fold": row["fold"], "seed": row["seed"]}
        tables.append(pd.DataFrame({"sample": case, "case": case, **shown, **place, "p_A": right * 1.0, "p_B": ~right}))
    return pd.concat(tables, ignore_index=True).astype({"p_B": float})


def test_the_deviations_of_single_rows_are_over_folds_and_seeds(table1: Path) -> None:
    """Our table, of the accuracies by seed that come with the paper's code, is the printed one."""
    accuracies = pd.read_csv(table1.parent / "by_seed.csv")
    printed, ours = published_table(table1), fold_table(as_predictions(accuracies))
    rows = [name for name in printed.index if name in ours.index and name not in (SPREAD, FUSION)]
    assert rows == ["ResNet-400", "ResNet-650", "VGG-400", "VGG-650", "Inception-650"]
    np.testing.assert_allclose(ours.loc[rows].drop(columns="std"), printed.loc[rows].drop(columns="std"), atol=0.0501)
    twice = ours.loc[rows, "std"].round(2)  # ResNet-650's 5.145 is printed as 5.2
    np.testing.assert_allclose(twice, printed.loc[rows, "std"], atol=0.0501)
    of_the_ten = printed.loc[rows].iloc[:, :10].std(axis=1, ddof=0)
    assert (printed.loc[rows, "std"] - of_the_ten > 0.2).all()
    full_scale = ours.loc[["ResNet-800", "ResNet-1300", "VGG-800", "VGG-1300"], "mean"]
    np.testing.assert_allclose(full_scale, [82.4, 81.45, 81.65, 81.05])


def test_two_classes(evaluation: Evaluation) -> None:
    assert evaluation.metrics["binary_accuracy"] == 0.9375
    assert evaluation.metrics["binary_accuracy_std"] == pytest.approx(0.0230, abs=5e-5)
    assert evaluation.metrics["binary_auc"] == pytest.approx(0.9734, abs=5e-5)
    points = evaluation.set_points.set_index("threshold")
    assert points.index.tolist() == [0.33, 0.5]
    np.testing.assert_allclose(points["sensitivity"], [0.965, 0.93])
    np.testing.assert_allclose(points["specificity"], [0.88, 0.945])
    assert points.loc[0.5, "accuracy_std"] == pytest.approx(0.0230, abs=5e-5)
    assert evaluation.missed == {"InSitu": 9, "Invasive": 5}


def test_no_score_equals_a_threshold(published: pd.DataFrame) -> None:
    assert not published["carcinoma_score"].isin([0.33, 0.5]).any()  # so `>` and `>=` give the same figures


def test_what_cannot_be_known_is_absent(evaluation: Evaluation) -> None:
    assert not {"auc", "log_loss", "brier", "ece"} & set(evaluation.metrics)
    assert evaluation.reliability is None
    assert evaluation.confusion.to_numpy().sum() == 400
    assert np.trace(evaluation.confusion.to_numpy()) == 349
    assert evaluation.confusion.sum(axis=1).tolist() == [100] * 4


def test_the_order_of_rows_does_not_matter(published: pd.DataFrame, evaluation: Evaluation) -> None:
    shuffled = evaluate_published(published.sample(frac=1, random_state=0), replicates=100)
    assert shuffled.metrics == evaluation.metrics


def test_missing_columns_are_named(published: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"lack \['carcinoma_score'\]"):
        evaluate_published(published.drop(columns="carcinoma_score"))


def ours() -> pd.DataFrame:
    """Two models of a sweep, the intervals of whose accuracies are of 4 points to either side."""
    rows = {"model": ["a", "b", "Model fusion"], "group": "", "mean": [80.0, 70.0, 85.0]}
    table = pd.DataFrame(rows | {"std": 1.0, "auc": 0.9, "auc_low": 0.88, "auc_high": 0.92, "sensitivity": 0.8})
    return table.assign(low=table["mean"] - 4, high=table["mean"] + 4)


def test_verdicts_are_about_ours() -> None:
    rows = [("a", "accuracy", 81), ("b", "accuracy", 81), ("Model fusion", "accuracy", 60), ("nobody", "accuracy", 80)]
    rows += [("a", "auc", 98), ("a", "sensitivity", 99)]
    published = pd.DataFrame(rows, columns=["model", "metric", "value"]).assign(std=np.nan, note="")
    found = subtract_published(published_beside_ours(published.astype({"value": float}), ours()), ours())
    assert found["verdict"].tolist() == [NOT_SHOWN, WORSE, BETTER, NOT_SHOWN, WORSE, NOT_SHOWN]
    assert found["difference"].tolist()[:3] == [-1, -11, 25]
    assert found["high"][0] == pytest.approx(-1 + 4 * np.sqrt(2))
    assert found["low"][4] == pytest.approx(-8 - 2 * np.sqrt(2))
    assert found.loc[[3, 5], ["low", "high", "p_holm"]].isna().all(axis=None)
