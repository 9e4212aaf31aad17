import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.data.image_file import file_digest
from src.data.sets.demo import CLASSES, Demo
from tests.support.commands import ROOT


def tiny(root: Path, **changes: int) -> Demo:
    return Demo(root=str(root), **({"cases": 8, "width": 96, "height": 64} | changes))


def contents(root: Path) -> dict[str, str]:
    return {
        path.name: file_digest(path) for path in root.rglob("*") if path.is_file() and path.suffix in (".png", ".csv")
    }


def test_the_same_to_the_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tiny(tmp_path / name).manifest()
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(set(contents(tmp_path / "one").values())) == 10


def test_an_image_depends_on_its_name_and_the_seed_only(tmp_path: Path) -> None:
    tiny(tmp_path / "few").manifest()
    tiny(tmp_path / "more", cases=12).manifest()
    tiny(tmp_path / "other", seed=1).manifest()
    few, more, other = (contents(tmp_path / name) for name in ("few", "more", "other"))
    assert few["n001.png"] == more["n001.png"] != other["n001.png"]


def test_other_parameters_make_another_folder(tmp_path: Path) -> None:
    first = tiny(tmp_path).manifest()
    assert set(first["sample"]).isdisjoint(tiny(tmp_path, seed=1).manifest()["sample"])
    pd.testing.assert_frame_equal(tiny(tmp_path).manifest(), first)


def test_processes_that_start_at_once_share_one_set(tmp_path: Path) -> None:
    drawn = "Demo(root=sys.argv[1], cases=8, width=96, height=64).manifest()"
    code = f"import sys; from src.data.sets.demo import Demo; {drawn}"
    command = [sys.executable, "-c", code, str(tmp_path / "shared")]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    tiny(tmp_path / "alone").manifest()
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
    assert [path.name for path in (tmp_path / "shared").iterdir() if path.is_dir()] == [
        path.name for path in (tmp_path / "alone").iterdir() if path.is_dir()
    ]


def test_what_a_killed_process_left_is_made_anew(tmp_path: Path) -> None:
    name = tiny(tmp_path)._name
    (tmp_path / f".{name}.part" / "Normal").mkdir(parents=True)
    (tmp_path / f".{name}.part" / "Normal" / "half.png").write_bytes(b"")
    assert len(tiny(tmp_path).manifest()) == 8
    assert "half.png" not in contents(tmp_path)


def test_patients(tmp_path: Path) -> None:
    manifest = tiny(tmp_path, cases=48).manifest()
    patients = pd.read_csv(next(tmp_path.glob("r*/patients.csv")), dtype=str)
    assert manifest["label"].value_counts().to_dict() == dict.fromkeys(CLASSES, 12)
    assert set(patients["patient"]) == set(manifest["patient"])
    assert patients.columns.tolist() == ["patient", "slide", "age"]
    assert (manifest.groupby("patient")["case"].nunique() >= 2).all()
    assert manifest.groupby("patient")["label"].nunique().value_counts().to_dict() == {1: 16, 2: 4}
    assert (manifest.groupby("label", observed=True)["patient"].nunique() >= 5).all()


def test_images_look_like_stained_tissue(tmp_path: Path) -> None:
    reader = Demo(root=str(tmp_path), cases=8)
    means = []
    for sample in reader.manifest()["sample"]:
        pixels = reader.read(sample)
        assert pixels.shape == (576, 768, 3)
        density = -np.log((pixels.astype(float) + 1) / 240)
        assert (density >= 0.15).all(axis=2).mean() > 0.15
        red, green, blue = pixels.mean(axis=(0, 1))
        assert green < blue < red  # pink
        assert np.percentile(pixels[..., 0], 1) < 130  # nuclei
        means.append((red, green, blue))
    assert np.ptp(np.array(means), axis=0).min() > 8  # slides differ


def test_values_check_themselves() -> None:
    for wrong in ({"cases": 6}, {"cases": 0}, {"width": 10}, {"height": 10**5}, {"seed": -1}):
        with pytest.raises(ValueError, match="=".join(map(str, next(iter(wrong.items()))))):
            Demo(**wrong)
