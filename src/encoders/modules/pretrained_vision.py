"""Vision models of the transformers library, read out as descriptors. Imports torch, so import it late."""

from inspect import signature
from typing import Any

import torch
from torch import nn

from src.encoders.modules.readouts import read_tokens
from src.encoders.transformers import POOLER, PROJECTION


class PretrainedVision(nn.Module):
    """A vision model of the transformers library: prepared pixels in, descriptors out.

    `patch` is the side of a patch in pixels; 0 where the model has no tokens of patches. Positions are interpolated for
    pixels of another size than the one that the model was trained with, `size`.
    """

    def __init__(self, model: nn.Module, readout: str, patch: int, size: int) -> None:
        super().__init__()
        self.model = model
        self.readout = readout
        self.patch = patch
        self.size = size
        self.asks = "interpolate_pos_encoding" in signature(model.forward).parameters

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, length) of the pixels (n, 3, size, size).

        Errors: AssertionError for sizes that are no multiple of a patch, ValueError for a model without a pooler.
        """
        height, width = map(int, pixels.shape[-2:])
        if self.patch and (height % self.patch or width % self.patch):
            nearest = max(round(height / self.patch), 1) * self.patch
            raise AssertionError(f"patches measure {self.patch} pixels: {nearest} would be a multiple")
        asked: dict[str, Any] = {"interpolate_pos_encoding": True} if self.asks and height != self.size else {}
        outputs = self.model(pixels, **asked)
        if self.readout == PROJECTION:
            return outputs.image_embeds
        if self.readout == POOLER:
            if getattr(outputs, "pooler_output", None) is None:
                raise ValueError(f"{type(self.model).__name__} has no pooler, so that it gives no descriptor")
            return outputs.pooler_output.flatten(1)
        tokens = outputs.last_hidden_state
        prefix = int(tokens.shape[1]) - (height // self.patch) * (width // self.patch)
        return torch.cat(read_tokens(tokens, prefix, self.readout), dim=1)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Return patterns of the names of the first layer's parameters and, with their number, of the others'.

        As models of timm say it (`timm.models.group_parameters`), for learning rates by layer; what neither pattern
        matches is of the last.
        """
        return {
            "stem": r"model\.(?:\w+\.)?(?:embeddings|embedder|pre_layrnorm)\.",
            "blocks": r".*?\.(?:stages|layers?)\.(\d+)\.",
        }
