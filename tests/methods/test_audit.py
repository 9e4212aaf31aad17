"""The audit of a run: found before anything is learnt, computed once, recorded and told."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.config import Experiment
from src.data.reader import Reader
from src.data.sets.demo import Demo
from src.data.sets.folder import Folder
from src.data.splits import ImageKFold, KFold
from src.images.perceptual_hash import PerceptualHash
from src.methods import audit, image_reading
from src.methods.audit import Audit, audit_splits
from src.sweeps.run_cell import fill_run, gather_inputs
from tests.support.cells import cell, task_of
from tests.support.commands import QUICK, run
from tests.support.configs import composed
from tests.support.images import folder_of_images, tissue


def audited(data: Reader, store: Path, workers: int = 2, protocol: KFold | ImageKFold | None = None) -> Audit:
    task = task_of(cell(Path(data.root), data=data), store, workers=workers)
    return audit_splits(task, (protocol or KFold(folds=2)).split(task.manifest))


def copy(root: Path, name: str, to: str, **options: Any) -> None:
    """Save an image again under another name, mirrored and at 3/4 of its size."""
    image = Image.open(root / name)
    smaller = image.resize((image.width * 3 // 4, image.height * 3 // 4)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    smaller.save(root / to, **options)


def test_images_that_are_different_have_no_finding(tmp_path: Path) -> None:
    found = audited(Folder(root=str(folder_of_images(tmp_path / "images", 8))), tmp_path / "store")
    assert found.findings.empty
    assert found.reasons == []
    assert found.facts["audit_near_identical"] == found.facts["audit_not_compared"] == 0
    found.refuse()


def test_copies_are_found_whatever_the_workers(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "images", 8)
    for number in range(4):
        (root / "one" / f"same{number}.png").write_bytes((root / "one" / "000.png").read_bytes())
        copy(root, "two/001.png", f"two/near{number}.jpg", quality=70 + number)
    founds = [audited(Folder(root=str(root)), tmp_path / str(workers), workers) for workers in (1, 4)]
    pd.testing.assert_frame_equal(founds[0].findings, founds[1].findings)
    assert founds[0].facts["audit_identical"] == founds[0].facts["audit_near_identical"] == 5
    assert founds[0].findings.query("kind == 'near_identical'")["distance"].between(0, 24).all()
    with pytest.raises(
        ValueError, match=r"audit=fail.*5 identical images .* one/000.png = one/same.*kfold.*audit=warn"
    ):
        founds[0].refuse()


def test_a_second_audit_decodes_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of_images(tmp_path / "images", 6)
    (root / "one" / "white.png").write_bytes(b"not an image")
    (root / "one" / "copy.png").write_bytes((root / "one" / "000.png").read_bytes())
    hashed: list[int] = []
    monkeypatch.setattr(
        image_reading, "PerceptualHash", lambda: lambda image: hashed.append(0) or PerceptualHash()(image)
    )
    first = audited(Folder(root=str(root)), tmp_path / "store")
    assert len(hashed) == 6
    recipes = [json.loads(path.read_text()) for path in (tmp_path / "store").glob("*/recipe.json")]
    keypoints = {"operator": "Keypoints", "revision": 1, "count": 256, "side": 512, "convert": False}
    assert sorted(recipes, key=lambda recipe: recipe["operator"]) == [
        keypoints,
        {"operator": "Overlaps", "revision": 1, "keypoints": keypoints},
        {"operator": "PerceptualHash", "revision": 1, "size": 16, "convert": False},
    ]
    second = audited(Folder(root=str(root)), tmp_path / "store")
    assert len(hashed) == 6
    pd.testing.assert_frame_equal(first.findings, second.findings)
    assert first.lines == second.lines
    copy(root, "two/001.png", "two/new.png")
    audited(Folder(root=str(root)), tmp_path / "store")
    assert len(hashed) == 7


def test_crops_and_fields_of_one_slide_are_found_and_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "images"
    slide = tissue(shape=(300, 500))
    images = {"one/left": slide[:, :300], "two/right": slide[:, 75:375], "one/other": tissue(seed=1, shape=(300, 300))}
    images["two/crop"] = images["one/other"][8:-8, 8:-8]
    for name, image in images.items():
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image)).save(path)
    data, folds = Folder(root=str(root)), pd.DataFrame({"case": sorted(f"{name}.png" for name in images), "repeat": 1})
    task = task_of(cell(root, data=data), tmp_path / "store")
    found = audit_splits(task, folds.assign(fold=[1, 1, 2, 2]))
    rows = found.findings[["kind", "first", "second", "overlap"]].to_numpy().tolist()
    assert [row[:3] for row in rows] == [
        ["overlap", "one/left.png", "two/right.png"],
        ["overlap", "one/other.png", "two/crop.png"],
    ]
    assert [row[3] for row in rows] == pytest.approx([75, 100], abs=3)
    assert found.facts["audit_overlap"] == found.facts["audit_conflicts"] == 4
    with pytest.raises(
        ValueError, match=r"4 images that overlap in part .*left.png overlaps two/right.png.*data.patien"
    ):
        found.refuse()
    monkeypatch.setattr(audit, "find_overlaps", lambda *_: pytest.fail("they are stored"))
    task = task_of(cell(root, data=data), tmp_path / "store")
    pd.testing.assert_frame_equal(audit_splits(task, folds.assign(fold=[1, 1, 2, 2])).findings, found.findings)
    assert audit_splits(task, folds.assign(fold=[1, 2, 2, 1])).facts["audit_overlap"] == 0


def test_patients_are_estimated_before_folds_are_made_and_never_silently(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "images", 12)
    slide = tissue(seed=99, shape=(140, 220))
    for number, left in enumerate(range(0, 80, 20)):
        folder = root / ("one", "two")[number % 2]
        Image.fromarray(slide[:, left : left + 140]).save(folder / f"field{number}.png")
    options = ["data=folder", f"data.root={root}", "protocol.folds=4", f"workspace={tmp_path / 'workspace'}"]
    experiment = composed(*[each for each in QUICK if not each.startswith("data")], *options, "data.patients=estimated")
    assert isinstance(experiment, Experiment)
    told: list[str] = []
    inputs = gather_inputs(experiment, told.append)
    assert set(inputs.manifest["patient"]) == {"", "estimated: one/field0.png"}
    fields = inputs.manifest["case"][inputs.manifest["patient"] != ""]
    assert len(fields) == 4
    assert inputs.splits.set_index("case")["fold"][fields].nunique() == 1
    said = (
        "patients are estimated (data.patients=estimated), 4 of 16 cases show a place that another one shows, and make "
        "1 patient:"
    )
    assert any(said in line for line in told)
    assert said in experiment.data.notes(inputs.manifest)[-1]
    task = task_of(cell(root, data=experiment.data), tmp_path / "store")
    found = audit_splits(replace(task, manifest=inputs.manifest), inputs.splits)
    assert found.facts["audit_estimated_patients"] == 1
    assert found.facts["audit_overlap"] == 0


def test_images_without_a_hash_are_named_and_left_to_the_method(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "images", 6)
    for name in ("one/flat.png", "two/flat.png"):
        Image.fromarray(np.full((90, 90, 3), 200, np.uint8)).save(root / name)
    (root / "one" / "broken.png").write_bytes(b"not an image")
    found = audited(Folder(root=str(root)), tmp_path / "store")
    assert found.facts["audit_not_compared"] == 3
    assert "3 images cannot be compared with others: one/broken.png (the file is not" in found.lines[-1]
    assert found.facts["audit_conflicts"] == 2  # of identical bytes
    assert found.findings["kind"].unique().tolist() == ["identical"]


def test_the_drawn_data_set_is_clean(tmp_path: Path) -> None:
    data = Demo(root=str(tmp_path / "demo"), width=192, height=144)
    found = audited(data, tmp_path / "store", protocol=KFold())
    assert found.findings.empty
    assert found.notes == []
    assert found.lines == [
        "no patient, identical, near-identical or overlapping image on both sides of a split (48 images of 20 patients)"
    ]
    found = audited(data, tmp_path / "store", protocol=ImageKFold())
    assert found.findings["kind"].unique().tolist() == ["patient"]


def test_real_mammograms_have_one_image_under_two_labels(shared: Path, tmp_path: Path) -> None:
    """mdb144 has a benign and a malignant lesion, and one patient: a leak only where patients are ignored."""
    from src.data.sets.table import Table

    folder = shared / "data" / "mini_mias"
    columns = {"sample": "file"}
    data = Table(root=str(folder), path=str(folder / "samples.csv"), columns=columns, convert=True)
    found = audited(data, tmp_path / "store", protocol=KFold())
    assert found.reasons == []
    assert found.findings[["kind", "first", "second"]].to_numpy().tolist() == [
        ["identical", "benign/mdb144.jpg", "malignant/mdb144.jpg"]
    ]
    assert found.notes[0].endswith("benign/mdb144.jpg = malignant/mdb144.jpg: benign and malignant")


@pytest.mark.slow
def test_a_run_states_and_records_it_or_fails_before_any_training(tmp_path: Path) -> None:
    arguments = [*QUICK, "data.cases=32", "protocol=image_kfold"]
    process = run("run", *arguments, "audit=fail", workspace=tmp_path)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert "patients on both sides of a split (32 images of" in process.stderr
    assert "error: audit=fail" in process.stderr
    assert "protocol=kfold" in process.stderr
    assert "encoding" not in process.stderr
    experiment = composed(*arguments, f"workspace={tmp_path}")
    assert isinstance(experiment, Experiment)
    with experiment.tracking.run("warned", "cell") as warned:
        fill_run(experiment, "warned", warned)
    keep = experiment.tracking
    runs = keep.search()
    assert [each.status for each in runs] == ["FAILED", "FINISHED"]
    for each in runs:
        table = pd.read_csv(io.BytesIO(keep.artifact(each, "audit.csv")))
        assert set(table["kind"]) == {"patient"}
        assert int(each.tags["audit_patients"]) == len(table) > 0
    assert "possibly optimistic" in runs[1].tags["notes"]
    assert "possibly optimistic" in keep.artifact(runs[1], "table.md").decode()
