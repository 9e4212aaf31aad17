"""Averages of weights: those of the epochs or steps that they are of, with batch statistics that fit them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from src.training.fitting import Trained
from src.training.network import NetworkWithHead, Tensors, copy_tensors
from src.training.parameters import FineTuning, Phase
from src.training.torch_settings import compute_exactly
from tests.support.networks import classifier, fit, shown

STEADY = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 0.1, "batch": 10}
"""An epoch is a step, and one training begins as a longer one does."""
STATISTICS = ("running_mean", "running_var", "tracked")


def train(folder: Path, network: NetworkWithHead | None = None, **finetune: object) -> Trained:
    with compute_exactly(torch.device("cpu")):
        return fit(folder, FineTuning(**(STEADY | finetune)))(network or classifier(), lambda _: None)


def learnt(weights: Tensors) -> Tensors:
    return {name: values for name, values in weights.items() if not name.endswith(STATISTICS)}


@pytest.fixture(scope="module")
def epochs(tmp_path_factory: pytest.TempPathFactory) -> list[Tensors]:
    """The weights after one, two, three and four epochs."""
    folder = tmp_path_factory.mktemp("epochs")
    return [learnt(train(folder / str(count), epochs=count).weights) for count in (1, 2, 3, 4)]


def assert_near(made: Tensors, expected: Tensors) -> None:
    assert made.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(made[name], values, atol=1e-6)


def test_swa_is_the_mean_of_the_last_epochs(tmp_path: Path, epochs: list[Tensors]) -> None:
    made = train(tmp_path, epochs=4, averaging="swa", swa_start=0.5).weights
    assert_near(learnt(made), {name: (epochs[2][name] + epochs[3][name]) / 2 for name in epochs[0]})


def test_ema_follows_the_steps_and_forgets_the_first(tmp_path: Path, epochs: list[Tensors]) -> None:
    average = epochs[0]
    for count, weights in enumerate(epochs[1:], start=1):
        decay = min(0.25, (1 + count) / (10 + count))
        average = {name: decay * average[name] + (1 - decay) * values for name, values in weights.items()}
    made = train(tmp_path, epochs=4, averaging="ema", ema_decay=0.25).weights
    assert_near(learnt(made), average)


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_batch_statistics_are_those_of_the_averaged_weights(tmp_path: Path, averaging: str) -> None:
    """All ten images are one batch, so that the statistics are those of all that the first layer makes of them."""
    network = classifier()
    train(tmp_path, network, epochs=4, averaging=averaging)
    pixels = network.prepare(torch.stack(list(shown(range(10), 5))))
    with torch.no_grad():
        maps = network.encoder.first(pixels)
    torch.testing.assert_close(network.encoder.normalisation.running_mean, maps.mean((0, 2, 3)))
    torch.testing.assert_close(network.encoder.normalisation.running_var, maps.var((0, 2, 3)))
    assert network.encoder.normalisation.momentum == 0.1


def test_batch_statistics_stay_where_only_the_head_learns(tmp_path: Path) -> None:
    network = classifier()
    before = copy_tensors(network.encoder)
    train(tmp_path, network, epochs=3, trainable="head", averaging="ema")
    for name, values in copy_tensors(network.encoder).items():
        np.testing.assert_array_equal(values, before[name])


def test_the_cases_that_decide_judge_the_average_and_the_training_goes_on_without_it(tmp_path: Path) -> None:
    judged: list[Tensors] = []

    def stopping(network: NetworkWithHead) -> float:
        judged.append(learnt(copy_tensors(network.eval())))
        return -float(len(judged))  # better every time

    def run(folder: Path, **finetune: object) -> Trained:
        given = FineTuning(**(STEADY | {"epochs": 4, "validation": 0.2} | finetune))
        with compute_exactly(torch.device("cpu")):
            return fit(folder, given, stopping=stopping)(classifier(), lambda _: None)

    run(tmp_path / "plain")
    plain, judged[:] = list(judged), []
    made = run(tmp_path / "swa", averaging="swa", swa_start=0.25)
    means = [{name: np.mean([each[name] for each in plain[1:last]], axis=0) for name in plain[0]} for last in (2, 3, 4)]
    for found, expected in zip(judged, [plain[0], *means], strict=True):
        assert_near(found, expected)
    assert_near(learnt(made.weights), means[-1])


class Killed(BaseException):
    """What ends a training from outside."""


@pytest.mark.parametrize("averaging", ["ema", "swa"])
@pytest.mark.parametrize("after", [1, 3, 4], ids="after epoch {}".format)
def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path, averaging: str, after: int) -> None:
    finetune = FineTuning(
        phases=[Phase(trainable="head", epochs=1, learning_rate=0.05), Phase(epochs=3, learning_rate=0.01)],
        **{"batch": 4, "averaging": averaging, "swa_start": 0.3, "layer_decay": 0.7, "hidden": [5], "dropout": 0.3},
    )

    def run(folder: Path, killed: int = 0) -> Trained:
        def record(name: str, value: float, epoch: int) -> None:
            if epoch == killed:
                raise Killed

        with compute_exactly(torch.device("cpu")):
            return fit(folder, finetune, record=record)(classifier(hidden=[5]), lambda _: None)

    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "parts", killed=after)
    torch.rand(3)  # whatever else is drawn
    resumed = run(tmp_path / "parts")
    assert whole.points == resumed.points
    for name, values in whole.weights.items():
        np.testing.assert_array_equal(values, resumed.weights[name])
