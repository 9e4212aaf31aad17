"""Networks that were trained: with their heads, from their files, and what they predict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float32, Float64

from src.encoders.network_encoder import RANDOM
from src.encoders.weights import seed_draws
from src.methods.crop_batches import crop_batches, in_parts
from src.methods.finetune.images_in_memory import Images
from src.methods.preparation import prefetch, samples_of
from src.storage.store import load_tensors
from src.system.files import replace_file
from src.training.parameters import FineTuning

if TYPE_CHECKING:
    from src.training.network import NetworkWithHead

Probabilities = Float64[np.ndarray, "sample classes"]
Descriptors = Float32[np.ndarray, "sample feature"]


@dataclass
class FineTuned:
    """A trained network, which lies in a file."""

    path: Path
    encoder: Any
    finetune: FineTuning
    classes: list[str]

    def network(self, device: str = "cpu", like: "NetworkWithHead | None" = None) -> "NetworkWithHead":
        """Return the network on a device, ready to predict: `network(network.prepare(crops))` gives logits.

        One `like` it, of another fit of the same cell, gets its weights, which takes less time than a new one.
        """
        from src.training.adapters import adapted_layers
        from src.training.network import fill_tensors

        stored = load_tensors(self.path)
        if like is None:
            targets = adapted_layers(stored)
            encoder = self.encoder if targets else replace(self.encoder, weights=RANDOM)
            network = encoder.load(device, auxiliary=has_auxiliary(self.finetune))
            like = with_head(network, self.finetune, self.classes, 0, targets)
        fill_tensors(like, stored)
        return like

    def save(self, stem: Path) -> None:
        """Write the weights and what describes them as safetensors."""
        replace_file(stem.with_suffix(".safetensors"), self.path.read_bytes())


def with_head(
    network: Any, finetune: FineTuning, classes: list[str], seed: int, targets: Sequence[str] = ()
) -> "NetworkWithHead":
    """Return a network, ready to predict, with a new head, and with adapters on `targets`, drawn from `seed`."""
    from src.training.adapters import AdaptedNetwork
    from src.training.network import NetworkWithHead

    with seed_draws(seed):
        if targets:
            made: NetworkWithHead = AdaptedNetwork(network, len(classes), finetune, targets)
        else:
            made = NetworkWithHead(network, len(classes), finetune.hidden, finetune.dropout)
    return made.eval().requires_grad_(False)


def has_auxiliary(finetune: FineTuning) -> bool:
    """Return whether an encoder that has auxiliary classifiers is trained with them: beside adapters they are idle."""
    return finetune.auxiliary > 0 and not finetune.adapts


def predict_rows(
    network: "NetworkWithHead",
    images: Images,
    rows: pd.DataFrame,
    count: int,
    orientations: int,
    count_done: Callable[[int], None],
) -> tuple[Probabilities, Descriptors]:
    """Return class probabilities and descriptors of images.

    They are means over their first `count` crops, each in so many orientations.
    """
    import torch

    network.eval()
    chosen = samples_of(rows)
    finetune = images.cell.finetune
    stacks = prefetch(lambda sample: images.crops(sample, count), chosen, images.workers)
    size = fitting = min(finetune.batch, count * len(chosen))
    predict = partial(network.predict, orientations=orientations)
    parts = []
    with torch.no_grad():
        for buffer, valid in crop_batches((crop for stack in stacks for crop in stack), size):
            answers, fitting = in_parts(predict, buffer, valid, fitting, network.device)
            parts.append([torch.cat(each)[:valid].numpy() for each in zip(*answers, strict=True)])
            count_done(valid)
    predicted, described = (np.concatenate(each) for each in zip(*parts, strict=True))
    return group_means(predicted, count), group_means(described, count)


def group_means(values: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """Return the means over each `count` rows that follow one another."""
    return values.reshape(-1, count, values.shape[1]).mean(axis=1)
