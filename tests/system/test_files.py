"""What is written over: nothing that a user named, unless asked."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src import compare, fuse, predict, report, run, tune
from src.config import CONF
from src.storage.store import place_of
from src.sweeps.callback import TrackedSweep
from src.system.files import check_folder, check_unwritten, check_writable
from src.tracking import Tracking
from tests.support import commands


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check_folder(workspace=tmp_path, store=tmp_path / "new" / "store")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(
            ValueError, match=r"`workspace` is a folder, but got .*, and .*file is a file: give another"
        ):
            check_folder(workspace=folder)
        with pytest.raises(ValueError, match=r"`store` is a folder, but got store="):
            place_of(str(folder), tmp_path).check()


NOWHERE = "/proc/tenfold"
"""A place that not even root can write to."""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
class TestNowhere:
    """Where nothing can be written, that is said before any work."""

    def test_a_folder_is_named_with_the_reason(self, tmp_path: Path) -> None:
        check_writable(workspace=tmp_path, output=tmp_path / "new" / "folder")
        assert not any(tmp_path.iterdir())
        with pytest.raises(ValueError, match=r"`output` is a folder to write in, but .* in /proc \(.*\): give another"):
            check_writable(output=NOWHERE)
        with pytest.raises(ValueError, match=r"`store` is a folder to write in"):
            place_of(NOWHERE, tmp_path).check()

    def test_a_link_to_nothing_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "gone")
        with pytest.raises(ValueError, match=r"`workspace` is a folder, but .*link is a link to nothing"):
            check_writable(workspace=tmp_path / "link" / "deeper")

    @pytest.mark.parametrize(
        ("main", "name", "arguments"),
        [
            (fuse.main, "fuse", ["published=rakhlin2018", f"output={NOWHERE}"]),
            (compare.main, "compare", ["sweep=one", f"output={NOWHERE}/deeper"]),
            (report.main, "report", ["sweep=one", f"output={NOWHERE}"]),
            (predict.main, "predict", ["model=one", "input=.", f"output={NOWHERE}"]),
            (predict.main, "predict", ["model=one", "input=.", "output=new.csv", f"members={NOWHERE}"]),
            (run.main, "config", [f"workspace={NOWHERE}"]),
            (tune.main, "tune", [f"workspace={NOWHERE}"]),
        ],
    )
    def test_no_command_begins(self, main: Callable[[DictConfig], None], name: str, arguments: list[str]) -> None:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose(name, arguments)
        with pytest.raises(ValueError, match=r"is a (folder|file) to write.*=/proc/tenfold.* in /proc \("):
            main(config)

    def test_no_sweep_begins(self) -> None:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", [f"workspace={NOWHERE}"], return_hydra_config=True)
        with pytest.raises(SystemExit, match="error: `workspace` is a folder to write in"):
            TrackedSweep().on_multirun_start(config)

    def test_runs_that_cannot_be_locked_are_said(self) -> None:
        with pytest.raises(ValueError, match=r"tracked in /proc/tenfold/mlflow.db, but nothing can be written"):
            Tracking(uri=f"sqlite:///{NOWHERE}/mlflow.db").connect()


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
    process = commands.run(module, *(each.format(folder=tmp_path) for each in arguments), workspace=tmp_path / "w")
    assert process.returncode == 1
    assert "overwrite=true to write over it" in process.stderr
    assert (tmp_path / "out.csv").read_text() == "mine"
