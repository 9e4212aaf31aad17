"""From samples to stored descriptors, at the pace of the encoder."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float32

from src.cell import Cell
from src.encoders.device import CPU
from src.images.crop import MAP, WHOLE, Cut
from src.methods.preparation import Sample, prefetch, prepare_tensor
from src.storage.store import Recipe, Store
from src.system.memory import OutOfMemory

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from src.encoders.encoder import Extractor

log = logging.getLogger(__name__)

Result = TypeVar("Result")

SMALLER = "a smaller crop.size"
"""What to do where a crop does not fit the device's memory."""


def extract_descriptors(
    cell: Cell, samples: list[Sample], network: "Extractor", store: Store, wanted: Recipe, batch: int, workers: int
) -> Iterator[int]:
    """Store the descriptors of samples, and why an image is bad; yield the number of crops after each batch.

    Batches span augmentations and samples, and all have the same shape, so that neither the workers nor where an
    earlier extraction was killed changes a bit. What is held does not grow with the number of samples.
    With crop.sharing=map the crops of an augmentation share one pass (`src.methods.frozen.shared_maps`).
    """
    if cell.crop.sharing == MAP:
        from src.methods.frozen.shared_maps import extract_shared

        yield from extract_shared(cell, samples, network, store, wanted, batch, workers)
    else:
        yield from extract_crop_by_crop(cell, samples, network, store, wanted, batch, workers)
    store.finish()


def extract_crop_by_crop(
    cell: Cell, samples: list[Sample], network: "Extractor", store: Store, wanted: Recipe, batch: int, workers: int
) -> Iterator[int]:
    """Do what `extract_descriptors` does, every crop being encoded by itself."""
    started: deque[tuple[Sample, str]] = deque()

    def cuts() -> Iterator[Cut]:
        for sample, reason, image in prepared_images(cell, samples, store, wanted, workers):
            started.append((sample, reason))
            for number, augmented in enumerate(cell.augment(image.to(network.device), cell.seed, sample.content)):
                yield cell.crop.cut(augmented, cell.seed, sample.content, number)

    shape = (cell.augment.count, cell.crop.count, network.length)
    size = shape[0] * shape[1]
    parts: list[Float32[np.ndarray, "row feature"]] = []
    for descriptors in encode_batches(network, crop_batches(cuts(), batch)):
        parts.append(descriptors.numpy())
        cell.pool.check(parts[-1])  # at the first batch, not after all
        while sum(map(len, parts)) >= size:
            rows = np.concatenate(parts)
            store_descriptors(store, wanted, *started.popleft(), rows[:size].reshape(shape))
            parts = [rows[size:]]
        yield len(descriptors)


def prepared_images(
    cell: Cell, samples: list[Sample], store: Store, wanted: Recipe, workers: int
) -> "Iterator[tuple[Sample, str, Tensor]]":
    """Yield samples, what was wrong with their images, and these; why a sample has none is noted in the store."""
    images = prefetch(lambda sample: prepare_tensor(cell, sample), samples, workers)
    for sample, (image, reason) in zip(samples, images, strict=True):
        if image is None:
            store.note(wanted, sample.content, reason)
        else:
            yield sample, reason, image


def store_descriptors(
    store: Store,
    wanted: Recipe,
    sample: Sample,
    reason: str,
    descriptors: Float32[np.ndarray, "augmentation crop feature"],
) -> None:
    """Store the descriptors of a sample, and why its image is bad if it is; `ValueError` where they are not finite."""
    if not np.isfinite(descriptors).all():
        raise ValueError(
            f"{sample.name}: its descriptors are not finite: take encoder.precision=bfloat16 or float32, where numbers "
            "may be larger than in float16; if it is float32, the encoder's weights are damaged"
        )
    if reason:  # not before: a sample that is noted and has no descriptors is left out
        store.note(wanted, sample.content, reason)
    store.write(wanted, sample.content, descriptors)


def crop_batches(crops: Iterable["Tensor | Cut"], size: int) -> Iterator[tuple["Tensor", int]]:
    """Yield a buffer of `size` crops, and how many of them count: all but in the last. It is used again each time.

    Kernels and their order of summation are chosen by a batch's shape, so the last one is as large as the others. The
    channels of its pixels lie side by side, as networks take them.
    """
    buffer: Tensor | None = None
    count = 0
    for crop in crops:
        cut = crop if isinstance(crop, Cut) else Cut(crop, crop.shape[-1], [WHOLE])
        written = 0
        while written < len(cut):
            buffer = cut.empty(size).zero_() if buffer is None else buffer
            part = buffer[count : count + len(cut) - written]
            cut.write(part, written)
            written, count = written + len(part), count + len(part)
            if count == size:
                yield buffer, count
                count = 0
    if buffer is not None and count:
        yield buffer, count


def encode_batches(
    network: "Extractor", batches: Iterable[tuple["Tensor", int]], what: str = "crop", way_out: str = SMALLER
) -> Iterator["Tensor"]:
    """Yield the descriptors of each batch's crops, on the CPU.

    A batch that does not fit the device's memory is halved, from then on. `what` is in a batch, `way_out` what to do
    where not even one fits.
    """
    import torch

    under_way: Tensor | None = None
    size: int | None = None
    for buffer, count in batches:
        parts, size = in_parts(network, buffer, count, size or len(buffer), network.device, what, way_out)
        # A GPU computes while its next batch is prepared: descriptors are asked for once that is under way.
        if under_way is not None:
            yield under_way.cpu()
        under_way = torch.cat(parts)[:count]
    if under_way is not None:
        yield under_way.cpu()


def in_parts(
    compute: Callable[["Tensor"], Result],
    buffer: "Tensor",
    count: int,
    size: int,
    device: "torch.device",
    what: str = "crop",
    way_out: str = SMALLER,
) -> tuple[list[Result], int]:
    """Return what is computed of the first `count` of a batch, `size` or fewer at a time, and how many fitted.

    Where as many do not fit the device's memory, it is done with half of them.
    """
    import torch

    parts: list[Result] = []
    done = 0
    while done < count:
        try:
            parts.append(compute(buffer[done : done + size]))
            done += size
        except torch.OutOfMemoryError:
            if size == 1:
                raise OutOfMemory(
                    f"one {what} of {buffer.shape[-1]} pixels does not fit the memory of {device}; take "
                    f"{way_out}, another encoder, or {CPU}"
                ) from None
            size //= 2
            log.warning("out of memory on %s: batches of %d %ss from here on", device, size, what)
    return parts, size


def pooled_descriptors(
    cell: Cell, store: Store, wanted: Recipe, samples: list[Sample]
) -> Float32[np.ndarray, "sample augmentation feature"]:
    """Return the pooled descriptors of stored samples, one sample at least; they are held once."""
    descriptors = map(cell.pool, store.each(wanted, [sample.content for sample in samples]))
    first = next(descriptors)
    found = np.empty((len(samples), *first.shape), np.float32)
    for number, each in enumerate(chain([first], descriptors)):
        found[number] = each
    return found
