"""The parameters of a training, and the steps that they mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.training.parameters import FineTuning, Phase, count_parts


@pytest.mark.parametrize(
    "wrong",
    [
        {"trainable": "some"},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"hidden": [0]},
        {"dropout": 1.0},
        {"auxiliary": -1.0},
        {"optimizer": "adam"},
        {"momentum": 1.0},
        {"epsilon": 0.0},
        {"weight_decay": -1.0},
        {"schedule": "linear"},
        {"warmup": 1.0},
        {"batch": 0},
        {"accumulate": 0},
        {"precision": "16"},
        {"class_weights": "inverse"},
        {"label_smoothing": 1.0},
        {"validation": 1.0},
        {"patience": -1},
        {"patience": 2},
        {"orientations": 3},
        {"transforms": [{"Flipp": {}}]},
        {"lora_rank": 0},
        {"lora_alpha": 0.0},
        {"lora_dropout": 1.0},
        {"layer_decay": 1.1},
        {"layer_decay": 0.0},
        {"averaging": "polyak"},
        {"ema_decay": 1.0},
        {"swa_start": -0.1},
    ],
    ids=str,
)
def test_every_parameter_checks_itself(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FineTuning(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"epochs": 1, "steps": 1},
        {"steps": -1},
        {"epochs": 1, "trainable": "x"},
        {"epochs": 1, "learning_rate": 0.0},
    ],
    ids=str,
)
def test_a_phase_checks_itself(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="but got"):
        Phase(**wrong)


def test_phases_replace_the_one() -> None:
    assert FineTuning(epochs=3, trainable="head").stages() == [Phase(trainable="head", epochs=3)]
    phases = [Phase(steps=5), Phase(epochs=2)]
    assert FineTuning(phases=phases).stages() == phases


def test_adapters_and_a_changing_encoder_exclude_each_other() -> None:
    assert FineTuning(phases=[Phase(trainable="head", epochs=1), Phase(trainable="lora", epochs=1)]).adapts
    with pytest.raises(ValueError, match="an encoder that stays as it is, and trainable=all changes it"):
        FineTuning(phases=[Phase(trainable="lora", epochs=1), Phase(trainable="all", epochs=1)])


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 300))
def test_steps_are_as_many_as_were_asked_for(images: int, together: int, steps: int) -> None:
    plan = Phase(steps=steps).plan(images, together)
    whole = Phase(epochs=1).plan(images, together)[0]
    assert sum(plan) == steps
    assert (whole - 1) * together < images <= whole * together
    assert all(each == whole for each in plan[:-1])
    assert 1 <= plan[-1] <= whole


@given(images=st.integers(2, 200), most=st.integers(2, 9))
def test_no_part_has_a_single_image_where_two_are_needed(images: int, most: int) -> None:
    sizes = [len(part) for part in np.array_split(np.arange(images), count_parts(images, most, fewest=2))]
    assert min(sizes) >= 2
    assert max(sizes) <= max(most, 3)
    alone = [len(part) for part in np.array_split(np.arange(images), count_parts(images, most))]
    assert sizes == alone or min(alone) == 1
