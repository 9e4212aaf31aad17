from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from src.data.sets.bach import CLASSES, Bach, make_submission
from src.data.splits import Published
from tests.support.commands import ROOT
from tests.support.datasets import BAD

PHOTOS = Path("ICIAR2018_BACH_Challenge", "Photos")
PUBLISHED = ROOT / "experiments" / "rakhlin2018" / "published"


def tiny(root: Path, **changes: object) -> Bach:
    parameters = {"expected_per_class": 2, "expected_test": 3, "width": 12, "height": 8} | changes
    return Bach(root=str(root), **parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("inner", ["", "ICIAR2018_BACH_Challenge", "ICIAR2018_BACH_Challenge/Photos"])
def test_root_is_any_of_three_folders(bach: Path, inner: str) -> None:
    manifest = tiny(bach / inner).manifest()
    names = [f"{prefix}00{number}.tif" for prefix in ("b", "is", "iv", "n") for number in (1, 2)]
    assert manifest["case"].tolist() == names
    assert tuple(manifest["label"].cat.categories) == CLASSES
    assert manifest["label"].tolist() == [name for name in sorted(CLASSES) for _ in range(2)]
    assert set(manifest["patient"]) == {""}


@pytest.mark.parametrize("header", ["name,label\n", "\ufeff"])
def test_the_table_may_have_a_header_or_a_mark(bach: Path, header: str) -> None:
    truth = bach / PHOTOS / "microscopy_ground_truth.csv"
    truth.write_text(header + truth.read_text(), encoding="utf-8")
    assert len(tiny(bach).manifest()) == 8


def test_the_whole_data_set_is_expected_by_default(bach: Path) -> None:
    with pytest.raises(ValueError, match=r"100 images of each class.*Normal 2.*src.download data=bach"):
        Bach(root=str(bach)).manifest()


def test_sizes_are_checked(bach: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"BACH's images have 2048 x 1536 pixels, but .*\.tif has 12 x 8: .*src\.download data=bach.*; "
        r"data\.width=0 data\.height=0 takes any size$",
    ):
        tiny(bach, width=2048, height=1536).samples()
    assert len(tiny(bach, width=0, height=0).manifest()) == 8


def test_a_file_in_the_table_only_is_named(bach: Path) -> None:
    (bach / PHOTOS / "Benign" / "b002.tif").unlink()
    with pytest.raises(ValueError, match=r"2 images of each class.*Benign 1"):
        tiny(bach).manifest()
    with pytest.raises(ValueError, match=r"b002\.tif is in the table but not in the folders"):
        tiny(bach, expected_per_class=0).manifest()


def test_a_file_on_disk_only_is_named(bach: Path) -> None:
    truth = bach / PHOTOS / "microscopy_ground_truth.csv"
    truth.write_text(truth.read_text().replace("n001.tif,Normal\n", ""))
    with pytest.raises(ValueError, match=r"n001\.tif is in folder Normal but not in the table"):
        tiny(bach).manifest()


def test_a_file_of_another_class_is_named(bach: Path) -> None:
    truth = bach / PHOTOS / "microscopy_ground_truth.csv"
    truth.write_text(truth.read_text().replace("is002.tif,InSitu", "is002.tif,Invasive"))
    with pytest.raises(ValueError, match=r"is002\.tif is in folder InSitu but Invasive in the table"):
        tiny(bach).manifest()
    truth.write_text(truth.read_text().replace("is002.tif,Invasive", "is002.tif,Cancer"))
    with pytest.raises(ValueError, match=r"'Cancer' for 'is002.tif'"):
        tiny(bach).manifest()


def test_no_folder_and_damaged_images_are_named(bach: Path) -> None:
    (bach / PHOTOS / "Benign" / "b001.tif").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"b001\.tif: the file is not an image.*src\.download data=bach\S* fetches and unpacks it$"
    ):
        tiny(bach).samples()
    with pytest.raises(ValueError, match=r"folder that holds ICIAR2018_BACH_Challenge .*Normal, Benign.*src.download"):
        tiny(bach / "elsewhere").manifest()


