"""What lies under a folder, links included."""

import os
from pathlib import Path

import pytest
from PIL import Image

from src.data import image_file
from src.data.found_files import EXTENSIONS, find_files, is_part


def made(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_what_is_read_and_what_is_left_out(tmp_path: Path) -> None:
    made(
        tmp_path,
        "a/1.png",
        "a/2.WEBP",
        "a/b/3.jp2",
        "a/4.svs",
        "a/README",
        ".git/5.png",
        "._1.png",
        ".DS_Store",
        "__MACOSX/a/._1.png",
    )
    os.mkfifo(tmp_path / "6.png")
    found = find_files(tmp_path)
    assert found.files == ["a/1.png", "a/2.WEBP", "a/b/3.jp2"]
    assert {each.name: each.kind for each in found.left_out} == {
        "a/4.svs": ".svs files",
        "a/README": "files without an ending",
        ".git": "hidden folders",
        "__MACOSX": "hidden folders",
        "._1.png": "hidden images",
        "6.png": "neither files nor folders",
    }
    assert find_files(tmp_path, [".svs"]).files == ["a/4.svs"]


@pytest.mark.filterwarnings("error")
def test_links_are_followed_and_do_not_go_round(tmp_path: Path) -> None:
    root = tmp_path / "root"
    made(root, "a/1.png")
    made(tmp_path / "other", "2.png", "deeper/3.png")
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "a" / "file.png").symlink_to(tmp_path / "other" / "2.png")
    (root / "a" / "gone.png").symlink_to(tmp_path / "none.png")
    (root / "a" / "itself.png").symlink_to("itself.png")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "above").symlink_to(tmp_path)
    (tmp_path / "other" / "deeper" / "back").symlink_to(tmp_path / "other")
    found = find_files(root)
    assert found.files == ["a/1.png", "a/file.png", "linked/2.png", "linked/deeper/3.png"]
    assert {each.name: each.kind for each in found.left_out} == {
        "a/gone.png": "links that lead nowhere",
        "a/itself.png": "links that lead nowhere",
        "a/up": "links to a folder that they lie in",
        "a/above": "links to a folder that they lie in",
        "linked/deeper/back": "links to a folder that they lie in",
    }


def test_names_that_are_no_text(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    made(tmp_path, "a/1.png", f"a/{odd}.txt")
    assert [each.name for each in find_files(tmp_path).left_out] == [r"a/\xff\xfe.txt"]
    made(tmp_path, f"{odd}/2.png")
    with pytest.raises(ValueError, match=r"UTF-8, but in .* not \\xff\\xfe/2\.png: rename them"):
        find_files(tmp_path)


@pytest.mark.parametrize("ending", sorted(set(EXTENSIONS) - {".j2k", ".jpx", ".jpe", ".dib"}))
def test_every_ending_is_of_an_image_that_can_be_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"one{ending}"
    mode = {".pgm": "L", ".pbm": "1"}.get(ending, "RGB")
    Image.new(mode, (16, 8), 1).save(path)
    assert image_file.read(path, convert=True).shape == (8, 16, 3)


def test_the_names_of_parts() -> None:
    for name in ("train", "Train", "training", "test", "testing", "val", "valid", "validation", "test_set", "TrainSet"):
        assert is_part(name)
    for name in ("benign", "tested", "testis", "contest", "trained", "valve", "value", "latest"):
        assert not is_part(name)
