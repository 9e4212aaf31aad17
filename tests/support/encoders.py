"""Every option of conf/encoder as an object, without the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from src.encoders.encoder import Encoder
from src.encoders.handcrafted import Handcrafted
from src.encoders.keras import Keras
from src.encoders.timm import Timm
from src.encoders.torchvision import Torchvision
from src.encoders.transformers import Transformers

CONF = Path(__file__).resolve().parents[2] / "conf" / "encoder"
SCHEMAS = {
    "Timm": Timm,
    "Torchvision": Torchvision,
    "Keras": Keras,
    "Handcrafted": Handcrafted,
    "Transformers": Transformers,
}


def made(name: str, **changes: Any) -> Encoder:
    """The encoder of an option, with fields that differ."""
    config = OmegaConf.load(CONF / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    schema = SCHEMAS[config.pop("defaults")[0].split("/")[-1].partition("@")[0]]
    encoder = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config, changes))
    assert isinstance(encoder, Encoder)
    return encoder


LENGTHS = {
    "alexnet": 4096,
    "efficientnet": 1280,
    "efficientnet_lite0": 1280,
    "efficientnet_lite1": 1280,
    "efficientnet_lite2": 1280,
    "googlenet": 1024,
    "h0_mini": 1536,
    "h_optimus_0": 1536,
    "handcrafted": 184,
    "inception": 2048,
    "inception_v4": 1536,
    "keras_inception": 2048,
    "keras_resnet": 2048,
    "keras_vgg": 1408,
    "mobilenet": 1280,
    "prov_gigapath": 1536,
    "resnet": 2048,
    "resnet101": 2048,
    "resnet152": 2048,
    "resnet18": 512,
    "squeezenet": 512,
    "uni": 1024,
    "uni2_h": 1536,
    "vgg": 1408,
    "vgg16": 4096,
    "virchow2": 2560,
}


FOUNDATION = {"h0_mini", "h_optimus_0", "prov_gigapath", "uni", "uni2_h", "virchow2"}


TWINS = {
    "gpfm",
    "h_optimus_1",
    "kaiko_vitb16",
    "kaiko_vitb8",
    "kaiko_vitl14",
    "kaiko_vits16",
    "kaiko_vits8",
    "lunit_vits16",
    "lunit_vits8",
}
"""Transformers of timm that differ from others in sizes and weights: `test_timm` holds them to what is published."""


PRETRAINED = {
    "clip": 768,
    "dinov2": 768,
    "dinov2_large": 1024,
    "dinov2_small": 384,
    "dinov3": 768,
    "hibou_l": 1024,
    "midnight_12k": 3072,
    "phikon": 768,
    "phikon_v2": 1024,
    "plip": 512,
    "rad_dino": 768,
}
"""Those of the transformers library; one of each kind goes through the tests of all encoders."""


ADDRESSED = {"hub", "transformers"}
"""Options that are given the address of a repository."""


KINDS = [
    pytest.param(name, marks=pytest.mark.extra("transformers"))
    for name in ("clip", "dinov3", "hibou_l", "midnight_12k", "phikon", "plip")
]


NETWORKS = [*sorted(set(LENGTHS) - {"handcrafted"}), *KINDS]


REAL = ("squeezenet", "mobilenet")


def untrained(option: Callable[..., Encoder], name: str, seed: int = 0) -> Any:
    """The encoder with random weights; foundation models have one layer, and take smaller pixels."""
    if name == "handcrafted":
        return option(name)
    if name in PRETRAINED:
        patch = made(name).configuration["patch_size"]  # type: ignore[attr-defined]
        smaller = {"configuration": {"num_hidden_layers": 1, "image_size": 4 * patch}, "input_size": 4 * patch}
        return option(name, weights="random", seed=seed, **smaller)
    smaller = {"arguments": {"depth": 1, "img_size": 112}, "input_size": 112} if name in FOUNDATION else {}
    return option(name, weights="random", seed=seed, **smaller)


def crops(count: int = 3, size: int = 80) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
