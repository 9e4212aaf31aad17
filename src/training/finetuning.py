"""How a network is trained: all its parameters, and the phases that follow one another."""

from dataclasses import dataclass, field
from typing import Any

TRAINABLE = ("head", "all")
OPTIMIZERS = ("adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "cosine")
CLASS_WEIGHTS = ("none", "balanced")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


@dataclass(kw_only=True)
class Phase:
    """A part of the training: `trainable` layers, so many `epochs` or `steps` (one of them is 0), a learning rate."""

    trainable: str = "all"
    epochs: int = 0
    steps: int = 0
    learning_rate: float = 1e-4


@dataclass(kw_only=True)
class FineTuning:
    """The training of a network with a new head.

    - `trainable`, `epochs` and `learning_rate` describe a training of one phase; `phases` replace them where there are
      several. In `head` only the head learns, and the rest is left as in evaluation (batch statistics, dropout).
    - `hidden` and `dropout` describe the head: layers of so many units with ReLU, each with dropout; empty: one layer.
    - `batch` images give a gradient, those of `accumulate` batches a step.
    - `validation` is the share of the training part's patients (cases where they are unknown) that decides when to
      stop: after `patience` epochs without a lower loss, with the best epoch's weights. 0: all epochs, no such part.
    - `transforms` are albumentations' by name, with their arguments, or the project's `StainJitter`; training only.
    - `orientations` of every crop are averaged in prediction: 1, 2 (mirrored), 4 (turned) or 8 (both).
    """

    trainable: str = "all"
    epochs: int = 20
    learning_rate: float = 1e-4
    phases: list[Phase] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    dropout: float = 0.0
    auxiliary: float = 0.3
    """The weight of the loss of auxiliary heads, where the architecture has them (GoogLeNet)."""
    optimizer: str = "adamw"
    momentum: float = 0.9
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    warmup: float = 0.0
    batch: int = 32
    accumulate: int = 1
    precision: str = "32-true"
    class_weights: str = "none"
    label_smoothing: float = 0.0
    validation: float = 0.0
    patience: int = 0
    transforms: list[dict[str, Any]] = field(default_factory=list)
    orientations: int = 1
