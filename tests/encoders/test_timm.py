"""Encoders of timm against timm, torchvision and the models' cards."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from src.encoders.encoder import Encoder


def crops(size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet",
        "inception",
        "inception_v4",
        "mobilenet",
        "resnet",
        "resnet101",
        "resnet152",
        "resnet18",
        "vgg",
    ],
)
def test_options_agree_with_timms_own_record_of_the_weights(option: Callable[..., Encoder], name: str) -> None:
    import timm

    encoder = option(name)
    record = timm.models.get_pretrained_cfg(f"{encoder.architecture}.{encoder.tag}")  # type: ignore[attr-defined]
    assert record.hf_hub_id == f"timm/{encoder.architecture}.{encoder.tag}"  # type: ignore[attr-defined]
    assert (encoder.mean, encoder.std) == (list(record.mean), list(record.std))
    assert f"{record.classifier}.".startswith(tuple(encoder.head))  # type: ignore[attr-defined]


def test_vgg_reads_the_last_activation_of_each_block(option: Callable[..., Encoder], tmp_path: Path) -> None:
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(3)
        features = torchvision.models.vgg16().features.eval()
    state = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    save_file(state | {"classifier.6.bias": torch.zeros(1000)}, tmp_path / "vgg16.safetensors")
    network = option("vgg", weights=str(tmp_path)).load()
    maps, means = network.prepare(crops()), []
    with torch.no_grad():
        for index, layer in enumerate(features):
            maps = layer(maps)
            if index in (8, 15, 22, 29):  # the activations after conv2_2, conv3_3, conv4_3, conv5_3
                means.append(maps.mean((2, 3)))
    torch.testing.assert_close(network(crops()), torch.cat(means, 1))


def test_virchow2_reads_the_class_token_and_the_mean_patch_as_its_card_says(option: Callable[..., Encoder]) -> None:
    network = option("virchow2", weights="random", arguments={"depth": 1}).load()
    with torch.no_grad():
        tokens = network.module.transformer(network.prepare(crops()))  # type: ignore[operator]
    assert tokens.shape == (2, 1 + 4 + 256, 1280)
    expected = torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], dim=1)
    torch.testing.assert_close(network(crops()), expected)


@pytest.mark.parametrize("name", ["uni", "virchow2"])
def test_weights_of_a_transformer_load(option: Callable[..., Encoder], tmp_path: Path, name: str) -> None:
    one = option(name, weights="random", seed=4, arguments={"depth": 1}).load()
    inner = one.module.transformer if name == "virchow2" else one.module
    torch.save(inner.state_dict(), tmp_path / "pytorch_model.bin")  # type: ignore[union-attr]
    other = option(name, weights=str(tmp_path / "pytorch_model.bin"), arguments={"depth": 1}).load()
    assert torch.equal(one(crops()), other(crops()))


@pytest.mark.parametrize(
    ("name", "million"),
    [("uni", 303.3), ("uni2_h", 681.4), ("virchow2", 631.2), ("prov_gigapath", 1134.9), ("h_optimus_0", 1134.8)],
)
def test_foundation_models_have_the_published_size(option: Callable[..., Encoder], name: str, million: float) -> None:
    with torch.device("meta"):  # shapes only
        model = option(name)._create()  # type: ignore[attr-defined]
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(million, abs=0.3)


def test_real_mobilenet_agrees_with_timm(option: Callable[..., Encoder], shared: Path) -> None:
    import timm

    model = timm.create_model("mobilenetv2_100", num_classes=0).eval()
    model.load_state_dict(load_file(shared / "weights/mobilenetv2_100.safetensors"))
    mean, std = (torch.tensor(model.default_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = model((crops(96) / 255 - mean) / std)
    network = option("mobilenet", weights=str(shared / "weights")).load()
    torch.testing.assert_close(network(crops(96)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "resnet",
            {"readout": "maximum"},
            "`readout` must be one of pooled, class_mean, stages, but got readout=maximum",
        ),
        ("resnet", {"weights": "released"}, "published ones are imagenet"),
        ("uni", {"weights": "imagenet"}, "published ones are released"),
        ("resnet", {"architecture": "resnet51", "weights": "random"}, "no encoder.architecture=resnet51.*resnet50"),
        ("resnet", {"arguments": {"depht": 1}, "weights": "random"}, "encoder.arguments do not suit resnet50.*depht"),
        ("uni", {"arguments": {"mlp_layer": "Swi"}, "weights": "random"}, "mlp_layer must name a class .*'Swi'"),
    ],
)
def test_wrong_choices_are_refused(
    option: Callable[..., Encoder], name: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        option(name, **changes).load()
