"""Drawn tissue of several hospitals, each with a stain of its own, and the table that lists it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from src.data.synthetic import tissue

CLASSES = ("Benign", "Invasive")
STAINS = {"north": ((0.60, 0.71, 0.37), (0.25, 0.85, 0.47)), "south": ((0.45, 0.80, 0.40), (0.10, 0.70, 0.70))}
"""Unit density vectors of haematoxylin and eosin by hospital; another one's are those of the north."""
STRENGTH = {"south": (0.6, 1.6)}


def draw_hospitals(
    folder: Path,
    patients: Mapping[str, int],
    images: int = 2,
    size: int = 96,
    seed: int = 0,
    classes: tuple[str, ...] = CLASSES,
) -> Path:
    """Draw so many patients of each class at each hospital, with so many images each; return the CSV that lists them.

    Its columns are `file, diagnosis, patient, site, sex`.
    """
    rows, draws = [], np.random.default_rng(seed)
    for site, count in patients.items():
        vectors = np.array(STAINS.get(site, STAINS["north"]))
        stains = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        slide = tissue.Slide(stains=stains, strength=np.array(STRENGTH.get(site, (1, 1)), np.float32))
        for label in classes:
            for number in range(count):
                for image in range(images):
                    file = f"{site}/{label[:1].lower()}{seed}{number:02d}-{image}.png"
                    (folder / site).mkdir(parents=True, exist_ok=True)
                    Image.fromarray(tissue.draw_tissue(label, slide, size, size, draws)).save(folder / file)
                    patient = f"{site}-{label[:1]}{seed}{number:02d}"
                    rows.append((file, label, patient, site, ("f", "m")[number % 2]))
    table = pd.DataFrame(rows, columns=["file", "diagnosis", "patient", "site", "sex"])
    table.to_csv(folder / "images.csv", index=False)
    return folder / "images.csv"


def reading(table: Path) -> list[str]:
    """Return the overrides that read such a table."""
    return ["data=csv", f"data.path={table}", "data.columns={sample: file, label: diagnosis}"]
