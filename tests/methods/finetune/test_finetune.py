"""Fine-tuning as a method: the same table however it goes, no glance at what is held out, and kept networks."""

import gc
import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from src.cell import Cell
from src.data.splits import Holdout, Published
from src.encoders.torchvision import Torchvision
from src.images.crop import Crop
from src.methods.finetune.finetune import FineTune
from src.methods.method import Outcome
from src.storage.store import FIT, KIND, TRAINING, Store
from src.store import list_recipes, verify_files
from src.system.progress import Progress
from src.training.network import NetworkWithHead
from src.training.parameters import FineTuning, Phase
from tests.support.cells import task_of
from tests.support.commands import ROOT
from tests.support.finetuning import Curves, cell, predict, tuned
from tests.support.images import folder_of_images, spoil
from tests.support.networks import Branches, Tiny

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"), 12)


def weights(store: Path) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in store.glob("*/model.safetensors")}


def test_a_row_per_sample_and_seed_and_a_curve_per_model(images: Path, tmp_path: Path) -> None:
    curves = Curves()
    outcome = predict(cell(images, seeds=[0, 3]), tmp_path, curves)
    table = outcome.predictions
    assert list(table) == ["sample", "case", "patient", "view", "label", "fold", "seed", "p_one", "p_two"]
    assert table.groupby("sample")["seed"].apply(sorted).tolist() == [[0, 3]] * 12
    np.testing.assert_allclose(table[["p_one", "p_two"]].sum(axis=1), 1)
    names = ["fold01-seed0", "fold01-seed3", "fold02-seed0", "fold02-seed3"]
    assert sorted(outcome.models) == names
    assert len(set(weights(tmp_path).values())) == 4
    kinds = ("training_loss", "training_accuracy", "learning_rate")
    assert sorted(curves) == sorted(f"{kind}/{name}" for kind in kinds for name in names)
    assert all(list(curve) == [1, 2, 3] for curve in curves.values())
    assert outcome.facts["trained_epochs"] == 12


def test_workers_and_memory_do_not_change_a_byte(images: Path, tmp_path: Path) -> None:
    one = cell(images)
    outcomes = [
        predict(one, tmp_path / f"{workers}-{memory}", workers=workers, memory=memory)
        for workers, memory in ((1, 4.0), (4, 4.0), (4, 0.0))
    ]
    for outcome in outcomes[1:]:
        pd.testing.assert_frame_equal(outcomes[0].predictions, outcome.predictions, check_exact=True)
    one_go, *others = (weights(tmp_path / name) for name in ("1-4.0", "4-4.0", "4-0.0"))
    assert len(one_go) == 2
    assert all(one_go == other for other in others)


@pytest.mark.slow
def test_one_network_is_held_at_a_time(images: Path, tmp_path: Path) -> None:
    held = []

    class Counting(Progress):
        """Counts the networks after each epoch."""

        def point(self, curve: str, value: float, step: int) -> None:
            gc.collect(0)
            held.append(sum(type(each) is NetworkWithHead for each in gc.get_objects()))

    threshold = gc.get_threshold()
    gc.set_threshold(200_000, *threshold[1:])  # as commands do
    try:
        gc.collect()
        predict(cell(images, seeds=[0, 1, 2], finetune=tuned(epochs=1)), tmp_path, Counting())
    finally:
        gc.set_threshold(*threshold)
    assert 1 <= max(held) <= min(held) + 1


def test_a_second_run_trains_nothing(images: Path, tmp_path: Path) -> None:
    curves, again = Curves(), Curves()
    first = predict(cell(images), tmp_path, curves)
    second = predict(cell(images, finetune=tuned(orientations=1)), tmp_path, again)
    assert (first.facts["trained_epochs"], second.facts["trained_epochs"]) == (6, 0)
    pd.testing.assert_frame_equal(first.predictions, second.predictions, check_exact=True)
    assert curves == again
    mirrored = predict(cell(images, finetune=tuned(orientations=8)), tmp_path)
    assert mirrored.facts["trained_epochs"] == 0
    assert not mirrored.predictions.equals(first.predictions)
    assert predict(cell(images, finetune=tuned(epochs=1)), tmp_path).facts["trained_epochs"] == 2
    assert sum(recipe.get(KIND) == FIT for recipe in Store(tmp_path).recipes().values()) == 4
    assert not list(verify_files(Store(tmp_path)))


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from src.system.progress import Progress
from tests.support.finetuning import cell, predict

torch.set_num_threads(1)

class Killing(Progress):
    def point(self, curve, value, step):
        if (curve, step) == ("training_loss/fold02-seed0", 2):
            os.kill(os.getpid(), signal.SIGKILL)

