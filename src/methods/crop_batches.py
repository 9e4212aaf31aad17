"""Batches of crops: cut in buffers of one shape, and computed as the memory of the device has room."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from src.encoders.device import CPU
from src.images.crop import WHOLE, Cut
from src.system.memory import OutOfMemory, is_out_of_memory
from src.system.transfers import fetch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from src.encoders.encoder import Extractor

log = logging.getLogger(__name__)

Result = TypeVar("Result")

SMALLER = "a smaller crop.size"
"""What to do where a crop does not fit the device's memory."""


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

    under_way: Callable[[], Tensor] | None = None
    size: int | None = None
    for buffer, count in batches:
        parts, size = in_parts(network, buffer, count, size or len(buffer), network.device, what, way_out)
        # A GPU computes a batch while the last one's descriptors are stored and its next one is prepared.
        last, under_way = under_way, fetch(torch.cat(parts)[:count])
        if last is not None:
            yield last()
    if under_way is not None:
        yield under_way()


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
    parts: list[Result] = []
    done = 0
    while done < count:
        try:
            parts.append(compute(buffer[done : done + size]))
            done += size
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise OutOfMemory(
                    f"one {what} of {buffer.shape[-1]} pixels does not fit the memory of {device}; take "
                    f"{way_out}, another encoder, or {CPU}"
                ) from error
            size //= 2
            log.warning("out of memory on %s: batches of %d %ss from here on", device, size, what)
    return parts, size
