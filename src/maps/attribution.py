"""What a network looks at: Grad-CAM and integrated gradients, by captum. Imports torch, so import it late."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

from src.images.crop import Crop
from src.maps.windows import MOST, Map, average_windows, place_windows, scale_to_percentile

STEPS = 16
"""Points of the path over which gradients are integrated."""
INTEGRATED = 12
"""Windows of an image whose gradients are integrated: each costs `STEPS` passes forward and back."""
BATCH = 8
"""Crops that pass forward and back together, at most."""
STRONGEST = 99.5
"""The percentile of an image's integrated gradients that counts as the strongest: single pixels stand out far."""

NO_FEATURE_MAP = "no Grad-CAM: this network has no convolutional feature map before its head"

Crops = UInt8[Tensor, "crop 3 size size"]
Maps = Float32[np.ndarray, "crop size size"]


@runtime_checkable
class Classifying(Protocol):
    """A module in evaluation mode, which takes prepared pixels (n, 3, size, size) and gives logits (n, classes)."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return logits (n, classes)."""

    def prepare(self, crops: Tensor) -> Tensor:
        """Return crops (n, 3, size, size), uint8, as the network takes them."""

    def modules(self) -> Iterator[nn.Module]:
        """Yield the module and its parts."""


def explain_image(
    network: Classifying,
    image: UInt8[Tensor, "3 height width"],
    crop: Crop,
    targets: Mapping[str, int],
    batch: int = BATCH,
) -> tuple[dict[str, Map], str]:
    """Return maps of a prepared image by name, 0 to 1, and a note where one cannot be had.

    `targets` are classes by name. Grad-CAM is made for each, integrated gradients for the first. The maps of windows
    are averaged where they overlap, and pixels that no window covers are not a number.
    """
    maps: dict[str, Map] = {}
    layer = feature_map(network, image[None, :, : crop.size, : crop.size])
    if layer is not None:
        for name, target in targets.items():
            cam = over_windows(image, crop, partial(grad_cam, network, target=target, layer=layer), MOST, batch)
            maps[f"Grad-CAM for {name}"] = scale_to_percentile(cam)
    name, target = next(iter(targets.items()))
    strengths = over_windows(
        image, crop, partial(measure_strength, network, target=target, batch=batch), INTEGRATED, batch
    )
    maps[f"integrated gradients for {name}"] = scale_to_percentile(strengths, STRONGEST)
    return maps, "" if layer is not None else NO_FEATURE_MAP


def over_windows(
    image: UInt8[Tensor, "3 height width"], crop: Crop, explain: Callable[[Crops], Maps], most: int, batch: int
) -> Map:
    """Return the map of an image out of those that `explain` gives of its windows, `most` at most, in batches."""
    height, width = image.shape[1:]
    places = place_windows(crop, height, width, most)
    windows = [image[:, top : top + crop.size, left : left + crop.size] for top, left in places]
    maps = [explain(torch.stack(windows[start : start + batch])) for start in range(0, len(windows), batch)]
    return average_windows(places, np.concatenate(maps), height, width)


def grad_cam(network: Classifying, crops: Crops, target: int, layer: nn.Module) -> Maps:
    """Return how much each place of a layer's feature maps speaks for a class (Selvaraju et al. 2017, equation 2)."""
    from captum.attr import LayerGradCam

    cam: Any = LayerGradCam(network, layer)
    pixels = network.prepare(crops).detach().requires_grad_()
    return resize_maps(cam.attribute(pixels, target, relu_attributions=True), crops.shape[-1])


def measure_strength(network: Classifying, crops: Crops, target: int, batch: int = BATCH) -> Maps:
    """Return the magnitude of integrated gradients, summed over channels and smoothed by 1 % of the side."""
    pixels = network.prepare(crops).detach()
    magnitude = integrated_gradients(network, pixels, target, batch).abs().sum(1).cpu().numpy()
    smooth = np.stack([cv2.GaussianBlur(each, (0, 0), each.shape[-1] / 100) for each in magnitude])
    return resize_maps(torch.from_numpy(smooth)[:, None], crops.shape[-1])


def integrated_gradients(
    network: Classifying, pixels: Float32[Tensor, "crop 3 side side"], target: int, batch: int = BATCH
) -> Float32[Tensor, "crop 3 side side"]:
    """Return what each pixel adds to a class's logit over that of the baseline (Sundararajan et al. 2017).

    The baseline is zero after preparation, the mean colour of the network's first training images: it favours neither
    the white that surrounds tissue nor the black around a breast, which are both far from it.
    """
    from captum.attr import IntegratedGradients

    integrated: Any = IntegratedGradients(network)
    found = [
        integrated.attribute(each[None], 0, target, n_steps=STEPS, internal_batch_size=batch) for each in pixels
    ]  # a crop at a time: its path is what fills a batch
    return torch.cat(found).detach().float()


def feature_map(network: Classifying, crops: Crops) -> nn.Module | None:
    """Return the module that gives the last feature map (n, channels, side, side) on which the logits depend.

    None where there is no such module, or tokens (n, tokens, width) come after it: in a vision transformer it would be
    the patches' embedding, which has seen nothing but its patch.
    """
    made: list[tuple[nn.Module, Tensor]] = []

    def note(module: Any, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad and module is not network:
            made.append((module, output))

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        logits = network(network.prepare(crops).detach().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    gradients = torch.autograd.grad(logits.sum(), [output for _, output in made], allow_unused=True)
    leading = [each for each, gradient in zip(made, gradients, strict=True) if gradient is not None]
    for module, output in reversed(leading):
        if output.ndim == 3:
            return None
        if output.ndim == 4 and output.shape[2] == output.shape[3] > 1:
            return module
    return None


def resize_maps(maps: Float32[Tensor, "crop 1 height width"], size: int) -> Maps:
    """Return maps interpolated to the size of the crops."""
    large = interpolate(maps.detach().float(), (size, size), mode="bilinear")
    return large[:, 0].cpu().numpy()
