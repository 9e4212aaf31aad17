"""Descriptors of many windows of an image by one pass of an encoder. Imports torch, so import it late."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from src.encoders.encoder import Averaging, Extractor

SPAN = 192
"""Pixels by which a probe is wider than high: a multiple of every stride, so that it tells them."""
TOLERANCE = 0.01
"""How far, relative to its norm, a descriptor may be from the mean of its maps: layers between them change it more."""

Shape = tuple[int, int]


def window_means(maps: torch.Tensor, cells: int, step: int) -> torch.Tensor:
    """Return the means over all windows of `cells` x `cells` of maps (n, channels, height, width), `step` apart.

    (n, rows, columns, channels), double: by an integral image (Crow 1984), whose sums in double precision lose nothing
    that a float32 would show.
    """
    images, channels, height, width = maps.shape
    sums = torch.zeros((images, height + 1, width + 1, channels), dtype=torch.float64, device=maps.device)
    sums[:, 1:, 1:] = maps.permute(0, 2, 3, 1).double().cumsum(1).cumsum(2)
    bands = sums[:, cells::step] - sums[:, : height - cells + 1 : step]
    return (bands[:, :, cells::step] - bands[:, :, : width - cells + 1 : step]) / cells**2


@dataclass
class Layer:
    """One map: the pixels from a cell to the next, and how many cells the map of a crop of each size has."""

    stride: int
    cells: dict[int, int]


class Windows:
    """An encoder that gives of an image the descriptors of all windows that are aligned to its stride.

    It is called as an encoder is: images (n, 3, height, width), uint8, in, and descriptors (n, windows, length) out,
    float32. The windows of the smallest of `sizes` come first, row by row; those of a size that an image is too small
    for are none. A window has as many cells as the map of such a crop alone, and in an encoder without padding the same
    descriptor; with padding it differs near the borders, which see the image instead of zeros.
    Errors: ValueError unless the encoder's descriptors are means of maps. `label` is its name.
    """

    def __init__(self, network: Extractor, sizes: Iterable[int], label: str) -> None:
        self.sizes = sorted(sizes)
        self.length, self.device = network.length, network.device
        if not isinstance(network, Averaging) or not averages_maps(network, self.sizes[0]):
            raise ValueError(
                f"crop.sharing=map needs an encoder whose descriptors are means of feature maps, of crops that it does "
                f"not resize (encoder.input_size=0), and {label} is none: take crop.sharing=exact, or an encoder such "
                "as resnet, vgg or mobilenet"
            )
        self.network = network
        self.layers = measure_layers(network, self.sizes)
        self.stride = max(layer.stride for layer in self.layers)

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the descriptors (n, windows, length) of the windows of images."""
        shape = (crops.shape[2], crops.shape[3])
        with torch.inference_mode():
            maps = self.network.maps(crops)
            parts = [self.descriptors_of(maps, shape, size) for size in self.fitting(shape)]
        return torch.cat(parts, dim=1)

    def descriptors_of(self, maps: list[torch.Tensor], shape: Shape, size: int) -> torch.Tensor:
        """Return the descriptors (n, windows, length) of the windows of one size."""
        rows, columns = self.grid(shape, size)
        means = [
            window_means(each, layer.cells[size], self.stride // layer.stride)[:, :rows, :columns]
            for each, layer in zip(maps, self.layers, strict=True)
        ]
        return torch.cat(means, dim=3).float().flatten(1, 2)

    def fitting(self, shape: Shape) -> list[int]:
        """Return the sizes that fit an image of a height and width."""
        return [size for size in self.sizes if size <= min(shape)]

    def grid(self, shape: Shape, size: int) -> Shape:
        """Return how many rows and columns of windows of a size there are; their tops and lefts are `stride` apart."""
        rows, columns = ((side - size) // self.stride + 1 for side in shape)
        return rows, columns

    def split(self, described: torch.Tensor, shape: Shape) -> dict[int, torch.Tensor]:
        """Return the descriptors (n, rows, columns, length) by size, of those that a call gave of images of a shape."""
        grids = {size: self.grid(shape, size) for size in self.fitting(shape)}
        parts = torch.split(described, [rows * columns for rows, columns in grids.values()], dim=1)
        return {
            size: part.reshape(len(part), *grids[size], self.length) for size, part in zip(grids, parts, strict=True)
        }


def averages_maps(network: Averaging, size: int) -> bool:
    """Return whether an encoder's descriptor of a crop is the mean of its maps."""
    noise = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    crop = noise.to(network.device)
    maps = network.maps(crop)
    if not maps or any(each.ndim != 4 for each in maps) or sum(each.shape[1] for each in maps) != network.length:
        return False
    descriptor = network(crop)
    difference = descriptor - torch.cat([each.mean((2, 3)) for each in maps], dim=1)
    return bool(difference.norm() <= TOLERANCE * descriptor.norm())


def measure_layers(network: Averaging, sizes: list[int]) -> list[Layer]:
    """Return what the maps of an encoder are to pixels, measured."""
    found: list[Layer] = []
    for size in sizes:
        side = size if size < 2 * SPAN else SPAN + size % SPAN  # a stride more of pixels is a cell more
        probe = torch.zeros((1, 3, side, side + SPAN), dtype=torch.uint8, device=network.device)
        shapes = [(each.shape[2], each.shape[3]) for each in network.maps(probe)]
        found = found or [Layer(SPAN // (wide - high), {}) for high, wide in shapes]
        for layer, (high, _) in zip(found, shapes, strict=True):
            layer.cells[size] = high + (size - side) // layer.stride
    return found
