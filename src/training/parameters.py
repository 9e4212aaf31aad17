"""How a network is trained: all its parameters, and the phases that follow one another."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from src.system.checks import at_least, holds, one_of

GROUP = "finetune"
"""The part of the config where these parameters are, as messages name it."""
HEAD, ADAPTERS, ALL = "head", "lora", "all"
TRAINABLE = (HEAD, ADAPTERS, ALL)
OPTIMIZERS = ("adamw", "sgd", "rmsprop")
SCHEDULES = ("constant", "cosine")
CLASS_WEIGHTS = ("none", "balanced")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
ORIENTATIONS = (1, 2, 4, 8)
EMA, SWA = "ema", "swa"
AVERAGING = ("none", EMA, SWA)


@dataclass(kw_only=True)
class Phase:
    """A part of the training: `trainable` layers, so many `epochs` or `steps` (one of them is 0), a learning rate."""

    trainable: str = ALL
    epochs: int = 0
    steps: int = 0
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        """Check the parameters."""
        group = f"{GROUP}.phases"
        one_of(TRAINABLE, group=group, trainable=self.trainable)
        if min(self.epochs, self.steps) != 0 or max(self.epochs, self.steps) < 1:
            raise ValueError(
                "a phase takes `epochs >= 1` or `steps >= 1`, and the other is 0, "
                f"but got epochs={self.epochs}, steps={self.steps}"
            )
        holds("learning_rate > 0", self.learning_rate > 0, group=group, learning_rate=self.learning_rate)

    def plan(self, images: int, together: int, fewest: int = 1) -> list[int]:
        """Return the number of steps in each epoch where `together` images give a step (`count_parts`)."""
        whole = count_parts(images, together, fewest)
        if self.epochs:
            return [whole] * self.epochs
        return [whole] * (self.steps // whole) + [self.steps % whole] * (self.steps % whole > 0)


def count_parts(images: int, most: int, fewest: int = 1) -> int:
    """Return into how many parts, as large as each other but for one image, images go: of `most` images at most.

    Where a part would be left with less than the `fewest` they are fewer parts, of which some have one image more.
    """
    return max(1, min(-(-images // most), images // fewest))


@dataclass(kw_only=True)
class FineTuning:
    """The training of a network with a new head.

    - `trainable`, `epochs` and `learning_rate` describe a training of one phase; `phases` replace them where there are
      several. In `head` only the head learns, and the rest is left as in evaluation (batch statistics, dropout). In
      `lora` low-rank adapters on layers of the encoder learn with it (`src.training.adapters`): the encoder stays as it
      is, and what is stored is adapters and head.
    - `lora_rank`, `lora_alpha` (an adapter counts alpha / rank times), `lora_dropout` and `lora_targets` describe the
      adapters; targets are the ends of layers' names (`qkv`, `mlp.fc1`), empty: all layers that can have one.
    - `hidden` and `dropout` describe the head: layers of so many units with ReLU, each with dropout; empty: one layer,
      with dropout of the descriptor.
    - `momentum` is that of `sgd` and `rmsprop`, `epsilon` what `adamw` and `rmsprop` add to their divisor.
    - `schedule` is that of the learning rate over a phase's steps: `constant`, or falling as a `cosine` to 0. During
      the share `warmup` of the steps it rises to its full value first. `layer_decay` is the factor by which the rate
      of each layer is less than that of the layer after it, the head having the whole (`src.training.layers`).
    - `averaging` gives the weights that learn as an average over a phase: exponential over its steps (`ema`, with
      `ema_decay`), or plain over its epochs beyond the share `swa_start` (`swa`). See `src.training.averaging`.
    - `batch` images give a gradient, those of `accumulate` batches a step. With batch=2 some have three where a single
      image would be left, and batch normalisation needs two.
    - `class_weights=balanced` weighs a class's images by the inverse of its share in the training part.
    - `validation` is the share of the training part's patients (cases where they are unknown) that decides when to
      stop: a phase ends after `patience` epochs without a lower loss (0: never early), and the training with the best
      epoch's weights. 0: all epochs, no such part.
    - `transforms` are albumentations' by name, with their arguments, or the project's `StainJitter`; training only:
      `'finetune.transforms=[{HorizontalFlip: {p: 0.5}}, {Rotate: {limit: 30, p: 1}}]'`.
    - `orientations` of every crop are averaged in prediction: 1, 2 (mirrored), 4 (turned) or 8 (both).
    """

    trainable: str = ALL
    epochs: int = 20
    learning_rate: float = 1e-4
    phases: list[Phase] = field(default_factory=list)
    hidden: list[int] = field(default_factory=list)
    dropout: float = 0.0
    auxiliary: float = 0.3
    """The weight of the loss of auxiliary heads, where the architecture has them (GoogLeNet)."""
    optimizer: str = "adamw"
    momentum: float = 0.9
    epsilon: float = 1e-8
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
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    lora_targets: list[str] = field(default_factory=list)
    layer_decay: float = 1.0
    averaging: str = "none"
    ema_decay: float = 0.99
    swa_start: float = 0.75

    added: ClassVar[dict[str, Any]] = {
        "lora_rank": 8,
        "lora_alpha": 16.0,
        "lora_dropout": 0.0,
        "lora_targets": [],
        "layer_decay": 1.0,
        "averaging": "none",
        "ema_decay": 0.99,
        "swa_start": 0.75,
    }
    """Parameters that a recipe names only where they differ from this: networks that are stored keep their names."""
    revision: ClassVar[int] = 1
    """Raised by hand when the same parameters train another network, so that kept ones are trained anew."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        one_of(TRAINABLE, group=GROUP, trainable=self.trainable)
        one_of(OPTIMIZERS, group=GROUP, optimizer=self.optimizer)
        one_of(SCHEDULES, group=GROUP, schedule=self.schedule)
        one_of(CLASS_WEIGHTS, group=GROUP, class_weights=self.class_weights)
        one_of(PRECISIONS, group=GROUP, precision=self.precision)
        one_of(ORIENTATIONS, group=GROUP, orientations=self.orientations)
        at_least(1, group=GROUP, epochs=self.epochs, batch=self.batch, accumulate=self.accumulate)
        at_least(0, group=GROUP, auxiliary=self.auxiliary, weight_decay=self.weight_decay, patience=self.patience)
        holds("learning_rate > 0", self.learning_rate > 0, group=GROUP, learning_rate=self.learning_rate)
        holds("epsilon > 0", self.epsilon > 0, group=GROUP, epsilon=self.epsilon)
        one_of(AVERAGING, group=GROUP, averaging=self.averaging)
        at_least(1, group=GROUP, lora_rank=self.lora_rank)
        for name in ("lora_alpha", "layer_decay"):
            holds(f"{name} > 0", getattr(self, name) > 0, group=GROUP, **{name: getattr(self, name)})
        holds("layer_decay <= 1", self.layer_decay <= 1, group=GROUP, layer_decay=self.layer_decay)
        shares = ("dropout", "momentum", "warmup", "label_smoothing", "validation")
        for name in (*shares, "lora_dropout", "ema_decay", "swa_start"):
            value = getattr(self, name)
            holds(f"0 <= {name} < 1", 0 <= value < 1, group=GROUP, **{name: value})
        holds("hidden >= 1", all(units >= 1 for units in self.hidden), group=GROUP, hidden=self.hidden)
        if self.patience and not self.validation:
            raise ValueError(
                f"finetune.patience={self.patience} needs a part of the training cases to decide by: "
                "give finetune.validation=0.2, or finetune.patience=0"
            )
        if self.adapts and any(phase.trainable == ALL for phase in self.stages()):
            raise ValueError(
                "adapters are for an encoder that stays as it is, and trainable=all changes it, but finetune.phases "
                "hold both: take lora in all phases, after a head perhaps, or in none"
            )
        if self.transforms:
            from src.training.transforms import Pipeline

            Pipeline(self.transforms)

    @property
    def adapts(self) -> bool:
        """Whether adapters learn and the encoder stays as it is."""
        return any(phase.trainable == ADAPTERS for phase in self.stages())

    def stages(self) -> list[Phase]:
        """Return the phases, or the one that stands for them."""
        return self.phases or [Phase(trainable=self.trainable, epochs=self.epochs, learning_rate=self.learning_rate)]
