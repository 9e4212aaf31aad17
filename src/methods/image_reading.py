"""The first reading of a cell's images: what is to be known of a file is found while its bytes are in memory."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import UInt8

from src.data import image_file
from src.data.reader import Reader
from src.images import BadImage
from src.images.keypoints import Keypoints
from src.images.perceptual_hash import PerceptualHash
from src.methods.preparation import Size, prefetch
from src.recipes import hash_recipe, keypoints_recipe
from src.storage.store import Recipe, Store
from src.system.progress import Progress

Image = UInt8[np.ndarray, "height width 3"]


def read_images(
    data: Reader, manifest: pd.DataFrame, store: Store, workers: int, progress: Progress
) -> tuple[pd.DataFrame, dict[str, Size]]:
    """Return the manifest with the column `content`, the digest of each file's bytes, and height and width by content.

    A file is opened once: the perceptual hashes and keypoints that the store lacks are made of the same bytes, and put
    there. Sizes are those of images that can be read.
    Errors: ValueError where an image has not the size that the data set must have, OSError where a file is gone.
    """
    reading = FirstReading(data, store)
    read = prefetch(reading, manifest["sample"], workers)
    found = list(progress.track(read, "reading", len(manifest)))
    store.finish()
    contents = [content for content, _ in found]
    return manifest.assign(content=contents), {content: size for content, size in found if size}


@dataclass
class Feature:
    """What images are recognised by: its recipe, what makes it `of` an image, and of which contents it is known.

    Of a hash an octet is a feature and an orientation a crop, of keypoints each one is a crop.
    """

    recipe: Recipe
    of: Callable[[Image], npt.NDArray[np.generic]]
    known: set[str] = field(default_factory=set)


@dataclass
class FirstReading:
    """Reads samples, and stores what they are recognised by where it is not there; threads may do so together."""

    data: Reader
    store: Store
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """See what is there."""
        self.features = [
            Feature(hash_recipe(self.data), lambda image: PerceptualHash()(image)[None].astype(np.float32)),
            Feature(keypoints_recipe(self.data), Keypoints()),
        ]
        for feature in self.features:
            held = self.store.held(feature.recipe)
            feature.known = {*held.samples, *held.notes}

    def __call__(self, sample: str) -> tuple[str, Size | None]:
        """Return the digest of a sample's bytes, and its image's height and width, none where it cannot be read."""
        path = os.path.join(self.data.root, sample)
        octets = image_file.read_bytes(path)
        self.data.check_size(sample, octets)
        content = image_file.file_digest(path, octets)
        with self.lock:
            lacking = [feature for feature in self.features if content not in feature.known]
            for feature in lacking:
                feature.known.add(content)
        if lacking:
            self.keep(lacking, sample, content, octets)
        try:
            return content, self.data.shape(sample, octets)
        except BadImage:  # what becomes of it is decided where it is to be used
            return content, None

    def keep(self, lacking: "list[Feature]", sample: str, content: str, octets: bytes) -> None:
        """Store what a sample is recognised by, or why it cannot be had."""
        try:
            image = self.data.read(sample, octets)
        except BadImage as error:
            for feature in lacking:
                self.store.note(feature.recipe, content, str(error))
            return
        for feature in lacking:
            try:
                values = feature.of(image)
            except BadImage as error:
                self.store.note(feature.recipe, content, str(error))
            else:
                self.store.write(feature.recipe, content, values)
