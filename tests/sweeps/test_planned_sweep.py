"""A sweep that plans itself, as a user runs it: stopped, taken up, and told that its budget is too small."""

import io
import re
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf
from PIL import Image

from src.config import CONF
from src.sweeps.sweep_leaderboard import leaderboard_of, read_plan
from src.tracking import SWEEP
from tests.support.commands import Command, run, tracking
from tests.support.images import folder_of_images

SMALL = [
    "experiment=which_way",
    "data=demo",
    "data.cases=16",
    "data.width=160",
    "data.height=120",
    "protocol.folds=2",
    "inner_folds=2",
    "encoder=squeezenet",
    "encoder.weights=random",
    "crop=whole",
    "crop.size=48",
    "classifier=logistic,prototypes",
    "hydra.sweeper.finetune=[]",
    "replicates=50",
    "method.device=cpu",
]
WAYS = [f"{encoder} whole {head}" for encoder in ("Handcrafted", "SqueezeNet") for head in ("logistic", "prototypes")]


def figures(workspace: Path) -> pd.DataFrame:
    """The leaderboard of the one sweep of a workspace, without the times, which are measured."""
    keep = tracking(workspace)
    [sweep] = keep.search({"kind": SWEEP})
    table = pd.read_csv(io.BytesIO(keep.artifact(sweep, "leaderboard.csv")))
    return table.drop(columns=["to learn", "an image"])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """A sweep that gets a Ctrl-C when two of its ways are done, and what it said."""
    workspace = tmp_path_factory.mktemp("stopped")
    process = Command("run", *SMALL, "budget=1h", workspace=workspace)
    until, done = time.monotonic() + 600, 0
    while done < 2 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.5)
        done = sum(each.finished for each in tracking(workspace).search({"kind": "cell"}))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=600)
    return workspace, subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def test_all_that_may_be_tried_is_there() -> None:
    panel = OmegaConf.load(CONF / "hydra" / "sweeper" / "which_way.yaml")
    for key, group in {"encoders": "encoder", "grey": "encoder", "heads": "classifier", "finetune": "finetune"}.items():
        for name in panel[key]:
            assert (CONF / group / f"{name}.yaml").is_file(), f"{group}={name}"


@pytest.mark.slow
def test_stopped_it_has_an_answer_and_taken_up_the_same_as_in_one_go(
    stopped: tuple[Path, "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    workspace, early = stopped
    assert early.returncode != 0
    assert "against the floor" in early.stdout
    assert "Too few to tell" in early.stdout
    assert "goes on with them" in early.stdout
    again = run("run", *SMALL, "budget=1h", workspace=workspace)
    assert again.returncode == 0, again.stderr
    assert "taking up which_way" in again.stderr
    whole = run("run", *SMALL, "budget=1h", workspace=tmp_path)
    assert whole.returncode == 0, whole.stderr
    pd.testing.assert_frame_equal(figures(workspace), figures(tmp_path))
    assert sorted(figures(tmp_path)["way"]) == sorted(WAYS)
    said = re.search(r"estimated ([\d.]+) (s|min), took ([\d.]+) (s|min)", whole.stderr)
    assert said
    assert whole.stdout.index("the plan, in this order") < whole.stdout.index("The honest figure of the winner")
    check_page(workspace)
    check_names(workspace)


@pytest.mark.slow
def test_fine_tuned_networks_are_tried_where_the_budget_bears_them(tmp_path: Path) -> None:
    trained = [each.replace("finetune=[]", "finetune=[adamw]") for each in SMALL]
    done = run("run", *trained, "budget=1h", "hydra.sweeper.ways=4", workspace=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(figures(tmp_path)["way"]) == {*WAYS[:1], *WAYS[2:], "SqueezeNet whole fine-tuned"}


@pytest.mark.slow
def test_images_that_are_not_rgb_are_turned_into_it(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "grey", 16)
    for path in root.glob("*/*.png"):
        Image.open(path).convert("L").save(path)
    grey = [each for each in SMALL if not each.startswith("data")]
    grey += ["data=folder", f"data.root={root}", "budget=1h", "hydra.sweeper.ways=2"]
    done = run("run", *grey, workspace=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "16 images of 130 x 100 pixels in grey" in done.stderr
    assert "images that are not 8-bit RGB, such as one/000.png, are turned into it" in done.stderr
    assert len(figures(tmp_path)) == 2
    strict = run("run", *grey, "data.convert=false", workspace=tmp_path)
    assert strict.returncode == 1
    assert "one/000.png: the image is grey, not RGB: data.convert=true" in strict.stderr


def check_page(workspace: Path) -> None:
    """The report begins with the leaderboard."""
    page = workspace / "page.html"
    made = run("report", "sweep=which_way", f"output={page}", workspace=workspace)
    assert made.returncode == 0, made.stderr
    text = page.read_text()
    assert text.index("Which way?") < text.index("Patient")
    assert "Too few to tell" in text
    assert "best single cell" not in text


def check_names(workspace: Path) -> None:
    """Cells are called as in the plan, whose ways they are."""
    keep = tracking(workspace)
    [sweep] = keep.search({"kind": SWEEP})
    plan = read_plan(keep, sweep)
    assert plan is not None
    cells = keep.children(sweep.id)
    assert [cell.name for cell in cells] == [way.name for way in plan.ways]
    assert plan.floor == WAYS[0]
    board = leaderboard_of(keep, sweep, cells, 50)
    assert board is not None
    assert sum(board.board.chosen.values()) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["budget=1s"], r"a budget of 1s is too small for anything.*budget=\w+ is enough"),
        (["budget=soon"], "`budget` is a time such as"),
        (["budget=1h", "stain=none,reinhard"], "varies encoder, crop, classifier, finetune alone"),
        (["budget=1h", "method=finetune"], "leave method=finetune out"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_tracked(wrong: list[str], told: str, tmp_path: Path) -> None:
    given = [each for each in SMALL if not wrong[-1].startswith(each.split("=")[0] + "=")]
    process = run("run", *given, *wrong, workspace=tmp_path)
    assert process.returncode == 1
    assert re.search(told, process.stderr), process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "mlflow.db").exists() or not tracking(tmp_path).search({"kind": SWEEP})
