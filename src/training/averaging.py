"""Averages of the weights that learn, over the steps or epochs of a phase. Imports torch, so import it late."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn, update_bn

from src.training.network import NetworkWithHead
from src.training.parameters import EMA, SWA, FineTuning

Batches = Callable[[], Iterator[Tensor]]
"""Yields prepared pixels (n, 3, size, size): the batches of an epoch."""


class WeightAverage:
    """The average of the weights that learn in a phase; none where `finetune.averaging` is so, or not begun.

    `ema` averages steps exponentially, at first over few: after n steps the decay is (1 + n) / (10 + n) at most, as in
    TensorFlow's `ExponentialMovingAverage`, or what a short training begins with would remain. `swa` averages the
    epochs beyond the share `swa_start` evenly (Izmailov et al. 2018, arXiv 1803.05407); the paper holds the rate up
    meanwhile (`schedule=constant`).
    """

    def __init__(self, finetune: FineTuning, classifier: NetworkWithHead) -> None:
        self.finetune, self.classifier = finetune, classifier
        self.learning = {name: each for name, each in classifier.named_parameters() if each.requires_grad}
        self.count = 0
        self.weights: dict[str, Tensor] = {}

    def after_step(self) -> None:
        """Add the weights after a step."""
        if self.finetune.averaging == EMA:
            decay = min(self.finetune.ema_decay, (1 + self.count) / (10 + self.count))
            self.add(get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]

    def after_epoch(self, done: int, epochs: int) -> None:
        """Add the weights after an epoch, of which so many of a phase's are done."""
        if self.finetune.averaging == SWA and done > self.finetune.swa_start * epochs:
            self.add(get_swa_multi_avg_fn())  # type: ignore[no-untyped-call]

    def add(self, average: Callable[[list[Tensor], list[Tensor], int], None]) -> None:
        """Take the weights as they are into the average."""
        now = {name: each.detach() for name, each in self.learning.items()}
        if self.count:
            average(list(self.weights.values()), list(now.values()), self.count)
        else:
            self.weights = {name: each.clone() for name, each in now.items()}
        self.count += 1

    def put(self, batches: Batches) -> None:
        """Put the average into the network, where there is one.

        Batch normalisation measures its statistics anew with these weights, as those of the weights that were averaged
        do not fit them; where it is left as in evaluation, its statistics stay.
        """
        if not self.count:
            return
        with torch.no_grad():
            for name, each in self.learning.items():
                each.copy_(self.weights[name])
        measure_statistics(self.classifier.encoder, batches)

    @contextmanager
    def in_place(self, batches: Batches) -> Iterator[None]:
        """Have the average in the network for a while."""
        state = {name: each.clone() for name, each in self.classifier.state_dict().items()} if self.count else {}
        self.put(batches)
        yield
        if state:
            self.classifier.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to know."""
        return {"count": self.count, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with an average that was kept."""
        self.count = state["count"]
        self.weights = {name: each.to(self.learning[name].device) for name, each in state["weights"].items()}


def measure_statistics(encoder: nn.Module, batches: Batches) -> None:
    """Have the batch normalisations of an encoder that learns measure their statistics on batches."""
    if any(isinstance(each, nn.modules.batchnorm._BatchNorm) and each.training for each in encoder.modules()):
        update_bn(batches(), encoder)
