"""Logistic regression on standardised descriptors."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from src.classifiers.classifier import (
    BALANCED,
    CLASS_WEIGHTS,
    UNWEIGHTED,
    Classifier,
    Features,
    Groups,
    Labels,
    Model,
    Parts,
    fit_standardiser,
    join_parts,
)
from src.classifiers.linear import Linear
from src.system.checks import at_least, holds, one_of


@dataclass(kw_only=True)
class Logistic(Classifier):
    """L2-regularised multinomial logistic regression; it draws nothing, so every seed gives the same model."""

    revision: ClassVar[int] = 2
    fits: ClassVar[type[Model]] = Linear

    c: float = 1.0
    """Inverse strength of the regularisation."""
    iterations: int = 1000
    class_weight: str = UNWEIGHTED
    """Whether every class weighs as much as another (balanced), or every row."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        holds("c > 0", self.c > 0, c=self.c)
        at_least(1, iterations=self.iterations)
        one_of(CLASS_WEIGHTS, class_weight=self.class_weight)

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
        weight = BALANCED if self.class_weight == BALANCED else None
        regression = LogisticRegression(C=self.c, max_iter=self.iterations, class_weight=weight)
        fitted = regression.fit(scaler.transform(features), labels)
        coefficients, intercept = fitted.coef_, fitted.intercept_
        if len(coefficients) == 1:  # two classes: scikit-learn keeps the second's logit only
            coefficients, intercept = np.vstack([0 * coefficients, coefficients]), np.array([0, intercept[0]])
        present = fitted.classes_.astype(np.int64)
        return [Linear.on_standardised(scaler, coefficients, intercept, present, classes)] * len(seeds)
