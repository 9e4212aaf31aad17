"""The network that is trained: an encoder with a new head. Imports torch, so import it late."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from src.system.transfers import send

if TYPE_CHECKING:
    from src.encoders.network_encoder import Network

Tensors = dict[str, npt.NDArray[Any]]


class NetworkWithHead(nn.Module):
    """Prepared pixels (n, 3, size, size) in, logits (n, classes) out.

    In training, where the encoder has auxiliary classifiers, the list of the logits and the auxiliary ones.
    """

    def __init__(self, network: "Network", classes: int, hidden: Sequence[int] = (), dropout: float = 0.0) -> None:
        super().__init__()
        self.prepare = network.prepare
        self.device = network.device
        self.encoder = network.module
        self.head = nn.Sequential(*build_head(network.length, classes, hidden, dropout))
        self.auxiliary = nn.ModuleList(nn.Linear(length, classes) for length in network.auxiliary_lengths)
        self.head.to(self.device)
        self.auxiliary.to(self.device)

    def forward(self, pixels: Tensor) -> Tensor | list[Tensor]:
        """Return the logits."""
        descriptors = self.encoder(pixels)
        if not isinstance(descriptors, list):
            logits: Tensor = self.head(descriptors)
            return logits
        main, *others = descriptors
        return [self.head(main), *(head(other) for head, other in zip(self.auxiliary, others, strict=True))]

    def learn(self, trainable: str) -> None:
        """Make `head` or `all` learn; the rest stays as in evaluation, batch statistics and dropout included."""
        everything = trainable == "all"
        self.requires_grad_(everything).train(everything)
        self.head.requires_grad_(True).train()

    def predict(self, crops: Tensor, orientations: int) -> tuple[Tensor, Tensor]:
        """Return the probabilities (n, classes), float64, of crops (n, 3, size, size), uint8, and their descriptors.

        Both are means over so many orientations, and on the CPU.
        """
        oriented = orient_crops(send(crops, self.device), orientations)
        descriptors = [self.encoder(self.prepare(each)) for each in oriented]
        logits = torch.stack([self.head(each).cpu().double() for each in descriptors])
        return logits.softmax(dim=2).mean(dim=0), torch.stack(descriptors).mean(dim=0).cpu()


def find_smallest_batch(network: "Network", crop: Tensor) -> int:
    """Return how many images a batch must have for an encoder to be trained on it: 1, or 2.

    It is 2 where some batch normalisation has a single value of each channel of one crop (3, size, size), uint8: those
    have no variance. Errors: ValueError for a crop that is too small for the network.
    """
    values: list[int] = []

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values.append(inputs[0].numel() // inputs[0].shape[1])

    normalising = [each for each in network.module.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    hooks = [each.register_forward_pre_hook(count) for each in normalising]
    network(crop[None])
    for hook in hooks:
        hook.remove()
    return 2 if 1 in values else 1


def build_head(length: int, classes: int, hidden: Sequence[int], dropout: float) -> Iterator[nn.Module]:
    """Yield the layers of a head: hidden ones with ReLU and dropout, then the last; or dropout and the last."""
    drop = [nn.Dropout(dropout)] if dropout else []
    if not hidden:
        yield from drop
    for units in hidden:
        yield from (nn.Linear(length, units), nn.ReLU(), *drop)
        length = units
    yield nn.Linear(length, classes)


def orient_crops(crops: Tensor, orientations: int) -> Iterator[Tensor]:
    """Yield crops (n, 3, size, size) in 1, 2 (mirrored too), 4 (turned by quarters) or 8 (both) orientations."""
    for turns in range(4 if orientations >= 4 else 1):
        turned = torch.rot90(crops, turns, (2, 3))
        yield turned
        if orientations in (2, 8):
            yield turned.flip(3)


def copy_tensors(module: nn.Module) -> Tensors:
    """Return copies of a module's tensors by name; of those that are one under several names, the first name."""
    distinct = {id(tensor): name for name, tensor in reversed(module.state_dict(keep_vars=True).items())}
    own = module.state_dict()
    return {name: np.array(own[name].cpu().numpy(), order="C") for name in sorted(distinct.values())}


def fill_tensors(module: nn.Module, stored: Mapping[str, npt.NDArray[Any]]) -> None:
    """Replace a module's tensors by those that `copy_tensors` returned of one like it."""
    own = module.state_dict()
    assert stored.keys() == copy_tensors(module).keys(), "the weights are another network's"
    with torch.no_grad():
        for name, values in stored.items():
            own[name].copy_(torch.from_numpy(np.array(values)))
