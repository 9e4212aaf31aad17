"""Folds that are the hospitals, scanners or batches that the cases come from."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from src.data.manifest import list_cases, list_first
from src.data.spellings import plain_form
from src.data.splits import SplitProtocol
from src.system.checks import suggest_choice
from src.system.natural_order import natural_order
from src.system.spreadsheets import blank_missing

MOST = 30
"""Groups at most: their figures stand in one table."""
NO_GROUPS = ("sample", "case", "label", "content")


@dataclass(kw_only=True)
class LeaveOneGroupOut(SplitProtocol):
    """Each value of the manifest's column `group` (a hospital, a scanner, a batch) is held out once.

    Models of all the other groups predict it, as scikit-learn's LeaveOneGroupOut has it: what to expect of a group that
    nobody has learnt from. A group may lack a class; what is learnt from may not. Fold 1 is the first group by name.
    """

    group: str

    grouped: ClassVar[bool] = True

    @property
    def slices(self) -> list[str]:
        """The column of the groups."""
        return [self.group]

    def remarks(self, manifest: pd.DataFrame) -> list[str]:
        """Return the groups, with how many cases each has, and which classes it lacks."""
        cases = list_cases(manifest).assign(group=self._groups(manifest))
        counts = pd.crosstab(cases["group"], cases["label"].astype(str))
        said = []
        for name in sorted(counts.index, key=natural_order):
            lacking = counts.columns[counts.loc[name] == 0].tolist()
            said.append(f"{name} {counts.loc[name].sum()}" + (f" (none of {', '.join(lacking)})" if lacking else ""))
        return [f"each {self.group} is held out once, cases: {', '.join(said)}"]

    def notes(self, splits: pd.DataFrame) -> list[str]:
        """Return to which groups the figures refer."""
        return [
            f"each {self.group} is predicted by models of the others: intervals hold for new patients of these "
            f"{splits['fold'].nunique()}, and another {self.group} may differ by more"
        ]

    def folds_of(self, manifest: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Return the number of each case's group; `ValueError` as of `_groups`, and where a patient has several."""
        groups = self._groups(manifest)
        names = sorted(groups.unique(), key=natural_order)
        self._check_patients(manifest, groups)
        self._check_training(list_cases(manifest)["label"], groups)
        return groups.map({name: number for number, name in enumerate(names, start=1)}).to_numpy(dtype=np.int64)

    def _groups(self, manifest: pd.DataFrame) -> "pd.Series[str]":
        """Return the group of each case, by case; `ValueError` where one has none or several, or they are no groups."""
        known = [str(name) for name in manifest if name not in NO_GROUPS]
        if self.group not in known:
            raise ValueError(
                f"protocol.group names a column of the manifest, {', '.join(known)}, but got {self.group!r}"
                f"{suggest_choice(self.group, known)}"
            )
        values = manifest[self.group].map(lambda value: "" if pd.isna(value) else str(value))
        values = blank_missing(values)
        lacking = manifest["sample"][values == ""]
        self._refuse(lacking, "every sample has one", "it has none of", "fill it in, or leave them out of the table")
        by_case = values.groupby(manifest["case"]).agg(["first", "nunique"]).sort_index()
        several = by_case.index[by_case["nunique"] > 1]
        self._refuse(several, "a case has one", "it tells apart the samples of", "hold out another column")
        self._check_names(by_case["first"].value_counts())
        return by_case["first"].reset_index(drop=True)

    def _refuse(self, names: "pd.Series[str] | pd.Index[str]", rule: str, verb: str, way_out: str) -> None:
        if len(names):
            raise ValueError(f"protocol.group={self.group}: {rule}, but {verb} {list_first(names.tolist())}: {way_out}")

    def _check_names(self, counts: "pd.Series[int]") -> None:
        """Raise `ValueError` for too few or too many groups, and for names that differ in form only."""
        if not 2 <= len(counts) <= MOST:
            found = f"one value, {counts.index[0]!r}" if len(counts) == 1 else f"{len(counts)} values"
            way_out = "name another column" if len(counts) == 1 else "name a coarser one, or take protocol=kfold"
            raise ValueError(
                f"protocol.group={self.group}: there are 2 to {MOST} groups, but it has {found}: {way_out}"
            )
        forms = counts.index.to_series().groupby([plain_form(name) for name in counts.index]).agg(list)
        alike = [" and ".join(map(repr, names)) for names in forms if len(names) > 1]
        if alike:
            raise ValueError(
                f"protocol.group={self.group}: groups differ by more than their form, but there are "
                f"{list_first(alike)}: write each the same way"
            )

    def _check_patients(self, manifest: pd.DataFrame, groups: "pd.Series[str]") -> None:
        """Raise `ValueError` where a known patient is of several groups: held out and learnt from at the same time."""
        cases = list_cases(manifest).assign(group=groups)
        of_patient = cases[cases["patient"] != ""].groupby("patient")["group"].unique()
        torn = of_patient[of_patient.map(len) > 1]
        if len(torn):
            first = f"{torn.index[0]!r} ({', '.join(sorted(torn.iloc[0], key=natural_order))})"
            raise ValueError(
                f"protocol.group={self.group}: a patient is of one group, but {len(torn)} of {len(of_patient)} are of "
                f"several, first {first}: nobody who is held out may be learnt from, so leave their other cases out of "
                "the table, or hold out by patient (protocol=kfold) and see groups by slices="
            )

    def _check_training(self, labels: "pd.Series[str]", groups: "pd.Series[str]") -> None:
        """Raise `ValueError` where all cases of a class are of one group."""
        of_class = groups.groupby(labels.astype(str)).unique()
        alone = of_class[of_class.map(len) == 1]
        if len(alone):
            raise ValueError(
                f"protocol.group={self.group}: every training part has every class, but all cases of "
                f"{alone.index[0]} are of {alone.iloc[0][0]}: leave out that class or that group"
            )
