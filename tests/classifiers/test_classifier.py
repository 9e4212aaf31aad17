"""One conformance suite for every classifier."""

from pathlib import Path

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
from tests.support.classifiers import ClassifierContract
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
class TestConformance(ClassifierContract):
    def test_learns(self, classifier: Classifier, classes: int) -> None:
        model = classifier.fit(*problem(classes), classes, 1, [0])[0]
        features, labels = problem(classes, seed=1)
        assert (model.predict(features).argmax(axis=1) == labels).mean() > 0.9


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
