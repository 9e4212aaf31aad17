"""Do figures differ between the values of a column?"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from src.evaluation.evaluation import evaluate
from src.evaluation.predictions import average_by_case
from src.evaluation.slices import slice_facts
from src.evaluation.subgroups import (
    OF_METRIC,
    accuracy_parts,
    auc_parts,
    fewest_patients,
    group_test,
    slice_differences,
    slice_notes,
    wild_bootstrap,
)
from src.evaluation.text_tables import differences_in_words
from src.evaluation.two_classes import Binary


def drawn(generator: np.random.Generator, sizes: tuple[int, ...], accuracies: tuple[float, ...]) -> pd.DataFrame:
    """Predictions of patients of 1 to 5 images that are half alike, and in `site` where they come from."""
    site = np.repeat(np.arange(len(sizes)), sizes)
    label = np.concatenate([np.arange(size) % 2 for size in sizes])
    patient = np.repeat(np.arange(len(site)), generator.integers(1, 6, len(site)))
    common, own = generator.normal(size=len(site))[patient], generator.normal(size=len(patient))
    margin = norm.ppf(np.array(accuracies))[site][patient] - np.sqrt(0.5) * (common + own)
    score = norm.cdf(margin * np.where(label[patient] == 1, 1, -1))
    names = [f"c{number:04d}" for number in range(len(patient))]
    facts = {"sample": names, "case": names, "patient": [f"p{number}" for number in patient], "view": ""}
    facts |= {"label": np.where(label[patient] == 1, "b", "a"), "model": "m", "repeat": 1, "fold": 1, "seed": 0}
    return pd.DataFrame(facts | {"p_a": 1 - score, "p_b": score, "site": [f"s{each}" for each in site[patient]]})


def p_of(table: pd.DataFrame) -> list[float]:
    found = slice_differences({"site": table["site"]}, table.drop(columns="site"), Binary())
    return [float(found[name].iloc[0]) for name in OF_METRIC.values()]


def test_what_patients_add_is_the_groups_figure() -> None:
    table = drawn(np.random.default_rng(0), (30, 20), (0.8, 0.7))
    parts = {"s": average_by_case(table.drop(columns="site"))}
    ((accuracy, added),) = accuracy_parts(parts, Binary())
    assert accuracy == pytest.approx((table["p_b"].round() == (table["label"] == "b")).mean())
    ((area, places),) = auc_parts(parts, Binary())
    assert area == pytest.approx(roc_auc_score(table["label"] == "b", table["p_b"]))
    for each, total in ((added, accuracy), (places, area)):
        assert each["added"].sum() == pytest.approx(total)
        assert each["share"].sum() == pytest.approx(1)
        assert len(each) == table["patient"].nunique()


def test_the_variance_of_an_auc_is_delongs() -> None:
    table = drawn(np.random.default_rng(1), (60, 40), (0.8, 0.8))
    table = table.drop_duplicates("patient").drop(columns="site")  # an image each: cases are independent
    ((area, places),) = auc_parts({"s": average_by_case(table)}, Binary())
    positive = table["label"].to_numpy() == "b"
    above = (table["p_b"].to_numpy()[positive][:, None] > table["p_b"].to_numpy()[~positive]).astype(float)
    delong = above.mean(axis=1).var(ddof=1) / positive.sum() + above.mean(axis=0).var(ddof=1) / (~positive).sum()
    ours = ((places["added"] - area * places["share"]) ** 2).sum()
    assert ours == pytest.approx(delong, rel=0.05)


def test_a_difference_is_found_and_named() -> None:
    table = drawn(np.random.default_rng(2), (60, 60), (0.95, 0.65))
    half = np.resize(["x", "y"], len(table))
    facts = slice_facts(table[["sample", "site"]].assign(half=half), ["site", "half"])
    evaluation = evaluate(table.drop(columns="site"), replicates=20, facts=facts)
    rows = evaluation.slices.drop_duplicates("column").set_index("column")
    assert rows.loc["site", "p_accuracy"] < 0.01
    assert rows.loc["half", "p_accuracy"] > 0.05
    assert any("accuracy (p <0.001)" in note and "the values of site" in note for note in evaluation.notes)
    words = differences_in_words(evaluation.slices)
    assert words[0] == ""
    assert words[1].startswith("accuracy <0.001, AUC")
    assert words[2] == ""


def test_groups_of_few_patients_are_named() -> None:
    table = drawn(np.random.default_rng(3), (40, 12), (0.8, 0.8))
    cases = average_by_case(table[table["site"] == "s1"].drop(columns="site"))
    assert fewest_patients(cases) == 6
    facts = slice_facts(table[["sample", "site"]], ["site"])
    evaluation = evaluate(table.drop(columns="site"), replicates=20, facts=facts)
    assert any(note.endswith("whose figures say little: site s1 (6)") for note in evaluation.notes)
    assert differences_in_words(evaluation.slices)[2] == "few patients"
    assert slice_notes(pd.DataFrame()) == []


def test_holm_corrects_over_all_columns() -> None:
    table = drawn(np.random.default_rng(4), (40, 40), (0.9, 0.7))
    columns = {"one": table["site"], "same": table["site"], "unknown": pd.Series("", index=table.index)}
    alone = p_of(table)
    found = slice_differences(columns, table.drop(columns="site"), Binary())
    assert found["column"].tolist() == ["one", "same"]
    assert found[["p_accuracy", "p_auc"]].min(axis=None) == pytest.approx(2 * min(alone))


def test_the_bootstrap_is_invariant_to_the_group_that_others_are_held_against() -> None:
    parts = np.random.default_rng(5).normal(size=(30, 3))
    assert wild_bootstrap(parts[:, 1:] - parts[:, :1], 0) == wild_bootstrap(parts[:, :2] - parts[:, 2:], 0)


@pytest.mark.slow
def test_nothing_is_found_where_nothing_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.evaluation.subgroups.DRAWS", 399)
    generator, found = np.random.default_rng(6), []
    for sizes in ((20, 20, 20), (12, 48)):
        for _ in range(100):
            table = drawn(generator, sizes, (0.85,) * len(sizes))  # an image is a case: a table of cases, too
            parts = {str(site): rows.drop(columns="site") for site, rows in table.groupby("site")}
            found.append([group_test(list(make(parts, Binary())), 0) for make in (accuracy_parts, auc_parts)])
    assert ((np.array(found) <= 0.05).mean(axis=0) <= 0.09).all()


def test_of_many_patients_the_distribution_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = np.random.default_rng(7).normal(0.05, 1, size=(1500, 2))
    drawn = wild_bootstrap(parts, 0)
    monkeypatch.setattr("src.evaluation.subgroups.MANY", 1000)
    assert wild_bootstrap(parts, 0) == pytest.approx(drawn, abs=0.02)
