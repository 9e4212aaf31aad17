"""Extraction where every crop is encoded by itself."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from src.images.crop import Cut
from src.methods.crop_batches import crop_batches, encode_batches
from src.methods.frozen.extraction import Extraction
from src.methods.preparation import Sample

if TYPE_CHECKING:
    from src.encoders.encoder import Extractor


def extract_single_crops(work: Extraction, samples: list[Sample], network: "Extractor") -> Iterator[int]:
    """Store the descriptors of samples; yield the number of crops after each batch, which spans samples."""
    cell = work.cell
    started: deque[tuple[Sample, str]] = deque()

    def cuts() -> Iterator[Cut]:
        for sample, reason, image in work.prepared_images(samples, network.device):
            started.append((sample, reason))
            for number, augmented in enumerate(cell.augment(image, cell.seed, sample.content)):
                yield cell.crop.cut(augmented, cell.seed, sample.content, number)

    shape = (cell.augment.count, cell.crop.count, network.length)
    size = shape[0] * shape[1]
    parts: list[Float32[np.ndarray, "row feature"]] = []
    for descriptors in encode_batches(network, crop_batches(cuts(), work.batch)):
        parts.append(descriptors.numpy())
        cell.pool.check(parts[-1])  # at the first batch, not after all
        while sum(map(len, parts)) >= size:
            rows = np.concatenate(parts)
            work.keep(*started.popleft(), rows[:size].reshape(shape))
            parts = [rows[size:]]
        yield len(descriptors)
