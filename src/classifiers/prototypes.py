"""Nearest class means, as SimpleShot has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float64

from src.classifiers.classifier import (
    Classifier,
    Codes,
    Features,
    Groups,
    Labels,
    Model,
    Parts,
    Probabilities,
    join_parts,
    load_model,
    over_all_classes,
    save_model,
)
from src.system.checks import holds

Directions = Float64[np.ndarray, "rows features"]


@dataclass
class ClassMeans(Model):
    """The training part's mean descriptor, and the means of its classes' directions from there."""

    suffix: ClassVar[str] = ".safetensors"

    centre: Float64[np.ndarray, " features"]
    means: Float64[np.ndarray, "present features"]
    present: Codes
    classes: int
    temperature: float

    @classmethod
    def stored(cls, tensors: Mapping[str, Any], facts: Mapping[str, str]) -> "ClassMeans":
        """Return the model of what `save` wrote."""
        numbers = int(facts["classes"]), float(facts["temperature"])
        return cls(tensors["centre"], tensors["means"], tensors["present"], *numbers)

    def predict(self, features: Features) -> Probabilities:
        """Return class probabilities: the softmax of negative squared distances over the temperature."""
        from scipy.special import softmax

        directions = directions_from(self.centre, features)
        # Of (d - m)^2 only what differs between the classes.
        distances = (self.means**2).sum(axis=1) - 2 * directions @ self.means.T
        return over_all_classes(softmax(-distances / self.temperature, axis=1), self.present, self.classes)

    @classmethod
    def load(cls, path: Path) -> "ClassMeans":
        """Return the model of a file."""
        return load_model(path, cls.stored)

    def save(self, stem: Path) -> None:
        """Write the means as safetensors."""
        tensors = {"centre": self.centre, "means": self.means, "present": self.present}
        facts = {"classes": str(self.classes), "temperature": repr(self.temperature)}
        save_model(stem.with_suffix(self.suffix), tensors, facts)


@dataclass(kw_only=True)
class Prototypes(Classifier):
    """The nearest class mean of centred, L2-normalised descriptors: SimpleShot (Wang et al. 2019, CL2N).

    The mean of the training part is subtracted, rows are divided by their length, and a class is the mean of its rows.
    It draws nothing, so every seed gives the same model.
    """

    fits: ClassVar[type[Model]] = ClassMeans

    temperature: float = 0.1
    """What squared distances, of 0 to 4, are divided by before their softmax: it changes no answer, but how sure of it
    one is."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        holds("temperature > 0", self.temperature > 0, temperature=self.temperature)

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
        """Return the same model for every seed."""
        features = join_parts(features)
        centre = features.mean(axis=0, dtype=np.float64)
        directions, present = directions_from(centre, features), np.unique(labels)
        means = np.stack([directions[labels == code].mean(axis=0) for code in present])
        return [ClassMeans(centre, means, present, classes, self.temperature)] * len(seeds)


def directions_from(centre: Float64[np.ndarray, " features"], features: Features) -> Directions:
    """Return descriptors minus the centre, of length 1; at the centre there is no direction, but 0."""
    centred = features - centre
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    directions: Directions = centred / np.where(lengths > 0, lengths, 1)
    return directions
