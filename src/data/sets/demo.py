"""A small data set that is drawn on first use, so that everything can be tried at once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd
from PIL import Image

from src.data.manifest import check_manifest
from src.data.sets.drawn import Drawn
from src.data.synthetic import tissue
from src.system.checks import holds

CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
PREFIXES = ("n", "b", "is", "iv")
PATIENTS_PER_CLASS = 6  # at least, as far as there are images


@dataclass(kw_only=True)
class Demo(Drawn):
    """Drawn images that look like haematoxylin and eosin, of BACH's four classes, `cases` in all.

    They are made on first use, with `samples.csv` and `patients.csv`. A patient has one slide, one image or several,
    at times of two classes.
    """

    root: str = "mlruns/demo"
    positive: list[str] = field(default_factory=lambda: ["InSitu", "Invasive"])
    cases: int = 48
    width: int = 768
    height: int = 576

    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cases < 4 or self.cases % 4:
            raise ValueError(f"`cases` must be a positive multiple of 4, but got cases={self.cases}")
        holds("64 <= width <= 4096", 64 <= self.width <= 4096, width=self.width)
        holds("64 <= height <= 4096", 64 <= self.height <= 4096, height=self.height)

    def manifest(self) -> pd.DataFrame:
        """Return one row per image, with its slide; the images are made where they are not there yet."""
        table = self.table()
        return check_manifest(table.assign(label=pd.Categorical(table["label"], list(CLASSES))), self.positive)

    @property
    def parameters(self) -> list[int]:
        """All that determines the images besides the revision."""
        return [self.cases, self.width, self.height, self.seed]

    def make(self, folder: Path) -> None:
        """Draw all images, a folder per class; write `samples.csv` and `patients.csv`."""
        samples = pd.DataFrame(self._samples())
        for name in CLASSES:
            (folder / name).mkdir(parents=True)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(lambda row: self._draw(folder, *row), samples[["sample", "label", "slide"]].to_numpy()))
        samples.to_csv(folder / "samples.csv", index=False)
        patients = samples[["patient", "slide"]].drop_duplicates().sort_values("patient")
        ages = [int(self.random(f"age of {patient}").integers(34, 82)) for patient in patients["patient"]]
        patients.assign(age=ages).to_csv(folder / "patients.csv", index=False)

    def _samples(self) -> Iterator[dict[str, str]]:
        """Names, labels and patients. In a class, patients have about as many images each; a third of the patients with
        normal tissue have carcinoma in situ too, and another third of those with benign tissue invasive carcinoma."""
        count = self.cases // 4
        patients = min(count, max(PATIENTS_PER_CLASS, count // 2))
        for index in range(count):
            local = index % patients
            for position, (label, prefix) in enumerate(zip(CLASSES, PREFIXES, strict=True)):
                owner = position - 2 if position >= 2 and local % 3 == position - 2 else position
                patient = f"p{owner * patients + local + 1:03d}"
                name = f"{prefix}{index + 1:03d}.png"
                yield {
                    "sample": f"{label}/{name}",
                    "case": name,
                    "patient": patient,
                    "view": "",
                    "label": label,
                    "slide": f"s{patient[1:]}",
                }

    def _draw(self, folder: Path, sample: str, label: str, slide: str) -> None:
        stained = tissue.make_slide(self.random(slide))
        pixels = tissue.draw_tissue(label, stained, self.width, self.height, self.random(sample))
        Image.fromarray(pixels).save(folder / sample, compress_level=1)
