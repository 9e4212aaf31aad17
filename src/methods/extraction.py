"""From samples to stored descriptors, at the pace of the encoder."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float32

from src.images import BadImage
from src.methods.cell import Cell
from src.store import Recipe, Store

if TYPE_CHECKING:
    from torch import Tensor

    from src.encoders.encoder import Network

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass
class Sample:
    """An image file and the digest of its bytes."""

    name: str
    content: str


def recipe(cell: Cell, weights: str) -> Recipe:
    """Return all that determines a descriptor but the sample's bytes; `weights` is the digest of the encoder's."""
    operators = {name: described(getattr(cell, name)) for name in ("stain", "augment", "crop", "encoder")}
    kept = {name: value for name, value in operators["encoder"].items() if name not in cell.encoder.whence}
    operators["encoder"] = kept | {"weights": weights}
    return operators | {"convert": cell.data.convert, "seed": cell.seed, "on_bad_image": cell.on_bad_image == "pass"}


def described(operator: Any) -> dict[str, Any]:
    """Return an operator's name, revision and parameters."""
    return {"operator": type(operator).__name__, "revision": operator.revision} | asdict(operator)


def prefetch(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield function(item) in order, computed by threads that are at most `workers` items ahead."""
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Result]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def prepare(cell: Cell, sample: Sample) -> "tuple[Tensor | None, str]":
    """Return an image, read, scaled and normalised (3, height, width), and what was wrong with it.

    A bad image becomes what `on_bad_image` says: an error, none, or the image without normalisation.
    """
    import torch

    reason = ""
    try:
        image = cell.crop.rescale(cell.data.read(sample.name))
        try:
            image = cell.stain(image)
        except BadImage as error:
            if cell.on_bad_image != "pass":
                raise
            reason = str(error)
    except BadImage as error:
        refuse(cell, sample, str(error))
        return None, str(error)
    return torch.from_numpy(image).permute(2, 0, 1).contiguous(), reason


def refuse(cell: Cell, sample: Sample, reason: str) -> None:
    """Raise the error for a bad image if the cell is to fail on it."""
    if cell.on_bad_image == "fail":
        raise ValueError(
            f"{sample.name}: {reason}. (on_bad_image=skip leaves such images out; on_bad_image=pass lets those that "
            "cannot be normalised go on as they are)"
        )


def extract(
    cell: Cell, samples: list[Sample], network: "Network", store: Store, wanted: Recipe, batch: int, workers: int
) -> Iterator[int]:
    """Store the descriptors of samples, and why an image is bad; yield the number of crops after each batch.

    Batches span augmentations and samples, and all have the same shape, so that neither the workers nor where an
    earlier extraction was killed changes a bit. What is held does not grow with the number of samples.
    """
    started: deque[Sample] = deque()

    def crops() -> Iterator["Tensor"]:
        prepared = prefetch(lambda sample: prepare(cell, sample), samples, workers)
        for sample, (image, reason) in zip(samples, prepared, strict=True):
            if reason:
                store.note(wanted, sample.content, reason)
            if image is not None:
                started.append(sample)
                for number, augmented in enumerate(cell.augment(image.to(network.device), cell.seed, sample.content)):
                    yield from cell.crop(augmented, cell.seed, sample.content, number)

    shape = (cell.augment.count, cell.crop.count, network.length)
    size = shape[0] * shape[1]
    rows = np.empty((0, network.length), np.float32)
    for descriptors in encode(network, batches(crops(), batch)):
        rows = np.concatenate([rows, descriptors.numpy()])
        while len(rows) >= size:
            store.write(wanted, started.popleft().content, rows[:size].reshape(shape))
            rows = rows[size:]
        yield len(descriptors)


def batches(crops: Iterable["Tensor"], size: int) -> Iterator[tuple["Tensor", int]]:
    """Yield a buffer of `size` crops, and how many of them count: all but in the last. It is used again each time.

    Kernels and their order of summation are chosen by a batch's shape, so the last one is as large as the others.
    """
    buffer: Tensor | None = None
    count = 0
    for crop in crops:
        if buffer is None:
            buffer = crop.new_zeros((size, *crop.shape))
        buffer[count] = crop
        count += 1
        if count == size:
            yield buffer, count
            count = 0
    if buffer is not None and count:
        yield buffer, count


def encode(network: "Network", batches: Iterable[tuple["Tensor", int]]) -> Iterator["Tensor"]:
    """Yield the descriptors of each batch's crops, on the CPU.

    A batch that does not fit the device's memory is halved, from then on.
    """
    import torch

    size: int | None = None
    for buffer, count in batches:
        size = size or len(buffer)
        parts: list[Tensor] = []
        done = 0
        while done < count:
            try:
                parts.append(network(buffer[done : done + size]).cpu())
                done += size
            except torch.OutOfMemoryError:
                if size == 1:
                    raise ValueError(
                        f"one crop of {buffer.shape[-1]} pixels does not fit the memory of {network.device}; take a "
                        "smaller crop.size, another encoder, or method.device=cpu"
                    ) from None
                size //= 2
                log.warning("out of memory on %s: batches of %d crops from here on", network.device, size)
        yield torch.cat(parts)[:count]


def pooled(
    cell: Cell, store: Store, wanted: Recipe, samples: list[Sample]
) -> Float32[np.ndarray, "sample augmentation feature"]:
    """Return the pooled descriptors of stored samples."""
    return np.stack([cell.pool(store.read(wanted, sample.content)) for sample in samples])
