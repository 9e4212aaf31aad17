"""The first reading of a cell's images: what is to be known of a file is found while its bytes are in memory."""

import os
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import pandas as pd

from src.data import image_file
from src.data.reader import Reader
from src.images import BadImage
from src.images.perceptual_hash import PerceptualHash
from src.methods.preparation import Size, prefetch
from src.recipes import hash_recipe
from src.storage.store import Store
from src.system.progress import Progress


def read_images(
    data: Reader, manifest: pd.DataFrame, store: Store, workers: int, progress: Progress
) -> tuple[pd.DataFrame, dict[str, Size]]:
    """Return the manifest with the column `content`, the digest of each file's bytes, and height and width by content.

    A file is opened once: the perceptual hashes that the store lacks are made of the same bytes, and put there. Sizes
    are those of images that can be read.
    Errors: ValueError where an image has not the size that the data set must have, OSError where a file is gone.
    """
    reading = FirstReading(data, store)
    read = prefetch(reading, manifest["sample"], workers)
    found = list(progress.track(read, "reading", len(manifest)))
    store.finish()
    contents = [content for content, _ in found]
    return manifest.assign(content=contents), {content: size for content, size in found if size}


@dataclass
class FirstReading:
    """Reads samples, and stores the perceptual hashes that are not there; threads may do so together."""

    data: Reader
    store: Store
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """See which hashes are there."""
        self.wanted = hash_recipe(self.data)
        held = self.store.held(self.wanted)
        self.known = {*held.samples, *held.notes}

    def __call__(self, sample: str) -> tuple[str, Size | None]:
        """Return the digest of a sample's bytes, and its image's height and width, none where it cannot be read."""
        path = os.path.join(self.data.root, sample)
        octets = image_file.read_bytes(path)
        self.data.check_size(sample, octets)
        content = image_file.file_digest(path, octets)
        with self.lock:
            new = content not in self.known
            self.known.add(content)
        if new:
            self.keep_hash(sample, content, octets)
        try:
            return content, self.data.shape(sample, octets)
        except BadImage:  # what becomes of it is decided where it is to be used
            return content, None

    def keep_hash(self, sample: str, content: str, octets: bytes) -> None:
        """Store a sample's hash, an octet a feature and an orientation a crop, or why it has none."""
        try:
            hashes = PerceptualHash()(self.data.read(sample, octets))
        except BadImage as error:
            self.store.note(self.wanted, content, str(error))
        else:
            self.store.write(self.wanted, content, hashes[None].astype(np.float32))
