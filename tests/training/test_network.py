"""The classifier: its head, what learns in a phase, orientations, and weights by name."""

import numpy as np
import pytest
import torch
from torch import nn

from src.training.network import build_head, copy_tensors, fill_tensors, orient_crops
from tests.support.networks import CROPS, classifier


def test_heads() -> None:
    kinds = [[type(layer).__name__ for layer in build_head(6, 2, hidden, 0.5)] for hidden in ([], [8, 4])]
    assert kinds == [["Dropout", "Linear"], ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]]
    assert nn.Sequential(*build_head(6, 2, [8, 4], 0.5))(torch.zeros(3, 6)).shape == (3, 2)


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_orientations_are_different_and_as_many(count: int) -> None:
    made = list(orient_crops(CROPS[:1], count))
    assert len({each.numpy().tobytes() for each in made}) == count
    assert torch.equal(made[0], CROPS[:1])


def test_predictions_do_not_depend_on_an_orientation_over_all_of_them() -> None:
    network = classifier().eval()
    with torch.no_grad():
        one, turned = (network.predict(crops, 8)[0] for crops in (CROPS, CROPS.rot90(1, (2, 3))))
    torch.testing.assert_close(one, turned)
    torch.testing.assert_close(one.sum(1), torch.ones(10, dtype=torch.float64))


def test_what_learns() -> None:
    network = classifier(hidden=[4])
    for trainable, everything in (("head", False), ("all", True)):
        network.learn(trainable)
        assert {parameter.requires_grad for parameter in network.encoder.parameters()} == {everything}
        assert {parameter.requires_grad for parameter in network.head.parameters()} == {True}
        assert (network.encoder.training, network.head.training) == (everything, True)


def test_auxiliary_logits_in_training_only() -> None:
    network = classifier(auxiliary=True)
    pixels = network.prepare(CROPS)
    assert [logits.shape for logits in network.train()(pixels)] == [(10, 2), (10, 2)]
    assert network.eval()(pixels).shape == (10, 2)


def test_weights_go_out_and_come_in() -> None:
    one, other = classifier(), classifier()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    fill_tensors(other, copy_tensors(one))
    for name, values in copy_tensors(one).items():
        np.testing.assert_array_equal(copy_tensors(other)[name], values)
