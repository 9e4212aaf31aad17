"""Any classifier of scikit-learn."""

import difflib
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from src.classifiers.classifier import (
    Classifier,
    Features,
    Groups,
    Labels,
    Model,
    Parts,
    Probabilities,
    fit_standardiser,
    join_parts,
    over_all_classes,
    whole_groups,
)
from src.system.checks import holds, suggest_choice
from src.system.files import replace_file

OURS = {"random_state": "seeds", "n_jobs": "method.workers"}
"""Parameters that are set here, and what in a config they follow from."""
FOREST = "sklearn.ensemble.RandomForestClassifier"


@dataclass
class Estimated(Model):
    """A fitted pipeline of scikit-learn: the standardiser, if any, and the estimator."""

    suffix: ClassVar[str] = ".skops"

    pipeline: Any
    classes: int

    @classmethod
    def load(cls, path: Path) -> "Estimated":
        """Return the model of a file; `ValueError` where another version of scikit-learn made it, too."""
        import sklearn
        from skops.io import get_untrusted_types, load

        try:
            unknown = get_untrusted_types(file=path)
            if foreign := [name for name in unknown if not is_of_sklearn(name)]:
                raise TypeError(f"it holds {', '.join(foreign)}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sklearn.exceptions.InconsistentVersionWarning)
                found = load(path, trusted=unknown)
            model, made, here = cls(found["pipeline"], found["classes"]), found["version"], sklearn.__version__
        except (BadZipFile, zlib.error, KeyError, TypeError, AttributeError, ImportError) as error:
            raise ValueError(f"{path} is damaged, or no classifier of scikit-learn ({error!r})") from None
        if made.split(".")[:2] != here.split(".")[:2]:
            raise ValueError(
                f"{path} was fitted by scikit-learn {made}, but here is {here}: use the version of the fit"
            )
        return model

    def predict(self, features: Features) -> Probabilities:
        """Return class probabilities; by one thread, as a forest's would add its trees up in any order."""
        with limit_threads(1):
            probabilities = self.pipeline.predict_proba(features).astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)  # what was float32 sums to nearly 1
        return over_all_classes(probabilities, self.pipeline.classes_, self.classes)

    def save(self, stem: Path) -> None:
        """Write the pipeline as skops."""
        import sklearn

        content = {"pipeline": self.pipeline, "classes": self.classes, "version": sklearn.__version__}
        replace_file(stem.with_suffix(self.suffix), dump_archive(content))


@dataclass(kw_only=True)
class Sklearn(Classifier):
    """A classifier of scikit-learn, by its import path, with `parameters` of its own.

    A model's `random_state` is (1000 seed + fold) mod 2^32, the fold counted from 1; an estimator without one draws
    nothing, so that every seed gives the same model. What an estimator itself holds out of the training part, such as
    for `early_stopping`, it draws by row, whoever's the rows are.
    """

    fits: ClassVar[type[Model]] = Estimated

    estimator: str
    parameters: dict[str, Any] = field(default_factory=dict, metadata={"open": True})
    standardise: bool = True
    """Whether each descriptor is brought to mean 0 and deviation 1, by those of the training part."""
    calibration: int = 0
    """Folds of the training part, whole patients together, whose scores by the other folds say how sure to be: the
    probabilities are the softmax of scores over a temperature (Guo et al. 2017, https://arxiv.org/abs/1706.04599). The
    estimator itself learns from all. At most as many as the rarest class has patients. 0: its own probabilities."""

    def __post_init__(self) -> None:
        """Check estimator and parameters, as far as they can be without data."""
        calibration = self.calibration
        holds("calibration = 0 or calibration >= 2", calibration == 0 or calibration >= 2, calibration=calibration)
        kind = classifier_class(self.estimator)
        check_names(kind, self.parameters)
        made = kind(**self.parameters)
        try:
            made._validate_params()  # what `fit` begins with: else a mistake would be told after the extraction
        except ValueError as error:
            raise ValueError(f"classifier.parameters are not those of {kind.__name__}: {error}") from None
        if not calibration and not hasattr(made, "predict_proba"):
            raise ValueError(
                f"{kind.__name__} gives scores and no probabilities (with these parameters): classifier.calibration=5 "
                "makes some of its scores, or take another estimator"
            )

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
        from sklearn.pipeline import Pipeline

        features = join_parts(features)
        steps: list[tuple[str, Any]] = []
        if self.standardise:
            steps = [("standardise", fit_standardiser(features))]
            features = steps[0][1].transform(features)
        draws = "random_state" in classifier_class(self.estimator)().get_params(deep=False)
        models: list[Model] = []
        for seed in seeds if draws else seeds[:1]:
            made = self.made(fold, {"random_state": (1000 * seed + fold) % 2**32} if draws else {}, labels, groups)
            try:
                with limit_threads(threads):
                    fitted = made.fit(features, labels)
            except ValueError as error:
                raise ValueError(f"{self.estimator} cannot learn from fold {fold}'s training part: {error}") from None
            models.append(Estimated(Pipeline([*steps, ("classify", drop_covariances(fitted))]), classes))
        return models if draws else models * len(seeds)

    def made(self, fold: int, drawn: dict[str, int], labels: Labels, groups: Groups | None) -> Any:
        """Return the estimator of a fold, not fitted."""
        from sklearn.calibration import CalibratedClassifierCV

        estimator = classifier_class(self.estimator)(**self.parameters, **drawn)
        if not self.calibration:
            return estimator
        parts = whole_groups(self.calibration, labels, groups, fold, "classifier.calibration")
        return CalibratedClassifierCV(estimator, method="temperature", cv=parts, ensemble=False)


