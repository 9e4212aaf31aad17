"""Stain normalisers: the released images, one conformance suite for all, and what cannot be treated."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data import image_file as files
from src.images import BadImage
from src.images.stain import (
    DENSITY,
    MASKS,
    Macenko,
    MacenkoReleased,
    NoStain,
    Projection,
    Reinhard,
    Stain,
    density_covariance,
    transmit,
    upper_percentiles,
)
from tests.support import transcription
from tests.support.images import REFERENCES, STAINS, assert_equal_but_for_rounding, read, tissue

NORMALISERS = [Macenko(), MacenkoReleased(), Reinhard()]
ALL = [NoStain(), *NORMALISERS]


@pytest.mark.parametrize("name", REFERENCES)
def test_released_normaliser_gives_the_released_images(shared: Path, name: str) -> None:
    image = read(shared / "reference" / f"{name}_half.png")
    expected = read(shared / "reference" / f"{name}_macenko_released.png")
    assert_equal_but_for_rounding(MacenkoReleased()(image), expected)


WHOLE = ["b051", "b078", "is037", "iv065", "iv072", "iv079", "iv087", "n056"]
FOLDERS = {"b": "Benign", "is": "InSitu", "iv": "Invasive", "n": "Normal"}


@pytest.mark.parametrize("name", WHOLE)
def test_released_normaliser_gives_the_released_images_of_bach(shared: Path, name: str) -> None:
    folder = FOLDERS[name.rstrip("0123456789")]
    image = read(shared / "data" / "bach_half" / folder / f"{name}.jpg")
    expected = read(shared / "reference" / "bach_half" / f"{name}_macenko_released.png")
    assert_equal_but_for_rounding(MacenkoReleased()(image), expected)


def assert_released_statistics(shared: Path, step: int) -> None:
    released = pd.read_csv(shared / "reference" / "bach_half_macenko_released.csv", index_col="image").iloc[::step]
    names = [f"{statistic}_{channel}" for statistic in ("mean", "std") for channel in "rgb"]
    found = []
    for name in released.index:
        pixels = MacenkoReleased()(files.read(shared / "data" / "bach_half" / name)).reshape(-1, 3)
        found.append([*pixels.mean(axis=0), *pixels.std(axis=0)])
    np.testing.assert_allclose(found, released[names], rtol=0, atol=0.01)


@pytest.mark.slow
def test_released_normaliser_has_the_released_statistics_on_all_of_bach(shared: Path) -> None:
    assert_released_statistics(shared, step=1)


def test_released_normaliser_has_the_released_statistics_on_some_of_bach(shared: Path) -> None:
    assert_released_statistics(shared, step=25)


@pytest.mark.parametrize("signs", [(1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("seed", range(3))
def test_released_normaliser_does_not_hang_on_the_signs_of_eigenvectors(seed: int, signs: tuple[int, int]) -> None:
    class Turned(MacenkoReleased):
        def plane(self, covariance: np.ndarray) -> np.ndarray:
            return super().plane(covariance) * np.array(signs)

    image = tissue(seed=seed)
    assert_equal_but_for_rounding(Turned()(image), MacenkoReleased()(image))


def test_released_normaliser_is_macenko_where_the_first_two_eigenvectors_are_the_largest() -> None:
    image, sorted_first = tissue(), Macenko(mask="all", density=0.15)
    assert np.linalg.eig(density_covariance(sorted_first.tissue_pixels(image))).eigenvalues.argmin() == 2
    assert_equal_but_for_rounding(MacenkoReleased()(image), sorted_first(image))


@pytest.mark.parametrize("seed", range(3))
def test_macenko_is_the_formulas(seed: int) -> None:
    image = tissue(seed=seed)
    assert_equal_but_for_rounding(Macenko()(image), transcription.macenko(image))
    assert_equal_but_for_rounding(Macenko(mask="all", density=0.15)(image), transcription.macenko_all(image))
    assert_equal_but_for_rounding(MacenkoReleased()(image), transcription.macenko_released(image))


def test_macenko_finds_the_stains_that_made_an_image() -> None:
    # Amounts of one stain alone in places, so that the extreme angles are the stains themselves.
    amounts = np.random.default_rng(0).uniform(0.3, 1.5, (200, 200, 2))
    amounts[:, :80, 0], amounts[:, 120:, 1] = 0, 0
    stains = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
    image = (240 * np.exp(-amounts @ stains) - 1).clip(0, 255).round().astype(np.uint8)
    normaliser = Macenko(density=0.0)
    found = normaliser.stain_vectors(normaliser.tissue_pixels(image))
    assert np.degrees(np.arccos(np.clip((found.T * stains).sum(axis=1), -1, 1))).max() < 3


def test_macenko_makes_two_slides_of_one_tissue_alike() -> None:
    other = np.array([[0.55, 0.75, 0.35], [0.15, 0.90, 0.25]])
    one, two = tissue(STAINS), tissue(other)
    before = np.abs(one.astype(float) - two).mean()
    after = np.abs(Macenko()(one).astype(float) - Macenko()(two)).mean()
    assert after < before / 2


def test_reinhard_gives_the_target_statistics() -> None:
    from src.images.stain import LMS, OPPONENT

    target = Reinhard()
    lms = Reinhard()(tissue()).reshape(-1, 3).astype(np.float64) @ LMS.T
    lab = np.log(np.maximum(lms, 1e-3)) @ OPPONENT.T
    # Clipping at white keeps it from being exact.
    np.testing.assert_allclose(lab.mean(axis=0), target.mean, atol=0.05)
    np.testing.assert_allclose(lab.std(axis=0), target.std, rtol=0.25)


@pytest.mark.parametrize("stain", ALL, ids=lambda stain: type(stain).__name__)
class TestConformance:
    def test_keeps_shape_type_and_input(self, stain: Stain) -> None:
        image = tissue()
        before = image.copy()
        normalised = stain(image)
        assert (normalised.shape, normalised.dtype) == (image.shape, np.uint8)
        np.testing.assert_array_equal(image, before)

    def test_is_deterministic(self, stain: Stain) -> None:
        np.testing.assert_array_equal(stain(tissue()), stain(tissue()))

    def test_does_not_depend_on_where_pixels_are(self, stain: Stain) -> None:
        image = tissue()
        flipped = np.ascontiguousarray(image[::-1, ::-1])
        assert_equal_but_for_rounding(stain(flipped)[::-1, ::-1], stain(image))

    @pytest.mark.parametrize("colour", [255, 0, (120, 60, 140)], ids=["white", "black", "flat"])
    def test_untreatable_images_are_named(self, stain: Stain, colour: object) -> None:
        image = np.full((50, 60, 3), colour, np.uint8)
        if isinstance(stain, NoStain):
            np.testing.assert_array_equal(stain(image), image)
            return
        with pytest.raises(BadImage, match="tissue|one stain|flat"):
            stain(image)


def one_stain() -> np.ndarray:
    amounts = np.random.default_rng(0).gamma(2, 0.4, (100, 150, 1))
    return (240 * np.exp(-amounts * STAINS[0]) - 1).clip(0, 255).astype(np.uint8)


def test_one_stain_cannot_be_normalised() -> None:
    with pytest.raises(BadImage, match="one stain only"):
        Macenko()(one_stain())


def light_in_one_channel() -> np.ndarray:
    """Tissue through and through, none of which is dark in blue: as on eight of BACH's images."""
    return np.dstack([tissue()[..., :2], np.full((120, 160), 250, np.uint8)])


