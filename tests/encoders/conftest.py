"""Every option of conf/encoder as an object, without the command line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from src.encoders.encoder import Encoder
from src.encoders.handcrafted import Handcrafted
from src.encoders.keras import Keras
from src.encoders.timm import Timm
from src.encoders.torchvision import Torchvision

CONF = Path(__file__).resolve().parents[2] / "conf" / "encoder"
SCHEMAS = {"Timm": Timm, "Torchvision": Torchvision, "Keras": Keras, "Handcrafted": Handcrafted}


@pytest.fixture(scope="session")
def option() -> Callable[..., Encoder]:
    """A function from an option's name, and fields that differ, to the encoder."""
    return _option


def _option(name: str, **changes: Any) -> Encoder:
    config = OmegaConf.load(CONF / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    schema = SCHEMAS[config.pop("defaults")[0].split("/")[-1].partition("@")[0]]
    encoder = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config, changes))
    assert isinstance(encoder, Encoder)
    return encoder


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
