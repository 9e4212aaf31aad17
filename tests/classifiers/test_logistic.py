"""Logistic regression, against scikit-learn's."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

from src.classifiers.classifier import fit_standardiser
from src.classifiers.logistic import Logistic
from src.encoders.handcrafted import Handcrafted
from tests.support.descriptors import problem


def test_logistic_is_scikit_learns_on_standardised_descriptors(tmp_path: Path) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for classes in (2, 3):
        features, labels = problem(classes)
        features[:, 0] = 1  # a constant descriptor
        model = Logistic(c=0.1).fit(features, labels, classes, 1, [0])[0]
        direct = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(features, labels)
        np.testing.assert_allclose(model.predict(features), direct.predict_proba(features), atol=1e-5)
    model.save(tmp_path / "model")
    assert load_file(tmp_path / "model.safetensors")["coefficients"].shape == (3, 6)


def test_balanced_classes_weigh_as_if_rows_were_repeated() -> None:
    features, labels = problem(rows=60)
    features += np.random.default_rng(0).normal(0, 2, features.shape).astype(np.float32)
    few = np.concatenate([np.flatnonzero(labels != 2), np.flatnonzero(labels == 2)[:5]])  # 20, 20 and 5
    repeated = np.concatenate([few[:40], np.tile(few[40:], 4)])
    # A row weighs 45 / 3 / 20 of one that is repeated, as does the strength of the regularisation.
    balanced = Logistic(class_weight="balanced").fit(features[few], labels[few], 3, 1, [0])[0]
    scaler = fit_standardiser(features[few])
    again = LogisticRegression(C=0.75, max_iter=1000).fit(scaler.transform(features[repeated]), labels[repeated])
    direct = again.predict_proba(scaler.transform(features))
    np.testing.assert_allclose(balanced.predict(features), direct, atol=1e-3)


@given(
    base=st.floats(2**-20, 2**20, width=32),
    sign=st.sampled_from([-1, 1]),
    steps=st.lists(st.integers(-20, 20), min_size=60, max_size=60),
    later=st.floats(-1e6, 1e6, width=32),
)
@settings(max_examples=25)
def test_a_column_that_varies_by_rounding_only_says_nothing(
    base: float, sign: int, steps: list[int], later: float
) -> None:
    features, labels = problem()
    unseen = problem(seed=1)[0]
    # What rounding leaves of a number: so many of the steps between float32's numbers.
    column = sign * (np.float32(base) + np.spacing(np.float32(base)) * np.array(steps, np.float32))
    wide, wide_unseen = np.column_stack([features, column]), np.insert(unseen, 6, np.float32(later), axis=1)
    without, with_it = (Logistic().fit(rows, labels, 3, 1, [0])[0] for rows in (features, wide))
    np.testing.assert_allclose(with_it.predict(wide_unseen), without.predict(unseen), atol=1e-6)


def test_dark_and_light_noise_is_told_apart_though_a_column_varies_by_rounding() -> None:
    """The smallest gradients are one and the same in all images but one, and cancelling sums round them differently."""
    draws = np.random.default_rng(1)
    images = [mean + draws.integers(-5, 6, (64, 64, 1)) for mean in (80, 120) for _ in range(10)]
    crops = torch.from_numpy(np.stack(images).astype(np.uint8)).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
    descriptors, labels = Handcrafted(label="").load()(crops).numpy(), np.arange(20, dtype=np.int64) // 10
    for fold in range(5):
        held_out = np.arange(20) % 5 == fold
        model = Logistic().fit(descriptors[~held_out], labels[~held_out], 2, fold + 1, [0])[0]
        assert model.predict(descriptors[held_out])[np.arange(4), labels[held_out]].min() > 0.9
