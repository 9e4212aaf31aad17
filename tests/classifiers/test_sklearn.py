"""Any classifier of scikit-learn: by its path, checked before any work, kept without a pickle."""

import json
import zipfile
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils import all_estimators

from src.classifiers.sklearn import Sklearn, no_classifier
from tests.support.descriptors import problem
from tests.support.estimators import FOREST, LDA, MLP, SVM

GOING = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::sklearn.exceptions.ConvergenceWarning")
COUNTS = {"ComplementNB", "MultinomialNB"}
"""They learn from counts."""
PARTIAL = {"CategoricalNB", "RadiusNeighborsClassifier"}
"""They know nothing of rows that are not like some that they learnt from."""
RANDOM_ORDER = {"LabelPropagation", "LabelSpreading"}
"""They multiply arrays by BLAS, which sums as the arrays happen to lie in memory."""


def probabilistic() -> list[str]:
    """The paths of all classifiers that need no other estimator and give probabilities."""
    paths = []
    for _, kind in all_estimators("classifier"):
        with suppress(ValueError):
            paths.append(Sklearn(estimator=f"{kind.__module__}.{kind.__name__}").estimator)
    return paths


@GOING
def test_every_classifier_with_probabilities_learns_and_comes_back_from_its_file(tmp_path: Path) -> None:
    features, labels = problem(rows=90, features=8)
    unseen = problem(rows=30, features=8, seed=1)[0]
    paths = probabilistic()
    assert len(paths) > 20
    for path in paths:
        name = path.rpartition(".")[2]
        if name in PARTIAL:
            continue
        one = Sklearn(estimator=path, standardise=name not in COUNTS)
        model = one.fit(abs(features) if name in COUNTS else features, labels, 3, 1, [0])[0]
        predicted = model.predict(abs(unseen))
        np.testing.assert_allclose(predicted.sum(axis=1), 1)
        model.save(tmp_path / name)
        again = one.load(tmp_path / f"{name}.skops").predict(abs(unseen))
        np.testing.assert_allclose(again, predicted, atol=1e-12 if name in RANDOM_ORDER else 0, err_msg=name)


def test_an_estimator_that_cannot_learn_from_the_data_says_so() -> None:
    one = Sklearn(estimator="sklearn.naive_bayes.MultinomialNB")
    with pytest.raises(ValueError, match=r"MultinomialNB cannot learn from fold 2's training part: Negative values"):
        one.fit(*problem(), 3, 2, [0])


def test_a_forest_is_scikit_learns_with_the_documented_seed() -> None:
    features, labels = problem()
    models = FOREST.fit(features, labels, 3, fold=4, seeds=[0, 2])
    for seed, model in zip([0, 2], models, strict=True):
        direct = RandomForestClassifier(n_estimators=20, random_state=1000 * seed + 4).fit(features, labels)
        np.testing.assert_allclose(model.predict(features), direct.predict_proba(features), rtol=1e-12)
    assert not np.array_equal(models[0].predict(features), models[1].predict(features))
    assert len(FOREST.fit(features, labels, 3, 4, [2**40])) == 1


def test_what_draws_nothing_is_fitted_once() -> None:
    one, other = LDA.fit(*problem(), 3, 1, [0, 5])
    assert one is other


def test_descriptors_are_standardised_unless_told_otherwise() -> None:
    features, labels = problem()
    scaled = features * np.array([1e6, 1, 1, 1, 1, 1], np.float32)
    own, others = (MLP.fit(each, labels, 3, 1, [0])[0].predict(each) for each in (features, scaled))
    np.testing.assert_allclose(own, others, atol=1e-3)
    bare = replace(LDA, standardise=False, calibration=0).fit(features, labels, 3, 1, [0])[0]
    assert [name for name, _ in bare.pipeline.steps] == ["classify"]


