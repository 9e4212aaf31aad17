"""What descriptors tell besides the class: effects that are put in are found, and none where there is none."""

import numpy as np
import pandas as pd
import pytest

from src.evaluation.descriptors import (
    answer_by_ridge,
    exchange_values,
    find_nearest,
    map_by_pca,
    map_by_tsne,
    tell_values,
)


def images(patients: int, each: int, draws: np.random.Generator, mixed: float = 0.5) -> pd.DataFrame:
    """So many images of each patient; of site A so many patients are of class a, and as few of site B."""
    site = np.arange(patients) % 2
    label = np.where(draws.random(patients) < mixed, site, 1 - site)
    table = pd.DataFrame({"patient": [f"p{n:03d}" for n in range(patients)], "site": np.array(["A", "B"])[site]})
    table = table.assign(label=np.array(["a", "b"])[label]).loc[np.repeat(np.arange(patients), each)]
    return table.assign(case=[f"c{n:04d}" for n in range(len(table))]).reset_index(drop=True)


def described(table: pd.DataFrame, draws: np.random.Generator, **effects: float) -> np.ndarray:
    """Descriptors of noise, and of so much of an own direction for each value of a column."""
    found = draws.normal(size=(len(table), 16))
    for column, size in effects.items():
        names, number = np.unique(table[column], return_inverse=True)
        found += size * draws.normal(size=(len(names), 16))[number]
    return found


class TestTold:
    def test_a_site_that_shows_is_told(self) -> None:
        draws = np.random.default_rng(0)
        table = images(40, 3, draws)
        told = tell_values(described(table, draws, site=1.5, label=1.0), table, "site")
        assert told.estimate.low > 0.8 > told.chance
        assert told.images == 120

    @pytest.mark.parametrize("effects", [{}, {"label": 1.5}, {"patient": 2.0}], ids=["noise", "class", "patient"])
    def test_what_class_or_patient_tell_is_no_effect_of_the_site(self, effects: dict[str, float]) -> None:
        held, above = [], []
        for seed in range(20):
            draws = np.random.default_rng(seed)
            table = images(40, 3, draws, mixed=0.8)
            told = tell_values(described(table, draws, **effects), table, "site")
            held.append(told.estimate.low <= told.chance <= told.estimate.high)
            above.append(told.estimate.value - told.chance)
        assert np.mean(held) >= 0.85
        assert abs(np.mean(above)) < 0.05
        if effects == {"label": 1.5}:  # the class alone tells four sites of five
            assert told.chance > 0.65

    def test_values_of_one_patient_or_none_take_no_part(self) -> None:
        draws = np.random.default_rng(0)
        table = images(12, 2, draws)
        only = table.assign(site=table["site"].where(table["patient"] != "p000", "C").where(table.index < 20, ""))
        told = tell_values(described(table, draws, site=5.0), only, "site")
        assert told.images == 18
        assert told.estimate.value == 1
        assert tell_values(described(table, draws), table.assign(site="A"), "site").images == 0

    def test_is_scikit_learns_ridge_classifier_where_values_are_as_frequent(self) -> None:
        from sklearn.linear_model import RidgeClassifier

        draws = np.random.default_rng(0)
        known, asked = draws.normal(size=(60, 100)), draws.normal(size=(50, 100))
        codes = np.stack([draws.permutation(np.arange(60) % 3) for _ in range(4)], axis=1)
        penalty = known.var(axis=0).sum()
        expected = [RidgeClassifier(alpha=penalty).fit(known, column).predict(asked) for column in codes.T]
        np.testing.assert_array_equal(answer_by_ridge(known, codes, asked), np.stack(expected, axis=1))


def test_values_are_exchanged_between_patients_of_a_class() -> None:
    groups = np.array([0, 0, 1, 1, 2, 3, 3, 4])
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    codes = np.array([1, 1, 0, 0, 2, 3, 3, 2])
    drawn = exchange_values(codes, groups, strata)
    assert {tuple(each[:4]) for each in drawn} == {(1, 1, 0, 0), (0, 0, 1, 1)}
    assert {tuple(each[4:]) for each in drawn} == {(2, 3, 3, 2), (3, 2, 2, 2), (2, 2, 2, 3)}
    several = exchange_values(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    assert {tuple(each) for each in several} == {(0, 1, 1, 0), (1, 0, 1, 0), (0, 1, 0, 1), (1, 0, 0, 1)}


class TestNearest:
    def test_by_hand(self) -> None:
        table = pd.DataFrame(
            {
                "label": list("aaaaabb"),
                "patient": ["p", "p", "q", "q", "", "r", "r"],
                "case": list("1234567"),
            }
        )
        places = np.array([0.0, 1.0, 3.0, 1.6, 1.5, 0.1, 0.2])[:, np.newaxis]
        # Of class a, four have a patient: p's images have each other as nearest, of q's one has p's. Of class b all
        # are of one patient, and the fifth image's is not known.
        told = find_nearest(places, table, "patient")
        assert told.images == 4
        assert told.estimate.value == pytest.approx(2 / 4)
        assert told.chance == pytest.approx(1 / 3)

    def test_is_chance_where_patients_have_nothing_in_common(self) -> None:
        found = []
        for seed in range(20):
            draws = np.random.default_rng(seed)
            table = images(40, 3, draws)
            told = find_nearest(described(table, draws, label=1.0), table, "patient")
            found.append((told.estimate.low <= told.chance <= told.estimate.high, told.estimate.value - told.chance))
            assert find_nearest(described(table, draws, patient=2.0), table, "patient").estimate.low > 0.5
        held, above = np.mean(found, axis=0)
        assert held >= 0.8
        assert abs(above) < 0.02

    def test_says_nothing_of_patients_that_are_not_known(self) -> None:
        table = images(10, 2, np.random.default_rng(0)).assign(patient="")
        assert find_nearest(np.eye(20), table, "patient").images == 0


class TestMap:
    def test_components_are_those_of_the_singular_values(self) -> None:
        descriptors = np.random.default_rng(0).normal(size=(30, 8)) * np.arange(1, 9)
        found = map_by_pca(descriptors)
        left, values, _ = np.linalg.svd(descriptors - descriptors.mean(axis=0), full_matrices=False)
        np.testing.assert_allclose(np.abs(found.places), np.abs(left[:, :2] * values[:2]))
        assert found.axes[0] == f"Component 1 ({100 * values[0] ** 2 / (values**2).sum():.0f} %)"

    @pytest.mark.extra("openTSNE")
    def test_tsne_keeps_groups_together_and_is_the_same_again(self) -> None:
        groups = np.repeat(np.arange(3), 12)
        descriptors = np.random.default_rng(0).normal(size=(36, 8)) + 20 * np.eye(8)[groups]
        one, two = map_by_tsne(descriptors), map_by_tsne(descriptors)
        np.testing.assert_array_equal(one.places, two.places)
        distances = np.linalg.norm(one.places[:, np.newaxis] - one.places, axis=2) + np.diag([np.inf] * 36)
        assert (groups[distances.argmin(axis=1)] == groups).all()
