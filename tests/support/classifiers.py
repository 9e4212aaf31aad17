"""What every classifier does, whether or not it learns."""

from pathlib import Path

import numpy as np
import pytest

from src.classifiers.classifier import Classifier
from tests.support.descriptors import problem


class ClassifierContract:
    """The tests of a `classifier` on `classes`: fixtures, or parameters."""

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
        assert file.suffix in {".txt", ".safetensors", ".skops", ".json"}
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
