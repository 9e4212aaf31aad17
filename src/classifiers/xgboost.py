"""Gradient-boosted trees by XGBoost."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from src.classifiers.classifier import (
    CLASS_WEIGHTS,
    UNWEIGHTED,
    Classifier,
    Codes,
    Features,
    Groups,
    Labels,
    Model,
    Parts,
    Probabilities,
    import_extra,
    join_parts,
    over_all_classes,
    weigh_rows,
)
from src.system.checks import at_least, holds, one_of

DEVICES = ("cpu", "cuda")
OURS = ("rounds", "class_weight")
"""Parameters that are not XGBoost's."""


@dataclass
class BoostedByXGBoost(Model):
    """A fitted booster of the classes that its training part held."""

    suffix: ClassVar[str] = ".json"

    booster: Any
    present: Codes
    classes: int

    @classmethod
    def load(cls, path: Path) -> "BoostedByXGBoost":
        """Return the booster of a file; `ValueError` where it is damaged."""
        xgboost = import_extra("xgboost")
        try:
            json.loads(path.read_bytes())  # of what is damaged XGBoost reads beyond the end
            booster = xgboost.Booster({"nthread": 1}, model_file=path)
            present = np.array(booster.attr("present").split(","), np.int64)
            return cls(booster, present, int(booster.attr("classes")))
        except (xgboost.core.XGBoostError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is damaged, or no booster ({str(error).splitlines()[0]})") from None

    def predict(self, features: Features) -> Probabilities:
        """Return class probabilities."""
        probabilities = self.booster.inplace_predict(features).astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)  # what was float32 sums to nearly 1
        return over_all_classes(probabilities, self.present, self.classes)

    def save(self, stem: Path) -> None:
        """Write XGBoost's own format, JSON: its binary one cannot be checked before it is read."""
        self.booster.save_model(stem.with_suffix(self.suffix))


@dataclass(kw_only=True)
class XGBoost(Classifier):
    """Trees by XGBoost (Chen and Guestrin 2016), whose parameters have its names.

    A seed draws what each tree sees of rows (`subsample`) and descriptors (`colsample_bytree`).
    """

    fits: ClassVar[type[Model]] = BoostedByXGBoost

    rounds: int = 100
    learning_rate: float = 0.1
    max_depth: int = 4
    min_child_weight: float = 1.0
    subsample: float = 0.8
    colsample_bytree: float = 0.3
    reg_lambda: float = 1.0
    max_bin: int = 256
    class_weight: str = UNWEIGHTED
    """Whether every class weighs as much as another (balanced), or every row."""
    device: str = "cpu"
    """Where trees are grown: cpu, or cuda, which sums in another order, so that trees may differ."""

    def __post_init__(self) -> None:
        """Check the parameters that XGBoost would only refuse after the extraction."""
        at_least(0, min_child_weight=self.min_child_weight, reg_lambda=self.reg_lambda)
        at_least(1, rounds=self.rounds, max_depth=self.max_depth)
        at_least(2, max_bin=self.max_bin)
        holds("learning_rate > 0", self.learning_rate > 0, learning_rate=self.learning_rate)
        for name in ("subsample", "colsample_bytree"):
            holds(f"0 < {name} <= 1", 0 < getattr(self, name) <= 1, **{name: getattr(self, name)})
        one_of(CLASS_WEIGHTS, class_weight=self.class_weight)
        one_of(DEVICES, device=self.device)

    def check(self, splits: str, data: str, patients: int = 0) -> list[str]:
        """Return nothing; `ValueError` where XGBoost is not installed, or cannot use the device."""
        xgboost = import_extra("xgboost")
        if self.device == "cuda":
            import torch

            if not (xgboost.build_info()["USE_CUDA"] and torch.cuda.is_available()):
                raise ValueError("XGBoost finds no GPU here for classifier.device=cuda: take classifier.device=cpu")
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
        """Return a booster per seed; the descriptors are binned once for all seeds.

        Seeds are what runs in parallel, each in one thread: several would add gradients up in another order.
        """
        xgboost = import_extra("xgboost")
        present, codes = np.unique(labels, return_inverse=True)
        worth = weigh_rows(self.class_weight, labels)
        kind = {"nthread": 1, "max_bin": self.max_bin}
        binned = xgboost.QuantileDMatrix(join_parts(features), codes, weight=worth, **kind)

        def boost(seed: int) -> Model:
            own = self.parameters(len(present)) | {"seed": (1000 * seed + fold) % 2**31}
            booster = xgboost.train(own, binned, self.rounds)
            booster.set_param({"device": "cpu"})  # new images are few, and may be predicted anywhere
            booster.set_attr(present=",".join(map(str, present)), classes=str(classes))
            return BoostedByXGBoost(booster, present, classes)

        with ThreadPoolExecutor(min(threads, len(seeds))) as pool:
            return list(pool.map(boost, seeds))

    def parameters(self, classes: int) -> dict[str, Any]:
        """Return XGBoost's parameters but for the seed."""
        own = {name: value for name, value in vars(self).items() if name not in OURS}
        return own | {"objective": "multi:softprob", "num_class": classes, "tree_method": "hist", "nthread": 1}
