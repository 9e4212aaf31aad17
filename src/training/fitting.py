"""A training on Lightning Fabric that can be killed and resumed at any time. Imports torch, so import it late."""

import io
import logging
import math
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor
from torch.nn.functional import cross_entropy

from src.system.files import replace_file
from src.system.random_draws import keyed_generator
from src.system.transfers import send
from src.training.averaging import WeightAverage
from src.training.layers import SCALE, decayed_groups
from src.training.network import NetworkWithHead, Tensors, copy_tensors, fill_tensors
from src.training.parameters import FineTuning, Phase, count_parts
from src.training.torch_settings import fitting_memory

Key = tuple[str | int, ...]
Point = dict[str, float]
Batch = tuple[Tensor, Tensor]
"""Crops (n, 3, size, size), uint8, and their labels (n)."""

CHECKPOINT = "last.ckpt"
LOOK = 50
"""After so many steps it is looked whether the loss is still finite: each look waits for the device."""


@dataclass
class TrainingMaterial:
    """What a fit learns from.

    labels
        Class codes of the images to learn from (n).
    views
        Yields, in the order given, the crop that each of some images (their numbers) shows in an epoch, from 1 on.
    stopping
        The loss on the cases that decide when to stop; none where none do.
    weights
        How much an image of each class counts (classes).
    """

    labels: npt.NDArray[np.int64]
    views: Callable[[Iterable[int], int], Iterator[Tensor]]
    stopping: Callable[[NetworkWithHead], float] | None
    weights: npt.NDArray[np.float64]


@dataclass
class FitState:
    """How far a fit has come: with the state of network and optimizer, all that its next epoch depends on."""

    phase: int = 0
    first: int = 0
    """Epochs before this phase."""
    points: list[Point] = field(default_factory=list)
    """The curves: values by name, of each epoch so far."""
    best_epoch: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    """The weights after the best epoch, where one is chosen."""
    waited: int = 0
    """Epochs of this phase since the best one."""
    over: bool = False
    """Whether this phase has ended early."""

    @property
    def epoch(self) -> int:
        """The number of the epoch that comes next, counted from 1 over all phases."""
        return len(self.points) + 1

    @property
    def done(self) -> int:
        """Epochs of this phase so far."""
        return len(self.points) - self.first

    def enter(self, phase: int) -> None:
        """Begin a phase."""
        self.phase, self.first, self.waited, self.over = phase, len(self.points), 0, False

    def choose(self, loss: float, network: NetworkWithHead, patience: int) -> None:
        """Keep the weights if they are the best so far; end the phase where none have been for too long."""
        if all(loss < point["stopping_loss"] for point in self.points):
            self.best_epoch, self.waited = self.epoch, 0
            self.best = {name: torch.from_numpy(values) for name, values in copy_tensors(network).items()}
        else:
            self.waited += 1
            self.over = 0 < patience <= self.waited


@dataclass
class Trained:
    """A fit's result: its weights, its curves (values by name of each epoch), and the epochs of this process."""

    weights: Tensors
    points: list[Point]
    best_epoch: int
    trained_epochs: int


