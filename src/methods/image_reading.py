"""The first reading of a cell's images: what is to be known of a file is found while its bytes are in memory."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import UInt8

from src.data import image_file
from src.data.reader import Reader
from src.data.region import split_region
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
    there; and not again by the next cell of this process where it has not been touched since. Sizes are those of images
    that can be read.
    Errors: ValueError where an image has not the size that the data set must have, OSError where a file is gone.
    """
    reading = FirstReading(data, store)
    read = prefetch(reading, manifest["sample"], workers)
    found = list(progress.track(read, "reading", len(manifest)))
    store.finish()
    contents = [content for content, _ in found]
    return manifest.assign(content=contents), {content: size for content, size in found if size}


@dataclass(frozen=True)
class FileState:
    """What changes with a file's bytes: its place on the disk, its length, and when it was changed, in nanoseconds."""

    device: int
    inode: int
    length: int
    modified: int
    changed: int
    settled: bool = field(compare=False)
    """Whether that is long ago: a file that is changed again at once may look the same."""

    @classmethod
    def of(cls, path: str) -> "FileState":
        """Return the state of a sample's file; OSError where there is none."""
        found = os.stat(split_region(path)[0])
        settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > SETTLED
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, settled)


SEEN: dict[str, dict[str, tuple[FileState, str, Size | None]]] = {}
"""By data set and sample the state of a file, its digest, and its image's height and width: of the last data set."""
SETTLED = 3_000_000_000
"""Nanoseconds: file systems keep the times of changes to two seconds or better."""


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
        if SEEN.keys() != {repr(self.data)}:  # another data set's are not held beside these
            SEEN.clear()
        self.seen = SEEN.setdefault(repr(self.data), {})

    def __call__(self, sample: str) -> tuple[str, Size | None]:
        """Return the digest of a sample's bytes, and its image's height and width, none where it cannot be read."""
        path = os.path.join(self.data.root, sample)
        state = FileState.of(path)
        if found := self.remembered(sample, state):
            return found
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
            size = self.data.shape(sample, octets)
        except BadImage:  # what becomes of it is decided where it is to be used
            size = None
        if state.settled and state == FileState.of(path):
            self.seen[sample] = state, content, size
        return content, size

    def remembered(self, sample: str, state: "FileState") -> tuple[str, Size | None] | None:
        """Return what an earlier reading found of a file that is as it was then; none where the store lacks a part."""
        before, content, size = self.seen.get(sample, (None, "", None))
        if before != state or any(content not in feature.known for feature in self.features):
            return None
        return content, size

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
