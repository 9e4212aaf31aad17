"""The registry: every file of the packages is found, and a mistake in a file of one's own is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.config import CONF
from src.operators import operators
from tests.support.commands import ROOT

HEAD = """
from dataclasses import dataclass
from src.images.stain import Stain
"""
CLASS = """
@dataclass(kw_only=True)
class {name}(Stain):
    def __call__(self, image):
        return image
"""
WRONG = {
    "broken": ("import nothing_such", "broken.py cannot be imported: ModuleNotFoundError: No module named"),
    "unfinished": ("x = (", "unfinished.py cannot be imported: SyntaxError: '(' was never closed"),
    "later": ("x = 1\nx.y()", "no attribute 'y' (later.py, line 2)"),
    "statistics": ("", "statistics.py has the name of another module"),
    "taken": (HEAD + CLASS.format(name="Whole"), "operators have names of their own, but Whole of "),
    "bare": (HEAD + CLASS.format(name="Bare").replace("@dataclass(kw_only=True)", ""), "but Bare of "),
    "lacking": (HEAD + "@dataclass\nclass Lacking(Stain):\n    x: int = 0", "lacks what its kind must have: __call__"),
    "reserved": (HEAD + CLASS.format(name="Reserved") + "    module: int = 0", "has a parameter module, which is kept"),
}
TAKEN = """
import sys
from pathlib import Path
from src.config import take_own
for name in sys.stdin.read().split():
    try:
        take_own(Path(name))
        print("taken over")
    except ValueError as error:
        print(error)
"""


def said(*folders: Path) -> list[str]:
    """What a process says of folders that it is to take over, one after the other."""
    names = "\n".join(map(str, folders))
    done = subprocess.run([sys.executable, "-c", TAKEN], input=names, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_schema_that_an_option_names_is_an_operator() -> None:
    groups = [path for path in CONF.glob("*/*.yaml") if path.parent.name not in ("experiment", "search", "tracking")]
    named = {line.split("/schema/")[1].partition("@")[0] for path in groups for line in schema_lines(path)}
    assert len(named) > 25
    assert named <= operators().keys()


def schema_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if "/schema/" in line]


def test_mistakes_in_files_of_ones_own_are_named(tmp_path: Path) -> None:
    for name, (text, _) in WRONG.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(text)
    (tmp_path / "option" / "encoder").mkdir(parents=True)
    (tmp_path / "option" / "encoder" / "vgg.yaml").write_text("label: mine")
    lines = said(*(tmp_path / name for name in WRONG), tmp_path / "option")
    for line, (_, wanted) in zip(lines, WRONG.values(), strict=False):
        assert wanted in line
    assert "options have names of their own, but " in lines[-1]
    assert len(lines) == len(WRONG) + 1


@pytest.mark.extra("ray")
def test_files_of_ones_own_go_along_with_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "helping.py").write_text("FACTOR = 3")
    text = (
        "import helping\n"
        + HEAD
        + CLASS.format(name="Tripled").replace("return image", "return image * helping.FACTOR")
    )
    (tmp_path / "folder" / "tripled.py").write_text(text)
    files, work = tmp_path / "folder", tmp_path / "work"
    write = f"""
import ray
from pathlib import Path
from src.executors.ray import send_own_code
from src.system.own_code import MODULES, import_files
import_files(Path({str(files)!r}))
send_own_code()
kind = MODULES[Path({str(files / "tripled.py")!r})].Tripled
Path({str(work)!r}).write_bytes(ray.cloudpickle.dumps(kind()))
"""
    read = f"import pickle; print(pickle.loads(open({str(work)!r}, 'rb').read())(14))"
    for code in (write, read):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert done.stdout == "42\n"
