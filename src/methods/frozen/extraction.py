"""What every way of extraction does: images prepared ahead of the encoder, descriptors into the store and out of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from src.cell import Cell
from src.methods.preparation import Sample, prefetch, prepare_tensor
from src.storage.store import Recipe, Store, recipe_digest
from src.system.transfers import send

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LAST: dict[str, Float32[np.ndarray, "sample augmentation feature"]] = {}
"""The pooled descriptors that were asked for last."""
KEPT = 2**29
"""Octets of them that are kept at most."""


@dataclass(kw_only=True)
class Extraction:
    """By which descriptors are made, and where they are put.

    `wanted` is their recipe; `batch` crops are encoded together, and `workers` threads prepare images.
    """

    cell: Cell
    store: Store
    wanted: Recipe
    batch: int
    workers: int

    def prepared_images(self, samples: list[Sample], device: "torch.device") -> "Iterator[tuple[Sample, str, Tensor]]":
        """Yield samples, what was wrong with their images, and these on a device.

        Why a sample has no image is noted in the store.
        """
        images = prefetch(lambda sample: prepare_tensor(self.cell, sample), samples, self.workers)
        for sample, (image, reason) in zip(samples, images, strict=True):
            if image is None:
                self.store.note(self.wanted, sample.content, reason)
            else:
                yield sample, reason, send(image, device)

    def keep(
        self,
        sample: Sample,
        reason: str,
        descriptors: Float32[np.ndarray, "augmentation crop feature"],
        wanted: Recipe | None = None,
    ) -> None:
        """Store the descriptors of a sample, under another recipe if one is given, and why its image is bad if it is.

        Errors: ValueError where they are not finite.
        """
        if not np.isfinite(descriptors).all():
            raise ValueError(
                f"{sample.name}: its descriptors are not finite: take encoder.precision=bfloat16 or float32, where "
                "numbers may be larger than in float16; if it is float32, the encoder's weights are damaged"
            )
        wanted = wanted or self.wanted
        if reason:  # not before: a sample that is noted and has no descriptors is left out
            self.store.note(wanted, sample.content, reason)
        self.store.write(wanted, sample.content, descriptors)


def pooled_descriptors(
    cell: Cell, store: Store, wanted: Recipe, samples: list[Sample], averaged: bool = False
) -> Float32[np.ndarray, "sample augmentation feature"]:
    """Return the pooled descriptors of stored samples, one sample at least; they are held once, and are not to change.

    Where they are `averaged`, each sample has one: the mean over its augmentations. Those that were asked for last are
    kept for the next cell of this process, which may differ in its classifier.
    """
    key = repr((store.place, recipe_digest(wanted), cell.pool, averaged, [sample.content for sample in samples]))
    if key not in LAST:
        LAST.clear()
        found = read_pooled(cell, store, wanted, samples, averaged)
        if found.nbytes > KEPT:
            return found
        LAST[key] = found
    return LAST[key]


def read_pooled(
    cell: Cell, store: Store, wanted: Recipe, samples: list[Sample], averaged: bool
) -> Float32[np.ndarray, "sample augmentation feature"]:
    """Return the pooled descriptors of stored samples, or their means."""
    descriptors: Iterator[Any] = map(cell.pool, store.each(wanted, [sample.content for sample in samples]))
    if averaged:
        descriptors = (each.mean(axis=0, keepdims=True) for each in descriptors)
    first = next(descriptors)
    found = np.empty((len(samples), *first.shape), np.float32)
    for number, each in enumerate(chain([first], descriptors)):
        found[number] = each
    return found
