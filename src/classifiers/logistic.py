"""Logistic regression on standardised descriptors."""

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
    fit_standardiser,
    join_parts,
    load_model,
    over_all_classes,
    save_model,
)
from src.system.checks import at_least, holds


@dataclass
class Linear(Model):
    """Softmax of an affine map of the descriptors as they come."""

    suffix: ClassVar[str] = ".safetensors"

    coefficients: Float64[np.ndarray, "present features"]
    intercept: Float64[np.ndarray, " present"]
    present: Codes
    classes: int

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


@dataclass(kw_only=True)
class Logistic(Classifier):
    """L2-regularised multinomial logistic regression; it draws nothing, so every seed gives the same model."""

    revision: ClassVar[int] = 2
    fits: ClassVar[type[Model]] = Linear

    c: float = 1.0
    """Inverse strength of the regularisation."""
    iterations: int = 1000

    def __post_init__(self) -> None:
        """Check the parameters."""
        holds("c > 0", self.c > 0, c=self.c)
        at_least(1, iterations=self.iterations)

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
        from sklearn.linear_model import LogisticRegression

        features = join_parts(features)
        scaler = fit_standardiser(features)
        fitted = LogisticRegression(C=self.c, max_iter=self.iterations).fit(scaler.transform(features), labels)
        coefficients, intercept = fitted.coef_, fitted.intercept_
        if len(coefficients) == 1:  # two classes: scikit-learn keeps the second's logit only
            coefficients, intercept = np.vstack([0 * coefficients, coefficients]), np.array([0, intercept[0]])
        slopes = coefficients / scaler.scale_
        return [Linear(slopes, intercept - slopes @ scaler.mean_, fitted.classes_.astype(np.int64), classes)] * len(
            seeds
        )
