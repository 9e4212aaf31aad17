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


@pytest.mark.parametrize("name", ["googlenet", "alexnet", "squeezenet", "vgg16"])
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
    with pytest.raises(ValueError, match=r"`architecture` must be one of alexnet, .* but got architecture=resnet18"):
        option("squeezenet", architecture="resnet18")


def googlenet_file(folder: Path) -> tuple[Path, torchvision.models.GoogLeNet]:
    """A file of the whole network, auxiliary classifiers and last layers included, and the network."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = torchvision.models.googlenet(init_weights=True)
    torch.save(model.state_dict(), folder / "weights.pth")
    return folder / "weights.pth", model


@pytest.mark.parametrize("size", [32, 64, 96])
def test_googlenet_gives_its_auxiliary_descriptors_in_training_only(option: Callable[..., Encoder], size: int) -> None:
    network = option("googlenet", weights="random").load(auxiliary=True)  # type: ignore[call-arg]
    batch = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert network.auxiliary_lengths == network.module.auxiliary_lengths == [1024, 1024]
    assert network.module(network.prepare(batch)).shape == (2, 1024)
    outputs = network.module.requires_grad_(True).train()(network.prepare(batch))
    assert [tuple(output.shape) for output in outputs] == [(2, 1024)] * 3
    outputs[1].sum().backward(retain_graph=True)  # the first branch leaves after inception 4a, the second after 4d
    module = network.module
    assert module.inception4a.branch1.conv.weight.grad is not None
    assert module.inception4b.branch1.conv.weight.grad is None
    outputs[2].sum().backward()
    assert module.inception4d.branch1.conv.weight.grad is not None
    assert module.inception4e.branch1.conv.weight.grad is None


def test_auxiliary_classifiers_are_torchvisions_without_their_last_layers(
    option: Callable[..., Encoder], tmp_path: Path
) -> None:
    path, model = googlenet_file(tmp_path)
    network = option("googlenet", weights=str(path)).load(auxiliary=True)  # type: ignore[call-arg]
    pixels = network.prepare(crops())
    for module in (model.train(), network.module.train()):
        for part in module.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    expected = model(pixels)
    outputs = network.module(pixels)
    for output, logits, last in zip(
        outputs,
        (expected.logits, expected.aux_logits1, expected.aux_logits2),
        (model.fc, model.aux1.fc2, model.aux2.fc2),
        strict=True,
    ):
        torch.testing.assert_close(last(output), logits)


def test_auxiliary_classifiers_that_a_file_lacks_are_drawn_and_half_ones_refused(
    option: Callable[..., Encoder], tmp_path: Path
) -> None:
    path, _ = googlenet_file(tmp_path)
    state = {key: tensor for key, tensor in torch.load(path).items() if not key.startswith("aux")}
    torch.save(state, path)
    encoder = option("googlenet", weights=str(path))
    one, again = (encoder.load(auxiliary=True).module.state_dict() for _ in range(2))  # type: ignore[call-arg]
    assert torch.equal(one["aux1.fc1.weight"], again["aux1.fc1.weight"])
    assert torch.equal(one["conv1.conv.weight"], state["conv1.conv.weight"])
    torch.testing.assert_close(encoder.load()(crops()), encoder.load(auxiliary=True)(crops()))  # type: ignore[call-arg]
    torch.save(state | {"aux1.fc1.bias": torch.zeros(1024)}, path)
    with pytest.raises(ValueError, match=r"does not fit googlenet: tensors missing: \d+, the first is aux1\.conv"):
        encoder.load(auxiliary=True)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["alexnet", "squeezenet"])
def test_networks_without_auxiliary_classifiers_say_so(option: Callable[..., Encoder], name: str) -> None:
    network = option(name, weights="random").load(auxiliary=True)  # type: ignore[call-arg]
    assert network.auxiliary_lengths == []
    assert isinstance(network.module.train()(network.prepare(crops())), torch.Tensor)


def test_another_architecture_has_its_own_head_and_name_and_no_address(option: Callable[..., Encoder]) -> None:
    other = option("alexnet", architecture="googlenet")
    assert (other.label, other.mean, other.head[0]) == ("googlenet", [0.5] * 3, "fc.")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="where the weights of googlenet are published: give encoder.url="):
        other.digest()
