"""Tissue micro-arrays of four cancers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd

from src.data.manifest import as_sample, list_first
from src.data.sets.folder import Folder
from src.data.spellings import unify_spellings
from src.system.checks import at_least
from src.system.next_commands import download_command
from src.system.spreadsheets import MISSING, blank_missing, read_text

CLASSES = ("bladder", "breast", "lung", "lymphoma")


@dataclass(kw_only=True)
class Tma(Folder):
    """6,402 H&E images of tissue micro-arrays, in a folder for each of bladder, breast, lung and lymphoma.

    Every image is a case. Its patient is unknown, unless `patients` is a CSV with the columns `sample` (the image's
    path relative to the root) and `patient` that has every image once; a patient that is empty or one of
    `missing_values` is unknown, and `spellings` holds for patients, too. An `expected` of 0 takes what is there.

    Source: Jannesari et al. 2018, https://doi.org/10.1101/242818, from the Stanford Tissue Microarray Database.
    """

    patients: str = ""
    expected: int = 6402
    missing_values: list[str] = field(default_factory=lambda: list(MISSING))

    by_hand: ClassVar[str] = (
        "The tissue micro-arrays cannot be fetched by a program: they are behind the registration of the Stanford "
        "Tissue Microarray Database (https://tma.im). Register there, take the H&E images of the breast, bladder, lung "
        "and lymphoma arrays, and put them at {root}/breast, {root}/bladder, {root}/lung and {root}/lymphoma (PNG, "
        "JPEG, TIFF or BMP, at any depth). Then run this again: it checks that each of the four folders holds images, "
        "that there is no fifth, and that there are 6402 in all (data.expected=0: however many). If you know the "
        "patients, data.patients=FILE.csv with the columns sample and patient keeps those of one together."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, expected=self.expected)

    def manifest(self) -> pd.DataFrame:
        """Return one row per image; classes, count and the table of patients are checked."""
        manifest = super().manifest()
        found = list(manifest["label"].cat.categories)
        if found != list(CLASSES):
            raise ValueError(
                f"{self.root} has a folder for each of {', '.join(CLASSES)}, but has {', '.join(found)}: rename or "
                "move them; data=folder takes any classes"
            )
        if self.expected and len(manifest) != self.expected:
            raise ValueError(
                f"the micro-arrays are {self.expected} images, but {self.root} has {len(manifest)}: data.expected=0 "
                f"takes what is there, `{download_command('tma')}` says where they are to be had"
            )
        return manifest.assign(patient=self._patients(manifest["sample"])) if self.patients else manifest

    def _patients(self, samples: "pd.Series[str]") -> "pd.Series[str]":
        path = Path(self.patients)
        table = read_text(path, "data.patients")
        if not {"sample", "patient"} <= set(table):
            raise ValueError(f"{path} needs the columns sample and patient, but has {', '.join(table.columns)}")
        table["sample"] = table["sample"].map(as_sample)
        for names, verb in (
            (table["sample"][table["sample"].duplicated()], "stand in it twice"),
            (samples[~samples.isin(table["sample"])], "are not in it"),
            (table["sample"][~table["sample"].isin(samples)], f"are no images in {self.root}"),
        ):
            if len(names):
                raise ValueError(f"{path} has every image once, but of its samples {list_first(names.tolist())} {verb}")
        patients = unify_spellings(
            blank_missing(table["patient"], self.missing_values), "patients", self.spellings, str(path)
        )
        return samples.map(patients.set_axis(table["sample"]))
