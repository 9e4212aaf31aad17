"""Perturbations: what they are by other libraries, that no level is no change, and in what they are monotone."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from skimage.color import combine_stains, separate_stains
from skimage.filters import gaussian
from skimage.metrics import mean_squared_error
from skimage.transform import rotate

from src.images.augment import StainJitter
from src.images.perturb import PERTURBATIONS, is_grey, perturb_image
from tests.support.images import tissue

IMAGES = arrays(np.uint8, st.tuples(st.integers(2, 40), st.integers(2, 40), st.just(3)))
NAMES = list(PERTURBATIONS)


def levels_of(name: str) -> st.SearchStrategy[float]:
    kind = PERTURBATIONS[name]
    return st.floats(kind.lowest, min(kind.highest, 20))


def amounts(image: np.ndarray) -> np.ndarray:
    """Mean densities of the stains, in double precision."""
    density = -np.log((image.astype(float) + 1) / 240)
    return (density @ np.linalg.inv(StainJitter.MIX)).mean(axis=(0, 1))


@settings(max_examples=20)
@given(IMAGES, st.sampled_from(NAMES))
def test_the_level_of_no_change_changes_no_byte(image: np.ndarray, name: str) -> None:
    before = image.copy()
    np.testing.assert_array_equal(perturb_image(image, name, PERTURBATIONS[name].unchanged), before)


@settings(max_examples=60)
@given(st.data())
def test_any_image_gives_one_of_its_size_twice_the_same_and_stays(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    image, level = data.draw(IMAGES), data.draw(levels_of(name))
    before = image.copy()
    made = perturb_image(image, name, level)
    assert made.dtype == np.uint8
    assert made.shape == image.shape
    assert made.flags.c_contiguous
    np.testing.assert_array_equal(made, perturb_image(image, name, level))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"jpeg", "rotation"}))
def test_a_level_next_to_no_change_changes_next_to_nothing(name: str) -> None:
    image = tissue()
    made = perturb_image(image, name, PERTURBATIONS[name].unchanged + 1e-4)
    assert np.abs(made.astype(int) - image.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("name", "levels", "measure"),
    [
        ("stain", [0.5, 0.8, 1, 1.3, 2], lambda image: amounts(image)[0]),
        ("stain", [2, 1.3, 1, 0.8, 0.5], lambda image: amounts(image)[1]),
        ("scanner", [0.5, 0.8, 1, 1.3, 2], lambda image: image[..., 2].mean() - image[..., 0].mean()),
        ("blur", [8, 4, 2, 1, 0.5, 0], lambda image: image.std()),
        ("jpeg", [95, 80, 50, 30, 10], lambda image: mean_squared_error(image, tissue())),
        ("brightness", [0.2, 0.6, 1, 1.4, 3], np.mean),
        ("contrast", [0.2, 0.6, 1, 1.4, 2], np.std),
        ("rotation", [0, 5, 15, 45], lambda image: mean_squared_error(image, tissue())),
        ("scale", [1, 1.1, 1.3, 1.8], lambda image: mean_squared_error(image, tissue())),
        ("scale", [1, 0.9, 0.8, 0.6], lambda image: mean_squared_error(image, tissue())),
    ],
)
def test_more_is_more(name: str, levels: list[float], measure: Callable[[np.ndarray], float]) -> None:
    found = [measure(perturb_image(tissue(), name, level)) for level in levels]
    assert found == sorted(found)
    assert len(set(found)) == len(found)


def test_the_stains_are_those_of_the_basis() -> None:
    """In the middle of the range, where nothing is cut off."""
    image = tissue()
    for factor in (0.8, 1.25):
        before, after = amounts(image), amounts(perturb_image(image, "stain", factor))
        np.testing.assert_allclose(after[:2] / before[:2], [factor, 1 / factor], rtol=0.02)


def test_stains_shift_as_by_scikit_image() -> None:
    """It takes 255 for white, and this 240, which makes a little of a difference at each factor."""
    basis = StainJitter.MIX / np.linalg.norm(StainJitter.MIX, axis=1, keepdims=True)
    stains = separate_stains(tissue(), np.linalg.inv(basis)) * [1.2, 1 / 1.2, 1]
    expected = 255 * combine_stains(stains, basis)
    coloured = tissue().min(axis=2) < 200
    assert np.abs(perturb_image(tissue(), "stain", 1.2) - expected)[coloured].mean() < 3


@pytest.mark.parametrize("sigma", [0.5, 1, 2, 4])
def test_blur_is_scikit_images(sigma: float) -> None:
    expected = gaussian(tissue(), sigma, mode="mirror", preserve_range=True, channel_axis=-1)
    made = perturb_image(tissue(), "blur", sigma).astype(float)
    assert np.abs(made - expected).max() < 2.5
    assert np.abs(made - expected).mean() < 0.5


@pytest.mark.parametrize(("name", "change"), [("brightness", "alpha"), ("contrast", "alpha")])
@pytest.mark.parametrize("factor", [0.5, 0.8, 1.2, 1.8])
def test_brightness_and_contrast_are_torchvisions(name: str, change: str, factor: float) -> None:
    from torchvision.transforms.v2 import functional

    expected = np.asarray(getattr(functional, f"adjust_{name}")(Image.fromarray(tissue()), factor))
    np.testing.assert_array_equal(perturb_image(tissue(), name, factor), expected)


def test_jpeg_is_opencvs_of_the_same_quality() -> None:
    for quality in (10, 50, 80):
        asked = [cv2.IMWRITE_JPEG_QUALITY, quality]
        file = cv2.imencode(".jpg", cv2.cvtColor(tissue(), cv2.COLOR_RGB2BGR), asked)[1]
        expected = cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert np.abs(perturb_image(tissue(), "jpeg", quality).astype(int) - expected).mean() < 0.5


def test_a_quarter_turn_of_a_square_is_exact_and_counterclockwise() -> None:
    image = tissue(shape=(90, 90))
    for quarters in (-1, 1, 2):
        made = perturb_image(image, "rotation", 90 * quarters)
        assert np.abs(made.astype(int) - np.rot90(image, quarters).astype(int)).max() <= 1


def test_turns_and_sizes_are_those_of_scikit_image_in_the_middle() -> None:
    image = perturb_image(tissue(), "blur", 2)  # no interpolation matters much
    middle = (slice(40, 80), slice(60, 100))
    expected = rotate(image, 20, preserve_range=True, order=3, mode="reflect")
    assert np.abs(perturb_image(image, "rotation", 20)[middle] - expected[middle]).max() <= 2
    twice = perturb_image(image, "scale", 2)
    np.testing.assert_allclose(perturb_image(twice, "scale", 0.5)[middle], image[middle], atol=3)
    assert np.abs(twice[30:90:2, 40:120:2].astype(int) - image[45:75, 60:100].astype(int)).mean() < 1.5


def test_black_and_white_are_set_on_every_scanner() -> None:
    image = np.array([[[0, 0, 0], [255, 255, 255], [128, 128, 128]]], np.uint8)
    made = perturb_image(image, "scanner", 1.3)
    np.testing.assert_array_equal(made[0, :2], image[0, :2])
    assert made[0, 2, 0] < made[0, 2, 1] == 128 < made[0, 2, 2]


def test_grey_images_are_known() -> None:
    grey = np.repeat(tissue()[..., :1], 3, axis=2)
    assert is_grey(grey)
    assert not is_grey(tissue())
    for name in ("blur", "jpeg", "brightness", "contrast", "rotation", "scale"):
        assert is_grey(perturb_image(grey, name, 2 if name != "jpeg" else 50)), name


@pytest.mark.parametrize(
    ("name", "levels", "said"),
    [
        ("blur", [], "`levels.blur` must have a level at least, sigma, pixels, but got levels.blur=[]"),
        ("blur", [1, -1], "`0 <= levels.blur <= 50 (sigma, pixels)` must hold, but got levels.blur=-1"),
        ("jpeg", [100], "`1 <= levels.jpeg <= 95 (quality)` must hold, but got levels.jpeg=100"),
        ("scale", [float("nan")], "must hold, but got levels.scale=nan"),
        ("stain", [0.5, 0.5], "`levels.stain` are different levels, but got levels.stain=[0.5, 0.5]"),
    ],
)
def test_levels_that_cannot_be_are_refused(name: str, levels: list[float], said: str) -> None:
    with pytest.raises(ValueError, match="levels") as caught:
        PERTURBATIONS[name].check(name, levels)
    assert said in str(caught.value)


def test_a_name_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="`perturbation` must be one of stain, scanner, .* did you mean blur"):
        perturb_image(tissue(), "blurr", 1)
