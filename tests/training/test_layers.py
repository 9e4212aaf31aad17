"""Learning rates by layer: as timm gives them, and for networks that do not say what their layers are."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from src.encoders.timm import Timm
from src.training.layers import SCALE, decayed_groups, number_layers
from src.training.network import NetworkWithHead, copy_tensors
from src.training.parameters import FineTuning
from tests.support.networks import classifier, fit


@pytest.mark.parametrize("architecture", ["vit_tiny_patch16_224", "resnet18", "tf_efficientnet_lite0"])
def test_rates_are_timms(architecture: str) -> None:
    """Timm's own are those of a model with its head, which is the last layer here as well."""
    network = NetworkWithHead(Timm(architecture=architecture, weights="random").load(), classes=2)
    network.learn("all")
    names = {parameter: name.removeprefix("encoder.") for name, parameter in network.named_parameters()}
    ours = {names[each]: group[SCALE] for group in decayed_groups(network, 0.5) for each in group["params"]}
    model = timm.create_model(architecture, num_classes=2)
    named = {parameter: name for name, parameter in model.named_parameters()}
    theirs = {
        named[each]: group["lr_scale"]
        for group in param_groups_layer_decay(model, layer_decay=0.5)
        for each in group["params"]
    }
    head = model.pretrained_cfg["classifier"]
    assert {name.replace("head.0", head): scale for name, scale in ours.items()} == pytest.approx(theirs)


def test_layers_of_a_network_that_does_not_say_what_they_are() -> None:
    blocks = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    network = nn.ModuleDict({"embedding": nn.Conv2d(3, 2, 1), "blocks": blocks, "norm": nn.LayerNorm(2)})
    layers = {"embedding": 0, "blocks.0": 1, "blocks.1.0": 2, "blocks.1.1": 2, "norm": 3}
    expected = {f"{layer}.{part}": number for layer, number in layers.items() for part in ("weight", "bias")}
    assert number_layers(network) == expected
    inside = number_layers(nn.ModuleDict({"read": network}))
    assert inside == {f"read.{name}": number for name, number in expected.items()}


def test_a_first_step_is_as_large_as_the_layers_rate(tmp_path: Path) -> None:
    """By plain gradient descent: two layers and a head, whose steps shrink by 1, 1/4 and 1/16 from the head down."""

    def steps(decay: float) -> dict[str, np.ndarray]:
        network = classifier(normalised=False)
        before = copy_tensors(network)
        plain = FineTuning(
            optimizer="sgd", momentum=0.0, weight_decay=0.0, epochs=1, batch=10, learning_rate=0.1, layer_decay=decay
        )
        after = fit(tmp_path / str(decay), plain)(network, lambda _: None).weights
        return {name: values - before[name] for name, values in after.items()}

    whole, decayed = steps(1.0), steps(0.25)
    for layer, scale in {"head.0": 1, "encoder.second": 1 / 4, "encoder.first": 1 / 16}.items():
        assert np.abs(whole[f"{layer}.weight"]).max() > 0
        torch.testing.assert_close(decayed[f"{layer}.weight"], scale * whole[f"{layer}.weight"], rtol=1e-3, atol=1e-7)
