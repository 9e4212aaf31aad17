"""Learning rates by layer: the nearer to the pixels, the less a layer learns. Imports torch, so import it late."""

from os.path import commonpath
from pathlib import PurePosixPath
from typing import Any

from torch import nn

from src.training.network import NetworkWithHead

SCALE = "lr_scale"
"""The entry of an optimizer's group by which its learning rate is multiplied, as timm calls it."""


def decayed_groups(classifier: NetworkWithHead, decay: float) -> list[dict[str, Any]]:
    """Return the parameters that learn in groups: the head has the whole rate, each layer `decay` times the next one's.

    As BEiT was fine-tuned (Bao et al. 2021, arXiv 2106.08254), and timm does it (`param_groups_layer_decay`).
    """
    numbers = number_layers(classifier.encoder)
    last = max(numbers.values(), default=0)
    groups: dict[int, list[nn.Parameter]] = {}
    for name, parameter in classifier.named_parameters():
        if parameter.requires_grad:
            below = last + 1 - numbers[name.removeprefix("encoder.")] if name.startswith("encoder.") else 0
            groups.setdefault(below, []).append(parameter)
    return [{"params": parameters, SCALE: decay**below} for below, parameters in sorted(groups.items())]


def number_layers(module: nn.Module) -> dict[str, int]:
    """Return the number of the layer, from 0 at the pixels on, that each parameter of an encoder is of.

    Models of timm say themselves what a layer is: what is before the first block, each block, the last with what comes
    after. Of others it is what has a number in its name, and what stands between such; parameters of the network itself
    are of the first layer, which is all there is of a network of Keras.
    """
    from timm.models import group_parameters

    names = [name for name, _ in module.named_parameters()]
    for prefix, part in module.named_modules():
        if hasattr(part, "group_matcher"):
            own = group_parameters(part, part.group_matcher(coarse=False), reverse=True)
            last = max(own.values())
            return {name: own.get(name.removeprefix(f"{prefix}." if prefix else ""), last) for name in names}
    paths = [name.split(".")[:-1] for name in names]
    shared = len(PurePosixPath(commonpath("/".join(path) for path in paths)).parts)  # what holds the whole network
    layers = [layer_path(path[shared:]) for path in paths]
    order = list(dict.fromkeys(layers))
    return {name: order.index(layer) for name, layer in zip(names, layers, strict=True)}


def layer_path(path: list[str]) -> tuple[str, ...]:
    """Return the names on the way to a part of a network up to the first number, or the first if none is one."""
    numbered = next((place for place, part in enumerate(path) if part.isdecimal()), 0)
    return tuple(path[: numbered + 1])
