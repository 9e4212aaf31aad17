"""Vision transformers' tensors under timm's names, of files whose names are those of DINOv2."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

OWN = ("mask_token", "register_tokens")
"""Tensors by which such a file is known; the first stands for hidden patches in training, and gives no descriptor."""
RENAMED = (
    (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),  # blocks in chunks
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)


def timm_state(state: "dict[str, torch.Tensor]", wanted: Collection[str]) -> "dict[str, torch.Tensor]":
    """Return the tensors as timm's transformer takes them; `wanted` are the names there.

    Where there are registers, timm keeps the class token's position (the first) in the class token itself
    (`timm.models.vision_transformer`).
    """
    if not any(name in state and name not in wanted for name in OWN):
        return state
    kept = {timm_name(name): tensor for name, tensor in state.items() if name != "mask_token"}
    if "register_tokens" in kept:
        kept["reg_token"] = kept.pop("register_tokens")
        kept["cls_token"] = kept["cls_token"] + kept["pos_embed"][:, 0]
        kept["pos_embed"] = kept["pos_embed"][:, 1:]
    return kept


def timm_name(name: str) -> str:
    """Return what timm calls a tensor."""
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
