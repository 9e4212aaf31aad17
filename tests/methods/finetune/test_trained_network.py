"""Fine-tuning by adapters: what is kept of it, and that it is put on the encoder's own weights or on none."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from src.config import rebuild_operator
from src.encoders.torchvision import Torchvision
from src.methods.finetune.finetune import FineTune
from src.methods.method import Outcome
from src.models.saved import WEIGHTS, load_fitted, pack_fitted, packed_cells
from tests.support.cells import task_of
from tests.support.finetuning import cell, predict, tuned
from tests.support.images import folder_of_images
from tests.support.models import TRAINED, asked, copied, kept

pytestmark = [pytest.mark.extra("peft"), pytest.mark.usefixtures("one_thread")]

LORA = tuned(trainable="lora", epochs=2, hidden=[], lora_targets=["expand1x1"])


def encoder(weights: Path) -> Torchvision:
    return Torchvision(label="SqueezeNet", architecture="squeezenet1_1", weights=str(weights), head=["classifier."])


def write_weights(folder: Path, seed: int) -> Path:
    """A file of weights, in torch's own format, which is packed as another."""
    drawn = Torchvision(architecture="squeezenet1_1", weights="random", seed=seed, head=["classifier."]).load()
    folder.mkdir(exist_ok=True)
    torch.save(drawn.module.state_dict(), folder / "squeezenet1_1.pth")
    return folder / "squeezenet1_1.pth"


@dataclass
class Adapted:
    """A kept cell: its images, its outcome, the file of its encoder's weights, its folder and its store."""

    images: Path
    outcome: Outcome
    weights: Path
    folder: Path
    store: Path


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    images = folder_of_images(tmp_path_factory.mktemp("images"), 8)
    folder = tmp_path_factory.mktemp("adapted")
    weights = write_weights(folder / "weights", 0)
    outcome, model = kept(cell(images, encoder=encoder(weights), finetune=LORA), TRAINED, folder)
    return Adapted(images, outcome, weights, model, folder / "store")


def answers(adapted: Adapted, folder: Path, new: Path) -> None:
    """Check that a kept cell says of copies what the run said of the images."""
    members = asked([load_fitted(folder, rebuild_operator)], copied(adapted.images, new)).members
    said = adapted.outcome.predictions.assign(
        name=adapted.outcome.predictions["sample"].map(lambda name: Path(name).name)
    )
    says = members.assign(name=members["sample"].map(lambda name: Path(name).name.removeprefix("copy of ")))
    both = said.merge(says, on=["name", "fold", "seed"], suffixes=("", "_new"), validate="one_to_one")
    assert len(both) == 8
    np.testing.assert_allclose(both[["p_one_new", "p_two_new"]], both[["p_one", "p_two"]], rtol=0, atol=1e-6)


def test_what_is_kept_is_small_and_trained_once(adapted: Adapted) -> None:
    files = list(adapted.folder.glob("fold*.safetensors")) + list(adapted.store.glob("*/model.safetensors"))
    assert len(files) == 4
    assert all(file.stat().st_size < 0.05 * adapted.weights.stat().st_size for file in files)
    assert adapted.outcome.notes[0] == "adapters of rank 8 on 8 layers of SqueezeNet (expand1x1)"
    one = cell(adapted.images, encoder=encoder(adapted.weights), finetune=LORA)
    again = predict(one, adapted.store)
    assert again.facts["trained_epochs"] == 0
    pd.testing.assert_frame_equal(again.predictions, adapted.outcome.predictions, check_exact=True)


def test_new_images_are_predicted_as_in_the_run(adapted: Adapted, tmp_path: Path) -> None:
    answers(adapted, adapted.folder, tmp_path / "new")


def test_other_weights_are_refused(adapted: Adapted, tmp_path: Path) -> None:
    other = write_weights(tmp_path / "other", 1)
    member = load_fitted(adapted.folder, rebuild_operator, str(other))
    with pytest.raises(ValueError, match="weights of SqueezeNet with which model one was fitted are others than those"):
        asked([member], copied(adapted.images, tmp_path / "new"))


def test_a_packed_model_has_the_encoders_weights_once(adapted: Adapted, tmp_path: Path) -> None:
    pack_fitted([adapted.folder], rebuild_operator, tmp_path / "packed")
    assert [file.name for file in (tmp_path / "packed" / WEIGHTS).rglob("*.*")] == ["squeezenet1_1.safetensors"]
    hidden = adapted.weights.with_suffix(".hidden")
    shutil.move(adapted.weights, hidden)
    try:
        answers(adapted, packed_cells(tmp_path / "packed")[0], tmp_path / "new")
    finally:
        shutil.move(hidden, adapted.weights)


def test_what_networks_look_at(adapted: Adapted) -> None:
    one = cell(adapted.images, encoder=encoder(adapted.weights), finetune=LORA)
    task = task_of(one, adapted.store)
    examples = adapted.outcome.predictions.head(1).assign(predicted="two", probability=0.5)
    examples["content"] = examples["sample"].map(task.manifest.set_index("sample")["content"])
    examples["label"] = pd.Categorical(examples["label"], ["one", "two"])
    task.manifest = examples
    (made,) = FineTune(device="cpu").explain(task, dict(adapted.outcome.models))
    assert {shown.shape for shown in made.maps.values()} == {made.image.shape[:2]}
    assert "Grad-CAM for two" in made.maps


def test_mistakes_are_named_before_any_training(adapted: Adapted, tmp_path: Path) -> None:
    wrong = tuned(trainable="lora", lora_targets=["qkv"])
    with pytest.raises(ValueError, match=r"layers of squeezenet1_1 \(0, squeeze, expand1x1, expand3x3\), but got qkv"):
        predict(cell(adapted.images, encoder=encoder(adapted.weights), finetune=wrong), tmp_path)
