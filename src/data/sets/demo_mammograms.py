"""A small data set of paired mammograms that is drawn on first use."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import ClassVar

import pandas as pd
from PIL import Image

from src.data.manifest import check_manifest, single_views
from src.data.sets.drawn import Drawn
from src.data.synthetic import mammogram
from src.system.checks import at_least, holds

CLASSES = ("benign", "malignant")
MARGINS = {  # drawn with these shares
    "benign": {"CIRCUMSCRIBED": 0.55, "OBSCURED": 0.25, "ILL_DEFINED": 0.2},
    "malignant": {"SPICULATED": 0.8, "ILL_DEFINED": 0.2},
}
DENSITIES = ("1", "2", "3", "4")
PATIENTS = ("b", "m", "b", "m", "bm", "b", "m", "mb", "b", "m", "mm", "bb")  # their lesions, then again from the start
ROUND = sum(map(len, PATIENTS))  # lesions
SINGLE = {5: "mlo", 10: "cc"}  # lesions of each round that have one view


@dataclass(kw_only=True)
class DemoMammograms(Drawn):
    """Drawn crops of lesions, `cases` in all, about half benign (round) and half malignant (spiculated, most of them).

    A lesion has a CC and an MLO image, but one in eight has one of them only. A patient has one lesion or two, some of
    them one in each breast, and some of those of two classes. They are made on first use, `size` pixels square.
    """

    root: str = "mlruns/demo_mammograms"
    positive: list[str] = field(default_factory=lambda: ["malignant"])
    slices: list[str] = field(default_factory=lambda: ["mass_margins", "breast_density"])
    cases: int = 60
    size: int = 128

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, cases=self.cases)
        holds("64 <= size <= 1024", 64 <= self.size <= 1024, size=self.size)

    def manifest(self) -> pd.DataFrame:
        """One row per image, with side, mass margins and breast density; they are made where they are not there yet."""
        table = self.table()
        return check_manifest(table.assign(label=pd.Categorical(table["label"], list(CLASSES))), self.positive)

    def notes(self, manifest: pd.DataFrame) -> list[str]:
        """Return how many lesions have one view only."""
        return single_views(manifest, "lesions")

    @property
    def parameters(self) -> list[int]:
        """All that determines the images besides the revision."""
        return [self.cases, self.size, self.seed]

    def make(self, folder: Path) -> None:
        """Draw all images, a folder per class; write `samples.csv`."""
        samples = pd.DataFrame(self._samples())
        for name in CLASSES:
            (folder / name).mkdir(parents=True)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(lambda row: self._draw(folder, row), samples.to_dict("records")))
        samples.to_csv(folder / "samples.csv", index=False)

    def _samples(self) -> Iterator[dict[str, str]]:
        """Names, classes and what a radiologist would say; two rows for most lesions."""
        for number, (patient, side, case, label) in enumerate(islice(_lesions(), self.cases)):
            density = self.random(f"density of {patient}").choice(DENSITIES)
            margins = self.random(f"margins of {case}").choice(list(MARGINS[label]), p=list(MARGINS[label].values()))
            only = SINGLE.get(number % ROUND, "")
            for view in (only,) if only else ("cc", "mlo"):
                yield {
                    "sample": f"{label}/{case}_{view}.png",
                    "case": case,
                    "patient": patient,
                    "view": view,
                    "label": label,
                    "side": side,
                    "mass_margins": str(margins),
                    "breast_density": str(density),
                }

    def _draw(self, folder: Path, row: dict[str, str]) -> None:
        breast = mammogram.make_breast(row["breast_density"], self.random(f"{row['patient']} {row['side']}"))
        lesion = mammogram.make_lesion(row["mass_margins"], row["label"] == "malignant", self.random(row["case"]))
        obscured = row["mass_margins"] == "OBSCURED"
        pixels = mammogram.draw_mammogram(lesion, breast, row["view"], obscured, self.size, self.random(row["sample"]))
        Image.fromarray(pixels).save(folder / row["sample"], compress_level=1)


def _lesions() -> Iterator[tuple[str, str, str, str]]:
    """Patient, side, case and label of one lesion after another, without end."""
    for number in count():
        patient = f"m{number + 1:03d}"
        for index, letter in enumerate(PATIENTS[number % len(PATIENTS)]):
            other = index if PATIENTS[number % len(PATIENTS)] != "mm" else 0  # those are two in one breast
            side = ("left", "right")[(number + other) % 2]
            yield patient, side, f"{patient}_{side}_{index + 1}", "benign" if letter == "b" else "malignant"
