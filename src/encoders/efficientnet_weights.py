"""EfficientNets' tensors under timm's names, of files whose names are those of EfficientNet-PyTorch."""

import re
from collections.abc import Collection

OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_names(names: Collection[str], wanted: Collection[str]) -> dict[str, str]:
    """Return what timm calls the tensors of a file, by their names there; `wanted` are those of timm's model, in order.

    EfficientNet-PyTorch (Melas-Kyriazi 2019) numbers blocks through, timm within their stage; a block that does not
    widen its input (`_expand_conv`) has two layers of its own. Names without a counterpart stay as they are.
    """
    blocks = list(dict.fromkeys(".".join(name.split(".")[:3]) for name in wanted if name.startswith("blocks.")))
    return {name: _timm_name(name, blocks, names) for name in names}


def _timm_name(name: str, blocks: list[str], names: Collection[str]) -> str:
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
    if inside is None:
        layer, dot, rest = name.partition(".")
        return OUTSIDE.get(layer, layer) + dot + rest
    number, layer, rest = int(inside[1]), inside[2], inside[3]
    layers = INVERTED if f"_blocks.{number}._expand_conv.weight" in names else SEPARABLE
    return f"{blocks[number]}.{layers[layer]}.{rest}" if number < len(blocks) and layer in layers else name
