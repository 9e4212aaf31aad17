from pathlib import Path

import pytest
from PIL import Image

from src.data.folder import Folder


def test_classes_are_folders(folder: Path) -> None:
    (folder / ".cache").mkdir()
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
    with pytest.raises(ValueError, match=r"class folder holds images.*empty has none"):
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
