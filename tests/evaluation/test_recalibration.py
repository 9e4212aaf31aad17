"""Maps of probabilities: against scikit-learn's, and what they must leave as it is."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import _SigmoidCalibration, _TemperatureScaling
from sklearn.isotonic import IsotonicRegression

from src.evaluation.metrics import log_loss
from src.evaluation.recalibration import (
    FITS,
    Scaling,
    describe_recalibrations,
    fit_isotonic,
    fit_platt,
    fit_recalibrations,
    fit_temperature,
    read_recalibrations,
    recalibrate,
)
from tests.support.predictions import make_predictions


def overconfident(classes: int, rows: int = 600, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities to the power of `sharpness`, labels drawn by them as they were, and those as they were."""
    generator = np.random.default_rng(classes)
    right = generator.dirichlet(np.ones(classes), rows)
    labels = np.array([generator.choice(classes, p=each) for each in right])
    sharp = right**sharpness
    return sharp / sharp.sum(axis=1, keepdims=True), labels, right


def loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(log_loss(probabilities, labels, np.ones((1, len(labels))))[0])


@pytest.mark.parametrize("classes", [2, 4])
def test_temperature_is_that_of_scikit_learn(classes: int) -> None:
    values, labels, _ = overconfident(classes)
    found = fit_temperature(values, labels)
    assert isinstance(found, Scaling)
    # each case once per class, weighed as Platt's targets have it
    counts = np.bincount(labels)[labels]
    weights = [np.where(labels == k, counts + 1, 1) / (counts + classes) for k in range(classes)]
    theirs = _TemperatureScaling().fit(
        np.log(np.tile(values, (classes, 1))), np.repeat(np.arange(classes), len(labels)), np.concatenate(weights)
    )
    assert found.slopes == pytest.approx([theirs.beta_] * classes, rel=1e-4)
    assert found.slopes[0] == pytest.approx(1 / 3, rel=0.25)


def test_platt_is_that_of_scikit_learn() -> None:
    values, labels, _ = overconfident(2)
    found = fit_platt(values, labels)(values)[:, 1]
    logits = np.log(values[:, 1] / values[:, 0])
    np.testing.assert_allclose(found, _SigmoidCalibration().fit(logits, labels).predict(logits), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_isotonic_is_that_of_scikit_learn(classes: int) -> None:
    values, labels, _ = overconfident(classes)
    mapped = np.stack(
        [
            IsotonicRegression(out_of_bounds="clip").fit(values[:, k], labels == k).predict(values[:, k])
            for k in range(classes)
        ],
        axis=1,
    )
    np.testing.assert_allclose(
        fit_isotonic(values, labels)(values), mapped / mapped.sum(axis=1, keepdims=True), atol=1e-9
    )


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("kind", sorted(FITS))
def test_what_was_too_sharp_is_right_again(kind: str, classes: int) -> None:
    values, labels, right = overconfident(classes)
    mapped = FITS[kind](values, labels)(values)
    np.testing.assert_allclose(mapped.sum(axis=1), 1)
    assert loss(mapped, labels) < loss(values, labels)
    assert loss(mapped, labels) < loss(right, labels) + 0.02
    if kind == "temperature":
        np.testing.assert_array_equal(mapped.argmax(axis=1), values.argmax(axis=1))


@pytest.mark.parametrize("kind", sorted(FITS))
@pytest.mark.parametrize("classes", [2, 3])
def test_what_cannot_be_fitted_ends_in_probabilities(kind: str, classes: int) -> None:
    perfect, labels = np.eye(classes)[np.arange(12) % classes], np.arange(12) % classes
    for values in (perfect, np.full((12, classes), 1 / classes), perfect[::-1]):
        mapped = FITS[kind](values, labels)(values)
        assert np.isfinite(mapped).all()
        np.testing.assert_allclose(mapped.sum(axis=1), 1)
    if kind != "isotonic":  # what was told apart without an error is not taken to be certain
        assert FITS[kind](perfect, labels)(perfect).max() < 0.99


def test_each_fold_has_its_own_map_which_survives_json() -> None:
    held_out = make_predictions(cases=40, classes=("a", "b"))
    folds = sorted(held_out["fold"].unique())
    inner = pd.concat(
        [held_out[held_out["fold"] != fold].assign(inner_fold=held_out["fold"], fold=fold) for fold in folds]
    )
    maps = fit_recalibrations("platt", inner.reset_index(drop=True))
    assert sorted(maps) == folds
    again = read_recalibrations(json.loads(json.dumps(describe_recalibrations("platt", maps))))
    assert again == maps
    found = recalibrate(again, held_out)
    for fold in folds:
        rows = held_out["fold"] == fold
        wanted = maps[fold](held_out.loc[rows, ["p_a", "p_b"]].to_numpy())
        np.testing.assert_array_equal(found.loc[rows, ["p_a", "p_b"]], wanted)
    pd.testing.assert_frame_equal(found.drop(columns=["p_a", "p_b"]), held_out.drop(columns=["p_a", "p_b"]))
    steps = read_recalibrations(describe_recalibrations("isotonic", fit_recalibrations("isotonic", inner)))
    np.testing.assert_allclose(recalibrate(steps, held_out)[["p_a", "p_b"]].sum(axis=1), 1)
