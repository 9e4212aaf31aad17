"""Adapters: what they add, on which layers, and that they learn while the encoder stays as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.encoders.network_encoder import Network
from src.encoders.timm import Timm
from src.methods.finetune.trained_network import with_head
from src.training.adapters import AdaptedNetwork, adapted_layers, add_adapters, find_targets
from src.training.fitting import Trained
from src.training.network import copy_tensors, fill_tensors
from src.training.parameters import FineTuning, Phase
from src.training.torch_settings import compute_exactly
from tests.support.networks import CROPS, Tiny, fit

pytestmark = pytest.mark.extra("peft")

LORA = {"trainable": "lora", "lora_rank": 2, "lora_alpha": 6.0, "epochs": 2, "learning_rate": 0.05, "batch": 4}
BLANK = torch.zeros(3, 32, 32, dtype=torch.uint8)


def adapted(finetune: FineTuning, network: Network | None = None) -> AdaptedNetwork:
    network = network or Tiny().load()
    made = with_head(network, finetune, ["one", "two"], 0, find_targets(network, finetune.lora_targets, CROPS[0]))
    assert isinstance(made, AdaptedNetwork)
    return made


def train(folder: Path, finetune: FineTuning, network: AdaptedNetwork, **given: object) -> Trained:
    with compute_exactly(torch.device("cpu")):
        return fit(folder, finetune, **given)(network, lambda _: None)


def test_a_network_begins_as_its_encoder() -> None:
    network = Tiny().load()
    expected = network(CROPS)
    one = adapted(FineTuning(**LORA), network)
    torch.testing.assert_close(one.encoder(one.prepare(CROPS)), expected)


def test_an_adapter_adds_alpha_by_rank_times_its_product() -> None:
    """Of a linear layer and a convolution of one pixel, by matrices."""
    layers: list[nn.Module] = [nn.Linear(5, 4), nn.Conv2d(5, 4, 1)]
    for layer, inputs in zip(layers, (torch.rand(3, 5), torch.rand(3, 5, 2, 2)), strict=True):
        expected = layer(inputs)
        holder = nn.ModuleDict({"layer": layer})
        add_adapters(holder, FineTuning(**LORA), ["layer"])
        found = dict(holder.named_parameters())
        down, up = (found[f"layer.lora_{part}.default.weight"].detach() for part in "AB")
        with torch.no_grad():
            up.normal_()
        change = up.flatten(1) @ down.flatten(1)
        added = torch.einsum("oi,ni...->no...", 6.0 / 2 * change, inputs)
        torch.testing.assert_close(holder["layer"](inputs), expected + added)


class Attending(nn.Module):
    """Attention of torch, which does not call its last layer, and a layer that nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.mixing = nn.Conv2d(8, 8, 1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 8))
        self.unused = nn.Linear(8, 8)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.mixing(self.depthwise(self.patches(pixels))).flatten(2).mT
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        descriptors: Tensor = self.mlp(tokens).mean(1)
        return descriptors


def test_adapters_are_put_on_layers_that_are_called_and_have_a_matrix() -> None:
    network = Network(Tiny(), Attending().eval(), 8, "cpu")
    assert find_targets(network, [], BLANK) == ["mixing", "mlp.0", "mlp.1"]
    assert find_targets(network, ["patches", "mlp.1"], BLANK) == ["patches", "mlp.1"]
    with pytest.raises(ValueError, match=r"names of layers of tiny \(patches, mixing, 0, 1\), but got unused"):
        find_targets(network, ["unused"], BLANK)
    bare = Network(Tiny(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 3, "cpu")
    with pytest.raises(ValueError, match="Tiny has no linear layer or convolution that can have an adapter"):
        find_targets(bare, [], BLANK)


def test_the_layers_of_transformers_and_convolutional_networks() -> None:
    transformer = Timm(architecture="vit_tiny_patch16_224", weights="random", arguments={"img_size": 32}).load()
    blocks = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert find_targets(transformer, [], BLANK) == [f"blocks.{n}.{layer}" for n in range(12) for layer in blocks]
    assert find_targets(transformer, ["qkv"], BLANK) == [f"blocks.{n}.attn.qkv" for n in range(12)]
    convolutional = find_targets(Timm(architecture="tf_efficientnet_lite0", weights="random").load(), [], BLANK)
    assert {name.rpartition(".")[2] for name in convolutional} == {"conv_pw", "conv_pwl", "conv_head"}


def test_adapters_and_head_learn_and_nothing_else(tmp_path: Path) -> None:
    network = adapted(FineTuning(**LORA))
    before = {name: parameter.clone() for name, parameter in network.encoder.named_parameters()}
    statistics = {name: buffer.clone() for name, buffer in network.encoder.named_buffers()}
    made = train(tmp_path, FineTuning(**LORA), network)
    assert adapted_layers(made.weights) == ["second"]
    assert {name for name in made.weights if not name.startswith("head.")} == {
        f"encoder.second.lora_{part}.default.weight" for part in "AB"
    }
    after = dict(network.encoder.named_parameters())
    changed = {name for name, values in before.items() if not torch.equal(values, after[name])}
    assert changed == {f"second.lora_{part}.default.weight" for part in "AB"}
    for name, buffer in network.encoder.named_buffers():
        assert torch.equal(buffer, statistics[name])


def test_a_phase_of_the_head_leaves_adapters_as_they_are(tmp_path: Path) -> None:
    finetune = FineTuning(**LORA | {"phases": [Phase(trainable="head", epochs=1), Phase(trainable="lora", epochs=1)]})
    network, seen = adapted(finetune), []

    def record(name: str, value: float, epoch: int) -> None:
        seen.append(copy_tensors(network)["encoder.second.lora_B.default.weight"].any())

    train(tmp_path, finetune, network, record=record)
    assert (seen[0], seen[-1]) == (False, True)


def test_dropout_of_adapters_is_drawn_in_training_only() -> None:
    network = adapted(FineTuning(**LORA | {"lora_dropout": 0.9}))
    copies = copy_tensors(network)
    fill_tensors(network, {name: np.ones_like(values) for name, values in copies.items()})
    pixels = network.prepare(CROPS)
    network.learn("lora")
    assert not torch.equal(network(pixels), network(pixels))
    for stay in (lambda: network.learn("head"), network.eval):
        stay()
        assert torch.equal(network(pixels), network(pixels))


class Killed(BaseException):
    """What ends a training from outside."""


@pytest.mark.parametrize("more", [{}, {"averaging": "ema", "layer_decay": 0.5, "lora_dropout": 0.3}], ids=str)
def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path, more: dict[str, object]) -> None:
    finetune = FineTuning(**(LORA | {"epochs": 3} | more))

    def killing(name: str, value: float, epoch: int) -> None:
        if epoch == 2:
            raise Killed

    whole = train(tmp_path / "whole", finetune, adapted(finetune))
    with pytest.raises(Killed):
        train(tmp_path / "parts", finetune, adapted(finetune), record=killing)
    torch.rand(3)  # whatever else is drawn
    resumed = train(tmp_path / "parts", finetune, adapted(finetune))
    assert (whole.points, resumed.trained_epochs) == (resumed.points, 1)
    for name, values in whole.weights.items():
        np.testing.assert_array_equal(values, resumed.weights[name])
