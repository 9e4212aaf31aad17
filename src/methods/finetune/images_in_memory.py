"""Prepared images in memory, for methods that show them to a network again and again."""

from typing import TYPE_CHECKING

import pandas as pd

from src.cell import Cell
from src.methods.fold_models import bad_images
from src.methods.method import CellTask
from src.methods.preparation import Sample, check_sizes, prefetch, prepare_tensor

if TYPE_CHECKING:
    from torch import Tensor

GIB = 2**30


class Images:
    """Prepared images: as many as fit the memory are kept, the others prepared whenever they are asked for."""

    def __init__(self, cell: Cell, memory: float, workers: int) -> None:
        self.cell, self.workers = cell, workers
        self.room = memory * GIB
        self.kept: dict[str, Tensor] = {}

    def prepare(self, task: CellTask) -> pd.DataFrame:
        """Prepare every image once, and return the bad ones: `sample, outcome, reason`."""
        samples = task.samples
        distinct = {sample.content: sample for sample in samples}
        check_sizes(self.cell, list(distinct.values()), task.sizes)
        reasons: dict[str, str] = {}
        used: set[str] = set()
        made = prefetch(lambda sample: prepare_tensor(self.cell, sample), distinct.values(), self.workers)
        for content, (image, reason) in zip(
            distinct, task.progress.track(made, "preparing", len(distinct)), strict=True
        ):
            reasons[content] = reason
            if image is None:
                continue
            used.add(content)
            if image.nbytes <= self.room:
                self.room -= image.nbytes
                self.kept[content] = image
        return bad_images(samples, reasons, used.__contains__)

    def __call__(self, sample: Sample) -> "Tensor":
        """Return a prepared image (3, height, width), uint8."""
        image = self.kept.get(sample.content)
        if image is None:
            image = prepare_tensor(self.cell, sample)[0]
        assert image is not None, "bad images are left out before"
        return image

    def crops(self, sample: Sample, count: int) -> "Tensor":
        """Return the first crops of an image as it is predicted (count, 3, size, size)."""
        cut = self.cell.crop.cut(self(sample), self.cell.seed, sample.content, 0)
        crops = cut.empty(min(count, len(cut)))
        cut.write(crops, 0)
        return crops
