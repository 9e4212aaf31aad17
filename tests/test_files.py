"""What is written over: nothing that a user named, unless asked."""

from pathlib import Path

import pytest

from src.files import check_folder, check_unwritten
from src.places import place
from tests.commands import run


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check_folder(workspace=tmp_path, store=tmp_path / "new" / "store")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(
            ValueError, match=r"`workspace` is a folder, but got .*, and .*file is a file: give another"
        ):
            check_folder(workspace=folder)
        with pytest.raises(ValueError, match=r"`store` is a folder, but got store="):
            place(str(folder), tmp_path).check()


def test_what_is_there_is_not_written_over_unasked(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "table.csv").write_text("mine")
    for free in ("", str(tmp_path / "new.csv"), str(tmp_path / "empty")):
        check_unwritten(False, output=free)
    with pytest.raises(ValueError, match=r"output=.*full is a folder that is not empty: .* overwrite=true"):
        check_unwritten(False, output=str(tmp_path / "full"))
    with pytest.raises(ValueError, match=r"members=.*table.csv exists: give another, or overwrite=true to write over"):
        check_unwritten(False, output="", members=str(tmp_path / "full" / "table.csv"))
    check_unwritten(True, output=str(tmp_path / "full"))


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("predict", ["model=one", "input={folder}", "output={folder}/out.csv"]),
        ("predict", ["model=one", "input={folder}", "output={folder}/new.csv", "members={folder}/out.csv"]),
        ("fuse", ["published=rakhlin2018", "output={folder}"]),
        ("compare", ["sweep=one", "output={folder}"]),
        ("report", ["sweep=one", "output={folder}/out.csv"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_command_writes_over_what_is_there(module: str, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    process = run(module, *(each.format(folder=tmp_path) for each in arguments), workspace=tmp_path / "w")
    assert process.returncode == 1
    assert "overwrite=true to write over it" in process.stderr
    assert (tmp_path / "out.csv").read_text() == "mine"
