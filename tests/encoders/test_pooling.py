"""The power mean: its definition and its laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from src.encoders.pooling import PowerMean

DESCRIPTORS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 4)),
    elements=st.floats(0, 2.0**100, width=32, allow_subnormal=False),
)
POWERS = st.one_of(st.floats(1, 200), st.just(np.inf))
ALLOWANCE = 1e-5


@given(DESCRIPTORS, POWERS)
def test_it_lies_between_the_mean_and_the_maximum(descriptors: np.ndarray, p: float) -> None:
    pooled = PowerMean(p=p)(descriptors)
    assert (pooled >= descriptors.mean(axis=1, dtype=np.float64) * (1 - ALLOWANCE)).all()
    assert (pooled <= descriptors.max(axis=1) * np.float64(1 + ALLOWANCE)).all()


@given(DESCRIPTORS, POWERS, POWERS)
def test_it_grows_with_p(descriptors: np.ndarray, p: float, q: float) -> None:
    low, high = (PowerMean(p=power)(descriptors).astype(np.float64) for power in sorted([p, q]))
    assert (low <= high * (1 + ALLOWANCE)).all()


@given(DESCRIPTORS, POWERS, st.randoms(use_true_random=False))
def test_it_does_not_depend_on_the_order_of_crops(descriptors: np.ndarray, p: float, random: object) -> None:
    order = list(range(descriptors.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    np.testing.assert_allclose(PowerMean(p=p)(descriptors[:, order]), PowerMean(p=p)(descriptors), rtol=ALLOWANCE)


@given(DESCRIPTORS, POWERS, st.integers(-20, 20))
def test_it_scales_with_the_descriptors(descriptors: np.ndarray, p: float, exponent: int) -> None:
    factor = np.float32(2.0**exponent)
    scaled = PowerMean(p=p)(descriptors) * factor
    np.testing.assert_allclose(PowerMean(p=p)(descriptors * factor), scaled, rtol=ALLOWANCE, atol=1e-30)


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0, 7.0])
def test_it_is_the_definition(p: float) -> None:
    descriptors = np.random.default_rng(0).gamma(2, 1, (4, 20, 50)).astype(np.float32)
    expected = (descriptors.astype(np.float64) ** p).mean(axis=1) ** (1 / p)
    pooled = PowerMean(p=p)(descriptors)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


def test_it_is_the_mean_for_1_and_the_maximum_for_infinity() -> None:
    descriptors = np.array([[[0.0, 1.0], [0.0, 3.0]]], np.float32)
    assert PowerMean(p=1.0)(descriptors).tolist() == [[0, 2]]
    assert PowerMean(p=float("inf"))(descriptors).tolist() == [[0, 3]]
    assert PowerMean()(descriptors)[0, 0] == 0


@pytest.mark.parametrize("p", [0.5, 0.0, -1.0, float("nan")])
def test_p_below_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=f"`p >= 1` must hold, but got p={p}"):
        PowerMean(p=p)


@pytest.mark.parametrize("p", [3.0, float("inf")])
def test_negative_descriptors_are_refused_unless_p_is_1(p: float) -> None:
    descriptors = np.array([[[-2.0], [1.0]]], np.float32)
    with pytest.raises(ValueError, match=r"the least is -2 .*choose pool\.p=1"):
        PowerMean(p=p)(descriptors)
    assert PowerMean(p=1.0)(descriptors) == -0.5


def test_no_crops_are_refused() -> None:
    with pytest.raises(ValueError, match="there must be crops to pool"):
        PowerMean()(np.zeros((2, 0, 3), np.float32))
