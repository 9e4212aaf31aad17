"""Whose images are whose, where a data set does not say it: by a table, or estimated from what images show."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from src.data.manifest import as_sample, list_cases, list_first
from src.data.reader import Reader
from src.data.spellings import SPELLINGS, unify_spellings
from src.system.checks import one_of
from src.system.spreadsheets import MISSING, blank_missing, read_text

ESTIMATED = "estimated"
"""What `data.patients` says where patients are to be estimated."""
PREFIX = "estimated: "
"""With what the name of an estimated patient begins, before that of its first case."""


@dataclass(kw_only=True)
class PatientReader(Reader):
    """A data set that need not say whose images are whose.

    `patients` is a CSV with the columns `sample` (an image's path relative to the root) and `patient` that has every
    image once, or `estimated`: images that show the same place are of one patient then, and all others of unknown ones
    (`group_alike`). A patient that is empty or one of `missing_values` is unknown. What patients are that differ in
    form only (`1`, `01` and `1.0`), `spellings` says: `fail`, `unite` makes them one, `keep` leaves them several.
    """

    patients: str = ""
    missing_values: list[str] = field(default_factory=lambda: list(MISSING))
    spellings: str = "fail"

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        one_of(SPELLINGS, spellings=self.spellings)

    @property
    def estimates_patients(self) -> bool:
        """Whether patients are to be estimated."""
        return self.patients == ESTIMATED

    def with_patients(self, manifest: pd.DataFrame) -> pd.DataFrame:
        """Return the manifest with the patients of the table, where there is one."""
        if not self.patients:
            return manifest
        if (manifest["patient"] != "").any():
            raise ValueError(
                f"data.patients={self.patients} says whose images are whose where it is unknown, but {self.title} says "
                "it already: leave data.patients out"
            )
        if self.estimates_patients:
            return manifest
        read = read_patients(self.patients, manifest["sample"], self.root, self.missing_values, self.spellings)
        return manifest.assign(patient=read)

    def notes(self, manifest: pd.DataFrame) -> list[str]:
        """Return what a reader of figures has to know, of patients that were estimated, too."""
        return super().notes(manifest) + ([describe_estimate(manifest)] if self.estimates_patients else [])


def read_patients(
    path: str, samples: "pd.Series[str]", root: str, missing_values: Sequence[str], spellings: str
) -> "pd.Series[str]":
    """Return the patient of each sample, "" where unknown, by a CSV with the columns `sample` and `patient`.

    ValueError where the CSV lacks a column, or has not every sample once.
    """
    table = read_text(Path(path), "data.patients")
    if not {"sample", "patient"} <= set(table):
        raise ValueError(f"{path} needs the columns sample and patient, but has {', '.join(table.columns)}")
    table["sample"] = table["sample"].map(as_sample)
    for names, verb in (
        (table["sample"][table["sample"].duplicated()], "stand in it twice"),
        (samples[~samples.isin(table["sample"])], "are not in it"),
        (table["sample"][~table["sample"].isin(samples)], f"are no images in {root}"),
    ):
        if len(names):
            raise ValueError(f"{path} has every image once, but of its samples {list_first(names.tolist())} {verb}")
    patients = unify_spellings(blank_missing(table["patient"], missing_values), "patients", spellings, path)
    return samples.map(patients.set_axis(table["sample"]))


def group_alike(manifest: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with estimated patients: cases that show the same place, directly or by way of others.

    `pairs` has the columns `content_first` and `content_second`. A case that is alike to no other one stays unknown:
    what does not overlap may be of one patient all the same.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    cases = list_cases(manifest)["case"]
    code = pd.Series(np.arange(len(cases)), index=cases)
    number = manifest["case"].map(code).to_numpy()
    place = manifest.drop_duplicates("content").set_index("content")["case"].map(code)
    first = np.concatenate([place.loc[pairs["content_first"]], place.loc[manifest["content"]]])
    second = np.concatenate([place.loc[pairs["content_second"]], number])
    graph = coo_array((np.ones(len(first)), (first, second)), (len(cases), len(cases)))
    group = pd.Series(connected_components(graph, directed=False)[1])
    names = PREFIX + cases.groupby(group).transform("first")
    patients = names.where(group.groupby(group).transform("size") > 1, "").set_axis(pd.Index(cases))
    return manifest.assign(patient=manifest["case"].map(patients))


def estimated_patients(manifest: pd.DataFrame) -> "pd.Series[str]":
    """Return the patients, by case, that were estimated."""
    patients = list_cases(manifest).set_index("case")["patient"]
    return patients[patients.str.startswith(PREFIX)]


def describe_estimate(manifest: pd.DataFrame) -> str:
    """Return what the estimate is worth, in a sentence."""
    found, cases = estimated_patients(manifest), manifest["case"].nunique()
    groups = found.nunique()
    what = f"no two of {cases} cases show the same place, so that nothing is kept together"
    if groups:
        what = (
            f"{len(found)} of {cases} cases show a place that another one shows, and make {groups} "
            f"patient{'s' * (groups > 1)}"
        )
    return (
        f"possibly optimistic: patients are estimated (data.patients=estimated), {what}: images of one patient that do "
        "not overlap are not found, and may stand on both sides of a split"
    )
