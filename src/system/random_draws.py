"""Random draws that depend on names only, never on order, worker or batch."""

import hashlib

import numpy as np


def keyed_generator(*names: str | int) -> np.random.Generator:
    """Return the generator that belongs to these names, such as (seed, sample, "crop", augmentation, crop)."""
    digest = hashlib.blake2b(repr(names).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest)))
