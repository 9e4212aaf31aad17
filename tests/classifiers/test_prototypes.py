"""Nearest class means, against scikit-learn's."""

import numpy as np
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize

from src.classifiers.prototypes import Prototypes
from tests.support.descriptors import problem


def test_it_is_the_nearest_centroid_of_centred_and_normalised_descriptors() -> None:
    features, labels = problem(rows=90)
    unseen = 3 * problem(rows=50, seed=1)[0] + 2
    centre = features.mean(axis=0)
    direct = NearestCentroid().fit(normalize(features - centre), labels)
    predicted = Prototypes(temperature=0.3).fit(features, labels, 3, 1, [0])[0].predict(unseen)
    distances = ((normalize(unseen - centre)[:, np.newaxis] - direct.centroids_) ** 2).sum(axis=2)
    np.testing.assert_allclose(
        np.log(predicted[:, :1] / predicted), (distances - distances[:, :1]) / 0.3, rtol=1e-4, atol=1e-4
    )


def test_temperature_changes_no_answer_but_how_sure_it_is() -> None:
    unseen = problem(rows=50, seed=1)[0]
    cold, warm = (Prototypes(temperature=each).fit(*problem(), 3, 1, [0])[0].predict(unseen) for each in (0.01, 1))
    np.testing.assert_array_equal(cold.argmax(axis=1), warm.argmax(axis=1))
    assert (cold.max(axis=1) >= warm.max(axis=1)).all()


def test_a_descriptor_at_the_centre_is_of_no_class() -> None:
    features = np.array([[1, 0], [-1, 0]], np.float32)
    model = Prototypes().fit(features, np.array([0, 1]), 2, 1, [0])[0]
    np.testing.assert_allclose(model.predict(np.zeros((1, 2), np.float32)), 0.5)
