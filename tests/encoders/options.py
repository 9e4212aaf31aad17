"""Every option of conf/encoder as an object, without the command line."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.encoders.encoder import Encoder
from src.encoders.handcrafted import Handcrafted
from src.encoders.keras import Keras
from src.encoders.timm import Timm
from src.encoders.torchvision import Torchvision

CONF = Path(__file__).resolve().parents[2] / "conf" / "encoder"
SCHEMAS = {"Timm": Timm, "Torchvision": Torchvision, "Keras": Keras, "Handcrafted": Handcrafted}


def made(name: str, **changes: Any) -> Encoder:
    """The encoder of an option, with fields that differ."""
    config = OmegaConf.load(CONF / f"{name}.yaml")
    assert isinstance(config, DictConfig)
    schema = SCHEMAS[config.pop("defaults")[0].split("/")[-1].partition("@")[0]]
    encoder = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config, changes))
    assert isinstance(encoder, Encoder)
    return encoder
