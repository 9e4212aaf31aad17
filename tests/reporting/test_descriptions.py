"""What a run used, in words."""

from datetime import UTC, datetime

import pytest

from src.reporting.descriptions import augmentation, averaging, classifier, crops, dataset, encoder, training
from src.tracking import FINISHED, RunRecord


@pytest.mark.parametrize(
    ("option", "linked", "name"),
    [
        ("bach", ["bach_half"], "bach"),
        ("csv", ["Study (1)/cores.csv"], "Study (1)/cores.csv"),
        ("folder", ["lesions.v2"], "lesions.v2"),
        ("csv", [], "csv"),
    ],
)
def test_a_data_set_has_a_name(option: str, linked: list[str], name: str) -> None:
    began, data = datetime.now(UTC), [{"name": each} for each in linked]
    run = RunRecord(
        id="a",
        name="a",
        status=FINISHED,
        start=began,
        end=began,
        params={"data": option},
        tags={},
        metrics={},
        datasets=data,
    )
    assert dataset(run) == name


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"crop": "half224", "crop.size": "400", "crop.scale": "1.0", "crop.count": "20", "crop.sharing": "exact"},
            "20 crops of 400 x 400 pixels at scale 1",
        ),
        (
            {"crop": "half224", "crop.size": "224", "crop.scale": "0.5", "crop.count": "1", "crop.sharing": "map"},
            "1 crop of 224 x 224 pixels on shared maps at scale 0.5",
        ),
        (
            {"crop": "fit224", "crop.size": "224", "crop.scale": "0.5", "crop.count": "20", "crop.fit": "True"},
            "20 crops of 224 x 224 pixels at scale 0.5, larger where crops would not fit",
        ),
        ({"crop": "whole", "crop.size": "64", "crop.count": "1"}, "whole images resized to 64 x 64 pixels"),
        (
            {"crop": "centre", "crop.size": "224", "crop.shorter": "256"},
            "the central 224 x 224 pixels of images whose shorter side is 256",
        ),
        ({"crop": "half224"}, "half224"),
    ],
)
def test_crops_are_those_that_were_taken(params: dict[str, str], said: str) -> None:
    assert crops(params) == said


def test_descriptors_and_classifiers() -> None:
    assert encoder({"encoder": "efficientnet_lite0", "encoder.label": "B0", "encoder.weights": "imagenet"}) == (
        "B0 (imagenet weights)"
    )
    assert encoder({"encoder": "handcrafted"}) == "handcrafted"
    assert augmentation({"augment": "stain_jitter", "augment.count": "50"}) == "50 times stain jitter"
    assert augmentation({"augment": "none", "augment.count": "1"}) == ""
    assert classifier({"classifier": "lightgbm", "pool.p": "3.0"}) == "lightgbm on descriptors pooled with p = 3"


def test_a_training_of_one_phase() -> None:
    given = {"trainable": "all", "epochs": "20", "learning_rate": "0.0001", "phases": "[]", "optimizer": "adamw"}
    given |= {"schedule": "cosine", "batch": "16", "accumulate": "2", "validation": "0.2"}
    given |= {"transforms": "[{'HorizontalFlip': {'p': 0.5}}, {'Rotate': {'limit': 30}}]"}
    assert training({f"finetune.{key}": value for key, value in given.items()}) == (
        "all layers for 20 epochs at a learning rate of 0.0001, adamw, cosine rate, batches of 32, images varied by "
        "HorizontalFlip and Rotate, stopped by 20 % of the training patients"
    )
    assert training({"encoder": "resnet"}) == ""


def test_a_training_of_several_phases() -> None:
    phases = "[{'trainable': 'head', 'epochs': 0, 'steps': 3000, 'learning_rate': 0.01}, "
    phases += "{'trainable': 'all', 'epochs': 2, 'steps': 0, 'learning_rate': 0.001}]"
    assert training({"finetune.phases": phases, "finetune.trainable": "all", "finetune.epochs": "20"}) == (
        "the head alone for 3000 steps at a learning rate of 0.01, then all layers for 2 epochs at a learning rate of "
        "0.001, images not varied further"
    )


def test_a_training_of_adapters_that_is_averaged() -> None:
    given = {"trainable": "lora", "lora_rank": "4", "epochs": "2", "learning_rate": "0.001", "layer_decay": "0.75"}
    assert training({f"finetune.{key}": value for key, value in (given | {"averaging": "none"}).items()}) == (
        "adapters (LoRA, rank 4) and the head for 2 epochs at a learning rate of 0.001, each layer's 0.75 times that "
        "of the next, images not varied further"
    )
    assert averaging({"averaging": "ema", "ema_decay": "0.99"}) == "weights averaged exponentially over steps (0.99)"
    assert averaging({"averaging": "swa", "swa_start": "0.75"}) == (
        "weights averaged over the epochs after 75 % of each phase"
    )