def classifier_class(path: str) -> Any:
    """Return the class of an import path; `ValueError` where it is no classifier of scikit-learn."""
    from sklearn.base import BaseEstimator, is_classifier

    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name) if f"{module}.".startswith("sklearn.") else None
    except (ImportError, AttributeError):
        found = None
    if not (isinstance(found, type) and issubclass(found, BaseEstimator) and found.__module__.startswith("sklearn.")):
        raise ValueError(no_classifier(path))
    try:
        known = is_classifier(found())
    except (TypeError, AttributeError):
        raise ValueError(
            f"classifier.estimator={path} is made of other estimators, which a config cannot give"
        ) from None
    if not known:
        raise ValueError(no_classifier(path))
    return found


def no_classifier(path: str) -> str:
    """Return what to tell of a path that leads to no classifier: those whose names are nearest."""
    from sklearn.utils import all_estimators

    paths = {name: f"{kind.__module__.split('._')[0]}.{name}" for name, kind in all_estimators("classifier")}
    near = difflib.get_close_matches(path.rpartition(".")[2], paths, cutoff=0.6)
    others = f"; near are {', '.join(paths[name] for name in near)}" if near else ""
    return (
        f"`classifier.estimator` must be the import path of a classifier of scikit-learn, such as {FOREST}, "
        f"but got {path}{others}"
    )


def check_names(kind: Any, parameters: dict[str, Any]) -> None:
    """Raise `ValueError` for parameters that an estimator does not have, or that are not to be given."""
    known = sorted({*kind().get_params(deep=False)} - {*OURS})
    for name in parameters:
        if name in OURS:
            raise ValueError(f"classifier.parameters.{name} is set by {OURS[name]}: leave it out")
        if name not in known:
            near = suggest_choice(name, known)
            raise ValueError(f"{kind.__name__} has no parameter {name}; it has {', '.join(known) or 'none'}{near}")


def drop_covariances(fitted: Any) -> Any:
    """Return a fitted estimator without the covariances of descriptors: a discriminant analysis needs them no more."""
    for each in (fitted, *(of.estimator for of in getattr(fitted, "calibrated_classifiers_", ()))):
        vars(each).pop("covariance_", None)
    return fitted


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Have scikit-learn use so many threads here, and no processes."""
    from joblib import parallel_config
    from threadpoolctl import threadpool_limits

    with parallel_config(backend="threading", n_jobs=threads), threadpool_limits(threads, "openmp"):
        yield


def is_of_sklearn(name: str) -> bool:
    """Return whether a name is of a class of scikit-learn: its modules also name functions, such as to delete data."""
    module, _, kind = name.rpartition(".")
    found = getattr(import_module(module), kind) if module.startswith("sklearn.") else None
    return isinstance(found, type) and found.__module__ == module


def dump_archive(content: Any) -> bytes:
    """Return skops' archive of an object, the same of the same: with neither addresses in memory nor times."""
    from skops.io import dumps

    buffer, numbers = BytesIO(), dict[str, int]()

    def numbered(found: re.Match[str]) -> str:
        return f"{found[1]}{numbers.setdefault(found[2], len(numbers))}"

    with ZipFile(BytesIO(dumps(content))) as dumped, ZipFile(buffer, "w") as target:
        schema = re.sub(r'("__id__": |"file": ")(\d+)', numbered, dumped.read("schema.json").decode())
        target.writestr(ZipInfo("schema.json"), schema, ZIP_DEFLATED)
        for name in sorted({*dumped.namelist()} - {"schema.json"}, key=lambda name: numbers[name.split(".")[0]]):
            target.writestr(ZipInfo(re.sub(r"()(\d+)", numbered, name)), dumped.read(name), ZIP_DEFLATED)
    return buffer.getvalue()
