"""Encoders of torchvision against torchvision."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file

from src.encoders.encoder import Encoder

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def crops() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["googlenet", "alexnet", "squeezenet"])
def test_addresses_are_torchvisions(option: Callable[..., Encoder], name: str) -> None:
    encoder = option(name)
    weights = torchvision.models.get_model_weights(encoder.architecture).IMAGENET1K_V1
    assert encoder.url == weights.url  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["googlenet", "alexnet", "squeezenet"])
def test_files_of_whole_models_load_and_give_what_comes_before_the_last_layer(
    option: Callable[..., Encoder], tmp_path: Path, name: str
) -> None:
    architecture = option(name).architecture
    whole = {"init_weights": False, "transform_input": True} if name == "googlenet" else {}  # as its weights are used
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = torchvision.models.get_model(architecture, **whole).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    last = {"googlenet": "dropout", "alexnet": "classifier.5", "squeezenet": "features"}[name]
    caught: list[torch.Tensor] = []
    model.get_submodule(last).register_forward_hook(lambda module, inputs, output: caught.append(output))
    with torch.no_grad():
        model((crops() / 255 - MEAN) / STD)
    expected = caught[0].mean((2, 3)) if caught[0].ndim == 4 else caught[0]
    descriptors = option(name, weights=str(tmp_path / "weights.pth")).load()(crops())
    torch.testing.assert_close(descriptors, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_real_squeezenet_agrees_with_torchvision(option: Callable[..., Encoder], shared: Path) -> None:
    model = torchvision.models.squeezenet1_1().eval()
    model.load_state_dict(load_file(shared / "weights/squeezenet1_1.safetensors"))
    with torch.no_grad():
        expected = model.features((crops() / 255 - MEAN) / STD).mean((2, 3))
    network = option("squeezenet", weights=str(shared / "weights")).load()
    torch.testing.assert_close(network(crops()), expected, rtol=1e-4, atol=1e-5)


def test_other_architectures_are_refused(option: Callable[..., Encoder]) -> None:
    with pytest.raises(ValueError, match=r"`architecture` must be one of alexnet, .* but got 'resnet18'"):
        option("squeezenet", architecture="resnet18")
