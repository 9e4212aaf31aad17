import shutil
from pathlib import Path

import pytest
from PIL import Image

from src.data.reader import LeftOut
from src.data.sets.folder import Folder


def test_classes_are_folders(folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / "__MACOSX" / "good").mkdir(parents=True)
    (folder / "good" / ".hidden.png").write_bytes(b"")
    (folder / "good" / "notes.txt").write_text("not an image")
    manifest = Folder(root=str(folder)).manifest()
    assert manifest["sample"].tolist() == [f"{name}/{file}" for name in ("bad", "good") for file in FILES]
    assert manifest["case"].tolist() == manifest["sample"].tolist()
    assert list(manifest["label"].cat.categories) == ["bad", "good"]


FILES = ("a.png", "b.JPG", "deeper/c.tiff")


def test_an_empty_class_folder_is_named(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "readme.txt").write_text("soon")
    with pytest.raises(
        ValueError, match=r"class folder holds images.*empty has none, but \.txt files: 1: put some there, or take"
    ):
        Folder(root=str(folder)).manifest()


def test_a_root_without_class_folders_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        Folder(root=str(tmp_path / "none")).manifest()
    with pytest.raises(ValueError, match="no folders in it"):
        Folder(root=str(folder / "good" / "deeper")).manifest()


def test_an_image_outside_of_the_class_folders_is_named(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(folder / "stray.png")
    with pytest.raises(ValueError, match=r"first stray\.png"):
        Folder(root=str(folder)).manifest()


def test_one_class_is_not_enough(folder: Path) -> None:
    (folder / "good").rename(folder / "bad" / "good")
    with pytest.raises(ValueError, match="two classes or more"):
        Folder(root=str(folder)).manifest()


def test_the_real_samples(shared: Path) -> None:
    reader = Folder(root=str(shared / "data" / "histology_sample"))
    manifest = reader.manifest()
    assert manifest["label"].value_counts().to_dict() == {"benign": 8, "malignant": 8}
    assert reader.read(manifest["sample"][0]).shape == (460, 700, 3)


def moved(folder: Path, *places: str) -> None:
    """Move the folders of the classes into others."""
    before = folder.rename(folder.with_name("before"))
    for place in places:
        for name in ("good", "bad"):
            shutil.copytree(before / name, folder / place.format(name=name))


@pytest.mark.parametrize(
    "places",
    [
        ["train/{name}", "test/{name}"],
        ["Training/{name}", "Validation_set/{name}", "more/{name}"],
        ["train/{name}"],
        ["siteA/train/{name}", "siteA/test/{name}", "siteB/train/{name}", "siteB/test/{name}"],
    ],
)
def test_parts_of_a_split_are_no_classes(folder: Path, places: list[str]) -> None:
    moved(folder, *places)
    with pytest.raises(ValueError, match=r"parts of a split, folders .*the classes \(bad, .*good.*\).*data=csv"):
        Folder(root=str(folder)).manifest()


def test_parts_without_classes_are_no_classes(folder: Path) -> None:
    (folder / "good").rename(folder / "train")
    (folder / "bad").rename(folder / "val")
    with pytest.raises(ValueError, match="parts of a split, folders train, val"):
        Folder(root=str(folder)).manifest()


def test_parts_below_the_classes_and_a_class_called_test(folder: Path) -> None:
    moved(folder, "{name}/train", "{name}/test")
    assert len(Folder(root=str(folder)).manifest()) == 12
    shutil.rmtree(folder / "good")
    (folder / "bad" / "test").rename(folder / "test")
    assert Folder(root=str(folder)).manifest()["label"].value_counts().to_dict() == {"bad": 3, "test": 3}


def test_a_folder_too_far_up_is_named(folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"one folder, images: if the classes are in it \(bad, good\), take data\.root="
    ):
        Folder(root=str(folder.parent)).manifest()


def test_classes_that_differ_in_form_only(folder: Path) -> None:
    (folder / "Good").mkdir()
    shutil.copy(folder / "good" / "a.png", folder / "Good" / "z.png")
    with pytest.raises(ValueError, match=r"'Good' \(1\) and 'good'.*data\.spellings=unite"):
        Folder(root=str(folder)).manifest()
    united = Folder(root=str(folder), spellings="unite").manifest()
    assert united["label"].value_counts().to_dict() == {"good": 4, "bad": 3}
    assert united["sample"][0] == "Good/z.png"
    assert Folder(root=str(folder), spellings="keep").manifest()["label"].nunique() == 3
    with pytest.raises(ValueError, match="`spellings` must be one of"):
        Folder(root=str(folder), spellings="both")


def test_linked_folders_are_read_and_other_files_named(folder: Path, tmp_path: Path) -> None:
    (folder / "bad").rename(tmp_path / "elsewhere")
    (folder / "bad").symlink_to(tmp_path / "elsewhere")
    (folder / "bad" / "slide.svs").touch()
    reader = Folder(root=str(folder))
    assert reader.manifest()["label"].value_counts().to_dict() == {"bad": 3, "good": 3}
    assert reader.left_out() == [LeftOut("bad/slide.svs", ".svs files")]
