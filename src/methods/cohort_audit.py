"""What a cohort has in common with the images that a model learnt from: these are not new to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from src.data.leaks import IDENTICAL, NEAR, PATIENT, WAYS_OUT, across_folds, find_leaks
from src.data.patients import PREFIX

KNOWN = "learnt from: "
"""With what the names of images begin that a model learnt from: a cohort's may be called the same."""
COLUMNS = ("kind", "first", "second", "distance", "label_first", "label_second", "patient_first", "patient_second")
WORDS = {kind: WAYS_OUT[kind][0] for kind in (PATIENT, IDENTICAL, NEAR)}


@dataclass
class CohortAudit:
    """What was found.

    findings
        A row per finding, as of `src.data.leaks.find_leaks`: `first` is a sample of the cohort, `second` one that was
        learnt from.
    images
        How many images were compared by their looks, and how many of both sides could not be.
    """

    findings: pd.DataFrame
    images: int
    not_compared: int

    @property
    def facts(self) -> dict[str, int]:
        """Counts by name, for the run to record."""
        return {f"audit_{kind}s" if kind == PATIENT else f"audit_{kind}": self.count(kind) for kind in WORDS}

    def count(self, kind: str) -> int:
        """Return how many patients, or images of the cohort, findings of a kind name."""
        rows = self.findings[self.findings["kind"] == kind]
        return int(rows["patient_first" if kind == PATIENT else "first"].nunique())

    @property
    def reasons(self) -> list[str]:
        """What is not new to the model, for each kind; empty where all is."""
        said = []
        for kind, words in WORDS.items():
            rows = self.findings[self.findings["kind"] == kind]
            if len(rows):
                first: Any = rows.iloc[0]
                told = repr(first["patient_first"]) if kind == PATIENT else f"{first['first']} ~ {first['second']}"
                said.append(f"{self.count(kind)} {words} of the cohort, first {told}")
        return said

    @property
    def lines(self) -> list[str]:
        """What was found, also where that is nothing."""
        found = "; ".join(self.reasons) or "no patient, identical or near-identical image of the cohort"
        left = f"; {self.not_compared} could be compared by their bytes only" if self.not_compared else ""
        return [f"the model learnt from {found} ({self.images} images compared{left})"]

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures has to know."""
        return [f"possibly optimistic: the model learnt from {reason}" for reason in self.reasons]

    def refuse(self) -> None:
        """Raise `ValueError` where something was learnt from."""
        if self.reasons:
            raise ValueError(
                f"audit=fail, but the model learnt from {'; '.join(self.reasons)}: leave them out "
                "of the table (patients of the same name may be others: rename them), or audit=warn goes on"
            )


def audit_cohort(
    cohort: pd.DataFrame, known: pd.DataFrame, hashes: Mapping[str, UInt8[np.ndarray, "8 octet"]]
) -> CohortAudit:
    """Return what a cohort shares with the images that were learnt from.

    Both are manifests with the column `content`; `hashes` are those of `src.images.perceptual_hash` by content.
    """
    learnt = known.assign(sample=KNOWN + known["sample"], case=KNOWN + known["case"], fold=1)
    columns = ["sample", "case", "patient", "label", "content", "fold"]
    both = pd.concat([learnt[columns], cohort.assign(fold=2)[columns]], ignore_index=True)
    # An estimated patient is called after a case, which the other side may have by chance, too.
    both["patient"] = both["patient"].mask(both["patient"].str.startswith(PREFIX), "")
    splits = both[["case", "fold"]].drop_duplicates("case").assign(repeat=1)
    found = across_folds(find_leaks(both.drop(columns="fold"), splits, hashes))
    table = pd.concat([found[found["fold_first"] == 2], turn_pairs(found[found["fold_first"] == 1])])
    table = table.assign(second=table["second"].str.removeprefix(KNOWN))[list(COLUMNS)].sort_values(["kind", "first"])
    return CohortAudit(table.reset_index(drop=True), len(both), int((~both["content"].isin(list(hashes))).sum()))


def turn_pairs(findings: pd.DataFrame) -> pd.DataFrame:
    """Return findings with their sides exchanged."""
    names = {"first": "second", "label_first": "label_second", "patient_first": "patient_second"}
    return findings.rename(columns=names | {second: first for first, second in names.items()})
