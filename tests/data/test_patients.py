"""Patients where a data set does not say them: by a table, and estimated."""

from pathlib import Path

import pandas as pd
import pytest

from src.data.leaks import unknown_patients
from src.data.patients import describe_estimate, estimated_patients, group_alike
from src.data.sets.bach import Bach
from src.data.sets.folder import Folder
from src.data.sets.table import Table
from src.data.splits import KFold
from tests.support.images import folder_of_images


def manifest(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Rows of sample, case and content."""
    table = pd.DataFrame(rows, columns=["sample", "case", "content"])
    return table.assign(patient="", view="", label=pd.Categorical(["one", "two"] * (len(rows) // 2)))


def pairs(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["content_first", "content_second"], dtype="str")


def test_what_is_alike_directly_or_by_way_of_others_is_one_patient() -> None:
    rows = manifest(*((name, name, name.upper()) for name in "abcdef"))
    found = group_alike(rows, pairs(("A", "C"), ("E", "C"), ("F", "B")))
    assert found["patient"].tolist() == [
        *("estimated: a", "estimated: b", "estimated: a", "", "estimated: a", "estimated: b")
    ]
    assert estimated_patients(found).nunique() == 2
    assert unknown_patients(found) == 1
    assert "5 of 6 cases show a place that another one shows, and make 2 patients:" in describe_estimate(found)


def test_copies_and_the_views_of_a_case_stay_together() -> None:
    rows = manifest(
        ("a1", "a", "X"), ("a2", "a", "Y"), ("b1", "b", "Y"), ("b2", "b", "Z"), ("c", "c", "W"), ("d", "d", "V")
    )
    found = group_alike(rows, pairs(("Z", "W")))
    assert found["patient"].tolist() == ["estimated: a"] * 5 + [""]


def test_where_nothing_is_alike_every_patient_is_unknown_and_that_is_said() -> None:
    rows = manifest(("a", "a", "A"), ("b", "b", "B"))
    found = group_alike(rows, pairs())
    assert found["patient"].tolist() == ["", ""]
    assert "no two of 2 cases show the same place" in describe_estimate(found)


def test_folds_keep_estimated_patients_together() -> None:
    rows = manifest(*((str(number), str(number), str(number)) for number in range(40)))
    found = group_alike(rows, pairs(("0", "2"), ("2", "4"), ("1", "7")))
    folds = KFold(folds=4).split(found).set_index("case")["fold"]
    assert folds[["0", "2", "4"]].nunique() == folds[["1", "7"]].nunique() == 1


def test_a_table_says_them_for_any_folder(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "images", 4)
    table = tmp_path / "patients.csv"
    samples = ["one/000.png", "two/001.png", "one/002.png", "two/003.png"]
    pd.DataFrame({"sample": samples, "patient": ["p1", "p1", "p2", "NA"]}).to_csv(table, index=False)
    found = Folder(root=str(root), patients=str(table)).manifest().set_index("sample")["patient"]
    assert found[samples].tolist() == ["p1", "p1", "p2", ""]
    table.write_text("sample,patient\none/000.png,p1\n")
    with pytest.raises(ValueError, match=r"every image once, but of its samples .*\(?.*are not in it"):
        Folder(root=str(root), patients=str(table)).manifest()
    with pytest.raises(ValueError, match=r"nowhere\.csv"):
        Folder(root=str(root), patients="nowhere.csv").manifest()


def test_a_table_that_names_patients_has_none_to_estimate(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 2)
    rows = {"sample": ["one/000.png", "two/001.png"], "label": ["a", "b"], "patient": ["p1", ""]}
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    reader = Table(path=str(tmp_path / "table.csv"), patients="estimated", check_folders=False)
    with pytest.raises(ValueError, match=r"data.patients=estimated .*leave data.patients out"):
        reader.manifest()


def test_bach_is_estimated_when_asked(shared: Path) -> None:
    options = {"root": str(shared / "data" / "bach_half"), "width": 768, "height": 768}
    reader = Bach(**options, patients="estimated")
    assert reader.estimates_patients
    assert not Bach(**options).estimates_patients
    assert any("patients are estimated" in note for note in reader.notes(reader.manifest()))
