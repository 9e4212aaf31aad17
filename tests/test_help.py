"""Every command answers `--help` at once, with what it does; `--cfg` shows its config."""

import json
import subprocess
import sys

import pytest

from src.config import CONF
from tests.support.commands import ROOT

COMMANDS = sorted(path.stem for path in (ROOT / "src").glob("*.py") if "if __name__ ==" in path.read_text())
ASKED = """
import contextlib, io, json, runpy, sys, time
heavy = ["torch", "timm", "keras", "lightning_fabric", "mlflow", "lightgbm", "sklearn", "matplotlib", "optuna"]
for line in sys.stdin:
    command, *arguments = json.loads(line)
    sys.argv = [command, *arguments]
    shown, before = io.StringIO(), time.process_time()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        runpy.run_module(f"src.{command}", run_name="__main__")
    taken = time.process_time() - before
    imported = [name for name in heavy if name in sys.modules]
    print(json.dumps([command, shown.getvalue(), taken, imported]))
"""
"""Commands one after the other in one process, so that what they import is not imported by each of them anew."""


def answers(*questions: list[str]) -> list[tuple[str, str, float, list[str]]]:
    """What commands print, the seconds of a processor that each took, and the heavy libraries that are imported."""
    process = subprocess.run(
        [sys.executable, "-c", ASKED],
        input="\n".join(map(json.dumps, questions)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in process.stdout.splitlines()]


@pytest.fixture(scope="module")
def helped() -> dict[str, tuple[str, float, list[str]]]:
    """What every command answers to --help. `src.sync` is asked first: it imports what all of them share."""
    asked = answers(["sync", "--cfg", "job"], *([command, "--help"] for command in COMMANDS))
    return {command: (text, seconds, heavy) for command, text, seconds, heavy in asked}


def test_all_commands_are_known() -> None:
    assert {"run", "tune", "fuse", "compare", "report", "predict", "register", "serve", "sync", "download"} < set(
        COMMANDS
    )
    assert {"config" if name == "run" else name for name in COMMANDS} - {"store"} == {
        path.stem for path in CONF.glob("*.yaml") if path.stem not in ("cell", "command")
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_help_at_once(command: str, helped: dict[str, tuple[str, float, list[str]]]) -> None:
    text, seconds, heavy = helped[command]
    assert f"python -m src.{command}" in text
    assert len(text.splitlines()) > 10
    assert heavy == []
    assert seconds < 3  # on a machine that others use; 5 to 8 where Hydra copied all schemas for each group


def test_help_of_a_command_with_groups_lists_them(helped: dict[str, tuple[str, float, list[str]]]) -> None:
    for command in ("run", "tune"):
        assert "crop: centre, fit224" in helped[command][0]


def test_cfg_of_a_sweep_shows_its_first_cell_and_refuses_what_is_unknown() -> None:
    sweep = ["pool.p=2,3", "-m", "--cfg", "job"]
    (_, first, _, heavy), (_, unknown, _, _) = answers(["run", *sweep], ["run", "--cfg", "job", "+stian=none"])
    assert first.startswith("# the first of 2 cells\n")
    assert "\n  p: 2.0\n" in first
    assert heavy == []
    assert unknown == ""