def test_tissue_that_is_light_in_one_channel_is_not_called_none() -> None:
    with pytest.raises(
        BadImage, match=r"^0\.00% of its .* in all three channels.* [0-9]+\.[0-9]+% .* stain\.mask=mean$"
    ):
        Macenko(mask="all", density=0.15)(light_in_one_channel())


@pytest.mark.parametrize("mask", ["mean", "luminance"])
def test_tissue_that_is_light_in_one_channel_is_normalised_by_other_masks(mask: str) -> None:
    image = light_in_one_channel()
    made = Macenko(mask=mask)(image).reshape(-1, 3)
    assert (made.std(axis=0) > 5).all()
    # Its colours are the reference's, not the image's: dark in blue where it is dark at all.
    assert made.mean(axis=0)[2] < image.mean(axis=(0, 1))[2]


PURPLE = ["is096", "iv003", "iv009", "iv010", "iv091", "iv096", "iv098", "iv100"]


@pytest.mark.parametrize("name", PURPLE)
def test_images_of_bach_that_are_light_in_one_channel_are_normalised(shared: Path, name: str) -> None:
    image = read(shared / "data" / "bach_half" / FOLDERS[name.rstrip("0123456789")] / f"{name}.jpg")
    stained = transcription.dense(-np.log((image.reshape(-1, 3) + 1.0) / 240))
    assert Macenko()(image).reshape(-1, 3)[stained].mean() < 200


