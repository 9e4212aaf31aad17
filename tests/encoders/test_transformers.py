"""Encoders of the transformers library against the library itself, on repositories that it wrote."""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from src.config import rebuild_operator
from src.encoders.encoder import Encoder
from src.encoders.repositories import pixels_of, vision_configuration
from src.encoders.transformers import Transformers
from src.models.saved import describe_operator
from src.training.layers import number_layers
from tests.support.encoders import PRETRAINED
from tests.support.repositories import MODELS, PIXELS, SIZE, make_repository

pytestmark = pytest.mark.extra("transformers")

NOBODY = "http://127.0.0.1:9"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TWO = 2 * SIZE


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of repositories as they are downloaded, one of each kind of model."""
    folder = tmp_path_factory.mktemp("repositories")
    for name in MODELS:
        make_repository(folder / name, name)
    return folder


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a hub that cannot be reached."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def crops(size: int = SIZE) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def outputs_of(folder: Path, batch: torch.Tensor, **asked: bool) -> Any:
    """What the library's own model gives of crops that its own image processor has treated, as they are in size."""
    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained(folder)
    images = [np.ascontiguousarray(crop.permute(1, 2, 0).numpy()) for crop in batch]
    pixels = processor(images, return_tensors="pt", do_resize=False, do_center_crop=False)["pixel_values"]
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return getattr(model, "vision_model", model)(pixels, **asked)


