"""TabPFN: a network that was trained to learn from a few rows by looking at them."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from src.classifiers.classifier import (
    Classifier,
    Features,
    Groups,
    Labels,
    Model,
    Parts,
    Probabilities,
    import_extra,
    join_parts,
    load_model,
    over_all_classes,
    save_model,
)
from src.system.checks import at_least, one_of
from src.system.files import hash_file

DEVICES = ("cpu", "cuda")
WAY_OUT = (
    "download a classifier's checkpoint from https://huggingface.co/Prior-Labs, whose licence you accept there, and "
    "give classifier.weights=PATH; or take another classifier"
)


@dataclass
class InContext(Model):
    """The rows that the network looks at, their labels, and which network it is: nothing else is learnt."""

    suffix: ClassVar[str] = ".safetensors"

    features: Features
    labels: Labels
    classes: int
    estimators: int
    seed: int
    digest: str
    """The SHA-256 of the network's weights."""
    weights: str = ""
    """Where they are here."""
    device: str = "cpu"

    @classmethod
    def stored(cls, tensors: Mapping[str, Any], facts: Mapping[str, str]) -> "InContext":
        """Return the model of what `save` wrote, which is yet to be told where the weights are."""
        classes, estimators, seed = (int(facts[name]) for name in ("classes", "estimators", "seed"))
        return cls(tensors["features"], tensors["labels"], classes, estimators, seed, facts["weights"])

    def predict(self, features: Features) -> Probabilities:
        """Return class probabilities; `ValueError` where the network's weights are not here."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that processors are slow, and that rows are wide
            probabilities = self.fitted.predict_proba(features).astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)  # what was float32 sums to nearly 1
        return over_all_classes(probabilities, self.fitted.classes_.astype(np.int64), self.classes)

    @cached_property
    def fitted(self) -> Any:
        """The network with its rows. It is loaded from a file that is here: else the library would download one."""
        library = import_extra("tabpfn")
        if not Path(self.weights).is_file() or hash_file(Path(self.weights)) != self.digest:
            raise ValueError(
                f"this model needs TabPFN's weights with the SHA-256 {self.digest[:12]}..., with which it was made, "
                f"but classifier.weights={self.weights or '(none)'} are others: give those"
            )
        network = library.TabPFNClassifier(
            model_path=self.weights, n_estimators=self.estimators, device=self.device, random_state=self.seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return network.fit(self.features, self.labels)

    @classmethod
    def load(cls, path: Path) -> "InContext":
        """Return the model of a file."""
        return load_model(path, cls.stored)

    def save(self, stem: Path) -> None:
        """Write rows, labels and the digest of the weights as safetensors."""
        facts = {name: str(getattr(self, name)) for name in ("classes", "estimators", "seed")}
        tensors = {"features": self.features, "labels": self.labels}
        save_model(stem.with_suffix(self.suffix), tensors, facts | {"weights": self.digest})


@dataclass(kw_only=True)
class TabPFN(Classifier):
    """TabPFN (Hollmann et al. 2025): a transformer that reads the training part's rows and then those to predict.

    Its weights are a file of the user's: none is fetched, and the library is told of no other. A seed draws how each of
    the `estimators` sees rows and descriptors.
    """

    fits: ClassVar[type[Model]] = InContext

    weights: str = ""
    """The checkpoint's path."""
    estimators: int = 8
    device: str = "cpu"
    """Where the network runs: cpu, which takes 1,000 rows, or cuda."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        at_least(1, estimators=self.estimators)
        one_of(DEVICES, device=self.device)

    def digest(self) -> str:
        """Return the identity of the weights; empty where they are not here, which `check` tells."""
        return hash_file(Path(self.weights)) if Path(self.weights).is_file() else ""

    def check(self, splits: str, data: str, patients: int = 0) -> list[str]:
        """Return nothing; `ValueError` where library, weights or device are not here."""
        import_extra("tabpfn")
        if not self.weights or not Path(self.weights).is_file():
            given = f"classifier.weights={self.weights} is no file" if self.weights else "none were given"
            raise ValueError(f"TabPFN needs its weights, but {given}: {WAY_OUT}")
        if self.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                raise ValueError("there is no GPU here for classifier.device=cuda: take classifier.device=cpu")
        return []

    def load(self, path: Path) -> Model:
        """Return a model that was saved, with the weights that this classifier has."""
        model = InContext.load(path)
        model.weights, model.device = self.weights, self.device
        return model

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
        rows, digest = join_parts(features), self.digest()
        models: list[Model] = []
        for seed in seeds:
            draw = (1000 * seed + fold) % 2**31
            model = InContext(rows, labels, classes, self.estimators, draw, digest, self.weights, self.device)
            try:
                model.fitted  # noqa: B018  # a mistake is told here
            except (RuntimeError, ValueError) as error:
                said = str(error).splitlines()[0]
                raise ValueError(f"TabPFN cannot learn from fold {fold}'s training part: {said}") from None
            models.append(model)
        return models
