"""Configurations, composed as commands compose them."""

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.config import CONF, build


def composed(*overrides: str, name: str = "config") -> object:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build(compose(name, list(overrides)))


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))
