from pathlib import Path

import pandas as pd
import pytest

from src.data.sets.tma import Tma
from tests.support.datasets import BAD


def test_the_classes_are_the_four_cancers(tma: Path) -> None:
    manifest = Tma(root=str(tma), expected=8).manifest()
    assert list(manifest["label"].cat.categories) == ["bladder", "breast", "lung", "lymphoma"]
    assert set(manifest["patient"]) == {""}


def test_classes_and_count_are_checked(tma: Path) -> None:
    with pytest.raises(ValueError, match=r"are 6402 images, but .* has 8.*data\.expected=0.*src\.download data=tma"):
        Tma(root=str(tma)).manifest()
    (tma / "lung").rename(tma / "Lung")
    with pytest.raises(ValueError, match=r"each of bladder, breast, lung, lymphoma, but has Lung, bladder"):
        Tma(root=str(tma), expected=0).manifest()
    with pytest.raises(ValueError, match="expected=-1"):
        Tma(root=str(tma), expected=-1)


def test_patients_come_from_a_table(tma: Path) -> None:
    samples = Tma(root=str(tma), expected=0).manifest()["sample"]
    path = tma / "patients.csv"
    reader = Tma(root=str(tma), expected=0, patients=str(path))
    with pytest.raises(ValueError, match=r"there is no file .*patients\.csv"):
        reader.manifest()
    rows = pd.DataFrame({"sample": samples[::-1], "patient": [f"p{number // 2}" for number in range(8)]})
    rows.to_csv(path, index=False)
    assert reader.manifest()["patient"].tolist() == ["p3", "p3", "p2", "p2", "p1", "p1", "p0", "p0"]
    for changed, said in (
        (rows[1:], r"lymphoma/lymphoma2\.png are not in it"),
        (pd.concat([rows, rows[:1]]), r"lymphoma/lymphoma2\.png stand in it twice"),
        (rows.replace("lung/lung1.png", "lung/other.png"), r"lung/lung1\.png are not in it"),
        (
            pd.concat([rows, pd.DataFrame({"sample": ["x.png"], "patient": ["p"]})]),
            r"x\.png are no images in",
        ),
        (rows.rename(columns={"patient": "person"}), "needs the columns sample and patient, but has sample, person"),
    ):
        changed.to_csv(path, index=False)
        with pytest.raises(ValueError, match=said):
            reader.manifest()


def test_patients_that_are_missing_or_differ_in_form_only(tma: Path) -> None:
    samples = Tma(root=str(tma), expected=0).manifest()["sample"]
    path = tma / "patients.csv"
    rows = pd.DataFrame({"sample": "./" + samples, "patient": ["NA", "nan", "", "?", "1", "01", "1.0", "2"]})
    rows.to_csv(path, index=False)
    reader = Tma(root=str(tma), expected=0, patients=str(path))
    with pytest.raises(ValueError, match=r"patients differ .*patients\.csv has .*data\.spellings=unite"):
        reader.manifest()
    reader.spellings = "unite"
    assert reader.manifest()["patient"].tolist() == ["", "", "", "", "01", "01", "01", "2"]
    reader.spellings, reader.missing_values = "keep", []
    assert reader.manifest()["patient"].tolist() == rows["patient"].tolist()


@pytest.mark.parametrize("content", BAD)
def test_patients_that_are_no_table(tma: Path, content: bytes) -> None:
    (tma / "patients.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"^data\.patients is a CSV file in UTF-8, but .* cannot be read"):
        Tma(root=str(tma), expected=0, patients=str(tma / "patients.csv")).manifest()
