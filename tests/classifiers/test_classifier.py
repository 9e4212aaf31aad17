"""One conformance suite for every classifier."""

from pathlib import Path

import numpy as np
import pytest

from src.classifiers.classifier import Classifier
from src.classifiers.grid_search import GridSearch
from src.classifiers.knn import Knn
from src.classifiers.lightgbm import LightGBM
from src.classifiers.linear import LinearProbe
from src.classifiers.logistic import Logistic
from src.classifiers.prototypes import Prototypes
from src.classifiers.tabpfn import TabPFN
from src.classifiers.tuned import Tuned
from src.classifiers.xgboost import XGBoost
from tests.support.descriptors import problem
from tests.support.estimators import FOREST, LDA, MLP, SVM

SEARCHED = GridSearch(of="Logistic", grid={"c": [0.1, 1.0]})
CHOSEN = Tuned(study="given", folder=str(Path(__file__).parent))
PROBE = LinearProbe(steps=400, learning_rate=0.02, validation=0.5)
ALL = [
    LightGBM(rounds=10, min_data_in_leaf=5),
    Logistic(),
    PROBE,
    Knn(),
    Prototypes(),
    SEARCHED,
    CHOSEN,
    FOREST,
    SVM,
    MLP,
    LDA,
]
BOOSTED = pytest.param(XGBoost(rounds=20, subsample=1.0, colsample_bytree=1.0), marks=pytest.mark.extra("xgboost"))


def name_of(classifier: Classifier) -> str:
    return str(getattr(classifier, "estimator", type(classifier).__name__)).rpartition(".")[2]


@pytest.mark.parametrize("classifier", [*ALL, BOOSTED], ids=name_of)
@pytest.mark.parametrize("classes", [2, 3])
class TestConformance:
    def test_gives_a_model_per_seed(self, classifier: Classifier, classes: int) -> None:
        features, labels = problem(classes)
        assert len(classifier.fit(features, labels, classes, 1, [0, 1, 4])) == 3

    def test_parts_and_threads_change_no_bit(self, classifier: Classifier, classes: int) -> None:
        features, labels = problem(classes)
        parts = [features[:7], features[7:8], features[8:]]
        whole = classifier.fit(features, labels, classes, 1, [0, 1, 4])
        for threads in (1, 3, 7):
            for one, other in zip(classifier.fit(parts, labels, classes, 1, [0, 1, 4], threads), whole, strict=True):
                np.testing.assert_array_equal(one.predict(features), other.predict(features))

    def test_learns(self, classifier: Classifier, classes: int) -> None:
        model = classifier.fit(*problem(classes), classes, 1, [0])[0]
        features, labels = problem(classes, seed=1)
        assert (model.predict(features).argmax(axis=1) == labels).mean() > 0.9

    def test_probabilities_are_some(self, classifier: Classifier, classes: int) -> None:
        predicted = classifier.fit(*problem(classes), classes, 1, [0])[0].predict(problem(classes, seed=1)[0])
        assert predicted.shape == (60, classes)
        assert predicted.min() >= 0
        np.testing.assert_allclose(predicted.sum(axis=1), 1)

    def test_same_data_same_bytes(self, classifier: Classifier, classes: int) -> None:
        test = problem(classes, seed=1)[0]
        one, other = (classifier.fit(*problem(classes), classes, 2, [3])[0].predict(test) for _ in range(2))
        np.testing.assert_array_equal(one, other)

    def test_a_class_that_training_lacks_has_no_chance(self, classifier: Classifier, classes: int) -> None:
        predicted = classifier.fit(*problem(classes), classes + 1, 1, [0])[0].predict(problem(classes)[0])
        assert predicted.shape[1] == classes + 1
        assert predicted[:, classes].max() < 0.01

    def test_is_saved_without_a_pickle(self, classifier: Classifier, classes: int, tmp_path: Path) -> None:
        classifier.fit(*problem(classes), classes, 1, [0])[0].save(tmp_path / "fold01-seed0")
        (file,) = tmp_path.iterdir()
        assert file.suffix in {".txt", ".safetensors", ".skops", ".ubj"}
        assert b"pickle" not in file.read_bytes()

    def test_comes_back_from_its_file(self, classifier: Classifier, classes: int, tmp_path: Path) -> None:
        model = classifier.fit(*problem(classes), classes, 1, [0])[0]
        model.save(tmp_path / "fold01-seed0")
        (file,) = tmp_path.iterdir()
        test = problem(classes, seed=1)[0]
        np.testing.assert_allclose(classifier.load(file).predict(test), model.predict(test), rtol=1e-12)
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(ValueError, match="fold01-seed0.* is damaged"):
            classifier.load(file)


@pytest.mark.parametrize(
    ("classifier", "wrong"),
    [
        (LightGBM, {"rounds": 0}),
        (LightGBM, {"learning_rate": 0.0}),
        (LightGBM, {"feature_fraction": 0.0}),
        (LightGBM, {"max_bin": 1}),
        (LightGBM, {"device": "tpu"}),
        (LightGBM, {"device": "gpu", "quantized": True}),
        (LightGBM, {"min_data_in_leaf": -1}),
        (Logistic, {"c": 0.0}),
        (LinearProbe, {"steps": 0}),
        (LinearProbe, {"learning_rate": 0.0}),
        (LinearProbe, {"validation": 0.6}),
        (LinearProbe, {"patience": 0.0}),
        (LinearProbe, {"stop_by": "reported"}),
        (LinearProbe, {"class_weight": "equal"}),
        (XGBoost, {"rounds": 0}),
        (XGBoost, {"colsample_bytree": 0.0}),
        (XGBoost, {"learning_rate": -1.0}),
        (XGBoost, {"reg_lambda": -1.0}),
        (XGBoost, {"device": "gpu"}),
        (TabPFN, {"estimators": 0}),
        (TabPFN, {"device": "tpu"}),
        (Prototypes, {"temperature": 0.0}),
        (Logistic, {"class_weight": "equal"}),
        (LightGBM, {"class_weight": "equal"}),
        (Knn, {"neighbours": 0}),
        (Knn, {"metric": "hamming"}),
    ],
)
def test_parameters_check_themselves(classifier: type[Classifier], wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="but got"):
        classifier(**wrong)
