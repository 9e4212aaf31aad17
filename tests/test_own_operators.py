"""Operators of one's own: the examples of src/README.md are run as they stand there, and what is wrong is named."""

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.support.commands import QUICK, ROOT, run

BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "src" / "README.md").read_text(), re.DOTALL)
FILES = {text.splitlines()[0].removeprefix("# mine/"): text for _, text in BLOCKS if text.startswith("# mine/")}
COMMANDS = [shlex.split(text) for kind, text in BLOCKS if kind == "sh" and "--config-dir mine" in text]
KINDS = ["stain", "encoder", "classifier", "data", "method"]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the examples make."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise on two colours: called as the example of a data set wants it."""
    folder = tmp_path_factory.mktemp("scans")
    draws = np.random.default_rng(0)
    for number in range(12):
        colour = (200, 120, 160) if number % 2 else (160, 120, 200)
        image = np.clip(draws.normal(colour, 30, (120, 160, 3)), 1, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{'benign' if number % 2 else 'malignant'}_p{number // 2:02d}_{number}.png"), image)
    return folder


def given(command: list[str], mine: Path, scans: Path) -> list[str]:
    """The overrides of an example's command, with its folders where they are."""
    python, m, module, option, folder, *rest = command
    assert [python, m, module, option, folder] == ["python", "-m", "src.run", "--config-dir", "mine"]
    return ["--config-dir", str(mine), *(each.replace("=scans", f"={scans}") for each in rest if each != "-m")]


def test_there_is_an_example_of_each_kind() -> None:
    assert sorted(name.partition("/")[0] for name in FILES if name.endswith(".yaml")) == sorted(KINDS)
    assert len(COMMANDS) == len(KINDS)


@pytest.mark.slow
def test_the_examples_work_together_and_predict(mine: Path, scans: Path, tmp_path: Path) -> None:
    overrides = [each for command in COMMANDS for each in given(command, mine, scans)[2:] if "sharpness" not in each]
    quick = [each for each in QUICK if not each.startswith(("data", "encoder", "classifier"))]
    process = run("run", "--config-dir", str(mine), *quick, *overrides, "name=own", workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    assert "method=class_shares" in process.stdout
    options = ["model=own", f"input={scans}", f"output={tmp_path / 'new.csv'}"]
    process = run("predict", *options, workspace=tmp_path)
    assert process.returncode == 1
    assert "the model was made by NamedFiles of named_files.py, which is not here: give the folder" in process.stderr
    process = run("predict", "--config-dir", str(mine), *options, workspace=tmp_path)
    assert process.returncode == 0, process.stderr
    table = pd.read_csv(tmp_path / "new.csv")
    assert len(table) == 12
    assert (table["label"] == table["case"].str.partition("_")[0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=KINDS)
def test_each_example_works_by_itself(command: list[str], mine: Path, scans: Path, tmp_path: Path) -> None:
    overrides = given(command, mine, scans)
    groups = {each.partition("=")[0] for each in overrides}
    quick = [each for each in QUICK if each.partition("=")[0].partition(".")[0] not in groups]
    process = run("run", *overrides[:2], *quick, *overrides[2:], workspace=tmp_path, sweep="-m" in command[5:])
    assert process.returncode == 0, process.stderr
    assert f"--config-dir {mine}" in process.stderr.partition("what may come next")[2]
