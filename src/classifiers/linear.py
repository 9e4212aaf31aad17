"""A linear layer trained by gradient descent, as benchmarks of pathology encoders do."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Float64

from src.classifiers.classifier import (
    CLASS_WEIGHTS,
    UNWEIGHTED,
    Classifier,
    Codes,
    Features,
    Groups,
    HeldOut,
    Labels,
    Model,
    Parts,
    Probabilities,
    fit_standardiser,
    join_parts,
    load_model,
    over_all_classes,
    save_model,
    weigh_rows,
    whole_groups,
)
from src.system.checks import at_least, holds, one_of
from src.system.random_draws import keyed_generator

if TYPE_CHECKING:
    from sklearn.preprocessing import StandardScaler

Layer = Float32[np.ndarray, "classes inputs"]
"""Weights, and as the last input's the bias: that input is 1."""
TRAINING, HELD_OUT, NOTHING = "training", "held_out", "nothing"
"""What a training stops by."""


@dataclass
class Linear(Model):
    """Softmax of an affine map of the descriptors as they come."""

    suffix: ClassVar[str] = ".safetensors"

    coefficients: Float64[np.ndarray, "present features"]
    intercept: Float64[np.ndarray, " present"]
    present: Codes
    classes: int

    @classmethod
    def on_standardised(
        cls,
        scaler: "StandardScaler",
        coefficients: Float[np.ndarray, "present features"],
        intercept: Float[np.ndarray, " present"],
        present: Codes,
        classes: int,
    ) -> "Linear":
        """Return the model whose coefficients are for descriptors that a scaler standardised."""
        slopes = coefficients / scaler.scale_
        return cls(slopes, intercept - slopes @ scaler.mean_, present, classes)

    @classmethod
    def stored(cls, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> "Linear":
        """Return the model of what `save` wrote."""
        return cls(tensors["coefficients"], tensors["intercept"], tensors["present"], int(metadata["classes"]))

    def predict(self, features: Features) -> Probabilities:
        """Return class probabilities."""
        from scipy.special import softmax

        logits = features.astype(np.float64) @ self.coefficients.T + self.intercept
        return over_all_classes(softmax(logits, axis=1), self.present, self.classes)

    @classmethod
    def load(cls, path: Path) -> "Linear":
        """Return the model of a file."""
        return load_model(path, cls.stored)

    def save(self, stem: Path) -> None:
        """Write the coefficients as safetensors."""
        tensors = {"coefficients": self.coefficients, "intercept": self.intercept, "present": self.present}
        save_model(stem.with_suffix(self.suffix), tensors, {"classes": str(self.classes)})


@dataclass
class Rows:
    """Descriptors with a last column of ones, and their labels."""

    inputs: Float32[np.ndarray, "rows inputs"]
    labels: Labels

    @classmethod
    def of(cls, features: Features, labels: Labels) -> "Rows":
        """Return rows of descriptors."""
        return cls(np.column_stack([features, np.ones(len(features), np.float32)]), labels)

    def chosen(self, numbers: Any) -> "Rows":
        """Return some of the rows."""
        return Rows(self.inputs[numbers], self.labels[numbers])


@dataclass(kw_only=True)
class LinearProbe(Classifier):
    """A linear layer on descriptors as they come, trained by AdamW on the cross-entropy.

    The defaults are those of eva 0.4.5 for BACH (kaiko-ai/eva: core/models/modules/head.py and, in the folder
    configs/vision/pathology/offline/classification, bach.yaml): 12,500 steps of 256 rows at a learning rate of 0.0003,
    a third of it in the first five epochs, PyTorch's weight decay of 0.01; the layer of the epoch with the best
    balanced accuracy is kept, and a fifth of all epochs without a better one end the training.

    There that accuracy is of the images that the leaderboard reports. Here it is of whole patients of the training
    part, from whom nothing else is learnt: of as many parts as `validation` asks for, seeds take one after another.
    """

    fits: ClassVar[type[Model]] = Linear

    steps: int = 12_500
    learning_rate: float = 0.0003
    weight_decay: float = 0.01
    batch: int = 256
    """Rows of a step."""
    stop_by: str = TRAINING
    """Which rows decide when to stop: of training patients, held_out ones (eva's way: flagged), or nothing."""
    validation: float = 0.2
    """The share of the training part's patients that decides, where they do."""
    patience: float = 0.2
    """The share of all epochs that may pass without a better one."""
    standardise: bool = False
    """Whether descriptors are standardised first, which eva's are not."""
    class_weight: str = UNWEIGHTED
    """Whether every class weighs as much as another (balanced), or every row."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        at_least(1, steps=self.steps, batch=self.batch)
        at_least(0, weight_decay=self.weight_decay)
        holds("learning_rate > 0", self.learning_rate > 0, learning_rate=self.learning_rate)
        holds("0 < validation <= 0.5", 0 < self.validation <= 0.5, validation=self.validation)
        holds("0 < patience <= 1", 0 < self.patience <= 1, patience=self.patience)
        one_of((TRAINING, HELD_OUT, NOTHING), stop_by=self.stop_by)
        one_of(CLASS_WEIGHTS, class_weight=self.class_weight)
        self.held_out: tuple[Features, Labels] | None = None  # no parameter: see `seeing`

    def seeing(self, held_out: HeldOut) -> "LinearProbe":
        """Return the classifier that stops by these rows, which are held out, where it is to."""
        if self.stop_by != HELD_OUT:
            return self
        seer = copy(self)
        seer.held_out = held_out()
        return seer

    def check(self, splits: str, data: str, patients: int = 0) -> list[str]:
        """Return a note where trainings are stopped by what is reported."""
        note = "optimistic: classifier.stop_by=held_out stops each training when it does best on the held-out cases"
        return [f"{note} themselves (as eva does)"] if self.stop_by == HELD_OUT else []

    def check_tunable(self) -> None:
        """Raise `ValueError` where it would stop by the cases that its parameters are chosen on."""
        if self.stop_by == HELD_OUT:
            raise ValueError(
                "a study chooses parameters on cases that are held out, but classifier.stop_by=held_out has seen them: "
                f"take {TRAINING} or {NOTHING}"
            )

    def fit(
        self,
        features: Features | Parts,
        labels: Labels,
        classes: int,
        fold: int,
        seeds: list[int],
        threads: int = 1,
        groups: Groups | None = None,
    ) -> list[Model]:
        """Return a model per seed."""
        features = join_parts(features)
        scaler = fit_standardiser(features) if self.standardise else None

        def rows(given: Features, of: Labels) -> Rows:
            return Rows.of(scaler.transform(given).astype(np.float32) if scaler else given, of)

        assert self.held_out or self.stop_by != HELD_OUT, "what is held out has to be seen first"
        known, present = rows(features, labels), np.unique(labels)
        parts = self.training_parts(labels, groups, fold)
        seen = rows(*self.held_out) if self.held_out else None

        def train(seed: int) -> Model:
            learnt, judges = parts[seed % len(parts)]
            judged = known.chosen(judges) if len(judges) else seen
            layer = self.train(known.chosen(learnt), judged, classes, keyed_generator("linear", seed, fold))
            weights, bias = np.split(layer[present].astype(np.float64), [-1], axis=1)
            if scaler:
                return Linear.on_standardised(scaler, weights, bias[:, 0], present, classes)
            return Linear(weights, bias[:, 0], present, classes)

        with ThreadPoolExecutor(min(threads, len(seeds))) as pool:
            return list(pool.map(train, seeds))

    def training_parts(self, labels: Labels, groups: Groups | None, fold: int) -> list[Any]:
        """Return pairs of rows to learn from and to stop by, of which seeds take one after another."""
        if self.stop_by == TRAINING:
            needs = f"classifier.stop_by={TRAINING}"
            return whole_groups(round(1 / self.validation), labels, groups, fold, needs)
        return [(np.arange(len(labels)), np.arange(0))]

    def train(self, rows: Rows, judges: Rows | None, classes: int, draws: np.random.Generator) -> Layer:
        """Return the layer of the first epoch that is best on the rows that judge, or without any that of the last."""
        epochs = ceil(self.steps / ceil(len(rows.labels) / self.batch))
        layers = self.epochs(rows, classes, draws)
        kept = next(layers)
        best, waited = balanced_accuracy(kept, judges) if judges else 0.0, 0
        for layer in layers:
            if best == 1 or waited >= max(1, round(self.patience * epochs)):
                break  # no later one can be, or is to be, better
            score = balanced_accuracy(layer, judges) if judges else 0.0
            waited += 1
            if score > best or not judges:
                kept, best, waited = layer, score, 0
        return kept

    def epochs(self, rows: Rows, classes: int, draws: np.random.Generator) -> Iterator[Layer]:
        """Yield the layer after each epoch, and after the last step."""
        import torch
        from torch.nn.functional import cross_entropy
        from torch.optim.lr_scheduler import ConstantLR

        inputs, labels = torch.from_numpy(rows.inputs), torch.from_numpy(rows.labels)
        weights = None
        if (worth := weigh_rows(self.class_weight, rows.labels)) is not None:
            weights = torch.zeros(classes)
            weights[labels] = torch.from_numpy(worth).float()
        layer = torch.from_numpy(draw_layer(classes, rows.inputs.shape[1], draws)).requires_grad_()
        optimiser = torch.optim.AdamW([layer], lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = ConstantLR(optimiser)  # a third of the rate in the first five epochs, as eva's `HeadModule` has it
        step = 0
        while step < self.steps:
            order = torch.from_numpy(draws.permutation(len(labels)))
            for chosen in torch.split(order, self.batch)[: self.steps - step]:
                optimiser.zero_grad()
                torch.autograd.backward(cross_entropy(inputs[chosen] @ layer.T, labels[chosen], weights))
                optimiser.step()
                step += 1
            schedule.step()
            yield layer.detach().numpy().copy()


def draw_layer(classes: int, inputs: int, draws: np.random.Generator) -> Layer:
    """Return a layer as PyTorch's `nn.Linear` begins: uniform up to one over the root of the number of descriptors."""
    return draws.uniform(-1, 1, (classes, inputs)).astype(np.float32) / np.sqrt(np.float32(inputs - 1))


def balanced_accuracy(layer: Layer, rows: Rows) -> float:
    """Return the mean over the classes of the share of their rows that is right."""
    hits = (rows.inputs @ layer.T).argmax(axis=1) == rows.labels
    counts = np.bincount(rows.labels)
    return float((np.bincount(rows.labels, hits)[counts > 0] / counts[counts > 0]).mean())
