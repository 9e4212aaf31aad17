from pathlib import Path

import pytest

from src.data.table import Table

COLUMNS = {"sample": "file", "patient": "patient_id", "view": "View"}


def test_columns_are_named_and_kept(table: Path) -> None:
    manifest = Table(path=str(table), columns=COLUMNS).manifest()
    assert manifest.columns.tolist() == ["sample", "case", "patient", "view", "label", "stain"]
    first = manifest.set_index("sample").loc["good/a.png"]
    assert first.to_dict() == {"case": "left", "patient": "p1", "view": "mlo", "label": "good", "stain": "H&E"}
    assert manifest.set_index("sample").loc["bad/b.JPG", "stain"] == ""


def test_defaults_of_case_patient_and_view(folder: Path) -> None:
    (folder / "two.csv").write_text("sample,label\ngood\\a.png, 1\n\n bad/a.png,0\n")
    manifest = Table(path=str(folder / "two.csv")).manifest()
    assert manifest["case"].tolist() == manifest["sample"].tolist() == ["bad/a.png", "good/a.png"]
    assert manifest["label"].tolist() == ["0", "1"]
    assert set(manifest["patient"]) == set(manifest["view"]) == {""}


def test_a_column_that_another_replaces_is_kept_under_a_new_name(folder: Path) -> None:
    (folder / "two.csv").write_text("sample,label,case,lesion\ngood/a.png,g,7,x\nbad/a.png,b,8,y\n")
    manifest = Table(path=str(folder / "two.csv"), columns={"case": "lesion", "patient": "lesion"}).manifest()
    assert manifest["case"].tolist() == manifest["patient"].tolist() == ["y", "x"]
    assert manifest["csv_case"].tolist() == ["8", "7"]


def test_the_order_of_classes(table: Path) -> None:
    assert Table(path=str(table), columns=COLUMNS).manifest()["label"].cat.categories.tolist() == ["bad", "good"]
    ordered = Table(path=str(table), columns=COLUMNS, classes=["good", "bad"])
    assert ordered.manifest()["label"].cat.categories.tolist() == ["good", "bad"]
    with pytest.raises(ValueError, match=r"data.classes \(good\).*'bad' in row 4, 5"):
        Table(path=str(table), columns=COLUMNS, classes=["good"]).manifest()


def test_root_may_lie_elsewhere(table: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.csv"
    table.rename(moved)
    with pytest.raises(ValueError, match=r"4 of 4 are missing: good/b.JPG, good/a.png, bad/a.png, \.\.\. \(4 in all\)"):
        Table(path=str(moved), columns=COLUMNS).manifest()
    assert len(Table(path=str(moved), root=str(tmp_path / "images"), columns=COLUMNS).manifest()) == 4


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (",bad,p2", ",,p2", r"every row has a label.*row 4 \(header: row 1\)"),
        ("bad/a.png", "", "every row has a sample.*row 4"),
        ("bad/a.png", "good/a.png", "one row.*good/a.png"),
        ("label", "diagnosis", "needs a column 'label' for label.*diagnosis"),
        ("good,p1,MLO", "bad,p1,MLO", "one label, but case 'left'"),
    ],
)
def test_bad_rows_are_named(table: Path, before: str, after: str, named: str) -> None:
    table.write_text(table.read_text().replace(before, after))
    with pytest.raises(ValueError, match=named):
        Table(path=str(table), columns=COLUMNS, check_folders=False).manifest()


def test_labels_that_disagree_with_the_folders_are_named(table: Path) -> None:
    assert len(Table(path=str(table), columns=COLUMNS).manifest()) == 4
    table.write_text(table.read_text().replace("bad/b.JPG,bad", "bad/b.JPG,good"))
    assert len(Table(path=str(table), columns=COLUMNS, check_folders=False).manifest()) == 4
    with pytest.raises(ValueError, match=r"bad/b\.JPG is good"):
        Table(path=str(table), columns=COLUMNS).manifest()


def test_folders_that_are_no_classes_say_nothing(table: Path) -> None:
    table.write_text(table.read_text().replace(",bad", ",malignant").replace(",good", ",benign"))
    assert len(Table(path=str(table), columns=COLUMNS).manifest()) == 4


def test_what_is_no_csv_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        Table(path=str(tmp_path / "none.csv")).manifest()
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "latin.csv").write_bytes("sample,label\ncaf\u00e9,x\n".encode("latin-1"))
    for name in ("empty.csv", "latin.csv"):
        with pytest.raises(ValueError, match="cannot be read as one"):
            Table(path=str(tmp_path / name)).manifest()
    (tmp_path / "twice.csv").write_text("sample,label, label\na.png,x,y\n")
    with pytest.raises(ValueError, match=r"twice.csv has two that are called 'label'"):
        Table(path=str(tmp_path / "twice.csv")).manifest()
    with pytest.raises(ValueError, match="but got smaple"):
        Table(path="x.csv", columns={"smaple": "file"})


def test_the_real_samples_with_their_patients(shared: Path) -> None:
    reader = Table(path=str(shared / "data" / "histology_sample" / "samples.csv"), columns={"sample": "file"})
    manifest = reader.manifest()
    assert len(manifest) == 16
    assert manifest["patient"].nunique() == 16
    assert manifest["magnification"].value_counts()["100"] == 10
    assert reader.read("malignant/SOB_M_LC-14-13412-200-003.png").shape == (460, 700, 3)


def test_the_real_mammograms(shared: Path) -> None:
    reader = Table(path=str(shared / "data" / "mini_mias" / "samples.csv"), columns={"sample": "file"}, convert=True)
    manifest = reader.manifest()
    assert manifest["label"].value_counts().to_dict() == {"benign": 63, "malignant": 52}
    assert reader.read("benign/mdb001.jpg").shape == (512, 512, 3)
