"""Small data sets on disk, in the layouts that the readers know."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.support.datasets import BREAKHIS, MIAS, breakhis_path, mammogram

BACH = {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}


def pixels(seed: int, width: int = 12, height: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def bach(tmp_path: Path) -> Path:
    """BACH as distributed, two images of 12 x 8 pixels of each class and three test images."""
    photos = tmp_path / "ICIAR2018_BACH_Challenge" / "Photos"
    rows = []
    for name, prefix in BACH.items():
        (photos / name).mkdir(parents=True)
        (photos / name / "Thumbs.db").write_bytes(b"as Windows leaves it")
        for number in (1, 2):
            file = f"{prefix}{number:03d}.tif"
            Image.fromarray(pixels(number)).save(photos / name / file)
            rows.append(f"{file},{name}\n")
    (photos / "microscopy_ground_truth.csv").write_text("".join(rows))
    test = tmp_path / "ICIAR2018_BACH_Challenge_TestDataset" / "Photos"
    test.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(pixels(number)).save(test / f"test{number}.tif")
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three images, one of them deeper."""
    for name in ("good", "bad"):
        for number, file in enumerate(("a.png", "b.JPG", "deeper/c.tiff")):
            path = tmp_path / "images" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(number)).save(path)
    return tmp_path / "images"


@pytest.fixture
def table(folder: Path) -> Path:
    """A CSV over `folder` with names of its own, in an order of its own."""
    path = folder / "samples.csv"
    rows = [
        "file,label,patient_id,View,stain,case",
        "good/b.JPG,good,p1,CC,H&E,left",
        "good/a.png,good,p1,MLO,H&E,left",
        "bad/a.png,bad,p2,,H&E,right",
        "bad/b.JPG,bad,,,,third",
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def breakhis(tmp_path: Path) -> Path:
    """BreakHis as distributed, eleven images of 12 x 8 pixels of all eight sub-types, of eight patients."""
    for number, name in enumerate(BREAKHIS):
        path = tmp_path / breakhis_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number)).save(path)
    return tmp_path


@pytest.fixture
def tma(tmp_path: Path) -> Path:
    """A folder for each of the four cancers of the tissue micro-arrays, with two images each."""
    for name in ("bladder", "breast", "lung", "lymphoma"):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            Image.fromarray(pixels(number)).save(tmp_path / name / f"{name}{number}.png")
    return tmp_path


@pytest.fixture
def mini_mias(tmp_path: Path) -> Path:
    """mini-MIAS as its archive unpacks, eight images of 8 x 8 pixels."""
    for number in (1, 2, 3, 4, 5, 59, 144, 216):
        mammogram(tmp_path / f"mdb{number:03d}.pgm")
    (tmp_path / "Info.txt").write_bytes(MIAS.replace("\n", " \r\n").encode())
    (tmp_path / "README").write_text("mdb001 to mdb322")
    return tmp_path


@pytest.fixture
def manifest() -> Callable[..., pd.DataFrame]:
    """Makes a manifest of so many cases per class, `per_patient` cases of a class from a patient (0: unknown)."""

    def make(counts: dict[str, int], per_patient: int = 0) -> pd.DataFrame:
        rows = [
            (
                f"{label}/{index}.png",
                f"{label}{index}",
                f"{label}-p{index // per_patient}" if per_patient else "",
                "",
                label,
            )
            for label, count in counts.items()
            for index in range(count)
        ]
        table = pd.DataFrame(rows, columns=["sample", "case", "patient", "view", "label"])
        return table.assign(label=pd.Categorical(table["label"], list(counts))).sort_values("sample", ignore_index=True)

    return make
