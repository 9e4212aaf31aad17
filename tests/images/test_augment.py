"""Augmentation: the released images, determinism by name, and the formulas."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from src.images.augment import Augment, NoAugment, StainJitter, jitter_stains, natural_density
from tests.support import transcription
from tests.support.images import REFERENCES, assert_equal_but_for_rounding, read, tissue

ALL = [NoAugment(), StainJitter(count=3)]


def planar(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()


@pytest.mark.parametrize("name", REFERENCES)
def test_jitter_gives_the_released_images(shared: Path, name: str) -> None:
    folder = shared / "reference"
    factors = json.loads((folder / "stain_multipliers.json").read_text())[name]
    image = planar(read(folder / f"{name}_macenko_released.png"))
    made = jitter_stains(natural_density(image), np.array([factors["hematoxylin"], factors["eosin"]]))
    assert_equal_but_for_rounding(made.permute(1, 2, 0).numpy(), read(folder / f"{name}_macenko_released_stain.png"))


def test_jitter_is_the_formulas() -> None:
    image = tissue()
    for multipliers in ([0.7, 1.3], [1.0, 1.0], [1.3, 0.9]):
        made = jitter_stains(natural_density(planar(image)), np.array(multipliers)).permute(1, 2, 0).numpy()
        assert_equal_but_for_rounding(made, transcription.jitter(image, np.array(multipliers)))


@settings(max_examples=30)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60), st.just(3))),
    st.tuples(st.floats(0, 3), st.floats(0, 3)),
)
def test_jitter_is_the_formulas_for_any_image(image: np.ndarray, multipliers: tuple[float, float]) -> None:
    made = jitter_stains(natural_density(planar(image)), np.array(multipliers)).permute(1, 2, 0).numpy()
    expected = transcription.jitter(image, np.array(multipliers))
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("multipliers", [(0.7, 1.3), (1.1, 0.8)])
def test_all_colours_are_jittered_as_in_double_precision(multipliers: tuple[float, float]) -> None:
    axis = np.arange(0, 256, 3, dtype=np.uint8)
    image = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(len(axis), -1, 3)
    made = jitter_stains(natural_density(planar(image)), np.array(multipliers)).permute(1, 2, 0).numpy()
    difference = made.astype(int) - transcription.jitter(image, np.array(multipliers)).astype(int)
    assert np.abs(difference).max() <= 1
    assert (difference == 0).mean() >= 0.9998


def test_where_channels_lie_changes_nothing() -> None:
    image = planar(tissue())
    beside = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(natural_density(image), natural_density(beside))
    factors = np.array([0.8, 1.2])
    assert torch.equal(
        jitter_stains(natural_density(image), factors), jitter_stains(natural_density(image).contiguous(), factors)
    )


@pytest.mark.parametrize("augment", ALL, ids=lambda augment: type(augment).__name__)
class TestConformance:
    def test_gives_count_images_of_the_same_kind(self, augment: Augment) -> None:
        image = planar(tissue())
        images = list(augment(image, 0, "content"))
        assert len(images) == augment.count
        assert {(each.shape, each.dtype) for each in images} == {(image.shape, torch.uint8)}

    def test_is_keyed_by_names_alone(self, augment: Augment) -> None:
        image = planar(tissue())
        first, again = (list(augment(image, 0, "content")) for _ in range(2))
        torch.rand(5)
        np.random.default_rng().random(5)
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_seed_and_content_change_the_draws() -> None:
    jitters = StainJitter()
    draws = [jitters.multipliers(*names) for names in ((0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1))]
    assert len({tuple(draw) for draw in draws}) == 4


def test_more_augmentations_do_not_change_the_first_ones() -> None:
    image = planar(cv2.resize(tissue(), (40, 30)))
    few, many = list(StainJitter(count=2)(image, 0, "a")), list(StainJitter(count=5)(image, 0, "a"))
    assert all(torch.equal(one, other) for one, other in zip(few, many, strict=False))


def test_draws_are_uniform_between_the_bounds() -> None:
    draws = np.array([StainJitter().multipliers(0, "a", number) for number in range(500)])
    assert draws.min() >= 0.7
    assert draws.max() <= 1.3
    np.testing.assert_allclose(draws.mean(axis=0), 1.0, atol=0.03)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"low": -1}, {"low": 2, "high": 1}])
def test_parameters_check_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must hold, but got"):
        StainJitter(**wrong)
    with pytest.raises(ValueError, match="count == 1"):
        NoAugment(count=2)
