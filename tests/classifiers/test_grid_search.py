"""Parameters that are chosen in the training part, by whole patients."""

import numpy as np
import pytest

from src.classifiers.classifier import group_folds
from src.classifiers.grid_search import GridSearch
from src.classifiers.logistic import Logistic

GRID = GridSearch(of="Logistic", grid={"c": [1e-4, 1e-2, 1.0]})


def noisy(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that one of 200 descriptors tells apart a little, as few rows and many descriptors do."""
    draws = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int64) % 2
    features = draws.normal(size=(rows, 200)).astype(np.float32)
    features[:, 0] += 2 * labels
    return features, labels


def loss_of(classifier: Logistic | GridSearch) -> float:
    test, labels = noisy(2000, 1)
    [model] = classifier.fit(*noisy(60, 0), 2, 1, [0])
    return float(-np.log(model.predict(test)[np.arange(len(labels)), labels]).mean())


def test_what_is_chosen_is_the_best_on_new_rows_too() -> None:
    losses = {c: loss_of(Logistic(c=c)) for c in GRID.grid["c"]}
    assert loss_of(GRID) == min(losses.values())
    assert losses[1.0] > min(losses.values()) + 0.1


def test_rows_of_a_patient_stay_together() -> None:
    """Each patient has a descriptor of its own and rows that are copies: by rows, the nearest is always a copy."""
    draws = np.random.default_rng(0)
    groups = np.repeat(np.arange(24), 5)
    labels = groups % 2
    for known, held in group_folds(3, labels, groups):
        assert not set(groups[known]) & set(groups[held])
        assert set(labels[held]) == {0, 1}
    features = draws.normal(size=(24, 8)).astype(np.float32)[groups]
    knn = GridSearch(of="Knn", grid={"neighbours": [1, 40]})
    assert knn.choose(features, labels, 2, 1, 0, 1, groups).neighbours == 40  # type: ignore[attr-defined]
    assert knn.choose(features, labels, 2, 1, 0, 1, np.arange(120)).neighbours == 1  # type: ignore[attr-defined]


def test_a_candidate_that_asks_for_more_rows_is_passed_over() -> None:
    features, labels = noisy(12, 0)
    knn = GridSearch(of="Knn", grid={"neighbours": [3, 50]})
    assert knn.choose(features, labels, 2, 1, 0, 1, np.arange(12)).neighbours == 3  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="take fewer"):
        GridSearch(of="Knn", grid={"neighbours": [50, 60]}).fit(features, labels, 2, 1, [0])


def test_one_patient_of_a_class_leaves_the_first_value() -> None:
    features, labels = noisy(12, 0)
    groups = np.where(labels == 1, 99, np.arange(12))
    [model] = GRID.fit(features, labels, 2, 1, [0], groups=groups)
    [plain] = Logistic(c=1e-4).fit(features, labels, 2, 1, [0])
    np.testing.assert_array_equal(model.predict(features), plain.predict(features))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"of": "Forest", "grid": {"c": [1]}}, "`of` must be one of"),
        ({"of": "Logistic"}, "`grid` has one value or more"),
        ({"of": "Logistic", "grid": {"c": []}}, "`grid` has one value or more"),
        ({"of": "Logistic", "grid": {"strength": [1]}}, "are not those of Logistic"),
        ({"of": "Logistic", "grid": {"c": [1, -1]}}, "c > 0"),
        ({"of": "Logistic", "grid": {"c": [1]}, "folds": 1}, "folds"),
    ],
)
def test_a_wrong_grid_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        GridSearch(**wrong)  # type: ignore[arg-type]
