"""What every classifier on descriptors does."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from jaxtyping import Float32, Float64, Int64, Shaped

from src.system.checks import needs_extra
from src.system.files import read_tensors, replace_file

if TYPE_CHECKING:
    from sklearn.preprocessing import StandardScaler

Features = Float32[np.ndarray, "rows features"]
Parts = Sequence[Float32[np.ndarray, "_ features"]]
"""Rows that follow each other from part to part."""
Labels = Int64[np.ndarray, " rows"]
Groups = Int64[np.ndarray, " rows"]
Codes = Int64[np.ndarray, " present"]
Rows = Int64[np.ndarray, " _"]
Probabilities = Float64[np.ndarray, "rows classes"]
HeldOut = Callable[[], tuple[Features, Labels]]
"""Gives the rows that are held out, and their labels."""

FACTS = "facts"
"""The entry of a model's file that holds its facts."""
UNWEIGHTED, BALANCED = CLASS_WEIGHTS = ("none", "balanced")
"""What `class_weight` may be: every row weighs the same, or every class."""

ROUNDING = 2.0**-14
"""The share of a column's largest value up to which its deviation is taken for one of rounding.

Descriptors have float32's 24 bits, of which sums that cancel, such as a gradient of grey levels, have lost ten.
"""


class Model(ABC):
    """A fitted classifier."""

    suffix: ClassVar[str]
    """What its files end in."""

    @abstractmethod
    def predict(self, features: Features) -> Probabilities:
        """Return class probabilities: they sum to 1, in the order of the classes' codes."""

    @abstractmethod
    def save(self, stem: Path) -> None:
        """Write the model, without a pickle, to `stem` with its suffix."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> "Model":
        """Return the model of a file, of which nothing is unpickled; `ValueError` where it is damaged."""


@dataclass(kw_only=True)
class Classifier(ABC):
    """A way of learning classes from descriptors."""

    revision: ClassVar[int] = 1
    fits: ClassVar[type[Model]]
    """The class of its models."""

    @abstractmethod
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
        """Return a model per seed for one fold (counted from 1), whose data are the training part's.

        `labels` are codes 0..classes-1. Folds are what runs in parallel: `threads` are those that this one may use.
        Rows with the same code in `groups` (a patient's) stay together where some are held out within.
        """

    def load(self, path: Path) -> Model:
        """Return a model that was saved; `ValueError` where its file is damaged."""
        return self.fits.load(path)

    def digest(self) -> str:
        """Return the identity of what it knows besides its parameters; empty where that is nothing."""
        return ""

    def seeing(self, held_out: HeldOut) -> "Classifier":
        """Return the classifier that learns where rows are held out: this one, unless it is to stop by them.

        One that does has seen what is reported, and its `check` says so; for others nobody takes the rows out.
        """
        return self

    def of_fold(self, fold: int) -> "Classifier":
        """Return the classifier that learns in a fold: this one, unless each has its own parameters."""
        return self

    def check_tunable(self) -> None:  # noqa: B027  # those of most are
        """Raise `ValueError` where its parameters are not to be chosen by a study."""

    def check(self, splits: str, data: str, patients: int = 0) -> list[str]:
        """Return what a reader has to know; `ValueError` where splits and data of these digests may not be predicted.

        (`src.recipes`). It is to learn from so many `patients` of a training part, or from all (0).
        """
        return []


def import_extra(name: str) -> Any:
    """Return the module of a library that an extra of the same name brings; `ValueError` where it is missing."""
    try:
        return import_module(name)
    except ImportError:
        raise ValueError(needs_extra(f"classifier={name}", "its library", name)) from None


def join_parts(features: Features | Parts) -> Features:
    """Return the rows of all parts as one array."""
    return features if isinstance(features, np.ndarray) else np.concatenate(features)


def fit_standardiser(features: Features) -> "StandardScaler":
    """Return what subtracts each column's mean and divides by its deviation: by infinity where that is of rounding.

    So a column that does not vary is 0, whatever it holds in rows that come later: divided by what is rounding, one
    that really differs would lie 100,000 deviations off, and decide alone.
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features.astype(np.float64))
    largest = np.maximum(features.max(axis=0), -features.min(axis=0))
    scaler.scale_[np.sqrt(scaler.var_) <= ROUNDING * largest] = np.inf
    return scaler


def weigh_rows(weighting: str, labels: Labels) -> Float64[np.ndarray, " rows"] | None:
    """Return what each row weighs so that classes weigh the same, and rows 1 in mean (balanced); None: all the same."""
    from sklearn.utils.class_weight import compute_sample_weight

    return None if weighting == UNWEIGHTED else compute_sample_weight(BALANCED, labels)


def group_folds(folds: int, labels: Labels, groups: Groups | None) -> list[tuple[Rows, Rows]]:
    """Return the rows to learn from and those held out of each fold within a training part: whole groups, stratified.

    At most as many folds as the rarest class has groups; none where that has one only.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.arange(len(labels)) if groups is None else groups
    fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    return [] if fewest < 2 else list(StratifiedGroupKFold(min(folds, fewest)).split(labels, labels, groups))


def whole_groups(folds: int, labels: Labels, groups: Groups | None, fold: int, needs: str) -> list[tuple[Rows, Rows]]:
    """Return the `group_folds` of the training part of `fold`, which the parameter `needs` asks for.

    `ValueError` where there are none.
    """
    found = group_folds(folds, labels, groups)
    if not found:
        raise ValueError(
            f"{needs} holds patients of each class out within the training part, but a class of fold {fold}'s has one "
            "patient (or case, where none are known): more protocol.folds or inner_folds leave more to learn from; or "
            "take another classifier"
        )
    return found


M = TypeVar("M", bound=Model)


def save_model(path: Path, tensors: Mapping[str, Shaped[np.ndarray, "..."]], facts: dict[str, str]) -> None:
    """Write a model's arrays and facts as safetensors, whole or not at all.

    safetensors writes an array's memory as it lies, so columns first would come back as rows first; and several facts
    in any order, so that they are one.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    replace_file(path, save(arrays, {FACTS: json.dumps(facts, sort_keys=True)}))


def load_model(path: Path, stored: Callable[[Mapping[str, Any], Mapping[str, str]], M]) -> M:
    """Return the model that is `stored` as these arrays and facts by `save_model`; `ValueError` where it is not."""
    from safetensors import SafetensorError

    try:
        tensors, facts = read_tensors(path)
        return stored(tensors, json.loads(facts[FACTS]) if FACTS in facts else facts)  # of models of 0.1 each by itself
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or no classifier ({error!r})") from None


def over_all_classes(probabilities: Float64[np.ndarray, "rows present"], present: Codes, classes: int) -> Probabilities:
    """Return probabilities over all classes, with 0 for those that the training part did not hold."""
    complete = np.zeros((len(probabilities), classes))
    complete[:, present] = probabilities
    return complete
