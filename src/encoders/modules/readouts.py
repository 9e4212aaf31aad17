"""What becomes the descriptor: networks that read it out of another network. Imports torch, so import it late."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from src.encoders.network_encoder import PATCHES, TOKEN


def read_tokens(tokens: torch.Tensor, prefix: int, readout: str) -> list[torch.Tensor]:
    """Return the parts (n, width) of the descriptor of a transformer's tokens (n, prefix + patches, width).

    `prefix` tokens stand before those of the patches: the class token first, then registers and the like, which belong
    to no descriptor. A part is the class token, or the mean of the patch tokens.
    """
    parts = [] if readout == PATCHES else [tokens[:, 0]]
    return parts if readout == TOKEN else [*parts, tokens[:, prefix:].mean(1)]


class Tokens(nn.Module):
    """The class token, the mean of the patch tokens, or both, of a vision transformer of timm."""

    def __init__(self, transformer: nn.Module, readout: str) -> None:
        super().__init__()
        self.transformer = transformer
        self.readout = readout

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, parts x width) of the pixels (n, 3, size, size)."""
        tokens = self.transformer.forward_features(pixels)  # type: ignore[operator]
        parts = read_tokens(tokens, int(self.transformer.num_prefix_tokens), self.readout)  # type: ignore[arg-type]
        norm = getattr(self.transformer, "fc_norm", nn.Identity())  # what timm normalises after pooling
        return torch.cat([norm(part) for part in parts], dim=1)


class Stages(nn.Module):
    """The means over the image of the last activations of a VGG's blocks but the first, one after the other."""

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, length) of the pixels (n, 3, size, size)."""
        return torch.cat([maps.mean((2, 3)) for maps in self.feature_maps(pixels)], dim=1)

    def feature_maps(self, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the last activations of each block but the first (n, channels, height, width)."""
        maps, blocks = pixels, 0
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):  # a block ends where pooling begins, after the activation
                blocks += 1
                if blocks > 1:
                    yield maps
            maps = layer(maps)

    def length(self) -> int:
        """Return how many channels the blocks but the first have together."""
        channels, lengths = 0, []
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                channels = layer.out_channels
            elif isinstance(layer, nn.MaxPool2d):
                lengths.append(channels)
        return sum(lengths[1:])


class Averages(nn.Module):
    """The averages over the image of the outputs of a Keras model, channels first, one after the other.

    Keras' trainable variables are its parameters, the statistics of Keras' batch normalisations its buffers, each once
    and under names that do not depend on what else Keras has built. In training Keras' layers train too: batches are
    normalised by themselves, and the statistics follow. `maps`, the last output before the average, can be hooked:
    Keras calls no hooks of torch.
    """

    def __init__(self, application: Any, model: Any) -> None:
        super().__init__()
        self.keras = (application, model)  # in a tuple, lest torch register their layers' variables twice
        self.maps = nn.Identity()
        self.statistics: dict[str, Any] = {}
        for number, variable in enumerate(model.variables):
            name = f"{number:03d}_{variable.name}"
            if variable.trainable:
                self.register_parameter(name, variable.value)
            else:
                self.register_buffer(name, variable.value.data)
                self.statistics[name] = variable

    @property
    def application(self) -> Any:
        """The whole Keras model, which weights are loaded into."""
        return self.keras[0]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Descriptors (n, length) of the pixels (n, 3, size, size)."""
        return torch.cat([maps.mean((2, 3)) for maps in self.feature_maps(pixels)], dim=1)

    def feature_maps(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the outputs of the Keras model (n, channels, height, width)."""
        import keras

        with keras.device(str(pixels.device)):  # Keras moves its tensors to the accelerator unless told
            outputs = self.keras[1](pixels, training=self.training)
        *others, last = outputs if isinstance(outputs, list) else [outputs]
        return [*others, self.maps(last)]

    def _apply(self, fn: Any, recurse: bool = True) -> "Averages":
        """Move or convert everything; torch replaces buffers, of which Keras' variables must hear."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, variable in self.statistics.items():
            variable.value.data = self.get_buffer(name)
        return self
