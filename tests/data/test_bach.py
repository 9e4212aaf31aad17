from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from src.data.bach import CLASSES, Bach, submission

PHOTOS = Path("ICIAR2018_BACH_Challenge", "Photos")


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
        tiny(bach, width=2048, height=1536).manifest()
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


def test_a_name_of_another_class_is_named(bach: Path) -> None:
    (bach / PHOTOS / "InSitu" / "is002.tif").rename(bach / PHOTOS / "InSitu" / "iv077.tif")
    truth = bach / PHOTOS / "microscopy_ground_truth.csv"
    truth.write_text(truth.read_text().replace("is002.tif", "iv077.tif"))
    with pytest.raises(ValueError, match=r"iv077\.tif is in folder InSitu but Invasive by its name"):
        tiny(bach).manifest()


def test_no_table_no_folder_and_damaged_images_are_named(bach: Path) -> None:
    (bach / PHOTOS / "Benign" / "b001.tif").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"b001\.tif: the file is not an image.*src\.download data=bach\S* fetches and unpacks it$"
    ):
        tiny(bach).manifest()
    (bach / PHOTOS / "microscopy_ground_truth.csv").unlink()
    with pytest.raises(ValueError, match=r"there is no .*microscopy_ground_truth.csv"):
        tiny(bach).manifest()
    with pytest.raises(ValueError, match=r"folder that holds ICIAR2018_BACH_Challenge .*src.download"):
        tiny(bach / "elsewhere").manifest()


def test_the_test_part_has_no_labels(bach: Path) -> None:
    reader = tiny(bach, part="test")
    with pytest.raises(ValueError, match="no labels"):
        reader.manifest()
    table = reader.unlabelled()
    assert table["case"].tolist() == ["test0.tif", "test1.tif", "test2.tif"]
    assert "label" not in table
    assert reader.read(table["sample"][0]).shape == (8, 12, 3)
    with pytest.raises(ValueError, match=r"100 test images, but .* has 3"):
        tiny(bach, expected_test=100).unlabelled()


def test_values_check_themselves(bach: Path) -> None:
    with pytest.raises(ValueError, match="part=validation"):
        tiny(bach, part="validation")
    with pytest.raises(ValueError, match="width=-1"):
        tiny(bach, width=-1)


def test_the_published_folds_fit_the_names(shared: Path, tmp_path: Path) -> None:
    import pandas as pd

    from src.data.splits import Published

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


class TestSubmission:
    def table(self, cases: list[str], labels: list[str]) -> pd.DataFrame:
        columns = {f"p_{name}": 0.25 for name in ("Benign", "InSitu", "Invasive", "Normal")}
        return pd.DataFrame({"case": cases, "label": labels, "reason": "the file is missing"}).assign(**columns)

    def test_has_the_challenges_numbers_and_order(self) -> None:
        made = submission(
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
            submission(self.table(cases, labels))

    def test_is_for_its_classes(self) -> None:
        with pytest.raises(ValueError, match="format=bach is for models of Normal, Benign, InSitu, Invasive"):
            submission(self.table(["1"], ["Normal"]).drop(columns="p_Benign"))
