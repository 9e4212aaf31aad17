"""Gradient-boosted trees."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from src.classifiers.classifier import (
    CLASS_WEIGHTS,
    UNWEIGHTED,
    Classifier,
    Features,
    Groups,
    Labels,
    Model,
    Parts,
    Probabilities,
    weigh_rows,
)
from src.system import memory
from src.system.checks import at_least, holds, one_of

DEVICES = ("cpu", "gpu", "cuda")
OURS = ("rounds", "quantized", "device", "class_weight")
"""Parameters that are not LightGBM's, or not always."""
MANY = 2**22
"""Numbers of a fold: what it takes to bin fewer, 70 MB, is not worth to be given back and asked for again."""


@dataclass
class Boosted(Model):
    """A fitted booster."""

    suffix: ClassVar[str] = ".txt"

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
        self.booster.save_model(stem.with_suffix(self.suffix))


@dataclass(kw_only=True)
class LightGBM(Classifier):
    """LightGBM; the defaults are those of Rakhlin et al. 2018.

    `bagging_freq` is 0 there, so bagging is off whatever `bagging_fraction` says, and a seed only draws features:
    feature_fraction_seed = 1 + 10 seed + fold, the fold counted from 0.
    """

    fits: ClassVar[type[Model]] = Boosted
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
    quantized: bool = False
    """Whether gradients are rounded to a few bits (Shi et al. 2022, https://arxiv.org/abs/2207.09682): other trees."""
    class_weight: str = UNWEIGHTED
    """Whether every class weighs as much as another (balanced), or every row."""
    device: str = "cpu"
    """Where trees are grown: cpu, or by LightGBM's builds for GPUs gpu (OpenCL) or cuda, which sum in another order."""

    def __post_init__(self) -> None:
        """Check the parameters that LightGBM would only refuse after the extraction."""
        at_least(0, min_data_in_leaf=self.min_data_in_leaf, bagging_freq=self.bagging_freq, lambda_l2=self.lambda_l2)
        at_least(1, rounds=self.rounds)
        at_least(2, num_leaves=self.num_leaves, max_bin=self.max_bin)
        holds("0 < feature_fraction <= 1", 0 < self.feature_fraction <= 1, feature_fraction=self.feature_fraction)
        holds("0 < bagging_fraction <= 1", 0 < self.bagging_fraction <= 1, bagging_fraction=self.bagging_fraction)
        holds("learning_rate > 0", self.learning_rate > 0, learning_rate=self.learning_rate)
        one_of(DEVICES, device=self.device)
        one_of(CLASS_WEIGHTS, class_weight=self.class_weight)
        if self.quantized and self.device == "gpu":
            raise ValueError("`quantized` needs device=cpu or cuda, but got device=gpu")

    def check(self, splits: str, data: str, patients: int = 0) -> list[str]:
        """Return nothing; `ValueError` where this build of LightGBM cannot use the device."""
        import lightgbm

        if self.device != "cpu":
            tried = {"device_type": self.device, "objective": "binary", "verbosity": -1}
            try:
                lightgbm.train(tried, lightgbm.Dataset(np.eye(2, dtype=np.float32), [0, 1], params=tried), 1)
            except lightgbm.basic.LightGBMError as error:
                reason = str(error).splitlines()[0].rstrip(".")
                raise ValueError(
                    f"LightGBM as it is installed here cannot use classifier.device={self.device} ({reason}): install "
                    "its build for that device, or take classifier.device=cpu"
                ) from None
        return []

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
        """Return a booster per seed; the descriptors are binned once for all seeds, and not copied.

        Seeds are what runs in parallel, each in one thread: several would write their number into the model.
        """
        import lightgbm

        shared = self.parameters(classes)
        given = features if isinstance(features, np.ndarray) else list(features)
        worth = weigh_rows(self.class_weight, labels)
        binned = lightgbm.Dataset(given, labels, weight=worth, params=shared | {"num_threads": threads}).construct()
        if binned.num_data() * binned.num_feature() > MANY:
            memory.release_freed()  # binning holds several times what it leaves, in pieces of no use to growing trees

        def boost(seed: int) -> Model:
            # Not by `lightgbm.train`: it changes the data set's parameters, which other seeds are reading.
            own = {"num_iterations": self.rounds, "feature_fraction_seed": 1 + 10 * seed + fold - 1}
            booster = lightgbm.Booster(shared | own, binned)
            for _ in range(self.rounds):
                booster.update()
            # What the trees were grown with takes a gigabyte, and is freed so.
            return Boosted(booster.model_from_string(booster.model_to_string()).free_dataset())

        with ThreadPoolExecutor(min(threads, len(seeds))) as pool:
            return list(pool.map(boost, seeds))

    def parameters(self, classes: int) -> dict[str, Any]:
        """Return LightGBM's parameters but for the seed."""
        own = {name: value for name, value in vars(self).items() if name not in OURS}
        if self.quantized:
            own |= {"use_quantized_grad": True, "quant_train_renew_leaf": True}
        if self.device != "cpu":
            own["device_type"] = self.device
        if self.max_depth > 0:  # a tree has no more leaves, and LightGBM holds megabytes for each that it may have
            own["num_leaves"] = min(self.num_leaves, 2 ** min(self.max_depth, 30))
        # One order of summation whatever the machine does: the same data give the same trees.
        fixed = {"deterministic": True, "force_col_wise": True, "num_threads": 1, "verbosity": -1}
        return own | fixed | {"objective": "multiclass", "num_class": classes, "feature_pre_filter": False}
