"""A model judged on another hospital's patients, as typed."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from src.tracking import VALIDATION
from src.validate import rename_classes
from tests.support.commands import QUICK, run, tracking
from tests.support.hospitals import draw_hospitals, reading

OWN = [each for each in QUICK if not each.startswith(("data", "protocol"))]


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of two hospitals; the second one's are stained another way."""
    folder = tmp_path_factory.mktemp("hospitals")
    draw_hospitals(folder / "north", {"north": 6, "west": 6}, images=1)
    draw_hospitals(folder / "south", {"south": 6}, images=2, seed=3)
    return folder


@pytest.fixture(scope="module")
def workspace(hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of two models that left one group out each."""
    workspace = tmp_path_factory.mktemp("models")
    options = [*reading(hospitals / "north" / "images.csv"), "protocol=leave_one_group_out", "protocol.group=site"]
    for name, power in (("one", 1), ("two", 3)):
        process = run("run", *OWN, *options, f"pool.p={power}", f"name={name}", workspace=workspace)
        assert process.returncode == 0, process.stderr
    return workspace


@pytest.mark.slow
def test_groups_that_are_held_out_are_told_by_their_names(workspace: Path) -> None:
    keep = tracking(workspace)
    cell = keep.find("one")
    table = pd.read_csv(keep.download(cell, "table.csv", workspace), index_col="model")
    slices = pd.read_csv(keep.download(cell, "slices.csv", workspace)).set_index("value")
    assert table.columns.tolist() == ["north", "west", "mean", "std"]
    for site in ("north", "west"):
        assert slices.loc[site, "accuracy"] == pytest.approx(table.loc["one", site] / 100)
        assert slices.loc[site, ["cases", "patients"]].tolist() == [12, 12]
    assert "| site | north | 12 | 12 |" in keep.find("one").tags["mlflow.note.content"]
    page = run("report", "runs=[one]", f"output={workspace / 'one.html'}", "replicates=50", workspace=workspace)
    assert page.returncode == 0, page.stderr
    page_text = (workspace / "one.html").read_text()
    assert "intervals hold for new patients of these 2, and another site may differ by more" in page_text


@pytest.mark.slow
def test_two_models_are_judged_on_another_hospital(workspace: Path, hospitals: Path) -> None:
    table = hospitals / "south" / "images.csv"
    options = [*reading(table), "slices=[sex]", "replicates=50"]
    process = run("validate", "model=[one,two]", *options, "device=cpu", workspace=workspace)
    assert process.returncode == 0, process.stderr
    assert "cohort: 24 images: Benign 12, Invasive 12; 12 patients" in process.stderr
    assert (
        "audit: two: the model learnt from no patient, identical or near-identical image of the cohort"
        in process.stderr
    )
    assert "each against one, on south/images.csv" in process.stdout
    keep = tracking(workspace)
    found = {each.validated: each for each in keep.search({"kind": VALIDATION})}
    assert set(found) == {keep.find("one").id, keep.find("two").id}
    for name in ("one", "two"):
        judged = found[keep.find(name).id]
        assert judged.name == f"{name} on south/images.csv"
        predictions = keep.predictions(judged)
        assert len(predictions) == 24
        members = pd.read_parquet(keep.download(judged, "members.parquet", workspace))
        classes = ["p_Benign", "p_Invasive"]
        means = members.groupby("sample")[classes].mean()
        pd.testing.assert_frame_equal(predictions.set_index("sample")[classes], means)
        external = pd.read_csv(keep.download(judged, "external.csv", workspace)).set_index("metric")
        assert external.loc["accuracy", "internal"] == pytest.approx(keep.find(name).metrics["accuracy"], abs=1e-6)
        assert external.loc["accuracy", "external"] == pytest.approx(judged.metrics["accuracy"], abs=1e-6)
        assert judged.data_names == ["south/images.csv"]
        assert json.loads(keep.artifact(judged, "metrics.json"))["auc"] == judged.metrics["auc"]
    said = run("runs", workspace=workspace).stdout
    assert len(re.findall("validation", said)) == 2
    page = workspace / "validation.html"
    names = ",".join(each.id for each in found.values())
    process = run("report", f"runs=[{names}]", f"output={page}", "replicates=50", workspace=workspace)
    assert process.returncode == 0, process.stderr
    for part in ("On another cohort", "Is one better than another?", "None of them was learnt from"):
        assert part in page.read_text()


@pytest.mark.slow
def test_what_is_no_other_cohort_is_refused(workspace: Path, hospitals: Path, tmp_path: Path) -> None:
    shutil.copytree(hospitals / "south", tmp_path / "mixed")
    known = hospitals / "north" / "north" / "b000-0.png"
    shutil.copy(known, tmp_path / "mixed" / "copy.png")
    rows = pd.read_csv(tmp_path / "mixed" / "images.csv")
    copied = rows.tail(1).assign(file="copy.png", diagnosis="Benign", patient="new")
    pd.concat([rows, copied]).to_csv(tmp_path / "mixed" / "images.csv", index=False)
    before = len(tracking(workspace).search())
    given = ["model=one", *reading(tmp_path / "mixed" / "images.csv"), "device=cpu"]
    process = run("validate", *given, "audit=fail", workspace=workspace)
    assert process.returncode == 1
    assert "audit=fail, but the model learnt from 1 identical images of the cohort, first copy.png" in process.stderr
    pd.concat([rows.assign(diagnosis=rows["diagnosis"].str.replace("Benign", "harmless"))]).to_csv(
        tmp_path / "mixed" / "images.csv", index=False
    )
    process = run("validate", *given, workspace=workspace)
    assert process.returncode == 1
    assert "it has harmless (12); the model's are Benign, Invasive: 'classes={harmless: Benign}'" in process.stderr
    assert "Traceback" not in process.stderr
    assert len(tracking(workspace).search()) == before


def manifest(*labels: str) -> pd.DataFrame:
    return pd.DataFrame({"label": pd.Categorical(labels)})


def test_classes_that_are_called_differently_are_named() -> None:
    renamed = rename_classes(manifest("m", "b", "m"), ["Benign", "Malignant"], {"m": "Malignant", "b": "Benign"})
    assert renamed["label"].tolist() == ["Malignant", "Benign", "Malignant"]
    assert renamed["label"].cat.categories.tolist() == ["Benign", "Malignant"]
    with pytest.raises(ValueError, match=r"`classes` names classes of the cohort, b, m, but got x"):
        rename_classes(manifest("m", "b"), ["Benign", "Malignant"], {"x": "Benign"})
    with pytest.raises(ValueError, match=r"are the model's, but it has m \(2\), b \(1\)"):
        rename_classes(manifest("m", "b", "m"), ["Benign", "Malignant"], {})
