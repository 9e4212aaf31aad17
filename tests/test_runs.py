"""The list of runs: what it shows, which it shows, and that looking leaves nothing behind."""

from pathlib import Path

import pandas as pd
import pytest

from src.config import Runs
from src.runs import is_asked, of_sweep, short_ids, table_rows, top_level
from src.tracking import CELL, SUPERSEDED, SWEEP, Tracking
from src.tracking.datasets import describe_dataset
from tests.support.commands import run

MANIFEST = pd.DataFrame({"sample": ["a.png"], "case": ["a"], "patient": [""], "view": [""], "label": ["x"]})


def leave(tracking: Tracking, name: str, data: str, parent: str = "") -> str:
    with tracking.run(name, CELL, parent) as opened:
        opened.log(metrics={"accuracy": 0.75, "accuracy_low": 0.5, "accuracy_high": 0.875})
        opened.log_data(describe_dataset(data, "d" * 36, f"/{data}", MANIFEST))
    return opened.id


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A run of each of two data sets, then a sweep of two cells, one of which was run anew, that goes on."""
    folder = tmp_path_factory.mktemp("runs")
    keep = Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifacts=f"{folder}/artifacts", spool=f"{folder}/spool")
    leave(keep, "VGG-224", "moles")
    leave(keep, "VGG-224", "polyps")
    sweep = keep.create("sizes", SWEEP)
    for name in ("VGG-224", "VGG-400"):
        leave(keep, name, "polyps", sweep)
    keep.tag(leave(keep, "VGG-400", "polyps", sweep), {SUPERSEDED: "another"})
    keep.create("trial", "trial")
    return keep


def listed(tracking: Tracking, **asked: str) -> list[list[str]]:
    options = Runs(tracking=tracking, **asked)  # type: ignore[arg-type]
    runs, cells = of_sweep(options) if options.sweep else top_level(tracking)
    return [row[2:] for row in table_rows([run for run in runs[::-1] if is_asked(run, options)], cells)]


def test_the_newest_stands_first_with_its_data_and_accuracy(tracking: Tracking) -> None:
    figure = "75.0 (50.0 to 87.5)"
    assert listed(tracking) == [
        ["sizes", "sweep of 2", "running", "-", "-"],
        ["VGG-224", "run", "finished", "polyps", figure],
        ["VGG-224", "run", "finished", "moles", figure],
    ]


def test_a_sweep_is_listed_with_its_cells(tracking: Tracking) -> None:
    assert [row[0] for row in listed(tracking, sweep="sizes")] == ["sizes", "VGG-224", "VGG-400"]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"dataset": "Mole"}, 1),
        ({"name": "vgg"}, 2),
        ({"status": "running"}, 1),
        ({"name": "vgg", "status": "failed"}, 0),
    ],
)
def test_parts_of_names_and_states_choose(tracking: Tracking, asked: dict[str, str], count: int) -> None:
    assert len(listed(tracking, **asked)) == count


def test_ids_are_as_short_as_they_differ() -> None:
    assert short_ids(["0123456789", "abcdef0123"]) == ["01234567", "abcdef01"]
    assert short_ids(["0123456789", "0123456799"]) == ["012345678", "012345679"]
    assert short_ids(["spooled-0123456789"]) == ["spooled-0123456789"]


def test_a_wrong_status_is_named(tracking: Tracking) -> None:
    with pytest.raises(ValueError, match="`status` must be one of .*running, finished, failed, killed, but got"):
        Runs(tracking=tracking, status="done")


def test_the_command_lists_and_looking_leaves_nothing_behind(tracking: Tracking, tmp_path: Path) -> None:
    there = run("runs", "limit=2", workspace=Path(tracking.uri.removeprefix("sqlite:///")).parent)
    assert there.returncode == 0, there.stderr
    assert "2 of 3, the newest first" in there.stdout
    assert "sweep of 2" in there.stdout
    assert "limit=3 shows all" in there.stderr
    empty = run("runs", workspace=tmp_path / "mistyped")
    assert "no runs are tracked at sqlite:///" in empty.stderr
    assert f"`python -m src.run workspace={tmp_path}/mistyped` makes one" in empty.stderr
    assert not (tmp_path / "mistyped").exists()
