"""Nearest neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from src.classifiers.classifier import (
    Classifier,
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
from src.system.checks import at_least, one_of


@dataclass
class Neighbours(Model):
    """The training part's descriptors and labels."""

    suffix: ClassVar[str] = ".safetensors"

    fitted: Any
    features: Features
    labels: Labels
    classes: int

    @classmethod
    def among(cls, neighbours: int, metric: str, features: Features, labels: Labels, classes: int) -> "Neighbours":
        """Return the model that looks for so many neighbours among descriptors."""
        from sklearn.neighbors import KNeighborsClassifier

        fitted = KNeighborsClassifier(neighbours, metric=metric, algorithm="brute").fit(features, labels)
        return cls(fitted, features, labels, classes)

    @classmethod
    def stored(cls, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> "Neighbours":
        """Return the model of what `save` wrote."""
        kind = int(metadata["neighbours"]), metadata["metric"]
        return cls.among(*kind, tensors["features"], tensors["labels"], int(metadata["classes"]))

    def predict(self, features: Features) -> Probabilities:
        """Return class probabilities."""
        return over_all_classes(self.fitted.predict_proba(features), self.fitted.classes_, self.classes)

    @classmethod
    def load(cls, path: Path) -> "Neighbours":
        """Return the model of a file."""
        return load_model(path, cls.stored)

    def save(self, stem: Path) -> None:
        """Write descriptors and labels as safetensors."""
        parameters = {
            "neighbours": str(self.fitted.n_neighbors),
            "metric": self.fitted.metric,
            "classes": str(self.classes),
        }
        save_model(stem.with_suffix(self.suffix), {"features": self.features, "labels": self.labels}, parameters)


@dataclass(kw_only=True)
class Knn(Classifier):
    """The share of each class among the nearest descriptors; it draws nothing, so every seed gives the same model."""

    fits: ClassVar[type[Model]] = Neighbours

    neighbours: int = 5
    metric: str = "cosine"

    def __post_init__(self) -> None:
        """Check the parameters."""
        at_least(1, neighbours=self.neighbours)
        one_of(("cosine", "euclidean", "manhattan"), metric=self.metric)

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
        if self.neighbours > len(features):
            raise ValueError(
                f"classifier.neighbours={self.neighbours} is more than the {len(features)} descriptors of fold "
                f"{fold}'s training part; take fewer"
            )
        return [Neighbours.among(self.neighbours, self.metric, features, labels, classes)] * len(seeds)
