"""A classifier whose parameters are chosen in each training part."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from src.classifiers.classifier import Classifier, Features, Groups, Labels, Model, Parts, group_folds, join_parts
from src.classifiers.tuned import classifiers_by_name
from src.evaluation.metrics import log_losses
from src.system.checks import at_least, one_of


@dataclass(kw_only=True)
class GridSearch(Classifier):
    """The classifier `of` (the name of its class), with the values of `grid` that predict inner folds best.

    Every combination of the values, in their order, learns from all but one of `folds` parts of the training part and
    predicts that one; whole patients are together, and classes alike. The one of the least log loss, of equal ones the
    first, then learns from all. A training part with one patient of a class has no such folds, and takes the first.
    `parameters` are values of others that hold throughout.
    """

    of: str
    grid: dict[str, list[Any]] = field(default_factory=dict, metadata={"open": True})
    parameters: dict[str, Any] = field(default_factory=dict, metadata={"open": True})
    folds: int = 3

    def __post_init__(self) -> None:
        """Check that every combination can be made."""
        at_least(2, folds=self.folds)
        one_of(sorted(set(classifiers_by_name()) - {"GridSearch", "Tuned"}), of=self.of)
        if not self.grid or not all(self.grid.values()):
            raise ValueError(f"`grid` has one value or more of each parameter, but got classifier.grid={self.grid}")
        try:
            self.candidates  # noqa: B018
        except TypeError as error:
            raise ValueError(f"classifier.grid and classifier.parameters are not those of {self.of}: {error}") from None

    @cached_property
    def candidates(self) -> list[Classifier]:
        """The classifiers among which is chosen."""
        kind = classifiers_by_name()[self.of]
        values = (dict(zip(self.grid, each, strict=True)) for each in product(*self.grid.values()))
        return [kind(**self.parameters, **each) for each in values]

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
        """Return a model per seed, whose parameters are chosen by models of the same seed."""
        rows = join_parts(features)
        groups = np.arange(len(labels)) if groups is None else groups
        models = []
        for seed in seeds:
            best = self.choose(rows, labels, classes, fold, seed, threads, groups)
            models += best.fit(rows, labels, classes, fold, [seed], threads, groups)
        return models

    def choose(
        self, rows: Features, labels: Labels, classes: int, fold: int, seed: int, threads: int, groups: Groups
    ) -> Classifier:
        """Return the candidate that predicts the inner folds of a training part best.

        One that cannot learn from so few rows, such as by more neighbours than there are, is passed over.
        """
        parts = group_folds(self.folds, labels, groups)
        if not parts or len(self.candidates) == 1:
            return self.candidates[0]
        losses, refusals = np.full(len(self.candidates), np.inf), []
        for place, candidate in enumerate(self.candidates):
            try:
                found = [
                    log_losses(model.predict(rows[held]), labels[held])
                    for known, held in parts
                    for model in candidate.fit(
                        rows[known], labels[known], classes, fold, [seed], threads, groups[known]
                    )
                ]
            except ValueError as error:
                refusals.append(error)
            else:
                losses[place] = np.concatenate(found).mean()
        if len(refusals) == len(losses):
            raise refusals[0]
        return self.candidates[int(losses.argmin())]

    def load(self, path: Path) -> Model:
        """Return a model that was saved."""
        return self.candidates[0].load(path)