def test_images_of_another_format_in_a_folder_per_class(bach: Path) -> None:
    """As a copy of smaller JPEG images has them, without the table of labels: the run notes that there is none."""
    complete = tiny(bach)
    assert complete.notes(complete.manifest()) == []
    plain = bach / "copy"
    for path in (bach / PHOTOS).glob("*/*.tif"):
        (plain / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((6, 6)).save(plain / path.parent.name / f"{path.stem}.JPG", "JPEG")
    reader = tiny(plain, width=0, height=0)
    manifest = reader.manifest()
    assert manifest["case"].tolist() == [
        f"{prefix}00{number}.JPG" for prefix in ("b", "is", "iv", "n") for number in (1, 2)
    ]
    assert manifest["label"].tolist() == complete.manifest()["label"].tolist()
    assert reader.read(manifest["sample"][0]).shape == (6, 6, 3)
    assert len(tiny(plain, width=6, height=6).manifest()) == 8
    assert reader.notes(manifest) == [
        "there is no microscopy_ground_truth.csv: labels are those of the folders, with which the files' names agree"
    ]
    (bach / PHOTOS / "microscopy_ground_truth.csv").rename(plain / "microscopy_ground_truth.csv")  # names of .tif files
    assert reader.notes(reader.manifest()) == []
    (plain / "Normal" / "n001.JPG").rename(plain / "Normal" / "n009.JPG")
    with pytest.raises(ValueError, match=r"n001\.tif is in the table but not in the folders, n009\.JPG is in folder"):
        reader.manifest()


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize(
    ("folder", "name", "said"),
    [
        ("InSitu", "iv077.jpg", r"in .*Photos iv077\.jpg is in folder InSitu but Invasive by its name"),
        (
            "Normal",
            "slide 7.png",
            r"slide 7\.png is in folder Normal but no class by its name: .*data=folder takes any",
        ),
        ("Normal", "n001.png", r"in one format, but .* has Normal/n001\.png, Normal/n001\.tif: leave one"),
        ("Benign", "n001.tif", r"folder of one class, .* has Normal/n001\.tif, Benign/n001\.tif: leave one"),
    ],
)
def test_names_must_agree_with_folders(bach: Path, table: bool, folder: str, name: str, said: str) -> None:
    Image.new("RGB", (12, 8)).save(bach / PHOTOS / folder / name)
    if not table:
        (bach / PHOTOS / "microscopy_ground_truth.csv").unlink()
    with pytest.raises(ValueError, match=said):
        tiny(bach, expected_per_class=0).manifest()


def test_the_test_part_has_no_labels(bach: Path) -> None:
    reader = tiny(bach, part="test")
    with pytest.raises(ValueError, match="no labels"):
        reader.manifest()
    table = reader.unlabelled()
    assert table["case"].tolist() == ["test0.tif", "test1.tif", "test2.tif"]
    assert "label" not in table
    assert reader.read(table["sample"][0]).shape == (8, 12, 3)
    photos = bach / "ICIAR2018_BACH_Challenge_TestDataset" / "Photos"
    (photos / "test2.tif").unlink()
    Image.new("RGB", (12, 8)).save(photos / "test2.png")
    assert reader.unlabelled()["case"].tolist() == ["test0.tif", "test1.tif", "test2.png"]
    with pytest.raises(ValueError, match=r"100 test images, but .* has 3"):
        tiny(bach, expected_test=100).unlabelled()


def test_values_check_themselves(bach: Path) -> None:
    with pytest.raises(ValueError, match="part=validation"):
        tiny(bach, part="validation")
    with pytest.raises(ValueError, match="width=-1"):
        tiny(bach, width=-1)


def test_the_published_folds_fit_the_names(shared: Path, tmp_path: Path) -> None:
    folds = shared / "published" / "rakhlin2018_crossvalidation.csv"
    photos = tmp_path / PHOTOS
    table = pd.read_csv(folds)
    for name in CLASSES:
        (photos / name).mkdir(parents=True)
    for image, label in zip(table["image"], table["label"], strict=True):
        Image.new("RGB", (1, 1)).save(photos / label / image)
    table[["image", "label"]].to_csv(photos / "microscopy_ground_truth.csv", index=False, header=False)
    splits = Published(path=str(folds)).split(Bach(root=str(tmp_path), width=1, height=1).manifest())
    assert splits.groupby("fold").size().tolist() == [40] * 10
    assert splits.set_index("case")["fold"].to_dict() == table.set_index("image")["fold"].to_dict()


def test_the_halved_images_are_read_as_they_lie(shared: Path) -> None:
    """400 JPEG images, 768 pixels square; published folds and the split by patient fit their names."""
    root = shared / "data" / "bach_half"
    manifest = Bach(root=str(root), width=768, height=768).manifest()
    assert manifest["label"].value_counts().tolist() == [100] * 4
    folds = Published(path=str(PUBLISHED / "crossvalidation.csv")).split(manifest)
    assert folds.groupby("fold").size().tolist() == [40] * 10
    by_patient = Published(path=str(PUBLISHED.parents[1] / "eva_bach" / "published" / "eva_split.csv"))
    splits = by_patient.split(manifest)
    assert splits["fold"].value_counts().to_dict() == {0: 268, 1: 132}
    listed = pd.read_csv(shared / "published" / "eva_bach_split.csv").set_index("image")["split"]
    names = splits["case"].str.replace(".jpg", ".tif")
    assert (listed[names].to_numpy() == splits["fold"].map({0: "train", 1: "validation"})).all()
    assert by_patient.notes(splits) == [
        "predicted are 132 of 400 cases: by eva_split.csv the other 268 are always learnt from"
    ]
    with pytest.raises(ValueError, match=r"2048 x 1536 pixels, but .* has 768 x 768: .*data\.width=0 data\.height=0"):
        Bach(root=str(root)).samples()


class TestSubmission:
    def table(self, cases: list[str], labels: list[str]) -> pd.DataFrame:
        columns = {f"p_{name}": 0.25 for name in ("Benign", "InSitu", "Invasive", "Normal")}
        return pd.DataFrame({"case": cases, "label": labels, "reason": "the file is missing"}).assign(**columns)

    def test_has_the_challenges_numbers_and_order(self) -> None:
        made = make_submission(
            self.table(
                ["test10.tif", "test2.tif", "a/test0.tif", "test3.tif"], ["Normal", "Invasive", "InSitu", "Benign"]
            )
        )
        assert made.to_csv(index=False) == "case,class\n0,2\n2,3\n3,1\n10,0\n"

    @pytest.mark.parametrize(
        ("cases", "labels", "said"),
        [
            (["b.tif"], ["Normal"], "has a number, as test12.tif has, but b.tif has none"),
            (["b01.tif", "is1.tif"], ["Normal", "InSitu"], "b01.tif and is1.tif share one"),
            (["b1.tif"], [""], "1 could not be predicted: the file is missing"),
        ],
    )
    def test_refuses_what_the_challenge_would(self, cases: list[str], labels: list[str], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            make_submission(self.table(cases, labels))

    def test_is_for_its_classes(self) -> None:
        with pytest.raises(ValueError, match="format=bach is for models of Normal, Benign, InSitu, Invasive"):
            make_submission(self.table(["1"], ["Normal"]).drop(columns="p_Benign"))


@pytest.mark.parametrize("content", BAD)
def test_labels_that_are_no_table(bach: Path, content: bytes) -> None:
    (truth,) = bach.rglob("microscopy_ground_truth.csv")
    truth.write_bytes(content)
    with pytest.raises(ValueError, match=r"^BACH's table of labels is a CSV file in UTF-8, but .* cannot be read"):
        Bach(root=str(bach), expected_per_class=0).manifest()