@dataclass(kw_only=True)
class Fit:
    """One training. Draws are keyed by `key`; `folder` holds its checkpoint while it runs; errors call it `name`.

    `record` hears of the curves' points: name, value, epoch. A batch has the `fewest` images at least.
    """

    finetune: FineTuning
    material: TrainingMaterial
    key: Key
    name: str
    folder: Path
    record: Callable[[str, float, int], None]
    fewest: int = 1

    def plans(self) -> list[list[int]]:
        """Return the steps of each epoch of each phase."""
        together = self.finetune.batch * self.finetune.accumulate
        return [phase.plan(len(self.material.labels), together, self.fewest) for phase in self.finetune.stages()]

    def images(self) -> int:
        """Return how many images a training learns from that does not end early, each as often as it is shown."""
        sizes = [len(group) for group in self.steps(np.arange(len(self.material.labels)))]
        return sum(sum(sizes[:steps]) for plan in self.plans() for steps in plan)

    def steps(self, order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """Return images, in their order, by the steps of an epoch: as large as each other, but for one image.

        So no batch is left with so few images that batch normalisation has nothing to go by (`fewest`).
        """
        together = self.finetune.batch * self.finetune.accumulate
        return np.array_split(order, count_parts(len(order), together, self.fewest))

    def batches(self, epoch: int, steps: int) -> Iterator[list[Batch]]:
        """Yield the first `steps` batches of an epoch, each in parts of at most `finetune.batch` images."""
        labels = self.material.labels
        order = keyed_generator(*self.key, "order", epoch).permutation(len(labels))
        groups = self.steps(order)[:steps]
        views = self.material.views([int(image) for group in groups for image in group], epoch)
        for group in groups:
            split = np.array_split(group, count_parts(len(group), self.finetune.batch, self.fewest))
            yield [(torch.stack([next(views) for _ in part]), torch.from_numpy(labels[part])) for part in split]

    def __call__(self, classifier: NetworkWithHead, moved: Callable[[int], None]) -> Trained:
        """Train a network; `moved` hears how many images were learnt from, step by step.

        A training that was killed goes on from its checkpoint.
        Errors: ValueError for a loss that is not finite, and for batches that do not fit the device's memory.
        """
        with fitting_memory(self.name, self.finetune, classifier.device):
            return Training(self, classifier, moved).run()

    def report(self, point: Point, epoch: int) -> None:
        """Record the points of an epoch."""
        for curve, value in point.items():
            self.record(f"{curve}/{self.name}", value, epoch)

    def diverged(self, epoch: int) -> ValueError:
        """Return the error that says that a training has failed."""
        narrow = " or finetune.precision=32-true" if self.finetune.precision != "32-true" else ""
        return ValueError(
            f"the training of {self.name} came to a loss that is not finite in epoch {epoch}: "
            f"try a smaller finetune.learning_rate{narrow}"
        )


class Training:
    """A fit under way: an optimizer's step per batch, which comes in parts that fit the memory."""

    phase: Phase
    plan: list[int]
    optimizer: Any
    average: WeightAverage

    def __init__(self, fit: Fit, classifier: NetworkWithHead, moved: Callable[[int], None]) -> None:
        self.fit, self.classifier, self.moved = fit, classifier, moved
        self.fabric = make_fabric(classifier.device, fit.finetune.precision)
        self.checkpoint = fit.folder / CHECKPOINT
        self.stages = list(zip(fit.finetune.stages(), fit.plans(), strict=True))
        self.weights = self.fabric.to_device(torch.tensor(fit.material.weights, dtype=torch.float32))
        self.sums = self.fabric.to_device(torch.zeros(3))  # of an epoch's losses, their weights, correct answers
        self.images = 0
        self.state = FitState()

    def run(self) -> Trained:
        """Train through what is left of the phases."""
        self.resume()
        state = self.state
        begun = len(state.points)
        for number in range(state.phase, len(self.stages)):
            if number > state.phase:
                state.enter(number)
                self.enter_phase()
            while state.done < len(self.plan) and not state.over:
                self.keep(self.learn_epoch())
            if state.best:
                fill_tensors(self.classifier, {name: tensor.numpy() for name, tensor in state.best.items()})
            else:
                self.average.put(self.pixels)
        weights = copy_tensors(self.classifier)
        if not all(np.isfinite(values).all() for values in weights.values()):
            raise self.fit.diverged(len(state.points))
        best = state.best_epoch or len(state.points)
        return Trained(weights, state.points, best, len(state.points) - begun)

    def resume(self) -> None:
        """Go on where a training that was killed had come to, or begin."""
        checkpoint = read_checkpoint(self.checkpoint) if self.checkpoint.is_file() else {}
        self.state = FitState(**checkpoint.pop("fit", {}))
        for epoch, point in enumerate(self.state.points, start=1):
            self.fit.report(point, epoch)
        self.enter_phase()
        for name, state in checkpoint.items():
            self.learning()[name].load_state_dict(state)

    def enter_phase(self) -> None:
        """Take the optimizer of what learns in this phase."""
        self.phase, self.plan = self.stages[self.state.phase]
        self.classifier.learn(self.phase.trainable)
        self.optimizer = self.fabric.setup_optimizers(make_optimizer(self.fit.finetune, self.phase, self.classifier))
        self.average = WeightAverage(self.fit.finetune, self.classifier)

    def learning(self) -> dict[str, Any]:
        """Return what changes with each step, by the name that a checkpoint has for it."""
        averaged = {"average": self.average} if self.fit.finetune.averaging != "none" else {}
        precision = self.fabric.strategy.precision
        return {"network": self.classifier, "optimizer": self.optimizer, "precision": precision} | averaged

    def learn_epoch(self) -> Point:
        """Learn from an epoch's batches, and return its values."""
        epoch, before = self.state.epoch, sum(self.plan[: self.state.done])
        # Dropout is drawn from the epoch's own seed, so that it does not matter what was drawn before.
        torch.manual_seed(int(keyed_generator(*self.fit.key, "dropout", epoch).integers(2**63)))
        self.classifier.learn(self.phase.trainable)
        self.sums.zero_()
        self.images = 0
        rate = 0.0
        for number, batch in enumerate(self.fit.batches(epoch, self.plan[self.state.done])):
            rate = learning_rate(self.fit.finetune, self.phase, before + number, sum(self.plan))
            device = self.classifier.device
            self.learn_batch([(send(crops, device), send(labels, device)) for crops, labels in batch], rate)
            self.moved(sum(len(labels) for _, labels in batch))
            if number % LOOK == LOOK - 1:
                self.values()
        return self.values() | {"learning_rate": rate}

    def learn_batch(self, batch: list[Batch], rate: float) -> None:
        """Learn from a batch's parts together: the gradient is that of their images at once."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(SCALE, 1.0)
        self.optimizer.zero_grad()
        whole = torch.stack([self.weights[labels].sum() for _, labels in batch]).sum()
        for crops, labels in batch:
            with self.fabric.autocast():
                self.fabric.backward(self.loss(crops, labels) / whole)
        self.optimizer.step()
        self.average.after_step()

    def loss(self, crops: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the images' losses, weighed by their classes, and add to the epoch's sums."""
        outputs = self.classifier(self.classifier.prepare(crops))
        main, *others = outputs if isinstance(outputs, list) else [outputs]
        loss = self.weighed_loss(main, labels)
        correct = (main.argmax(dim=1) == labels).sum()
        self.sums += torch.stack([loss.detach(), self.weights[labels].sum(), correct.float()])
        self.images += len(labels)
        auxiliary = sum((self.weighed_loss(other, labels) for other in others), torch.zeros_like(loss))
        return loss + self.fit.finetune.auxiliary * auxiliary

    def weighed_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the images' losses by one head, weighed by their classes."""
        smoothing = self.fit.finetune.label_smoothing
        return cross_entropy(logits.float(), labels, self.weights, reduction="sum", label_smoothing=smoothing)

    def values(self) -> Point:
        """Return the epoch's values so far; `ValueError` where its loss is not finite."""
        loss, weight, correct = self.sums.tolist()
        if not math.isfinite(loss):
            raise self.fit.diverged(self.state.epoch)
        return {"training_loss": loss / weight, "training_accuracy": correct / self.images}

    def keep(self, point: Point) -> None:
        """Keep an epoch's outcome: the loss of the cases that decide, the best weights, the checkpoint, the curves."""
        state = self.state
        self.average.after_epoch(state.done + 1, len(self.plan))
        if self.fit.material.stopping is not None:
            with self.average.in_place(self.pixels):
                self.judge(point, self.fit.material.stopping)
        state.points.append(point)
        states = {name: each.state_dict() for name, each in self.learning().items()}
        write_checkpoint(self.checkpoint, states | {"fit": vars(state)})
        self.fit.report(point, len(state.points))

    def judge(self, point: Point, stopping: Callable[[NetworkWithHead], float]) -> None:
        """Add the loss of the cases that decide to an epoch's values, and keep the weights if they are the best."""
        loss = point["stopping_loss"] = stopping(self.classifier)
        if not math.isfinite(loss):
            raise self.fit.diverged(self.state.epoch)
        self.state.choose(loss, self.classifier, self.fit.finetune.patience)

    def pixels(self) -> Iterator[Tensor]:
        """Yield the prepared pixels (n, 3, size, size) of all images that are learnt from, as an epoch shows them."""
        epoch = self.state.epoch
        torch.manual_seed(int(keyed_generator(*self.fit.key, "statistics", epoch).integers(2**63)))
        for batch in self.fit.batches(epoch, max(self.plan)):
            for crops, _ in batch:
                yield self.classifier.prepare(send(crops, self.classifier.device))


def make_fabric(device: torch.device, precision: str) -> Fabric:
    """Return what computes on a device in a precision, and says nothing."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it repeats the precision that was asked for
    return Fabric(
        accelerator=device.type,
        devices=1 if device.type == "cpu" else [device.index or 0],
        precision=precision,  # type: ignore[arg-type]
        plugins=[LightningEnvironment()],  # whatever cluster this may run on
    )


def make_optimizer(finetune: FineTuning, phase: Phase, classifier: NetworkWithHead) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters that learn."""
    learning: Any = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    if finetune.layer_decay < 1:
        learning = decayed_groups(classifier, finetune.layer_decay)
    rate, decay = phase.learning_rate, finetune.weight_decay
    if finetune.optimizer == "sgd":
        return torch.optim.SGD(learning, lr=rate, momentum=finetune.momentum, weight_decay=decay)
    if finetune.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            learning, lr=rate, alpha=0.9, eps=finetune.epsilon, momentum=finetune.momentum, weight_decay=decay
        )
    return torch.optim.AdamW(learning, lr=rate, eps=finetune.epsilon, weight_decay=decay)


def learning_rate(finetune: FineTuning, phase: Phase, step: int, steps: int) -> float:
    """Return the learning rate at a step, counted from 0, of a phase that has so many."""
    warm = round(finetune.warmup * steps)
    if step < warm:
        return phase.learning_rate * (step + 1) / warm
    if finetune.schedule == "constant":
        return phase.learning_rate
    return phase.learning_rate * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1))) / 2


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint as a whole or not at all."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    replace_file(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint, on the CPU, unpickling no code; `ValueError` where it is damaged."""
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path} is damaged ({reason}); delete it and run again") from None
    if "fit" not in checkpoint:
        raise ValueError(f"{path} is of another version of the training; delete it and run again")
    return checkpoint