@pytest.mark.parametrize("density", [0.0, 0.05, 0.15, 0.345, 9.0])
def test_masks_are_their_formulas(density: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 110, 3), dtype=np.uint8)
    optical = -np.log((image.reshape(-1, 3) + 1.0) / 240)
    np.testing.assert_array_equal(MASKS["all"](image, density), (optical >= density).all(axis=1))
    np.testing.assert_array_equal(MASKS["mean"](image, density), optical.mean(axis=1) >= density)
    # OpenCV rounds luminance to 8 bits.
    luminance = image.reshape(-1, 3) @ [0.299, 0.587, 0.114]
    bound = 240 * np.exp(-density) - 1
    clear = abs(luminance - bound) > 1
    np.testing.assert_array_equal(MASKS["luminance"](image, density)[clear], (luminance <= bound)[clear])


def test_a_few_dark_pixels_are_no_tissue() -> None:
    image = np.full((20, 20, 3), 255, np.uint8)
    image[0, :5] = 30, 20, 60
    with pytest.raises(BadImage, match="nearly no tissue"):
        Macenko()(image)


def test_the_released_normaliser_treats_one_stain_as_it_did() -> None:
    assert MacenkoReleased()(one_stain()).shape == (100, 150, 3)


def test_covariance_is_numpys() -> None:
    image = tissue()
    pixels = Macenko().tissue_pixels(image)
    expected = np.cov(DENSITY[pixels[0]].astype(np.float64), rowvar=False)
    np.testing.assert_allclose(density_covariance(pixels), expected, rtol=1e-9)


@settings(max_examples=20)
@given(st.integers(1, 400), st.integers(100, 400), st.integers(0, 10))
def test_strips_change_no_bit(height: int, width: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mixing = generator.normal(size=(3, 3)) * 0.3 + np.eye(3)
    affine = np.column_stack([-mixing, np.full(3, np.log(240))]).astype(np.float32)
    whole = cv2.exp(cv2.transform(DENSITY[image], affine)).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(transmit(image, mixing), whole)


@settings(max_examples=60)
@given(st.integers(1, 300), st.integers(1, 150), st.floats(0, 100), st.integers(0, 10), st.booleans())
def test_percentiles_are_numpys(height: int, width: int, percent: float, seed: int, ties: bool) -> None:
    image = np.random.default_rng(seed).integers(0, 4 if ties else 256, (height, width, 3), dtype=np.uint8)
    rows = np.array([[0.5, 0.3, 0.2], [-1.0, 0.4, 0.7]])
    projected = Projection(rows)(image.reshape(1, -1, 3))
    expected = [np.percentile(values.astype(np.float64), percent) for values in projected]
    found = list(upper_percentiles(Projection(rows), image, percent))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_percentiles_are_numpys_where_every_64th_pixel_misleads() -> None:
    image = np.full((640, 64, 3), 20, np.uint8)
    image[:, 0] = 250
    image[:320, 1:3] = 10
    rows = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    expected = [np.percentile(values.astype(np.float64), 99) for values in Projection(rows)(image.reshape(1, -1, 3))]
    assert list(upper_percentiles(Projection(rows), image, 99)) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [{"percentile": 50}, {"percentile": -1}, {"tissue": 2}])
def test_parameters_check_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must hold, but got"):
        Macenko(**wrong)


def test_masks_are_known_by_name() -> None:
    with pytest.raises(ValueError, match="`mask` must be one of all, mean, luminance, but got mask=any"):
        Macenko(mask="any")
