"""Gradient-boosted trees."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.classifiers.classifier import Classifier, Features, Labels, Model, Probabilities


@dataclass(kw_only=True)
class LightGBM(Classifier):
    """LightGBM; the defaults are those of Rakhlin et al. 2018.

    `bagging_freq` is 0 there, so bagging is off whatever `bagging_fraction` says, and a seed only draws features:
    feature_fraction_seed = 1 + 10 seed + fold, the fold counted from 0.
    """

    rounds: int = 70
    learning_rate: float = 0.1
    num_leaves: int = 191
    max_depth: int = 7
    min_data_in_leaf: int = 20
    feature_fraction: float = 0.46
    bagging_fraction: float = 0.69
    bagging_freq: int = 0
    lambda_l2: float = 0.0
    max_bin: int = 255

    def __post_init__(self) -> None:
        """Check the parameters that LightGBM would only refuse after the extraction."""
        least = {"rounds": 1, "num_leaves": 2, "min_data_in_leaf": 0, "bagging_freq": 0, "lambda_l2": 0, "max_bin": 2}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"`{name} >= {bound}` must hold, but got {name}={getattr(self, name)}")
        for name in ("feature_fraction", "bagging_fraction"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"`0 < {name} <= 1` must hold, but got {name}={getattr(self, name)}")
        if self.learning_rate <= 0:
            raise ValueError(f"`learning_rate > 0` must hold, but got learning_rate={self.learning_rate}")

    def fit(self, features: Features, labels: Labels, classes: int, fold: int, seeds: list[int]) -> list[Model]:
        """Return a booster per seed; the descriptors are binned once for all seeds."""
        import lightgbm

        shared = self.parameters(classes)
        data = lightgbm.Dataset(features, labels, params=shared).construct()
        return [
            Boosted(lightgbm.train(shared | {"feature_fraction_seed": 1 + 10 * seed + fold - 1}, data, self.rounds))
            for seed in seeds
        ]

    def parameters(self, classes: int) -> dict[str, Any]:
        """Return LightGBM's parameters but for the seed."""
        own = {name: value for name, value in vars(self).items() if name != "rounds"}
        # One order of summation whatever the machine does: the same data give the same trees.
        fixed = {"deterministic": True, "force_col_wise": True, "num_threads": 1, "verbosity": -1}
        return own | fixed | {"objective": "multiclass", "num_class": classes, "feature_pre_filter": False}


@dataclass
class Boosted:
    """A fitted booster."""

    booster: Any

    @classmethod
    def load(cls, path: Path) -> "Boosted":
        """Return the booster of a file; `ValueError` where it is damaged."""
        import lightgbm

        try:
            return cls(lightgbm.Booster(model_file=path))
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(f"{path} is damaged, or no booster ({error})") from None

    def predict(self, features: Features) -> Probabilities:
        """Return class probabilities."""
        probabilities: Probabilities = self.booster.predict(features, num_threads=1)
        return probabilities

    def save(self, stem: Path) -> None:
        """Write LightGBM's own text format."""
        self.booster.save_model(stem.with_suffix(".txt"))
