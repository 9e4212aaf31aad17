"""The committed experiments, run in a smaller form; what is smaller stands in the overrides."""

from pathlib import Path

import cv2
import pandas as pd
import pytest

from tests.commands import ROOT, run
from tests.images.test_stain import tissue
from tests.test_run import tracking

PUBLISHED = ROOT / "experiments" / "rakhlin2018" / "published"


def bach(root: Path) -> Path:
    """BACH in its exact layout and with its real file names and labels, but small images."""
    photos = root / "ICIAR2018_BACH_Challenge" / "Photos"
    table = pd.read_csv(PUBLISHED / "crossvalidation.csv")
    for number, (image, label) in enumerate(zip(table["image"], table["label"], strict=True)):
        (photos / label).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(photos / label / image), tissue(seed=number, shape=(72, 96)))
    table[["image", "label"]].to_csv(photos / "microscopy_ground_truth.csv", index=False, header=False)
    return root


def test_demo(tmp_path: Path) -> None:
    smaller = ["encoder=squeezenet,mobilenet", "crop.size=48,64", "data.cases=24", "data.width=192", "data.height=144"]
    fewer = ["protocol.folds=3", "replicates=50", "classifier.rounds=5"]
    process = run("run", "experiment=demo", *smaller, *fewer, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    for row in ("SqueezeNet-48", "SqueezeNet-64", "MobileNet-48", "MobileNet-64", "Model fusion", "untrained encoder"):
        assert row in process.stdout


@pytest.mark.slow
def test_rakhlin2018_on_bachs_layout(tmp_path: Path) -> None:
    smaller = ["data.width=96", "data.height=72", "encoder=keras_vgg", "encoder.weights=random", "crop=half400"]
    fewer = ["crop.size=32", "crop.count=2", "augment.count=2", "seeds=[0,1]", "classifier.rounds=2", "replicates=50"]
    root = bach(tmp_path / "data")
    process = run(
        "run", "experiment=rakhlin2018", f"data.root={root}", *smaller, *fewer, workspace=tmp_path, sweep=True
    )
    assert process.returncode == 0, process.stderr
    keep = tracking(tmp_path)
    table = keep.predictions(keep.find("VGG-32"))
    assert len(table) == 400 * 2
    published = pd.read_csv(PUBLISHED / "crossvalidation.csv").set_index("image")
    assert (table.set_index("case")["fold"] == published.loc[table["case"], "fold"].to_numpy()).all()
    assert table.groupby("fold")["case"].nunique().tolist() == [40] * 10
