"""The committed experiments, run in a smaller form; what is smaller stands in the overrides."""

from pathlib import Path

import cv2
import pandas as pd
import pytest
from omegaconf import OmegaConf
from sklearn.metrics import roc_auc_score

from src.config import CONF
from src.data.sets.breakhis import SUBTYPES
from src.evaluation.fold_tables import published_results
from tests.support.commands import ROOT, run, tracking
from tests.support.configs import composed
from tests.support.datasets import breakhis_path
from tests.support.images import tissue

PUBLISHED = ROOT / "experiments" / "rakhlin2018" / "published"
EVA_BREAKHIS = ROOT / "experiments" / "eva_breakhis" / "published" / "eva_split.csv"


def bach(root: Path) -> Path:
    """BACH in its exact layout and with its real file names and labels, but small images."""
    photos = root / "ICIAR2018_BACH_Challenge" / "Photos"
    table = pd.read_csv(PUBLISHED / "crossvalidation.csv")
    for number, (image, label) in enumerate(zip(table["image"], table["label"], strict=True)):
        (photos / label).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(photos / label / image), tissue(seed=number, shape=(72, 96)))
    table[["image", "label"]].to_csv(photos / "microscopy_ground_truth.csv", index=False, header=False)
    return root


@pytest.mark.parametrize("name", ["bach", "breakhis"])
def test_a_leaderboard_is_the_published_one(shared: Path, name: str) -> None:
    theirs = pd.read_csv(shared / "published" / "eva_leaderboard.csv")
    ours = published_results(ROOT / "experiments" / f"eva_{name}" / "published" / "leaderboard.csv")
    assert set(ours["metric"]) == {"balanced_accuracy"}
    assert sorted((ours["value"] / 100).round(3)) == sorted(theirs[name])
    swept = OmegaConf.load(CONF / "experiment" / "eva_bach.yaml").hydra.sweeper.params.encoder.split(",")
    labels = [composed(f"encoder={option}").encoder.label for option in swept]
    assert {f"{label}-224" for label in labels} == set(ours["model"])


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    smaller = ["encoder=efficientnet_lite0,efficientnet_lite2", "data.cases=24", "data.width=192", "data.height=144"]
    fewer = ["protocol.folds=3", "replicates=50", "classifier.rounds=5"]
    process = run("run", "experiment=demo", *smaller, *fewer, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    for row in ("Lite0-48", "Lite0-64", "Lite2-48", "Lite2-64", "Model fusion"):
        assert row in process.stdout
    assert "untrained" not in process.stdout


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


SMALL = ["crop.size=64", "finetune.batch=8", "finetune.validation=0", "replicates=50", "examples=1"]
ONE_STEP = "finetune.phases=[{trainable: head, steps: 1, learning_rate: 0.01}, {trainable: all, steps: 1}]"
OF_EVA = ["crop.size=32", "crop.shorter=32", "classifier.steps=5", "seeds=[0,1]", "replicates=20"]
UNTRAINED = ["encoder=squeezenet", "encoder.weights=random"]


def breakhis(root: Path) -> Path:
    """BreakHis in its exact layout: four patients of each sub-type with two images each, all of them small."""
    for number, code in enumerate(SUBTYPES):
        for patient in range(4):
            for image in (1, 2):
                side = "B" if code in ("A", "F", "PT", "TA") else "M"
                path = root / breakhis_path(f"SOB_{side}_{code}-14-{1000 * number + patient}-40-{image:03d}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), tissue(seed=100 * number + 10 * patient + image, shape=(72, 96)))
    return root


def breakhis_of_eva(root: Path) -> Path:
    """Every sixth image of eva's split of BreakHis in its exact layout, all of them small, and `split.csv` of these."""
    split = pd.read_csv(EVA_BREAKHIS)[::6]
    for number, name in enumerate(split["image"]):
        path = root / breakhis_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), tissue(seed=number, shape=(36, 48)))
    split.to_csv(root / "split.csv", index=False)
    return root


def tissue_arrays(root: Path) -> Path:
    """Tissue micro-arrays: a folder per cancer, ten small images each."""
    for number in range(40):
        path = root / ("bladder", "breast", "lung", "lymphoma")[number % 4] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), tissue(seed=number, shape=(72, 72)))
    return root


