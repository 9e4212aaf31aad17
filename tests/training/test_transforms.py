"""Training transforms: keyed draws, mistakes named, and a stain jitter that is the project's."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from src.images.augment import jitter_stains, natural_density
from src.training.transforms import Pipeline, StainJitterTransform
from tests.support.commands import ROOT
from tests.support.images import tissue

SEVERAL = [{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}, {"Rotate": {"limit": 30}}, {"StainJitter": {}}]


def test_draws_hang_on_names_only() -> None:
    pipeline, image = Pipeline(SEVERAL), tissue(shape=(40, 60))
    names = [(seed, content, epoch) for seed in (0, 1) for content in "ab" for epoch in (1, 2)]
    one_by_one = [pipeline(image, *name) for name in names]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda name: pipeline(image, *name), reversed(names)))[::-1]
    for first, second in zip(one_by_one, at_once, strict=True):
        np.testing.assert_array_equal(first, second)
    assert len({image.tobytes() for image in one_by_one}) == len(names)


def test_transforms_draw_independently() -> None:
    pipeline = Pipeline([{"HorizontalFlip": {}}, {"VerticalFlip": {}}])
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    made = [pipeline(image, number) for number in range(40)]
    flips = {(axes): image if not axes else np.flip(image, axes) for axes in ((), (0,), (1,), (0, 1))}
    seen = {axes for each in made for axes, flipped in flips.items() if np.array_equal(each, flipped)}
    assert seen == set(flips)


def test_stain_jitter_is_the_projects() -> None:
    transform = StainJitterTransform(low=0.8, high=1.2)
    image = tissue(shape=(30, 40))
    factors = np.array([0.8, 1.15])
    planes = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    expected = jitter_stains(natural_density(planes), factors).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(transform.apply(image, multipliers=factors), expected)
    transform.set_random_seed(0)
    draws = np.array([transform.get_params()["multipliers"] for _ in range(200)])
    assert ((draws >= 0.8) & (draws <= 1.2)).all()
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"HorizontalFlipp": {}}, "did you mean: HorizontalFlip"),
        ({"Rotate": {"limt": 3}}, "Rotate does not take .*limt"),
        ({"Rotate": {"p": 3}}, "less than or equal to 1"),
        ({"StainJitter": {"low": 2.0}}, "`0 <= low <= high` must hold"),
        ({"StainJitter": {"lo": 0.5}}, r"StainJitter does not take .*lo.* not valid for transform StainJitter$"),
        ({"Rotate": 3}, "go by name"),
        ({"Rotate": {}, "HorizontalFlip": {}}, "a transform is its name with its arguments"),
        ({"Compose": {"transforms": []}}, "is no transform"),
    ],
)
def test_mistakes_are_named(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Pipeline([wrong])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"MaskDropout": {"p": 0.01}}, "MaskDropout cannot be applied to an image of 60 x 40 pixels alone"),
        ({"OverlayElements": {}}, "OverlayElements cannot be applied"),
        ({"FDA": {"reference_images": [0], "read_fn": "none"}}, "FDA "),
        ({"RandomSizedBBoxSafeCrop": {"height": 40, "width": 40}}, "RandomSizedBBoxSafeCrop cannot be applied"),
        ({"RandomCrop": {"height": 41, "width": 41}}, "RandomCrop cannot be applied to an image of 60 x 40 pixels"),
        ({"ToGray": {"num_output_channels": 1}}, r"ToGray turns .* into uint8 of shape \(40, 60\)"),
        ({"ToFloat": {}}, "ToFloat turns .* into float32"),
        (
            {"Resize": {"height": 20, "width": 40}},
            "leave 40 x 20 pixels of an image of 60 x 40, too few for crop.size=32",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_applied_is_named_before_any_work(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Pipeline([{"HorizontalFlip": {}}, wrong]).check(40, 60, 32)


def test_transforms_are_tried_one_on_what_the_other_gives() -> None:
    cropping = [{"RandomCrop": {"height": 36, "width": 36}}, {"RandomCrop": {"height": 33, "width": 33}}]
    Pipeline([*SEVERAL, *cropping]).check(40, 60, 32)
    with pytest.raises(ValueError, match="RandomCrop cannot be applied to an image of 33 x 33 pixels"):
        Pipeline(cropping[::-1]).check(40, 60, 32)


def test_what_fails_for_one_image_is_named() -> None:
    pipeline = Pipeline([{"RandomCrop": {"height": 33, "width": 33}}])
    with pytest.raises(ValueError, match="RandomCrop cannot be applied to an image of 60 x 30 pixels alone"):
        pipeline(tissue(shape=(30, 60)), 0)


def test_importing_asks_no_server() -> None:
    code = "import socket; socket.socket.connect = None; socket.getaddrinfo = None; import src.training.transforms"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
