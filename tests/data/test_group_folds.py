"""Folds that are hospitals."""

from collections.abc import Callable

import pandas as pd
import pytest

from src.data.group_folds import LeaveOneGroupOut
from src.data.manifest import list_cases
from src.data.splits import FIT, REPORT, assign_roles

Make = Callable[..., pd.DataFrame]
SITES = ["site 2", "site 10", "site 1"]


@pytest.fixture
def table(manifest: Make) -> pd.DataFrame:
    """Thirty patients of two images; patient by patient they come from one of three sites."""
    made = manifest({"a": 36, "b": 24}, per_patient=2)
    number = made["patient"].str.rpartition("-p")[2].astype(int)
    return made.assign(site=[SITES[each % 3] for each in number], patient_id=made["patient"])


def test_each_group_is_held_out_once_by_models_of_all_the_others(table: pd.DataFrame) -> None:
    from sklearn.model_selection import LeaveOneGroupOut as Reference

    splits = LeaveOneGroupOut(group="site").split(table)
    cases = list_cases(table)
    sites = cases["case"].map(table.drop_duplicates("case").set_index("case")["site"])
    assert splits["fold"].tolist() == sites.map({"site 1": 1, "site 2": 2, "site 10": 3}).tolist()
    roles = assign_roles(table, splits)
    expected = {
        (frozenset(cases["case"].iloc[fit]), frozenset(cases["case"].iloc[report]))
        for fit, report in Reference().split(cases, groups=sites)
    }
    found = roles.groupby("fold")[["case", "role"]].apply(
        lambda part: tuple(frozenset(part["case"][part["role"] == role]) for role in (FIT, REPORT))
    )
    assert set(found) == expected


def test_a_group_may_lack_a_class(table: pd.DataFrame) -> None:
    rows = table[(table["site"] != "site 10") | (table["label"] == "a")]
    splits = LeaveOneGroupOut(group="site").split(rows)
    labels = rows.set_index("case")["label"]
    assert set(splits["case"][splits["fold"] == 3].map(labels)) == {"a"}
    (said,) = LeaveOneGroupOut(group="site").remarks(rows)
    assert said == "each site is held out once, cases: site 1 20, site 2 20, site 10 12 (none of b)"


def values_of(table: pd.DataFrame, case: str, **values: object) -> pd.DataFrame:
    """A manifest with other values in the rows of a case."""
    rows = table["case"] == case
    return table.assign(**{name: table[name].astype(object).where(~rows, value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("change", "group", "said"),
    [
        (
            lambda table: table,
            "sites",
            r"names a column of the manifest, patient, view, site, .*'sites'; did you mean site",
        ),
        (lambda table: table, "label", r"names a column of the manifest, .*but got 'label'"),
        (lambda table: table.assign(site="site 1"), "site", "2 to 30 groups, but it has one value, 'site 1'"),
        (
            lambda table: table.assign(site=table["case"]),
            "site",
            "2 to 30 groups, but it has 60 values: name a coarser",
        ),
        (lambda table: values_of(table, "a3", site="NA"), "site", "every sample has one, but it has none of a/3.png"),
        (lambda table: values_of(table, "a3", site=None), "site", "every sample has one, but it has none of a/3.png"),
        (
            lambda table: values_of(table, "a3", site="Site 2"),
            "site",
            "differ by more than their form, but there are 'site 2' and 'Site 2'",
        ),
        (
            lambda table: values_of(table, "a3", site="site 1"),
            "site",
            r"a patient is of one group, but 1 of 30 are of several, first 'a-p1' \(site 1, site 10\)",
        ),
        (
            lambda table: table.assign(site=table["site"].where(table["label"] == "a", "site 1")),
            "site",
            "every training part has every class, but all cases of b are of site 1: leave out",
        ),
        (
            lambda table: pd.concat([table, table.head(1).assign(sample="a/x.png", site="site 1")]),
            "site",
            "a case has one, but it tells apart the samples of a0",
        ),
    ],
)
def test_what_cannot_be_held_out_by_group_is_said(
    table: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame], group: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        LeaveOneGroupOut(group=group).split(change(table))
