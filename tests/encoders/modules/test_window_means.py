"""Descriptors of windows out of one map: the arithmetic is right, and every encoder can do it or says so."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.encoders.encoder import Encoder, Extractor
from src.encoders.modules.window_means import Windows, window_means
from tests.support.encoders import FOUNDATION, LENGTHS, REAL, crops, untrained
from tests.support.networks import Unpadded

WITHOUT_MAPS = {"alexnet", "handcrafted", "vgg16", *FOUNDATION}


@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 12), st.integers(1, 4), st.integers(0, 99))
def test_window_means_are_means_of_windows(cells: int, down: int, across: int, step: int, seed: int) -> None:
    maps = torch.randn((2, 3, cells + down, cells + across), generator=torch.Generator().manual_seed(seed)) * 1e3
    means = window_means(maps, cells, step)
    assert means.shape == (2, down // step + 1, across // step + 1, 3)
    for row in range(means.shape[1]):
        for column in range(means.shape[2]):
            window = maps[:, :, row * step : row * step + cells, column * step : column * step + cells]
            torch.testing.assert_close(means[:, row, column], window.double().mean((2, 3)), rtol=1e-9, atol=1e-9)


@settings(max_examples=20)
@given(st.sets(st.integers(13, 40), min_size=1, max_size=3), st.integers(0, 30), st.integers(0, 30))
def test_without_padding_windows_are_crops(sizes: set[int], down: int, across: int) -> None:
    network = Unpadded()
    windows = Windows(network, sizes, "unpadded")
    assert windows.stride == 6
    images = torch.cat([crops(2, 100)[:, :, : min(sizes) + down, : min(sizes) + across]])
    found = windows.split(windows(images), (images.shape[2], images.shape[3]))
    assert list(found) == [size for size in sorted(sizes) if size <= min(images.shape[2:])]
    for size, grid in found.items():
        for row in range(grid.shape[1]):
            for column in range(grid.shape[2]):
                own = images[:, :, row * 6 : row * 6 + size, column * 6 : column * 6 + size]
                torch.testing.assert_close(grid[:, row, column], network(own), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LENGTHS))
def test_the_window_of_a_whole_crop_has_its_descriptor_or_the_encoder_refuses(
    option: Callable[..., Encoder], name: str
) -> None:
    network = untrained(option, name).load()
    if name in WITHOUT_MAPS:
        with pytest.raises(ValueError, match=f"and {name} is none: take crop.sharing=exact, or an encoder such"):
            Windows(network, [80], name)
        return
    windows = Windows(network, [80, 96], name)
    batch = crops(2)
    own = network(batch)
    torch.testing.assert_close(windows(batch)[:, 0], own, rtol=1e-4, atol=float(1e-5 * own.abs().max()))
    wide = torch.cat([batch, batch], dim=3)
    found = windows(wide)
    assert found.shape == (2, 80 // windows.stride + 1, network.length)
    assert torch.equal(windows(wide.flip(0)), found.flip(0))  # whatever else is in the batch
    assert torch.isfinite(found).all()


class Normalised(Unpadded):
    """What lies between its maps and its descriptors is not the mean alone."""

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(super().__call__(crops))


def test_a_layer_after_the_mean_is_found() -> None:
    assert isinstance(Normalised(), Extractor)
    with pytest.raises(ValueError, match="normalised is none"):
        Windows(Normalised(), [40], "normalised")


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "convnext_atto"])
def test_timms_networks_with_layers_after_the_mean_refuse(option: Callable[..., Encoder], name: str) -> None:
    network = option("mobilenet", architecture=name, weights="random").load()
    with pytest.raises(ValueError, match="is none"):
        Windows(network, [64], name)


def test_resized_crops_share_nothing(option: Callable[..., Encoder]) -> None:
    network = option("squeezenet", weights="random", input_size=64).load()
    with pytest.raises(ValueError, match=r"does not resize \(encoder.input_size=0\)"):
        Windows(network, [80], "SqueezeNet")


def test_other_backends_are_refused_and_other_precisions_are_not(option: Callable[..., Encoder]) -> None:
    network = option("squeezenet", weights="random", backend="compile").load()
    with pytest.raises(ValueError, match="is computed by encoder.backend=torch, but got encoder.backend=compile"):
        Windows(network, [80], "SqueezeNet")
    full, narrow = (
        Windows(option("squeezenet", weights="random", precision=precision).load(), [80], "SqueezeNet")(crops(1, 96))
        for precision in ("float32", "bfloat16")
    )
    assert full.dtype == narrow.dtype == torch.float32
    assert 0 < (narrow - full).norm() / full.norm() < 0.05


def test_images_of_another_kind_are_refused(option: Callable[..., Encoder]) -> None:
    network = option("squeezenet", weights="random").load()
    for wrong in (crops().float(), crops()[0], crops()[:, :2]):
        with pytest.raises(ValueError, match="crops must be uint8 and"):
            network.maps(wrong)
    with pytest.raises(ValueError, match="must measure 32 pixels at least"):
        network.maps(crops()[:, :, :20])


@pytest.mark.parametrize("name", REAL)
def test_real_windows_are_near_real_crops(option: Callable[..., Encoder], shared: Path, name: str) -> None:
    """They see the image beyond their borders: near, and not the same."""
    network = option(name, weights=str(shared / "weights")).load()
    image = cv2.imread(str(shared / "data/histology_sample/benign/SOB_B_A-14-22549AB-100-027.png"))
    assert image is not None
    pixels = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)
    windows = Windows(network, [320], name)
    grid = windows.split(windows(pixels[None]), (pixels.shape[1], pixels.shape[2]))[320][0]
    top, left = (side // 2 * windows.stride for side in grid.shape[:2])
    own = network(pixels[None, :, top : top + 320, left : left + 320])[0]
    found = grid[top // windows.stride, left // windows.stride]
    assert torch.cosine_similarity(found, own, dim=0) > 0.9
    assert not torch.equal(found, own)
