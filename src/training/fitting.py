"""A training on PyTorch Lightning that can be killed and resumed at any time. Imports torch, so import it late."""

import io
import math
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.plugins import CheckpointIO
from torch import Tensor
from torch.nn.functional import cross_entropy

from src.system.draws import generator
from src.system.files import replace
from src.training.network import NetworkWithHead, Tensors, fill, tensors
from src.training.parameters import FineTuning, Phase, parts
from src.training.torch_settings import fitting_memory, interruptible, silent

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
class Progress:
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

    def enter(self, phase: int) -> None:
        """Begin a phase."""
        self.phase, self.first, self.waited, self.over = phase, len(self.points), 0, False


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
        return np.array_split(order, parts(len(order), together, self.fewest))

    def __call__(self, classifier: NetworkWithHead, moved: Callable[[int], None]) -> Trained:
        """Train a network; `moved` hears how many images were learnt from, step by step.

        A training that was killed goes on from its checkpoint.
        Errors: ValueError for a loss that is not finite, and for batches that do not fit the device's memory.
        """
        progress = self.resumed()
        begun = len(progress.points)
        for epoch, point in enumerate(progress.points, start=1):
            self.report(point, epoch)
        for number, (phase, plan) in enumerate(zip(self.finetune.stages(), self.plans(), strict=True)):
            if number < progress.phase:
                continue
            if number > progress.phase:
                progress.enter(number)
            self.run(classifier, phase, plan, progress, moved)
            if progress.best:
                fill(classifier, {name: tensor.numpy() for name, tensor in progress.best.items()})
        weights = tensors(classifier)
        if not all(np.isfinite(values).all() for values in weights.values()):
            raise self.diverged(len(progress.points))
        best = progress.best_epoch or len(progress.points)
        return Trained(weights, progress.points, best, len(progress.points) - begun)

    def resumed(self) -> Progress:
        """Return how far a training that was killed had come."""
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return Progress()
        return Progress(**WholeCheckpoint().load_checkpoint(path)["callbacks"][Bookkeeping.__qualname__])

    def run(
        self,
        classifier: NetworkWithHead,
        phase: Phase,
        plan: list[int],
        progress: Progress,
        moved: Callable[[int], None],
    ) -> None:
        """Train through what is left of a phase."""
        path = self.folder / CHECKPOINT
        device = classifier.device
        again = len(progress.points) > progress.first  # the checkpoint is one of this phase
        if progress.over:
            return
        with silent(), interruptible(), fitting_memory(self.name, self.finetune, device):
            trainer = Trainer(
                accelerator=device.type if device.type == "cpu" else "gpu",
                devices=1 if device.type == "cpu" else [device.index or 0],
                precision=self.finetune.precision,  # type: ignore[arg-type]
                max_epochs=len(plan),
                reload_dataloaders_every_n_epochs=1,  # epochs may differ in length
                callbacks=[Bookkeeping(self, progress)],
                plugins=[LightningEnvironment(), WholeCheckpoint()],  # whatever cluster this may run on
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=self.folder,
            )
            trainer.fit(Training(self, classifier, phase, plan, progress, moved), ckpt_path=path if again else None)
        classifier.to(device)  # Lightning leaves it on the CPU

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


