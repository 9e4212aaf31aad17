"""Hand-crafted features: what they say about images of which the answer is known."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import local_binary_pattern

from src.encoders.encoder import Encoder
from src.encoders.handcrafted import Handcrafted, binary_patterns
from src.system.random_draws import keyed_generator

ENCODER = Handcrafted(label="Handcrafted")


def noise(size: int = 64, blur: float = 2, seed: int = 0) -> np.ndarray:
    """A smooth random texture in colours."""
    image = cv2.GaussianBlur(keyed_generator(seed, "texture").normal(size=(size, size, 3)), (0, 0), blur)
    return np.clip(128 + 40 * image / image.std(), 0, 255).astype(np.uint8)


def star(spikes: int, size: int = 96) -> np.ndarray:
    """A bright disc in the centre, or one with spikes, in grey."""
    image = np.zeros((size, size), np.uint8)
    centre = size // 2
    cv2.circle(image, (centre, centre), size // 5, 200, -1)
    for turn in np.arange(spikes) * 2 * np.pi / max(spikes, 1):
        end = (round(centre + 0.45 * size * np.cos(turn)), round(centre + 0.45 * size * np.sin(turn)))
        cv2.line(image, (centre, centre), end, 200, 2)
    return np.repeat(cv2.GaussianBlur(image, (0, 0), 1)[..., np.newaxis], 3, axis=2)


def extracted(*images: np.ndarray) -> np.ndarray:
    return ENCODER.load()(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)).numpy()


def test_every_feature_has_a_name_of_its_own() -> None:
    names = ENCODER.names
    assert len(set(names)) == len(names) == ENCODER.load().length
    assert list(ENCODER.describe(noise())) == names


def test_parameters_determine_the_length(option: Callable[..., Encoder]) -> None:
    changed = option("handcrafted", distances=[1], radii=[2], orientations=8).load()
    assert changed.length == 6 * 2 + 18 + 9 + 4 + 6 + 4 * 11 + 3 * 9
    assert changed(torch.zeros(2, 3, 5, 5, dtype=torch.uint8)).shape == (2, changed.length)


@given(st.integers(7, 40), st.lists(st.integers(0, 255), min_size=3, max_size=3), st.integers(0, 255), st.booleans())
@settings(max_examples=60)
def test_no_feature_is_negative_or_undefined(size: int, colour: list[int], spread: int, grey: bool) -> None:
    """Of flat, nearly flat, grey and noisy crops of any size."""
    image = np.full((size, size, 3), colour, np.uint8)
    image += keyed_generator(size, spread).integers(0, spread + 1, (size, size, 3), dtype=np.uint8)
    if grey:
        image[:] = image[..., :1]
    descriptor = extracted(image)
    assert np.isfinite(descriptor).all()
    assert (descriptor >= 0).all()


def test_the_same_crop_gives_the_same_bits_in_any_batch() -> None:
    images = [noise(seed=seed) for seed in range(5)]
    together = extracted(*images)
    np.testing.assert_array_equal(np.concatenate([extracted(image) for image in images]), together)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_features_hardly_change_where_a_crop_is_turned_or_mirrored(turns: int, mirrored: bool) -> None:
    image = noise(97)
    other = np.rot90(image[:, ::-1] if mirrored else image, turns)
    np.testing.assert_allclose(*extracted(image, np.ascontiguousarray(other)), rtol=0.02, atol=2e-3)


def test_local_binary_patterns_are_scikit_images(shared: Path) -> None:
    grey = cv2.imread(str(min((shared / "data/histology_sample/benign").glob("*.png"))), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    for radius in (1, 2, 3):
        theirs = local_binary_pattern(grey, 8 * radius, radius, "uniform")[radius:-radius, radius:-radius]
        assert (binary_patterns(grey, radius) != theirs).mean() < 5e-3  # ties, which are exact here and rounded there


def test_flat_crops_have_the_pattern_of_all_points_whatever_their_grey() -> None:
    for radius in (1, 2, 3, 9):
        for grey in range(0, 256, 5):
            assert (binary_patterns(np.full((24, 24), grey, np.uint8), radius) == 8 * radius).all()


def test_moments_and_percentiles_are_those_of_the_pixels() -> None:
    from scipy.stats import kurtosis, skew

    image = noise()
    features, red = ENCODER.describe(image), image[..., 0].ravel() / 255
    assert features["red mean"] == pytest.approx(red.mean())
    assert features["red deviation"] == pytest.approx(red.std())
    bounded = 2 * features["red skewness"] - 1  # s / (1 + |s|)
    assert bounded / (1 - abs(bounded)) == pytest.approx(skew(red), abs=1e-6)
    assert features["red kurtosis"] == pytest.approx(kurtosis(red, fisher=False))
    for percent in (1, 50, 99):
        assert features[f"red {percent} %"] == np.percentile(red, percent, method="inverted_cdf")


def test_a_finer_texture_has_more_contrast_and_less_correlation() -> None:
    fine, coarse = (ENCODER.describe(noise(blur=blur)) for blur in (1, 4))
    assert fine["co-occurrence contrast 1 mean"] > 2 * coarse["co-occurrence contrast 1 mean"]
    assert fine["co-occurrence correlation 1 mean"] < coarse["co-occurrence correlation 1 mean"]
    assert fine["gradient magnitude mean"] > 2 * coarse["gradient magnitude mean"]


def test_stripes_have_one_orientation() -> None:
    stripes = np.repeat(np.tile((np.arange(64) // 4 % 2 * 200).astype(np.uint8), (64, 1))[..., np.newaxis], 3, axis=2)
    assert ENCODER.describe(stripes)["gradient orientation 1"] == pytest.approx(1)
    assert ENCODER.describe(noise(96, 1))["gradient orientation 1"] < 0.2


def test_spikes_turn_gradients_away_from_the_radius() -> None:
    round_mass, spiculated = (ENCODER.describe(star(spikes)) for spikes in (0, 12))
    assert round_mass["gradient to radius 0"] > 0.8
    assert spiculated["gradient to radius 5"] > 0.3


def test_stains_tell_haematoxylin_from_eosin() -> None:
    from skimage.color import hed2rgb

    shares = []
    for stain in (0, 1):
        amounts = np.zeros((32, 32, 3))
        amounts[..., stain] = 0.1
        features = ENCODER.describe((hed2rgb(amounts) * 255).round().astype(np.uint8))
        shares.append(features["haematoxylin mean"] / (features["haematoxylin mean"] + features["eosin mean"]))
    assert shares[0] > 0.9
    assert shares[1] < 0.1


def test_crops_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least for distances=\[1, 2, 4\] and radii=\[1, 2, 3\], but measure 6"):
        ENCODER.load()(torch.zeros(1, 3, 6, 6, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distances": []}, "`distances` must be different numbers of pixels from 1 to 31"),
        ({"radii": [1, 1]}, r"but got radii=\[1, 1\]"),
        ({"radii": [32]}, r"but got radii=\[32\]"),
        ({"levels": 1}, "`2 <= levels <= 256` must hold, but got levels=1"),
        ({"orientations": 1}, "`orientations >= 2` must hold"),
    ],
)
def test_parameters_check_themselves(option: Callable[..., Encoder], changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        option("handcrafted", **changes)
