"""From files to prepared images, the same for every method: reading, scaling, normalisation, bad images."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from src.cell import Cell
from src.data.manifest import list_first
from src.images import BadImage, OutOfReach
from src.images.crop import LARGEST

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")
Size = tuple[int, int]


@dataclass
class Sample:
    """An image file and the digest of its bytes."""

    name: str
    content: str


def samples_of(manifest: pd.DataFrame) -> list[Sample]:
    """Return the samples of a manifest with contents."""
    return [Sample(*pair) for pair in zip(manifest["sample"], manifest["content"], strict=True)]


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead_by: int = 0
) -> Iterator[Result]:
    """Yield function(item) in order, computed by threads that are at most `ahead_by` (0: `workers`) items ahead."""
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Result]] = deque()
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > (ahead_by or workers):
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def prepare_tensor(cell: Cell, sample: Sample) -> "tuple[Tensor | None, str]":
    """Return an image, read, scaled and normalised (3, height, width), and what was wrong with it (`prepare_image`)."""
    image, reason = prepare_image(cell, sample)
    return None if image is None else channels_first(image), reason


def channels_first(image: UInt8[np.ndarray, "height width 3"]) -> "Tensor":
    """Return an image (3, height, width), whose channels still lie side by side, as networks take them."""
    import torch

    return torch.from_numpy(image).permute(2, 0, 1)


def prepare_image(cell: Cell, sample: Sample) -> tuple[UInt8[np.ndarray, "height width 3"] | None, str]:
    """Return an image, read, scaled and normalised, and what was wrong with it.

    A bad image becomes what `on_bad_image` says: an error, none, or the image without normalisation.
    """
    reason = ""
    try:
        image = cell.crop.rescale(read_sample(cell, sample))
        try:
            image = cell.stain(image)
        except BadImage as error:
            if cell.on_bad_image != "pass":
                raise
            reason = str(error)
    except BadImage as error:
        refuse_image(cell, sample, str(error))
        return None, str(error)
    return image, reason


def read_sample(cell: Cell, sample: Sample) -> UInt8[np.ndarray, "height width 3"]:
    """Return a sample's image; `BadImage` where it is none, `ValueError` where its file went away."""
    try:
        return cell.read(sample.name)
    except OutOfReach as error:
        raise ValueError(f"{sample.name}: {error}, though it was read a moment ago; run again") from error


def sizes_of(samples: list[Sample], sizes: Mapping[str, Size]) -> dict[str, Size]:
    """Return height and width of images by the samples' names, given those by content; of those that can be read."""
    return {sample.name: sizes[sample.content] for sample in samples if sample.content in sizes}


def check_sizes(cell: Cell, samples: list[Sample], sizes: Mapping[str, Size]) -> None:
    """Raise `ValueError` that names all images that are too small for the crop, if the cell is to fail on them."""
    if cell.on_bad_image != "fail":
        return
    crop, found = cell.crop, sizes_of(samples, sizes)
    shorter = {name: min(crop.scaled(*size)) for name, size in found.items()}
    small = [f"{name} ({found[name][1]} x {found[name][0]})" for name, side in shorter.items() if side < crop.size]
    if not small:
        return
    scale = math.ceil(100 * crop.size / min(map(min, found.values()))) / 100
    larger = f"crop.scale={scale:g} or more, " if scale <= LARGEST else ""
    fitted = "" if crop.fit else "crop.fit=true, which scales such images up to the crop, "
    seen = f"even at {LARGEST} times their size, which is the most" if crop.fit else f"at crop.scale={crop.scale:g}"
    smaller = f"crop.size={least} or less, " if (least := min(shorter.values())) else ""
    raise ValueError(
        f"{len(small)} of {len(found)} images are too small for crop.size={crop.size} {seen}: {list_first(small)}; "
        f"take {smaller}{larger}{fitted}crop=whole, which resizes all, or on_bad_image=skip, which leaves them out"
    )


def note_enlarged(cell: Cell, samples: list[Sample], sizes: Mapping[str, Size]) -> list[str]:
    """Return a note on the images, if any, that are not at the scale of the crop, as it fits no smaller ones."""
    if not cell.crop.fit:
        return []
    alike = replace(cell.crop, fit=False)
    found = sizes_of(samples, sizes).values()
    other = sum(cell.crop.scaled(*size) != alike.scaled(*size) for size in found)
    if not other:
        return []
    return [
        f"{other} of {len(found)} images are too small for crop.size={alike.size} at crop.scale={alike.scale:g}, "
        "and are seen at the scale at which it fits (crop.fit)"
    ]


def refuse_image(cell: Cell, sample: Sample, reason: str) -> None:
    """Raise the error for a bad image if the cell is to fail on it."""
    if cell.on_bad_image == "fail":
        raise ValueError(
            f"{sample.name}: {reason}. (on_bad_image=skip leaves such images out; on_bad_image=pass lets those that "
            "cannot be normalised go on as they are)"
        )