predict(cell(Path(sys.argv[1])), Path(sys.argv[2]), Killing())
"""


@pytest.mark.slow
def test_a_killed_run_resumes_where_it_was(images: Path, tmp_path: Path) -> None:
    whole = predict(cell(images), tmp_path / "whole")
    command = [sys.executable, "-c", KILLED, str(images), str(tmp_path / "parts")]
    killed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(weights(tmp_path / "parts")) == 1
    assert sum("in training" in line for line in list_recipes(Store(tmp_path / "parts"))) == 1
    resumed = predict(cell(images), tmp_path / "parts")
    assert resumed.facts["trained_epochs"] == 1  # the last of the second fold
    pd.testing.assert_frame_equal(whole.predictions, resumed.predictions, check_exact=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    assert not list((tmp_path / "parts").glob("*/*.ckpt"))


def test_a_fit_that_another_process_trains_is_waited_for(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, curves, again = cell(images, protocol=Holdout()), Curves(), Curves()
    first = predict(one, tmp_path / "first", curves)
    done = next((tmp_path / "first").glob("*/model.safetensors")).parent
    shared = tmp_path / "second" / done.name
    shared.mkdir(parents=True)
    outcomes: list[Outcome] = []
    waiting = threading.Thread(target=lambda: outcomes.append(predict(one, tmp_path / "second", again)))
    with FileLock(shared / ".lock"), caplog.at_level(logging.INFO):
        waiting.start()
        while "fold01-seed0 is being trained by another process" not in caplog.text:
            time.sleep(0.01)
        for name in ("training.json", "model.safetensors"):
            shutil.copy(done / name, shared / name)
    waiting.join()
    assert (first.facts["trained_epochs"], outcomes[0].facts["trained_epochs"]) == (3, 0)
    assert curves == again
    pd.testing.assert_frame_equal(first.predictions, outcomes[0].predictions, check_exact=True)


def held_out(images: Path, folder: Path, **finetune: object) -> Cell:
    """Fold 1 is held out once; the labels of all images mean nothing."""
    names = sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    folds = pd.DataFrame({"sample": names, "fold": [int(number % 3 == 0) for number in range(len(names))]})
    folds.to_csv(folder / "folds.csv", index=False)
    tuning = tuned(epochs=6, validation=0.4, patience=2, learning_rate=0.05, **finetune)
    return cell(images, protocol=Published(path=str(folder / "folds.csv")), finetune=tuning)


def test_what_is_held_out_decides_nothing(images: Path, tmp_path: Path) -> None:
    """The labels of the held-out images are set so that choosing the epoch by them would pay: nothing changes.

    A leak is planted: each held-out image gets the class that the second epoch gives it, so that this epoch would be
    right everywhere. A training that stopped, or chose its weights, by them would end there.
    """
    one = held_out(images, tmp_path)
    blind = predict(one, tmp_path / "blind")
    early = predict(held_out(images, tmp_path, phases=[Phase(epochs=2, learning_rate=0.05)]), tmp_path / "early")
    answers = early.predictions.set_index("sample")[["p_one", "p_two"]].idxmax(axis=1).str.removeprefix("p_")

    def leaking(manifest: pd.DataFrame) -> pd.DataFrame:
        planted = manifest["sample"].map(answers).fillna(manifest["label"].astype(str))
        return manifest.assign(label=pd.Categorical(planted, ["one", "two"]))

    leaked = predict(one, tmp_path / "leaked", change=leaking)
    assert (blind.predictions["label"] != leaked.predictions["label"]).any()
    assert weights(tmp_path / "blind") == weights(tmp_path / "leaked")
    columns = ["sample", "p_one", "p_two"]
    pd.testing.assert_frame_equal(blind.predictions[columns], leaked.predictions[columns], check_exact=True)

    def without_most(manifest: pd.DataFrame) -> pd.DataFrame:
        return manifest[~manifest["sample"].isin(list(answers.index)[1:])]

    predict(one, tmp_path / "fewer", change=without_most)
    assert weights(tmp_path / "blind") == weights(tmp_path / "fewer")


def test_the_cases_that_decide_do_so(images: Path, tmp_path: Path) -> None:
    curves = Curves()
    outcome = predict(held_out(images, tmp_path), tmp_path / "store", curves)
    assert outcome.roles["role"].value_counts().to_dict() == {"fit": 4, "stopping": 4, "report": 4}
    losses = list(curves["stopping_loss/fold01-seed0"].values())
    best = json.loads(next((tmp_path / "store").glob(f"*/{TRAINING}")).read_text())["best_epoch"]
    assert best == 1 + int(np.argmin(losses))
    assert len(losses) == min(6, best + 2)
    assert outcome.facts["trained_epochs"] == len(losses)


def test_a_model_per_view_or_one_for_all(tmp_path: Path) -> None:
    from src.data.sets.table import Table

    root = folder_of_images(tmp_path / "images", 8)
    manifest = pd.DataFrame(
        [
            (f"{('one', 'two')[n % 2]}/{n:03d}.png", f"case{n % 4}", ("cc", "mlo")[n // 4], "ab"[n % 2])
            for n in range(8)
        ],
        columns=["sample", "case", "view", "label"],
    )
    manifest.to_csv(root / "manifest.csv", index=False)
    data = Table(path=str(root / "manifest.csv"), root=str(root))
    separate = predict(cell(root, data=data, finetune=tuned(epochs=1)), tmp_path / "store")
    assert sorted(separate.models) == [f"{view}-fold{fold:02d}-seed0" for view in ("cc", "mlo") for fold in (1, 2)]
    shared = predict(cell(root, data=data, finetune=tuned(epochs=1), views="shared"), tmp_path / "store")
    assert sorted(shared.models) == ["fold01-seed0", "fold02-seed0"]
    for outcome in (separate, shared):
        assert outcome.predictions.groupby("case")["view"].apply(sorted).tolist() == [["cc", "mlo"]] * 4


def test_every_seed_begins_with_weights_of_its_own(images: Path, tmp_path: Path) -> None:
    one = cell(images, seeds=[0, 1], finetune=tuned(trainable="head", epochs=1))
    models = predict(one, tmp_path).models
    first, second, other_fold = (
        models[name].network().encoder.state_dict() for name in ("fold01-seed0", "fold01-seed1", "fold02-seed0")
    )
    assert not torch.equal(first["first.weight"], second["first.weight"])
    assert torch.equal(first["first.weight"], other_fold["first.weight"])


def test_a_saved_model_says_what_it_is(images: Path, tmp_path: Path) -> None:
    model = predict(cell(images, finetune=tuned(epochs=1)), tmp_path / "store").models["fold01-seed0"]
    model.save(tmp_path / "fold01-seed0")
    with safe_open(tmp_path / "fold01-seed0.safetensors", "np") as file:
        facts = json.loads(file.metadata()["model"])
        assert "head.0.weight" in file.keys()  # noqa: SIM118
    assert facts["classes"] == ["one", "two"]
    assert (facts["head"]["hidden"], facts["crop"]["size"], facts["encoder"]["architecture"]) == ([4], 32, "tiny")
    network = model.network("cpu")
    crops = torch.zeros((3, 3, 32, 32), dtype=torch.uint8)
    assert not network.training
    assert network(network.prepare(crops)).shape == (3, 2)


def test_what_a_network_looks_at(images: Path, tmp_path: Path) -> None:
    one = cell(images, finetune=tuned(epochs=1))
    outcome = predict(one, tmp_path)
    examples = outcome.predictions.head(1).assign(predicted="two", probability=0.5)
    task = task_of(one, tmp_path)
    contents = task.manifest.set_index("sample")["content"]
    examples["content"] = examples["sample"].map(contents)
    examples["label"] = pd.Categorical(examples["label"], ["one", "two"])
    (made,) = FineTune(device="cpu").explain(replace(task, manifest=examples), dict(outcome.models))
    assert {shown.shape for shown in made.maps.values()} == {made.image.shape[:2]}
    assert "Grad-CAM for two" in made.maps


def test_a_batch_that_does_not_fit_is_halved_in_predicting(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = predict(cell(images), tmp_path).predictions
    answers = NetworkWithHead.predict
    holds = 1

    def small(network: NetworkWithHead, crops: torch.Tensor, orientations: int) -> tuple[torch.Tensor, torch.Tensor]:
        if len(crops) > holds:
            raise torch.OutOfMemoryError
        return answers(network, crops, orientations)

    monkeypatch.setattr(NetworkWithHead, "predict", small)
    pd.testing.assert_frame_equal(predict(cell(images), tmp_path).predictions, whole, rtol=1e-5)
    assert "batches of 1 crops from here on" in caplog.text
    holds = 0
    with pytest.raises(ValueError, match="one crop of 32 pixels does not fit the memory of cpu"):
        predict(cell(images), tmp_path)


def test_bad_images_are_named(tmp_path: Path) -> None:
    from src.images.stain import Macenko

    one = cell(spoil(tmp_path / "images"), stain=Macenko(), on_bad_image="skip", finetune=tuned(epochs=1))
    outcome = predict(one, tmp_path / "store")
    assert outcome.bad["sample"].tolist() == ["one/white.png", "two/truncated.png"]
    assert set(outcome.bad["outcome"]) == {"left out"}
    assert len(outcome.predictions) == 6
    one.on_bad_image = "pass"
    passed = predict(one, tmp_path / "store")
    assert dict(passed.bad[["sample", "outcome"]].to_numpy()) == {
        "one/white.png": "passed",
        "two/truncated.png": "left out",
    }
    one.on_bad_image = "fail"
    with pytest.raises(ValueError, match="one/white.png: nearly no tissue"):
        predict(one, tmp_path / "store")


def test_an_encoder_that_cannot_be_trained_is_used_frozen(images: Path, tmp_path: Path) -> None:
    from src.encoders.handcrafted import Handcrafted

    outcome = predict(cell(images, encoder=Handcrafted(label="Handcrafted")), tmp_path)
    assert outcome.notes == ["Handcrafted has nothing to train: its descriptors went to the classifier"]
    assert outcome.facts["encoded_crops"] > 0


def test_mistakes_are_named_before_any_training(images: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finetune.precision=16-mixed needs a GPU"):
        predict(cell(images, finetune=tuned(precision="16-mixed")), tmp_path)
    shrunk = tuned(transforms=[{"Resize": {"height": 20, "width": 40}}])
    with pytest.raises(ValueError, match="finetune.transforms leave 40 x 20 pixels of .*, too few for crop.size=32"):
        predict(cell(images, finetune=shrunk), tmp_path)
    with pytest.raises(ValueError, match="RandomCrop cannot be applied to an image of 65 x 50 pixels"):
        predict(cell(images, finetune=tuned(transforms=[{"RandomCrop": {"height": 60, "width": 60}}])), tmp_path)
    with pytest.raises(
        ValueError, match="a single value .* of one image where Tiny is trained on crop.size=12, but got"
    ):
        predict(cell(images, crop=Crop(size=12, scale=0.5), encoder=Narrow(), finetune=tuned(batch=1)), tmp_path)
    assert all(KIND not in recipe for recipe in Store(tmp_path).recipes().values())
    with pytest.raises(ValueError, match="`memory >= 0` must hold"):
        FineTune(memory=-1.0)


def test_adapters_want_peft(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match="trainable=lora needs peft, which is not here: `make lora` installs it"):
        predict(cell(images, finetune=tuned(trainable="lora")), tmp_path)
    assert all(KIND not in recipe for recipe in Store(tmp_path).recipes().values())


class Lowest(Branches):
    """Normalises what is left of the pixels: a single one of crops of 12."""

    def __init__(self) -> None:
        super().__init__(normalised=False, auxiliary=False)
        self.last = nn.BatchNorm2d(4)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        maps = self.last(adaptive_avg_pool2d(self.first(pixels), pixels.shape[-1] // 12))
        return maps.mean((2, 3))


@dataclass(kw_only=True)
class Narrow(Tiny):
    """An encoder whose normalisation has one value of each channel of a small crop."""

    def build(self, auxiliary: bool) -> tuple[nn.Module, int]:
        return Lowest(), 4


def test_no_batch_has_a_single_image_where_that_has_no_variance(images: Path, tmp_path: Path) -> None:
    """Five images to learn from by two, and with two batches a step: three and two."""
    for accumulate in (1, 2):
        few = tuned(batch=2, accumulate=accumulate, epochs=1, transforms=[])
        one = cell(images, crop=Crop(size=12, scale=0.5), encoder=Narrow(), finetune=few, training_patients=5)
        assert len(predict(one, tmp_path / str(accumulate)).predictions) == 12


def test_a_damaged_network_is_named(images: Path, tmp_path: Path) -> None:
    one = cell(images, finetune=tuned(epochs=1))
    predict(one, tmp_path)
    path = next(tmp_path.glob("*/model.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        predict(one, tmp_path)


@pytest.mark.slow
def test_pretrained_weights_learn_real_tissue(shared: Path, tmp_path: Path) -> None:
    """The images that a network was fine-tuned on are told apart: the pieces fit together on real input."""
    from src.data.sets.table import Table

    folder = shared / "data" / "histology_sample"
    encoder = Torchvision(
        label="SqueezeNet", architecture="squeezenet1_1", weights=str(shared / "weights"), head=["classifier."]
    )
    curves = Curves()
    one = cell(
        folder,
        data=Table(path=str(folder / "samples.csv"), columns={"sample": "file"}),
        crop=Crop(size=96, scale=0.25, count=2),
        encoder=encoder,
        finetune=FineTuning(epochs=6, batch=4, learning_rate=3e-4),
    )
    outcome = predict(one, tmp_path, curves)
    assert len(outcome.predictions) == len(one.data.manifest())
    assert np.isfinite(outcome.predictions.filter(like="p_").to_numpy()).all()
    for fold in (1, 2):
        curve = curves[f"training_loss/fold{fold:02d}-seed0"]
        assert curve[6] < curve[1]
