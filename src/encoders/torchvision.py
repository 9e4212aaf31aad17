"""Encoders that torchvision builds: GoogLeNet, AlexNet, VGG-16 and SqueezeNet."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from src.encoders.network_encoder import NetworkEncoder
from src.encoders.weights import check_address, explain_unreachable, fetch_weights, fill_network
from src.system.checks import one_of

if TYPE_CHECKING:
    import torch

ARCHITECTURES = ("alexnet", "googlenet", "squeezenet1_0", "squeezenet1_1", "vgg16")
AUXILIARY = ("aux1.", "aux2.")
OWN: dict[str, dict[str, Any]] = {
    "alexnet": {"head": ["classifier.6."], "smallest": 64},
    "googlenet": {"head": ["fc.", *AUXILIARY], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "squeezenet1_0": {"head": ["classifier."]},
    "squeezenet1_1": {"head": ["classifier."]},
    "vgg16": {"head": ["classifier.6."]},
}
"""What is peculiar to a model."""


@dataclass(kw_only=True)
class Torchvision(NetworkEncoder):
    """A model of torchvision without its last layer.

    GoogLeNet and SqueezeNet give the average over the image of their last convolutions, AlexNet and VGG-16 the
    activations of their last hidden layer. `url` is where torchvision publishes the weights; what follows the hyphen
    starts their SHA-256. `head` the first letters of the names of the head's tensors, which a weights file may hold and
    which are dropped.
    """

    url: str = ""
    head: list[str] = field(default_factory=list)

    libraries: ClassVar[tuple[str, ...]] = ("torch", "torchvision")
    following: ClassVar[tuple[str, ...]] = (*NetworkEncoder.following, "url", "head")
    outside_recipe: ClassVar[tuple[str, ...]] = (*NetworkEncoder.outside_recipe, "url", "head")

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(ARCHITECTURES, architecture=self.architecture)

    def own(self) -> dict[str, Any]:
        """Return what torchvision's models have in common, and where they differ."""
        return OWN.get(self.architecture, {})

    def fetch(self) -> Path:
        """Return the file of torchvision's own weights, in torch's cache."""
        check_address(self.url, self.architecture)
        start = Path(self.url).stem.rpartition("-")[2]
        try:
            return fetch_weights(self.url, _cache(), "sha256", start)
        except OSError as error:
            raise explain_unreachable(self.architecture, self.url, error, self.files()) from None

    def build(self, auxiliary: bool) -> tuple["torch.nn.Module", int]:
        """Return the model without its last layer, and the length of its descriptors."""
        from torch import nn
        from torchvision import models

        if self.architecture == "googlenet":
            from src.encoders.modules.googlenet_auxiliaries import Auxiliaries

            model = Auxiliaries() if auxiliary else models.googlenet(aux_logits=False, init_weights=True)
            model.fc = nn.Identity()
            return model, 1024
        model = models.get_model(self.architecture)
        if self.architecture in ("alexnet", "vgg16"):
            model.classifier = model.classifier[:-1]
            return model, 4096
        model.classifier = nn.AdaptiveAvgPool2d(1)
        return model, 512

    def maps(self, module: "torch.nn.Module", pixels: "torch.Tensor") -> "list[torch.Tensor]":
        """Return the last convolutions' maps of GoogLeNet and SqueezeNet."""
        if self.architecture in ("alexnet", "vgg16"):
            return []
        for name, layer in module.named_children():  # in the order in which they are called
            if name in ("avgpool", "classifier"):
                break
            pixels = layer(pixels)
        return [pixels]

    def fill(self, module: "torch.nn.Module", path: Path) -> None:
        """Replace the random weights by those of a file."""
        fill_network(module, path, self.architecture, self.head, AUXILIARY)


def _cache() -> Path:
    """Return the folder where torch.hub keeps weights; found without torch, which takes seconds to import."""
    home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    return Path(os.environ.get("TORCH_HOME", home)).expanduser() / "hub" / "checkpoints"