class Training(LightningModule):
    """A phase of a fit as Lightning has it: an optimizer's step per batch, which comes in parts that fit the memory."""

    weights: Tensor
    sums: Tensor
    moved: Callable[[int], None]

    def __init__(
        self,
        fit: Fit,
        classifier: NetworkWithHead,
        phase: Phase,
        plan: list[int],
        progress: Progress,
        moved: Callable[[int], None],
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # a step's parts are weighed by what the whole step holds
        self.classifier = classifier
        self.fit, self.phase, self.plan, self.progress, self.moved = fit, phase, plan, progress, moved
        self.register_buffer("weights", torch.tensor(fit.material.weights, dtype=torch.float32), persistent=False)
        self.register_buffer("sums", torch.zeros(3), persistent=False)  # of losses, their weights, correct answers
        self.images = 0

    def train_dataloader(self) -> "Epoch":
        """Return the batches of the epoch that comes next."""
        steps = self.plan[min(self.progress.epoch - self.progress.first, len(self.plan)) - 1]
        return Epoch(self.fit, self.progress.epoch, steps)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer of what learns in this phase."""
        self.classifier.learn(self.phase.trainable)
        return optimizer(self.fit.finetune, self.phase, self.classifier)

    def on_train_epoch_start(self) -> None:
        """Draw an epoch's dropout from its own seed, so that it does not matter what was drawn before."""
        torch.manual_seed(int(generator(*self.fit.key, "dropout", self.progress.epoch).integers(2**63)))
        self.classifier.learn(self.phase.trainable)
        self.sums.zero_()
        self.images = 0

    def training_step(self, batch: list[Batch], number: int) -> None:
        """Learn from a batch's parts together: the gradient is that of their images at once."""
        stepping = self.optimizers()
        assert isinstance(stepping, LightningOptimizer)
        for group in stepping.param_groups:
            group["lr"] = self.rate(number)
        stepping.zero_grad()
        whole = torch.stack([self.weights[labels].sum() for _, labels in batch]).sum()
        for crops, labels in batch:
            outputs = self.classifier(self.classifier.prepare(crops))
            main, *others = outputs if isinstance(outputs, list) else [outputs]
            loss = self.loss(main, labels)
            self.observe(main.detach(), labels, loss.detach())
            auxiliary = sum((self.loss(other, labels) for other in others), torch.zeros_like(loss))
            self.manual_backward((loss + self.fit.finetune.auxiliary * auxiliary) / whole)
            self.images += len(labels)
        stepping.step()
        self.moved(sum(len(labels) for _, labels in batch))
        if number % LOOK == LOOK - 1:
            self.point()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the images' losses, weighed by their classes."""
        smoothing = self.fit.finetune.label_smoothing
        return cross_entropy(logits.float(), labels, self.weights, reduction="sum", label_smoothing=smoothing)

    def observe(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """Add to the epoch's sums."""
        correct = (logits.argmax(dim=1) == labels).sum()
        self.sums += torch.stack([loss, self.weights[labels].sum(), correct.float()])

    def point(self) -> Point:
        """Return the epoch's values so far; `ValueError` where its loss is not finite."""
        loss, weight, correct = self.sums.tolist()
        if not math.isfinite(loss):
            raise self.fit.diverged(self.progress.epoch)
        return {"training_loss": loss / weight, "training_accuracy": correct / self.images}

    def rate(self, number: int) -> float:
        """Return the learning rate at an epoch's step."""
        finetune, total = self.fit.finetune, sum(self.plan)
        step = sum(self.plan[: self.progress.epoch - self.progress.first - 1]) + number
        warm = round(finetune.warmup * total)
        if step < warm:
            return self.phase.learning_rate * (step + 1) / warm
        if finetune.schedule == "constant":
            return self.phase.learning_rate
        return self.phase.learning_rate * (1 + math.cos(math.pi * (step - warm) / max(total - warm, 1))) / 2


def optimizer(finetune: FineTuning, phase: Phase, classifier: NetworkWithHead) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters that learn."""
    learning = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    rate, decay = phase.learning_rate, finetune.weight_decay
    if finetune.optimizer == "sgd":
        return torch.optim.SGD(learning, lr=rate, momentum=finetune.momentum, weight_decay=decay)
    if finetune.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            learning, lr=rate, alpha=0.9, eps=finetune.epsilon, momentum=finetune.momentum, weight_decay=decay
        )
    return torch.optim.AdamW(learning, lr=rate, eps=finetune.epsilon, weight_decay=decay)


@dataclass
class Epoch:
    """The first `steps` batches of an epoch, each in parts of at most `finetune.batch` images."""

    fit: Fit
    number: int
    steps: int

    def __len__(self) -> int:
        """The number of steps."""
        return self.steps

    def __iter__(self) -> Iterator[list[Batch]]:
        """Yield the parts of each step."""
        labels = self.fit.material.labels
        order = generator(*self.fit.key, "order", self.number).permutation(len(labels))
        groups = self.fit.steps(order)[: self.steps]
        views = self.fit.material.views([int(image) for group in groups for image in group], self.number)
        for group in groups:
            batches = np.array_split(group, parts(len(group), self.fit.finetune.batch, self.fit.fewest))
            yield [(torch.stack([next(views) for _ in batch]), torch.from_numpy(labels[batch])) for batch in batches]


class Bookkeeping(Callback):
    """What follows an epoch: the loss of the cases that decide, the best weights, the checkpoint, the curves."""

    def __init__(self, fit: Fit, progress: Progress) -> None:
        self.fit, self.progress = fit, progress

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep an epoch's outcome."""
        assert isinstance(pl_module, Training)
        progress = self.progress
        point = pl_module.point() | {
            "learning_rate": pl_module.rate(pl_module.plan[progress.epoch - progress.first - 1] - 1)
        }
        if self.fit.material.stopping is not None:
            point["stopping_loss"] = self.fit.material.stopping(pl_module.classifier)
            if not math.isfinite(point["stopping_loss"]):
                raise self.fit.diverged(progress.epoch)
            self.choose(point["stopping_loss"], pl_module.classifier)
        progress.points.append(point)
        trainer.save_checkpoint(self.fit.folder / CHECKPOINT)
        self.fit.report(point, len(progress.points))
        trainer.should_stop = progress.over

    def choose(self, loss: float, classifier: NetworkWithHead) -> None:
        """Keep the weights if they are the best so far; end the phase where none have been for too long."""
        progress, patience = self.progress, self.fit.finetune.patience
        if all(loss < point["stopping_loss"] for point in progress.points):
            progress.best_epoch, progress.waited = progress.epoch, 0
            progress.best = {name: torch.from_numpy(values) for name, values in tensors(classifier).items()}
        else:
            progress.waited += 1
            progress.over = 0 < patience <= progress.waited

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the progress."""
        return vars(self.progress)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Leave the progress as it is: it was read from the same checkpoint."""


class WholeCheckpoint(CheckpointIO):
    """Checkpoints that appear as a whole or not at all, and are read without unpickling anything but tensors."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        replace(Path(path), buffer.getvalue())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Return a checkpoint, on the CPU; `ValueError` where it is damaged."""
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(f"{path} is damaged ({reason}); delete it and run again") from None
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)
