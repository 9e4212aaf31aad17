"""Extraction where all crops of an augmentation share one pass of the encoder. Imports torch, so import it late."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from src.cell import Cell
from src.encoders.encoder import Extractor
from src.encoders.modules.window_means import Shape, Windows
from src.methods.crop_batches import encode_batches
from src.methods.frozen.extraction import Extraction
from src.methods.preparation import Sample
from src.recipes import operator_recipe

WAY_OUT = "crop.sharing=exact"
"""What to do where an image does not fit the device's memory."""


@dataclass
class Started:
    """A sample, what was wrong with its image, and its descriptors by crop size so far."""

    sample: Sample
    reason: str
    augmentations: int = 0
    descriptors: dict[int, Float32[np.ndarray, "augmentation crop feature"]] = field(default_factory=dict)


@dataclass
class SharedPass:
    """Augmentations of an image, in one shape, that are encoded together."""

    started: Started
    shape: Shape
    numbers: list[int]


def extract_shared_maps(work: Extraction, samples: list[Sample], network: Extractor) -> Iterator[int]:
    """Store the descriptors of samples, for each of `cell.crop.sizes`; yield the number of crops after each batch.

    A batch holds augmentations of one image in one shape, as many as have `batch` crops, and the last ones of an image
    are filled up: so neither other images, nor workers, nor where an earlier extraction was killed changes a bit.
    Errors: ValueError, before any image is read, where crops can share no map of the encoder.
    """
    cell = work.cell
    windows = Windows(network, cell.crop.sizes, cell.encoder.label)
    size = min(max(1, work.batch // cell.crop.count), cell.augment.count)
    parts: deque[SharedPass] = deque()

    def batches() -> Iterator[tuple[Tensor, int]]:
        for sample, reason, image in work.prepared_images(samples, network.device):
            started = Started(sample, reason)
            for buffer, numbers in batches_of_shape(turned_augmentations(cell, sample, image), size):
                parts.append(SharedPass(started, (buffer.shape[2], buffer.shape[3]), numbers))
                yield buffer, len(numbers)

    for found in encode_batches(windows, batches(), "image", WAY_OUT):
        part = parts.popleft()
        collect_crops(cell, windows, part, found)
        if part.started.augmentations == cell.augment.count:
            keep_sizes(work, part.started)
        yield len(part.numbers) * cell.crop.count


def turned_augmentations(cell: Cell, sample: Sample, image: Tensor) -> Iterator[Tensor]:
    """Yield the augmentations of an image, each in the orientation of its crops."""
    for number, augmented in enumerate(cell.augment(image, cell.seed, sample.content)):
        yield cell.crop.turn(augmented, cell.seed, sample.content, number)


def batches_of_shape(images: Iterable[Tensor], size: int) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield buffers of `size` images of one shape, and the numbers of those that count; they are used again."""
    buffers: dict[Shape, Tensor] = {}
    numbers: dict[Shape, list[int]] = {}
    for number, image in enumerate(images):
        shape = (image.shape[1], image.shape[2])
        if shape not in buffers:
            buffers[shape], numbers[shape] = image.new_zeros((size, *image.shape)), []
        buffers[shape][len(numbers[shape])] = image
        numbers[shape].append(number)
        if len(numbers[shape]) == size:
            yield buffers[shape], numbers[shape]
            numbers[shape] = []
    for shape, left in numbers.items():
        if left:
            yield buffers[shape], left


def collect_crops(cell: Cell, windows: Windows, part: SharedPass, found: Tensor) -> None:
    """Take the descriptors of the crops out of those of all windows."""
    started = part.started
    started.augmentations += len(part.numbers)
    for size, grid in windows.split(found, part.shape).items():
        whole = (cell.augment.count, cell.crop.count, windows.length)
        rows = started.descriptors.setdefault(size, np.empty(whole, np.float32))
        for number, each in zip(part.numbers, grid.numpy(), strict=True):
            rows[number] = each[cell.crop.cells(each.shape[:2], cell.seed, started.sample.content, number)]
            cell.pool.check(rows[number])


def keep_sizes(work: Extraction, started: Started) -> None:
    """Store a sample's descriptors under the recipe of each size."""
    for size, descriptors in started.descriptors.items():
        recipe = work.wanted | {"crop": operator_recipe(replace(work.cell.crop, size=size))}
        work.keep(started.sample, started.reason, descriptors, recipe)