def same(descriptors: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(descriptors, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("name", "readout", "registers"),
    [
        ("clip", "pooler", None),
        ("convnext", "pooler", None),
        ("dinov2", "token", 0),
        ("dinov2_with_registers", "token", 3),
        ("dinov3_vit", "token", 4),
        ("siglip", "pooler", None),
        ("vit", "token", 0),
    ],
)
def test_descriptors_are_what_the_library_makes_of_its_own_repository(
    repositories: Path, name: str, readout: str, registers: int | None
) -> None:
    encoder = Transformers(weights=str(repositories / name))
    assert (encoder.readout, encoder.input_size, encoder.label) == (readout, SIZE, name)
    outputs = outputs_of(repositories / name, crops())
    if registers is None:
        same(encoder.load()(crops()), outputs.pooler_output.flatten(1))
        return
    token, patches = outputs.last_hidden_state[:, 0], outputs.last_hidden_state[:, 1 + registers :]
    assert patches.shape[1] == (SIZE // 14) ** 2
    for words, expected in {
        "token": token,
        "patches": patches.mean(1),
        "token_patches": torch.cat([token, patches.mean(1)], dim=1),
    }.items():
        network = replace(encoder, readout=words).load()
        same(network(crops()), expected)
        assert network.length == expected.shape[1]


def test_clip_is_also_read_as_it_is_compared_to_texts(repositories: Path) -> None:
    from transformers import CLIPModel

    network = Transformers(weights=str(repositories / "clip"), readout="projection").load()
    with torch.no_grad():
        outputs = CLIPModel.from_pretrained(repositories / "clip").eval().get_image_features(network.prepare(crops()))
    same(network(crops()), getattr(outputs, "pooler_output", outputs))
    assert network.length == 24


def test_siglip_is_also_read_from_its_patches(repositories: Path) -> None:
    network = Transformers(weights=str(repositories / "siglip"), readout="patches").load()
    same(network(crops()), outputs_of(repositories / "siglip", crops()).last_hidden_state.mean(1))


@pytest.mark.parametrize("name", ["clip", "dinov2", "dinov2_with_registers", "dinov3_vit", "siglip", "vit"])
def test_positions_are_interpolated_for_another_size_as_the_library_does(repositories: Path, name: str) -> None:
    encoder = Transformers(weights=str(repositories / name), input_size=0)
    encoder.check_size(TWO)
    asked = {} if name.startswith("dino") else {"interpolate_pos_encoding": True}
    outputs = outputs_of(repositories / name, crops(TWO), **asked)
    expected = outputs.pooler_output if encoder.readout == "pooler" else outputs.last_hidden_state[:, 0]
    same(encoder.load()(crops(TWO)), expected)
    with pytest.raises(ValueError, match=r"crops of 60 pixels \(patches measure 14 pixels: 56 would be a multiple\)"):
        encoder.check_size(60)


@pytest.mark.parametrize("name", ["clip", "dinov3_vit", "hibou"])
@pytest.mark.parametrize("backend", [pytest.param("openvino", marks=pytest.mark.extra("openvino")), "bfloat16"])
def test_other_backends_and_precisions_give_the_same_but_for_roundings(
    repositories: Path, name: str, backend: str
) -> None:
    folder = repositories / name.replace("hibou", "dinov2_with_registers")
    expected = Transformers(weights=str(folder), input_size=0).load()(crops(TWO))
    changes = {"precision": backend} if backend == "bfloat16" else {"backend": backend}
    found = Transformers(weights=str(folder), input_size=0, **changes).load()(crops(TWO))  # type: ignore[arg-type]
    assert (found - expected).abs().max() < (0.1 if backend == "bfloat16" else 1e-4) * expected.abs().max()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_layers_are_numbered_from_the_pixels_on(repositories: Path, name: str) -> None:
    """For learning rates by layer."""
    module = Transformers(weights=str(repositories / name)).load().module
    numbers = number_layers(module)
    blocks = 4 if name == "convnext" else 2
    assert numbers.keys() == dict(module.named_parameters()).keys()
    for parameter, number in numbers.items():
        numbered = re.search(r"(?:stages|layers?)\.(\d+)", parameter)
        of_pixels = ".embeddings." in parameter or ".pre_layrnorm." in parameter
        assert number == (0 if of_pixels else 1 + int(numbered[1]) if numbered else blocks + 1), parameter
    assert set(numbers.values()) == set(range(blocks + 2))


def test_weights_are_known_by_their_file_and_a_model_needs_nothing_else_of_its_repository(
    repositories: Path, tmp_path: Path, offline: Path
) -> None:
    """As registered models have it: the encoder's description, and somewhere its weights."""
    encoder = Transformers(weights=str(repositories / "vit"))
    file = repositories / "vit" / "model.safetensors"
    assert encoder.digest() == hashlib.sha256(file.read_bytes()).hexdigest()
    description = json.loads(json.dumps(describe_operator(encoder)))
    moved = rebuild_operator(description | {"weights": str(shutil.copy(file, tmp_path / "packed.safetensors"))})
    assert isinstance(moved, Transformers)
    assert torch.equal(moved.load()(crops()), encoder.load()(crops()))
    assert moved.digest() == encoder.digest()


def test_a_repository_in_the_hubs_cache_needs_no_network(repositories: Path, offline: Path) -> None:
    snapshot = offline / "models--some--vit" / "snapshots" / COMMIT
    shutil.copytree(repositories / "vit", snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    encoder = Transformers(repository="some/vit")
    assert (encoder.label, encoder.mean, encoder.architecture) == ("vit", PIXELS["image_mean"], "vit")
    assert torch.equal(encoder.load()(crops()), Transformers(weights=str(snapshot)).load()(crops()))


def test_files_of_torch_load_too(repositories: Path, tmp_path: Path) -> None:
    shutil.copytree(repositories / "clip", tmp_path / "clip")
    state = load_file(tmp_path / "clip" / "model.safetensors")
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]  # as older versions wrote it
    torch.save(state, tmp_path / "clip" / "pytorch_model.bin")
    (tmp_path / "clip" / "model.safetensors").unlink()
    network = Transformers(weights=str(tmp_path / "clip")).load()
    assert torch.equal(network(crops()), Transformers(weights=str(repositories / "clip")).load()(crops()))


def test_every_tensor_is_accounted_for(repositories: Path, tmp_path: Path) -> None:
    shutil.copytree(repositories / "vit", tmp_path / "vit")
    file = tmp_path / "vit" / "model.safetensors"
    state = load_file(file)
    norm, positions = "vit.layernorm.weight", "vit.embeddings.position_embeddings"
    for changed, message in (
        ({name: tensor for name, tensor in state.items() if name != norm}, "missing: 1, the first is layernorm.weight"),
        (state | {"vit.more": torch.zeros(1)}, "unexpected: 1, the first is (vit.)?more"),
        (
            state | {positions: torch.zeros(1, 5, 32)},
            "of another shape: 1, the first is embeddings.position_embeddings",
        ),
    ):
        save_file(changed, file)
        with pytest.raises(ValueError, match=f"does not fit vit: tensors {message}"):
            Transformers(weights=str(tmp_path / "vit")).load()


def test_a_pooler_that_was_not_trained_is_no_readout(repositories: Path) -> None:
    with pytest.raises(ValueError, match=r"does not fit vit: tensors missing: 2, the first is pooler\.dense\.bias"):
        Transformers(weights=str(repositories / "vit"), readout="pooler").load()


def test_an_option_refuses_the_weights_of_a_model_whose_configuration_differs(
    option: Callable[..., Encoder], tmp_path: Path
) -> None:
    """That of layer normalisation cannot be seen in the tensors."""
    small = {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2, "image_size": 28}
    configuration = option("dinov2", configuration=small).configuration  # type: ignore[attr-defined]
    encoder = option("dinov2", configuration=small, weights="random", input_size=28)
    state = {
        name.removeprefix("model."): value.contiguous() for name, value in encoder.load().module.state_dict().items()
    }  # type: ignore[attr-defined]
    save_file(state, tmp_path / "model.safetensors")
    for eps, theirs in (("the same", configuration), ("another", configuration | {"layer_norm_eps": 1e-5})):
        (tmp_path / "config.json").write_text(json.dumps(theirs))
        given = option("dinov2", configuration=small, weights=str(tmp_path), input_size=28)
        if eps == "the same":
            assert torch.equal(given.load()(crops(28)), encoder.load()(crops(28)))
            continue
        with pytest.raises(
            ValueError,
            match=r"is of another model than DINOv2-B: it asks for encoder.configuration.layer_norm_eps=1e-05",
        ):
            given.load()


# Million parameters, with their sources: DINOv2's README (21, 86, 300) and DINOv3's (86); Phikon-v2's card (303);
# lazyslide's table of models (Midnight-12k 1140, PLIP 87.8); Phikon, CLIP: a ViT-B/16 (86, Dosovitskiy 2021, table 1);
# Hibou-L: a ViT-L/14 with a gated MLP (Nechaev 2024). The token that masks patches in pretraining does not count.
SIZES = {
    "clip": 85.8,
    "dinov2": 86.6,
    "dinov2_large": 304.4,
    "dinov2_small": 22.1,
    "dinov3": 85.7,
    "hibou_l": 303.7,
    "midnight_12k": 1134.8,
    "phikon": 85.8,
    "phikon_v2": 303.4,
    "plip": 87.8,
    "rad_dino": 86.6,
}


@pytest.mark.parametrize("name", sorted(PRETRAINED))
def test_named_models_have_the_published_size(option: Callable[..., Encoder], name: str, offline: Path) -> None:
    encoder = option(name)
    with torch.device("meta"):  # shapes only
        module, length = encoder.build(auxiliary=False)  # type: ignore[attr-defined]
        descriptor = module.eval()(torch.empty(1, 3, encoder.input_size, encoder.input_size))  # type: ignore[attr-defined]
    assert sum(each.numel() for each in module.parameters()) / 1e6 == pytest.approx(SIZES[name], abs=0.06)
    assert descriptor.shape == (1, length) == (1, PRETRAINED[name])
    with pytest.raises(ValueError, match="could not be fetched from https://huggingface.co/") as caught:
        encoder.digest()
    for part in (encoder.repository, "hf auth login", "encoder.weights=random", "encoder.weights=PATH", FILES_SAID):  # type: ignore[attr-defined]
        assert part in str(caught.value)


FILES_SAID = "a folder that holds model.safetensors or pytorch_model.bin"


def test_hibou_is_the_librarys_dinov2_with_registers(repositories: Path, option: Callable[..., Encoder]) -> None:
    """Its repository's names are those that the library wrote and reads (`mlp.weights_in`, `register_tokens`)."""
    names = set(load_file(repositories / "dinov2_with_registers" / "model.safetensors"))
    published = {
        *("embeddings.cls_token", "embeddings.mask_token", "embeddings.position_embeddings"),
        *("embeddings.register_tokens", "embeddings.patch_embeddings.projection.weight"),
        *("encoder.layer.0.attention.attention.query.weight", "encoder.layer.0.attention.output.dense.weight"),
        *("encoder.layer.0.mlp.weights_in.weight", "encoder.layer.0.mlp.weights_out.weight"),
        *("encoder.layer.0.layer_scale1.lambda1", "encoder.layer.0.norm1.weight", "layernorm.weight"),
    }
    assert published <= names
    with torch.device("meta"):
        module, _ = option("hibou_l").build(auxiliary=False)  # type: ignore[attr-defined]
    assert module.model.encoder.layer[0].mlp.gate_proj.weight.shape == (2736, 1024)


CODE = """
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

Path(r"{marker}").touch()


class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, hidden_size=8, patch_size=14, image_size=56, **more):
        self.hidden_size, self.patch_size, self.image_size = hidden_size, patch_size, image_size
        super().__init__(**more)


class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        self.patches = torch.nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)
        self.post_init()

    def forward(self, pixel_values):
        tokens = self.patches(pixel_values).flatten(2).transpose(1, 2)
        return BaseModelOutput(last_hidden_state=torch.cat([tokens.sum(1, keepdim=True), tokens], dim=1))
"""


def test_code_of_a_repository_runs_only_where_it_is_trusted(
    tmp_path: Path, repositories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder, marker = tmp_path / "own", tmp_path / "it-ran"
    folder.mkdir()
    (folder / "own_model.py").write_text(CODE.format(marker=marker))
    classes = {"AutoConfig": "own_model.OwnConfig", "AutoModel": "own_model.OwnModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "hidden_size": 8, "auto_map": classes}))
    shutil.copy(repositories / "vit" / "preprocessor_config.json", folder)
    patches = torch.nn.Conv2d(3, 8, 14, 14)
    save_file(
        {f"patches.{name}": tensor for name, tensor in patches.state_dict().items()}, folder / "model.safetensors"
    )
    with pytest.raises(ValueError, match=r"own brings code of its own \(own_model.OwnConfig, .*encoder.trust=true"):
        Transformers(weights=str(folder))
    assert not marker.exists()
    encoder = Transformers(weights=str(folder), trust=True, readout="patches")
    assert not marker.exists()  # reading a configuration runs nothing
    network = encoder.load()
    assert marker.exists()
    with torch.no_grad():
        same(network(crops()), patches(network.prepare(crops())).mean((2, 3)))
    (folder / "own_model.py").write_text(CODE.format(marker=marker) + "\n# another day\n")
    with pytest.raises(
        ValueError, match=r"own runs code of its repository, \w{12}, which is another now or not trusted"
    ):
        replace(encoder).load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"needs a model: give encoder.repository=OWNER/NAME of the Hugging Face hub, or encoder.weights=FOLDER"),
        ({"repository": "dinov2"}, "encoder.repository must be OWNER/NAME on the hub, but got 'dinov2'"),
        ({"repository": "no/body"}, r"config.json could not be fetched from https://huggingface.co/no/body .*FOLDER"),
        ({"repository": "no/body", "weights": "random"}, r"config.json could not be fetched from"),
        ({"configuration": {"model_type": "vit"}, "architecture": "clip"}, "`encoder.architecture` must be what"),
        ({"configuration": {"model_type": "vit"}, "readout": "mean"}, "`readout` must be one of token, patches, "),
    ],
)
def test_what_is_no_address_of_a_model_is_told_at_once(changes: dict[str, Any], message: str, offline: Path) -> None:
    pixels = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": 224} if "configuration" in changes else {}
    with pytest.raises(ValueError, match=message):
        Transformers(**changes, **pixels)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "vit_base", "pretrained_cfg": {}}, "is a model of timm: encoder=hub encoder.repository="),
        ({"hidden_size": 3}, "is no repository of the transformers library: its config.json names no model_type"),
        ({"model_type": "vit_9", "auto_map": {"AutoModelForX": "its.Own"}}, r"transformers 5\.\S+ has no model vit_9"),
        ({"model_type": "bert"}, r"is no encoder of images alone: bert needs input_ids"),
        (
            {"model_type": "siglip2_vision_model"},
            "is no encoder of images alone: .* needs pixel_attention_mask, spatial_shapes",
        ),
        ({"model_type": "vit", "hidden_size": "wide"}, "encoder.configuration does not suit vit: .*hidden_size"),
        ({"model_type": "vit_mae", "hidden_size": 32}, "ViTMAEModel has no pooler, so that it gives no descriptor"),
        ([], "config.json must hold an object of JSON, but holds list"),
    ],
)
def test_a_repository_of_something_else_is_refused(
    tmp_path: Path, repositories: Path, config: object, message: str
) -> None:
    shutil.copy(repositories / "vit" / "preprocessor_config.json", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        Transformers(weights=str(tmp_path)).check_size(224)


@pytest.mark.parametrize(
    ("name", "readout", "message"),
    [
        ("siglip", "token", "siglip_vision_model has no encoder.readout=token: take patches or pooler"),
        ("convnext", "patches", "convnext has no encoder.readout=patches: take pooler"),
        (
            "vit",
            "projection",
            "vit has no encoder.readout=projection: take token or patches or token_patches or pooler",
        ),
    ],
)
def test_a_readout_that_a_model_lacks_is_refused(repositories: Path, name: str, readout: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Transformers(weights=str(repositories / name), readout=readout).check_size(SIZE)


def test_a_repository_without_an_image_processor_has_to_be_told_of_pixels(repositories: Path, tmp_path: Path) -> None:
    shutil.copy(repositories / "vit" / "config.json", tmp_path)
    with pytest.raises(ValueError, match=r"does not say which pixels .*give encoder.mean=, encoder.std= and"):
        Transformers(weights=str(tmp_path))
    given = Transformers(weights=str(tmp_path), mean=[0.5] * 3, std=[0.5] * 3, input_size=0)
    assert (given.mean, given.input_size, given.smallest) == ([0.5] * 3, 0, 14)
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": PIXELS | {"size": SIZE}}))
    assert Transformers(weights=str(tmp_path)).std == PIXELS["image_std"]


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"size": 224}, ([0.7, 0.5, 0.6], [0.2, 0.25, 0.3], 224)),
        ({"size": {"shortest_edge": 256}, "crop_size": 224}, ([0.7, 0.5, 0.6], [0.2, 0.25, 0.3], 224)),
        (
            {"size": {"height": 256, "width": 256}, "crop_size": 224, "do_center_crop": False},
            ([0.7, 0.5, 0.6], [0.2, 0.25, 0.3], 256),
        ),
        ({"size": 64, "do_normalize": False}, ([0.0] * 3, [1.0] * 3, 64)),
        ({"size": 64, "rescale_factor": 2 / 255}, ([0.35, 0.25, 0.3], [0.1, 0.125, 0.15], 64)),
        ({"size": 64, "do_rescale": False, "do_normalize": False}, ([0.0] * 3, [1 / 255] * 3, 64)),
    ],
)
def test_pixels_are_those_of_the_image_processor(
    processor: dict[str, Any], expected: tuple[list[float], list[float], int]
) -> None:
    found = pixels_of(PIXELS | processor, "here")
    assert (found["mean"], found["std"]) == (pytest.approx(expected[0]), pytest.approx(expected[1]))
    assert found["input_size"] == expected[2]


def test_pixels_in_another_order_or_without_a_size_have_to_be_given() -> None:
    with pytest.raises(ValueError, match=r"here takes blue, green, red: give encoder.channels=bgr"):
        pixels_of(PIXELS | {"size": 64, "do_flip_channel_order": True}, "here")
    with pytest.raises(ValueError, match="here does not say the mean, deviation and size"):
        pixels_of(PIXELS, "here")


def test_a_model_of_images_and_texts_is_taken_for_its_images() -> None:
    config = {"model_type": "clip", "projection_dim": 9, "vision_config": {"hidden_size": 8, "torch_dtype": "float16"}}
    expected = {"model_type": "clip_vision_model", "hidden_size": 8, "projection_dim": 9}
    assert vision_configuration(config, "here") == expected


def test_without_the_library_it_says_how_to_install_it(
    option: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = option("phikon", weights="random")  # composing needs nothing
    monkeypatch.setitem(sys.modules, "transformers", None)
    for act in (encoder.digest, encoder.load, lambda: encoder.check_size(224)):
        with pytest.raises(ValueError, match="it is not here: `make transformers` installs it"):
            act()
