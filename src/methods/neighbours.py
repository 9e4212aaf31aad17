"""The images nearest to an example among those that its models learnt from: what an answer may rest on."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import pandas as pd
from jaxtyping import UInt8

from src.data.manifest import is_among
from src.data.splits import FIT, STOPPING
from src.images import BadImage
from src.methods.likeness import ALL, Known, distance_by_case, distance_threshold
from src.methods.method import CellTask, Outcome

Image = UInt8[np.ndarray, "_ _ 3"]
SIDE = 320
"""Pixels that a picture of a neighbour is high or wide, at most."""


@dataclass
class Neighbour:
    """An image in small, with its name, its label, and its distance in multiples of the threshold for unlike ones."""

    sample: str
    label: str
    distance: float
    image: Image


def find_neighbours(task: CellTask, outcome: Outcome, examples: pd.DataFrame) -> dict[str, list[Neighbour]]:
    """Return the nearest images that the models of an example's fold learnt from, by the example's sample.

    `examples` has `sample, content, view, fold`. Where an outcome keeps no descriptors of all its images, as that of
    trained networks, or not of an example, there are none.
    """
    found = {}
    read = cache(lambda sample: shrink(task.cell.read(sample)))  # of several examples one may be a neighbour
    roles = outcome.roles[outcome.roles["role"].isin((FIT, STOPPING))]
    for row in examples.to_dict("records"):
        known = outcome.known.get(row["view"]) or outcome.known.get(ALL)
        learnt = roles.loc[roles["fold"] == row["fold"], "case"]
        rows = task.manifest[is_among(task.manifest["case"], learnt)]
        if known is not None and row["content"] in set(known.facts["content"]):
            found[row["sample"]] = list(show_nearest(read, known, row["content"], rows))
    return found


def show_nearest(read: Callable[[str], Image], known: Known, content: str, rows: pd.DataFrame) -> Iterator[Neighbour]:
    """Yield the known images among rows of the manifest that are nearest to a known one, of those that can be read."""
    samples = rows.sort_values("sample").drop_duplicates("content").set_index("content")["sample"]
    threshold = distance_threshold(distance_by_case(known.table().assign(model="")).tolist())
    for row in known.nearest_known(content, samples.index).to_dict("records"):
        sample = str(samples[row["content"]])
        with suppress(BadImage):
            yield Neighbour(sample, row["label"], row["distance"] / threshold, read(sample))


def shrink(image: Image) -> Image:
    """Return an image no side of which is longer than `SIDE`."""
    factor = min(1.0, SIDE / max(image.shape[:2]))
    size = tuple(max(1, round(factor * side)) for side in image.shape[1::-1])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
