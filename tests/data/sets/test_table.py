from pathlib import Path

import pytest

from src.data.sets.folder import Folder
from src.data.sets.table import Table
from src.data.summary import describe_manifest

COLUMNS = {"sample": "file", "patient": "patient_id", "view": "View"}


def test_columns_are_named_and_kept(table: Path) -> None:
    manifest = Table(path=str(table), columns=COLUMNS).manifest()
    assert manifest.columns.tolist() == ["sample", "case", "patient", "view", "label", "stain"]
    first = manifest.set_index("sample").loc["good/a.png"]
    assert first.to_dict() == {"case": "left", "patient": "p1", "view": "mlo", "label": "good", "stain": "H&E"}
    assert manifest.set_index("sample").loc["bad/b.JPG", "stain"] == ""


def test_a_data_set_is_called_by_its_file_or_folder(folder: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Table(path=str(table), columns=COLUMNS).title == f"{table.parent.name}/{table.name}"
    monkeypatch.chdir(folder)
    assert Folder(root=".").title == folder.name


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


def test_a_table_of_a_header_only_is_named(folder: Path) -> None:
    (folder / "none.csv").write_text("sample,label\n")
    with pytest.raises(ValueError, match=r"a row per image, but .*none\.csv has none below the columns' names"):
        Table(path=str(folder / "none.csv")).manifest()


@pytest.mark.parametrize(
    ("sample", "there"),
    [
        ("good/a", "good/a.png"),
        ("good/a.tif", "good/a.png"),
        ("c.tiff", "bad/deeper/c.tiff"),
        ("images/b.JPG", "bad/b.JPG"),
        ("else.png", ""),
    ],
)
def test_a_missing_image_of_another_ending_or_folder_is_found(folder: Path, sample: str, there: str) -> None:
    (folder / "one.csv").write_text(f"sample,label\n{sample},x\n")
    with pytest.raises(ValueError, match="1 of 1 are missing: ") as raised:
        Table(path=str(folder / "one.csv")).manifest()
    assert str(raised.value).partition("; but there is ")[2] == (there and f"{there}: write that, or change data.root")


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


def listed(folder: Path, *rows: str, header: str = "sample,label,patient") -> Table:
    """A table of the folder's images."""
    (folder / "rows.csv").write_text("\n".join([header, *rows]))
    return Table(path=str(folder / "rows.csv"), check_folders=False)


def test_what_stands_for_a_missing_value_is_none(folder: Path) -> None:
    rows = ["good/a.png,g,NA", "good/b.JPG,g,?", "bad/a.png,b,p1", "bad/b.JPG,b,nan"]
    reader = listed(folder, *rows)
    assert reader.manifest()["patient"].tolist() == ["p1", "", "", ""]
    assert describe_manifest(reader.manifest())[0].endswith("1 patient, those of 3 cases unknown")
    reader.missing_values = ["p1"]
    assert reader.manifest()["patient"].tolist() == ["", "nan", "NA", "?"]
    reader = listed(
        folder,
        *(f"{row},-,cc" if "a.png" in row else f"{row},,None" for row in rows[1:3]),
        header="sample,label,patient,note,view",
    )
    assert reader.manifest()["view"].tolist() == ["cc", ""]
    assert reader.manifest()["note"].tolist() == ["-", ""]


def test_a_missing_label_or_case_names_the_rows_and_may_be_a_class(folder: Path) -> None:
    rows = ["good/a.png,mild,", "", "good/b.JPG,None,", "bad/a.png,mild,", "bad/b.JPG,none,"]
    reader = listed(folder, *rows)
    said = r"every row has a label.* none in row 4, 6 .*where 'None', 'none' has a meaning, data\.missing_values=\[\]"
    with pytest.raises(ValueError, match=said):
        reader.manifest()
    reader.missing_values, reader.spellings = [], "unite"
    assert reader.manifest()["label"].value_counts().to_dict() == {"None": 2, "mild": 2}
    reader = listed(folder, "good/a.png,g,NA", "bad/a.png,b,1", header="sample,label,case")
    with pytest.raises(ValueError, match="every row has a case.*none in row 2"):
        reader.manifest()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a.png,g,1", "b.JPG,g,1.0", "deeper/c.tiff,b,2"], r"patients differ .*'1\.0' \(1\) and '1'"),
        (["a.png,g,1", "b.JPG,g,01", "deeper/c.tiff,b,2"], r"patients differ .*'1' \(1\) and '01'"),
        (
            ["a.png,Benign,1", "b.JPG,Benign,2", "deeper/c.tiff,benign,3"],
            r"classes differ .*'benign' \(1\) and 'Benign'",
        ),
    ],
)
def test_values_that_differ_in_form_only_are_a_question(folder: Path, rows: list[str], said: str) -> None:
    reader = listed(folder, *(f"good/{row}" for row in rows), "bad/a.png,other,9")
    with pytest.raises(ValueError, match=said):
        reader.manifest()
    reader.spellings = "unite"
    united = reader.manifest()
    reader.spellings = "keep"
    kept = reader.manifest()
    both = ["patient", "label"]
    assert sum(kept[both].nunique()) - sum(united[both].nunique()) == 1


def test_given_classes_say_how_labels_are_written(folder: Path) -> None:
    reader = listed(folder, "good/a.png,Benign,", "good/b.JPG,Benign,", "bad/a.png,M,")
    reader.classes, reader.spellings = ["m", "benign"], "unite"
    assert reader.manifest()["label"].tolist() == ["m", "benign", "benign"]


def test_paths_may_be_written_in_any_way(folder: Path) -> None:
    reader = listed(folder, "./good/a.png,g,", "bad//a.png,b,", ".\\bad\\b.JPG,b,")
    assert reader.manifest()["sample"].tolist() == ["bad/a.png", "bad/b.JPG", "good/a.png"]
    with pytest.raises(ValueError, match=r"a sample has one row.*'good/a\.png'"):
        listed(folder, "./good/a.png,g,", "good/a.png,b,").manifest()


def test_semicolons_and_commas_at_the_end(folder: Path) -> None:
    for rows in (["good/a.png;g;p", "bad/a.png;b;q"], ["good/a.png,g,p,", "bad/a.png,b,q,"]):
        header = "sample;label;patient" if ";" in rows[0] else "sample,label,patient"
        assert listed(folder, *rows, header=header).manifest()["patient"].tolist() == ["q", "p"]


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
