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
                    yield cell.crop(augmented, cell.seed, sample.content, number)

    shape = (cell.augment.count, cell.crop.count, network.length)
    size = shape[0] * shape[1]
    rows = np.empty((0, network.length), np.float32)
    for descriptors in encode(network, rechunk(crops(), batch), batch):
        rows = np.concatenate([rows, descriptors.numpy()])
        while len(rows) >= size:
            store.write(wanted, started.popleft().content, rows[:size].reshape(shape))
            rows = rows[size:]
        yield len(descriptors)


def rechunk(stacks: Iterable["Tensor"], size: int) -> Iterator["Tensor"]:
    """Yield the rows of a stream of stacks in stacks of `size` rows; the last may be shorter."""
    import torch

    held: list[Tensor] = []
    count = 0
    for stack in stacks:
        held.append(stack)
        count += len(stack)
        if count >= size:
            rows = torch.cat(held) if len(held) > 1 else held[0]
            whole = count - count % size
            yield from torch.split(rows[:whole], size)
            held, count = ([rows[whole:]] if whole < count else []), count - whole
    if count:
        yield torch.cat(held)


def encode(network: "Network", batches: Iterable["Tensor"], size: int) -> Iterator["Tensor"]:
    """Yield the descriptors of each batch (at most `size` crops), on the CPU.

    A batch that does not fit the device's memory is halved, from then on.
    """
    import torch

    for batch in batches:
        parts: list[Tensor] = []
        rest = batch
        while len(rest):
            try:
                parts.append(encode_padded(network, rest[:size], size))
                rest = rest[size:]
            except torch.OutOfMemoryError:
                if size == 1:
                    raise ValueError(
                        f"one crop of {batch.shape[-1]} pixels does not fit the memory of {network.device}; take a "
                        "smaller crop.size, another encoder, or method.device=cpu"
                    ) from None
                size //= 2
                log.warning("out of memory on %s: batches of %d crops from here on", network.device, size)
        yield torch.cat(parts)


def encode_padded(network: "Network", crops: "Tensor", size: int) -> "Tensor":
    """Return the descriptors of up to `size` crops, computed in a batch of exactly `size`.

    Kernels and their order of summation are chosen by a batch's shape; padding keeps the last batch's like the others'.
    """
    import torch

    count = len(crops)
    if count < size:
        crops = torch.cat([crops, crops.new_zeros((size - count, *crops.shape[1:]))])
    return network(crops)[:count].cpu()


def pooled(
    cell: Cell, store: Store, wanted: Recipe, samples: list[Sample]
) -> Float32[np.ndarray, "sample augmentation feature"]:
    """Return the pooled descriptors of stored samples."""
    return np.stack([cell.pool(store.read(wanted, sample.content)) for sample in samples])
