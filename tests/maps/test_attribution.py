"""Maps point to what a network decides by, for every kind of network, and leave it as it was."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.encoders.modules.readouts import Stages
from src.images.crop import Centre, Crop, Whole
from src.maps.attribution import (
    NO_FEATURE_MAP,
    explain_image,
    feature_map,
    grad_cam,
    integrated_gradients,
    measure_strength,
)


class Prepared(nn.Module):
    """A network with the preparation of its pixels."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.inner(pixels)
        return logits

    def prepare(self, crops: Tensor) -> Tensor:
        return crops.float().div_(255).sub_(0.5).div_(0.25)


def brightness() -> Prepared:
    """Class 1 is what is bright, class 0 what is dark: no need to train."""
    convolution, last = nn.Conv2d(3, 2, 4, stride=4, bias=False), nn.Linear(2, 2, bias=False)
    nn.init.constant_(convolution.weight[0], -1 / 48)
    nn.init.constant_(convolution.weight[1], 1 / 48)
    with torch.no_grad():
        last.weight.copy_(torch.eye(2))
    layers = convolution, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last
    return Prepared(nn.Sequential(*layers))


def spot(height: int, width: int, top: int, left: int) -> Tensor:
    """A grey image with a bright spot of 16 pixels."""
    image = torch.full((3, height, width), 128, dtype=torch.uint8)
    image[:, top : top + 16, left : left + 16] = 250
    return image


def noise(size: int = 64, count: int = 1) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def resnet() -> nn.Module:
    import torchvision

    return torchvision.models.resnet18(num_classes=3)


def squeezenet() -> nn.Module:
    import torchvision

    return torchvision.models.squeezenet1_1(num_classes=3)


def googlenet() -> nn.Module:
    import torchvision

    return torchvision.models.googlenet(num_classes=3, init_weights=False, aux_logits=True)


def convnext() -> nn.Module:
    import timm

    return timm.create_model("convnext_atto", num_classes=3)


def vit() -> nn.Module:
    import timm

    return timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=3)


def stages() -> nn.Module:
    """Its last pooling leads nowhere."""
    blocks = [
        nn.Sequential(nn.Conv2d(width, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)) for width in (3, 8, 8)
    ]
    return Stages(nn.Sequential(*(layer for block in blocks for layer in block)))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (resnet, "inner.layer4"),
        (squeezenet, "inner.classifier.2"),
        (googlenet, "inner.inception5b"),
        (convnext, "inner.norm_pre"),
        (stages, "inner.features.7"),
        (vit, None),
    ],
)
def test_the_last_feature_map_is_found(make: Callable[[], nn.Module], name: str | None) -> None:
    torch.manual_seed(0)
    network = Prepared(make())
    found = feature_map(network, noise())
    assert [each for each, module in network.named_modules() if module is found] == ([] if name is None else [name])
    if found is not None:
        cam = grad_cam(network, noise(count=2), 1, found)
        assert cam.shape == (2, 64, 64)
        assert np.isfinite(cam).all()
        assert cam.min() >= 0


def test_integrated_gradients_are_complete() -> None:
    """They sum to the difference that the pixels make to the logit, whatever is done in place on the way."""
    torch.manual_seed(0)
    for inner in (squeezenet(), stages()):
        network = Prepared(inner)
        pixels = network.prepare(noise(count=2))
        for target in (0, 2):
            difference = (network(pixels) - network(torch.zeros_like(pixels)))[:, target]
            found = integrated_gradients(network, pixels, target)
            torch.testing.assert_close(found.sum((1, 2, 3)), difference, rtol=0.01, atol=1e-4)


def test_what_equals_the_baseline_has_no_part_in_it() -> None:
    image = spot(64, 64, 16, 40)
    found = measure_strength(brightness(), image[None], 1)[0]
    assert found[20:28, 44:52].min() > 20 * found[40:].max()


def test_grad_cam_shows_what_speaks_for_a_class_only() -> None:
    network = brightness()
    crops = spot(64, 64, 16, 40)[None]
    layer = feature_map(network, crops)
    assert layer is not None
    bright, dark = (grad_cam(network, crops, target, layer)[0] for target in (1, 0))
    assert bright[20:28, 44:52].min() > 10 * bright[40:].max()
    assert dark[20:28, 44:52].max() == 0


@pytest.mark.parametrize(("top", "left"), [(4, 4), (60, 100), (140, 184)])
def test_windows_find_a_spot_anywhere_in_a_large_image(top: int, left: int) -> None:
    image = spot(160, 204, top, left)
    maps, note = explain_image(brightness(), image, Crop(size=64), {"bright": 1, "dark": 0})
    assert note == ""
    assert list(maps) == ["Grad-CAM for bright", "Grad-CAM for dark", "integrated gradients for bright"]
    for name in ("Grad-CAM for bright", "integrated gradients for bright"):
        values = maps[name]
        assert values.shape == (160, 204)
        assert np.nanmin(values) >= 0
        assert np.nanmax(values) == 1
        row, column = np.unravel_index(np.nanargmax(values), values.shape)
        assert top <= row < top + 16
        assert left <= column < left + 16


def test_a_centre_is_explained_where_it_lies() -> None:
    maps, _ = explain_image(brightness(), spot(80, 120, 30, 50), Centre(size=64, shorter=80), {"bright": 1})
    known = np.zeros((80, 120), bool)
    known[8:72, 28:92] = True
    for values in maps.values():
        np.testing.assert_array_equal(~np.isnan(values), known)


def test_a_transformer_has_no_grad_cam_and_says_so() -> None:
    torch.manual_seed(0)
    maps, note = explain_image(Prepared(vit()), noise()[0], Whole(size=64), {"one": 0, "two": 1})
    assert list(maps) == ["integrated gradients for one"]
    assert note == NO_FEATURE_MAP


def test_explaining_leaves_no_trace() -> None:
    torch.manual_seed(0)
    network = Prepared(squeezenet()).requires_grad_(True)
    image = noise()[0]
    before = network(network.prepare(image[None]))
    first, second = (explain_image(network, image, Whole(size=64), {"one": 0})[0] for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
    assert torch.equal(network(network.prepare(image[None])), before)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
