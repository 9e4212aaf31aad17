"""Stressing a run's model, and two models, as typed; what the report shows of it; and mistakes."""

import json
from pathlib import Path

import pandas as pd
import pytest

from src.config import Stress
from src.executors.local import Local
from src.images.perturb import PERTURBATIONS
from src.tracking import STRESS
from tests.support.commands import QUICK, run, tracking

FEW = ["images=4", "perturbations=[blur,jpeg]", "levels.blur=[2]", "levels.jpeg=[10]", "replicates=20"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a sweep of two cells on the same descriptors."""
    workspace = tmp_path_factory.mktemp("stressed")
    process = run("run", *QUICK, "pool.p=1,3", "name=powers", workspace=workspace, sweep=True)
    assert process.returncode == 0, process.stderr
    return workspace


@pytest.mark.slow
def test_a_sweeps_models_are_stressed_on_the_same_images_and_reported(workspace: Path, tmp_path: Path) -> None:
    process = run("stress", "model=powers", *FEW, f"output={tmp_path / 'out'}", workspace=workspace)
    assert process.returncode == 0, process.stderr
    assert "2 models: 4 images of 4 cases, each predicted by models that have not seen it" in process.stderr
    assert "as they are and at 2 levels of 2 perturbations: 16 crops to encode" in process.stderr  # once for both
    assert "does not give its run's own figures" not in process.stderr
    assert "lost 5 points at" in process.stdout
    keep = tracking(workspace)
    cells = keep.children(keep.find("powers").id)
    tracked = keep.find("stress of 2 models", STRESS)
    assert tracked.finished
    assert tracked.stressed == [cell.id for cell in cells]
    assert json.loads(tracked.datasets[0]["profile"])["cases"] == 8
    table = pd.read_csv(tmp_path / "out" / "robustness.csv")
    assert keep.artifact(tracked, "robustness.csv") == (tmp_path / "out" / "robustness.csv").read_bytes()
    assert table[["perturbation", "level", "unchanged"]].to_numpy().tolist() == 2 * [
        *(["blur", 0, True], ["blur", 2, False]),
        *(["jpeg", 10, False], ["jpeg", 100, True]),
    ]
    assert (table["cases"] == 4).all()
    assert keep.artifact(tracked, "robustness.png").startswith(b"\x89PNG")
    again = run("stress", "model=powers", *FEW, workspace=workspace)
    assert "0 crops to encode" in again.stderr
    page = tmp_path / "page.html"
    process = run("report", f"runs=[{cells[0].id}]", f"output={page}", "replicates=20", workspace=workspace)
    assert process.returncode == 0, process.stderr
    assert page.read_text().count('<section id="stress"') == 1
    assert page.read_text().count("<summary>Every level") == 1  # of two tests of the same the newest
    listed = run("runs", workspace=workspace)
    assert listed.stdout.count("stress of 2 models") == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["model=power"], "nor is a model registered under it; did you mean powers"),
        (["model=[powers,powers]"], "or several, but got model=['powers', 'powers']"),
        (["model=powers", "data.root=/nowhere"], "8 of 8 images of run"),
        (["model=powers", "weights=/no.pth"], "weights=/no.pth, but the model's encoder takes no file of weights"),
        (["model=powers", "perturbations=[blurr]"], "`perturbations` must be one of stain, scanner, blur"),
        (["model=powers", "perturbations=[fog]", "levels.fog=[1]"], "levels.fog"),
        (["model=powers", "levels.blur=[-1]"], "`0 <= levels.blur <= 50 (sigma, pixels)` must hold"),
        (["model=powers", "output={workspace}"], "output={workspace}"),
        ([], "give it on the command line: model=..."),
    ],
    ids=str,
)
@pytest.mark.slow
def test_what_cannot_be_stressed_is_named_and_nothing_tracked(workspace: Path, options: list[str], said: str) -> None:
    process = run("stress", *(each.format(workspace=workspace) for each in options), "images=0", workspace=workspace)
    assert said.format(workspace=workspace) in process.stderr
    assert "Traceback" not in process.stderr
    assert process.returncode == 1
    assert not tracking(workspace).search({"kind": STRESS}, status="FAILED")


def stress(folder: Path, **changes: object) -> Stress:
    return Stress(**({"tracking": tracking(folder), "model": "one", "executor": Local()} | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"perturbations": []}, "`perturbations` are different names, but got perturbations=\\[\\]"),
        ({"perturbations": ["blur", "blur"]}, "`perturbations` are different names"),
        ({"images": -1}, "`images >= 0` must hold, but got images=-1"),
        ({"model": []}, "`model` is a run, a sweep or a registered model, or several, but got model=\\[\\]"),
        ({"model": ["a", "a"]}, "or several, but got model=\\['a', 'a'\\]"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stress(tmp_path, **changes)


def test_the_usual_levels_are_levels(tmp_path: Path) -> None:
    options = stress(tmp_path)
    assert options.models == ["one"]
    for name, kind in PERTURBATIONS.items():
        assert kind.unchanged not in getattr(options.levels, name)
