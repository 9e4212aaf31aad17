"""Tissue micro-arrays of four cancers."""

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from src.data.sets.folder import Folder
from src.system.checks import at_least
from src.system.next_commands import download_command

CLASSES = ("bladder", "breast", "lung", "lymphoma")


@dataclass(kw_only=True)
class Tma(Folder):
    """6,402 H&E images of tissue micro-arrays, in a folder for each of bladder, breast, lung and lymphoma.

    Every image is a case. An `expected` of 0 takes what is there.

    Source: Jannesari et al. 2018, https://doi.org/10.1101/242818, from the Stanford Tissue Microarray Database.
    """

    expected: int = 6402

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
        return manifest
