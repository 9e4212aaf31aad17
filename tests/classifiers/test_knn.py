"""Nearest neighbours."""

import pytest

from src.classifiers.knn import Knn
from tests.support.descriptors import problem


def test_more_neighbours_than_descriptors_are_refused() -> None:
    with pytest.raises(ValueError, match="classifier.neighbours=5 is more than the 3 descriptors"):
        Knn().fit(*problem(3, rows=3), 3, 1, [0])
