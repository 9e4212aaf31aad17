"""The audit of a run: found before anything is learnt, computed once, recorded and told."""

import io
import json
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
from src.methods import image_reading
from src.methods.audit import Audit, audit_splits
from src.sweeps.run_cell import fill_run
from tests.support.cells import cell, task_of
from tests.support.commands import QUICK, run
from tests.support.configs import composed
from tests.support.images import folder_of_images


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
    (recipe,) = (tmp_path / "store").glob("*/recipe.json")
    assert json.loads(recipe.read_text()) == {
        "operator": "PerceptualHash",
        "revision": 1,
        "size": 16,
        "convert": False,
    }
    second = audited(Folder(root=str(root)), tmp_path / "store")
    assert len(hashed) == 6
    pd.testing.assert_frame_equal(first.findings, second.findings)
    assert first.lines == second.lines
    copy(root, "two/001.png", "two/new.png")
    audited(Folder(root=str(root)), tmp_path / "store")
    assert len(hashed) == 7


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
        "no patient, identical or near-identical image on both sides of a split (48 images of 20 patients)"
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