@given(
    one=st.sampled_from([FOREST, SVM, MLP, LDA]),
    seed=st.integers(0, 2**33),
    fold=st.integers(1, 40),
    threads=st.integers(2, 5),
    classes=st.integers(2, 4),
)
@settings(max_examples=12)
def test_the_same_seed_gives_the_same_bytes_by_any_threads(
    one: Sklearn, seed: int, fold: int, threads: int, classes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    features, labels = problem(classes)
    folder = tmp_path_factory.mktemp("models")
    predicted = []
    for name, using in (("one", 1), ("other", threads)):
        model = one.fit(features, labels, classes, fold, [seed], using)[0]
        model.save(folder / name)
        predicted.append(one.load(folder / f"{name}.skops").predict(features))
        np.testing.assert_array_equal(predicted[-1], model.predict(features))
        np.testing.assert_allclose(predicted[-1].sum(axis=1), 1)
    np.testing.assert_array_equal(*predicted)
    assert (folder / "one.skops").read_bytes() == (folder / "other.skops").read_bytes()


class TestCalibration:
    def test_no_patient_is_in_two_folds(self) -> None:
        features, labels = problem(rows=120)
        patients = np.arange(120) // 6
        parts = SVM.fit(features, labels, 3, 1, [0], groups=patients)[0].pipeline[-1].cv
        assert len(parts) == 5
        assert sorted(np.concatenate([held_out for _, held_out in parts])) == list(range(120))
        for learnt, held_out in parts:
            assert not set(patients[learnt]) & set(patients[held_out])

    def test_rows_that_are_known_by_heart_do_not_make_it_sure(self) -> None:
        """Patients of five nearly equal rows, whose labels mean nothing."""
        draws = np.random.default_rng(0)
        patients = np.arange(120).repeat(5)
        labels = draws.permutation(np.arange(120) % 2).repeat(5)
        features = (draws.normal(size=(120, 30))[patients] + 1e-3 * draws.normal(size=(600, 30))).astype(np.float32)
        unseen = draws.normal(size=(200, 30)).astype(np.float32)
        sure, honest = (
            SVM.fit(features, labels, 2, 1, [0], groups=groups)[0].predict(unseen).max(axis=1).mean()
            for groups in (None, patients)
        )
        assert sure > 0.9
        assert honest < 0.6

    def test_has_as_many_folds_as_the_rarest_class_has_patients_but_two_at_least(self) -> None:
        features, labels = problem(rows=120)
        few = np.where(labels == 1, np.arange(120) // 60, np.arange(120))
        assert len(SVM.fit(features, labels, 3, 1, [0], groups=few)[0].pipeline[-1].cv) == 2
        with pytest.raises(ValueError, match=r"a class of fold 3's has one patient .* more protocol.folds"):
            SVM.fit(features, labels, 3, 3, [0], groups=np.where(labels == 1, 0, np.arange(120)))

    def test_scores_without_probabilities_get_some(self) -> None:
        model = Sklearn(estimator="sklearn.linear_model.RidgeClassifier", calibration=3).fit(*problem(), 3, 1, [0])[0]
        features, labels = problem(seed=1)
        assert (model.predict(features).argmax(axis=1) == labels).mean() > 0.9


def test_no_covariance_of_descriptors_is_kept(tmp_path: Path) -> None:
    features, labels = problem(features=200)
    for one in (LDA, replace(LDA, calibration=0)):
        one.fit(features, labels, 3, 1, [0])[0].save(tmp_path / "model")
        assert (tmp_path / "model.skops").stat().st_size < 200 * 200 * 8 / 4


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        ("RandomForestClassifier", "must be the import path .* near are sklearn.ensemble.RandomForestClassifier"),
        ("sklearn.ensemble.RandomForestClasifier", "near are sklearn.ensemble.RandomForestClassifier"),
        ("sklearn.ensemble.RandomForestRegressor", "near are sklearn.ensemble.RandomForestClassifier"),
        ("sklearn.svm.SVR", "near are sklearn.svm.SVC"),
        ("os.system", "must be the import path of a classifier of scikit-learn, .*, but got os.system"),
        ("sklearn.datasets.clear_data_home", "but got sklearn.datasets.clear_data_home"),
        ("sklearn.base.ClassifierMixin", "but got sklearn.base.ClassifierMixin"),
        ("sklearn", "but got sklearn"),
        ("", "but got"),
        ("sklearn.ensemble.VotingClassifier", "is made of other estimators, which a config cannot give"),
        ("sklearn.svm.LinearSVC", "LinearSVC gives scores and no probabilities .* classifier.calibration=5"),
        ("sklearn.linear_model.RidgeClassifier", "RidgeClassifier gives scores and no probabilities"),
    ],
)
def test_another_estimator_is_refused(estimator: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sklearn(estimator=estimator)


@GOING
def test_paths_that_are_named_as_near_are_those_of_the_classes() -> None:
    for name, kind in all_estimators("classifier"):
        module, _, found = no_classifier(name).rpartition("near are ")[2].split(", ")[0].rpartition(".")
        assert getattr(import_module(module), found) is kind


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": {"n_trees": 9}}, "RandomForestClassifier has no parameter n_trees; it has bootstrap"),
        ({"parameters": {"n_estimator": 9}}, "did you mean n_estimators?"),
        ({"parameters": {"n_estimators": "many"}}, "'n_estimators' parameter .* must be an int in the range"),
        ({"parameters": {"max_depth": 0}}, "'max_depth' parameter .* Got 0 instead"),
        ({"parameters": {"random_state": 3}}, "classifier.parameters.random_state is set by seeds: leave it out"),
        ({"parameters": {"n_jobs": 3}}, "classifier.parameters.n_jobs is set by method.workers"),
        ({"calibration": 1}, "calibration >= 2` must hold, but got calibration=1"),
    ],
    ids=str,
)
def test_parameters_are_checked_before_any_work(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(FOREST, **changes)


class TestFiles:
    @pytest.mark.parametrize("content", [{"a": 1}, [], RandomForestClassifier(), OrderedDict(a=1)], ids=str)
    def test_another_content_is_refused(self, content: Any, tmp_path: Path) -> None:
        skops.io.dump(content, tmp_path / "model.skops")
        with pytest.raises(ValueError, match=r"model.skops is damaged, or no classifier of scikit-learn"):
            FOREST.load(tmp_path / "model.skops")

    def test_a_damaged_byte_is_noticed(self, tmp_path: Path) -> None:
        FOREST.fit(*problem(), 3, 1, [0])[0].save(tmp_path / "model")
        path = tmp_path / "model.skops"
        whole = path.read_bytes()
        for place in range(200, len(whole), len(whole) // 7):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
            with pytest.raises(ValueError, match="model.skops is damaged"):
                FOREST.load(path)

    def test_functions_of_scikit_learn_are_not_called(self, tmp_path: Path) -> None:
        """An archive that says of a function that it is a class would have it called with what the archive holds."""
        kept = tmp_path / "kept"
        kept.mkdir()
        skops.io.dump({"pipeline": np.random.RandomState(0), "path": (str(kept),)}, tmp_path / "given.skops")
        with zipfile.ZipFile(tmp_path / "given.skops") as archive:
            schema = json.loads(archive.read("schema.json"))
        called = {"__loader__": "ConstructorFromReduceNode", "__id__": 1, "content": schema["content"]["path"]}
        for module in ("sklearn.datasets", "sklearn.datasets._base"):
            schema["content"]["pipeline"] = called | {"__module__": module, "__class__": "clear_data_home"}
            with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
                archive.writestr("schema.json", json.dumps(schema))
            with pytest.raises(ValueError, match=r"damaged, or no classifier .*it holds sklearn.datasets"):
                FOREST.load(tmp_path / "model.skops")
            assert kept.is_dir()

    def test_another_version_of_scikit_learn_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(sklearn, "__version__", "1.6.1")
            FOREST.fit(*problem(), 3, 1, [0])[0].save(tmp_path / "model")
        with pytest.raises(ValueError, match=r"fitted by scikit-learn 1.6.1, but here is .*: use the version"):
            FOREST.load(tmp_path / "model.skops")
