import numpy as np
from sklearn.metrics import pairwise_distances

from src.methods.known import distances


def test_distances_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    one, other = (generator.random((count, 40), np.float32) for count in (7, 30))
    np.testing.assert_allclose(distances(one, other), pairwise_distances(one, other), rtol=1e-5)
    assert (distances(one, one).diagonal() < 1e-6).all()