@pytest.mark.slow
def test_yi2017(tmp_path: Path) -> None:
    smaller = ["data=demo_mammograms", "data.cases=24", "protocol.folds=2", "encoder=googlenet,handcrafted"]
    fewer = ["finetune.epochs=1", "finetune.warmup=0", *SMALL]
    process = run("run", "experiment=yi2017", *smaller, *fewer, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    for row in ("GoogLeNet-64 (cc)", "GoogLeNet-64 (mlo)", "Handcrafted-64", "Model fusion", "trained from scratch"):
        assert row in process.stdout
    keep = tracking(tmp_path)
    table = keep.predictions(keep.find("GoogLeNet-64"))
    assert set(table["view"]) == {"cc", "mlo"}
    files = {file.path for file in keep.client.list_artifacts(keep.find("GoogLeNet-64").id)}
    assert {"slices.csv", "slices.png", "explanations", "audit.csv", "roles.csv"} <= files


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "benign", "malignant"])
def test_jannesari2018_on_breakhis_layout(tmp_path: Path, task: str) -> None:
    root = breakhis(tmp_path / "data")
    smaller = [f"data.root={root}", "data.expected=false", "protocol.folds=2", *UNTRAINED, ONE_STEP, *SMALL]
    process = run("run", f"experiment=jannesari2018_{task}", *smaller, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    for said in ("image_kfold", "kfold", "gap", "patients stand on both sides of a split"):
        assert said in process.stdout + process.stderr


@pytest.mark.slow
def test_jannesari2018_on_tissue_arrays(tmp_path: Path) -> None:
    root = tissue_arrays(tmp_path / "data")
    smaller = [f"data.root={root}", "data.expected=0", "protocol.folds=2", *UNTRAINED, ONE_STEP, *SMALL]
    process = run("run", "experiment=jannesari2018_cancer_types", *smaller, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    assert "patients of 40 of 40 cases are unknown" in process.stdout


@pytest.mark.slow
def test_eva_bach_on_bachs_layout(tmp_path: Path) -> None:
    root = bach(tmp_path / "data")
    there = [f"data.root={root}", "data.width=96", "data.height=72"]
    process = run("run", "experiment=eva_bach", *there, *OF_EVA, *UNTRAINED, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    said = " ".join(process.stdout.split())
    for expected in ("UNI2-h-224", "SqueezeNet-32", "stop_by=held_out stops each training when it does best", "+-"):
        assert expected in said
    keep = tracking(tmp_path)
    found = {each.protocol: keep.predictions(each) for each in keep.children(keep.find("eva_bach").id)}
    assert (found["eva_bach"]["case"].nunique(), set(found["eva_bach"]["seed"])) == (132, {0, 1})
    assert found["eva_bach_redrawn"].groupby("repeat")["case"].nunique().tolist() == [132] * 10


@pytest.mark.slow
def test_eva_breakhis_on_its_layout(tmp_path: Path) -> None:
    root = breakhis_of_eva(tmp_path / "data")
    there = [f"data.root={root}", "data.expected=false", "protocol=eva_breakhis", f"protocol.path={root}/split.csv"]
    process = run("run", "experiment=eva_breakhis", *there, *OF_EVA, *UNTRAINED, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    assert "4 patients stand on both sides of a split" in " ".join(process.stdout.split())
    held_out = pd.read_csv(root / "split.csv").query("split == 'validation'")["image"]
    assert set(tracking(tmp_path).predictions(tracking(tmp_path).find("SqueezeNet-32"))["case"]) == set(held_out)


@pytest.mark.slow
def test_romero_alexnet_on_breakhis_layout(tmp_path: Path) -> None:
    root = breakhis(tmp_path / "data")
    smaller = [f"data.root={root}", "data.expected=false", *UNTRAINED, "finetune.epochs=1", *SMALL, "crop.shorter=72"]
    resized = "finetune.transforms=[{RandomResizedCrop: {size: [64, 64], p: 1}}]"
    process = run("run", "experiment=romero_alexnet", *smaller, resized, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    assert "image_holdout" in process.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shorter"),
    [
        ("frozen_vs_finetuned", ["crop.count=2", "stain=none", "finetune.epochs=1"]),
        ("frozen_vs_finetuned_lite", [ONE_STEP]),
    ],
)
def test_frozen_vs_finetuned_on_bachs_layout(tmp_path: Path, name: str, shorter: list[str]) -> None:
    root = bach(tmp_path / "data")
    smaller = [f"data.root={root}", "data.width=96", "data.height=72", "crop.size=32", "augment.count=1"]
    fewer = [*UNTRAINED, "classifier=logistic", "replicates=50", "examples=0", "training_patients=20,0"]
    process = run("run", f"experiment={name}", *smaller, *shorter, *fewer, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    keep = tracking(tmp_path)
    files = {file.path for file in keep.client.list_artifacts(keep.find(name).id)}
    assert {"learning_curve.png", "learning_curve.csv", "groups.csv"} <= files
    assert all(name in process.stdout for name in ("method=frozen", "method=finetune"))


@pytest.mark.slow
def test_a_network_from_scratch_tells_spiculated_from_round(tmp_path: Path) -> None:
    tiny = ["encoder=resnet18", "encoder.architecture=test_resnet", "encoder.weights=random"]
    small = ["crop=whole", "crop.size=64", "examples=0", "stain=none", "views=shared"]
    longer = ["finetune=scratch", "finetune.learning_rate=3e-3", "finetune.batch=8", "finetune.epochs=20"]
    data = ["data=demo_mammograms", "data.cases=200", "protocol.folds=2"]
    process = run("run", "method=finetune", "name=scratch", *data, *tiny, *small, *longer, workspace=tmp_path)
    assert process.returncode == 0, process.stderr
    table = tracking(tmp_path).predictions(tracking(tmp_path).find("scratch"))
    cases = table.groupby(["case", "label"])["p_malignant"].mean().reset_index()
    assert len(cases) == 200
    assert roc_auc_score(cases["label"] == "malignant", cases["p_malignant"]) > 0.9
