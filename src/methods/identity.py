"""What tells data and splits from others: the tags `data` and `splits` of a run."""

import hashlib

import pandas as pd

from src.store import digest


def data_digest(manifest: pd.DataFrame) -> str:
    """Return the identity of the data of a manifest with contents: names, bytes and labels."""
    rows = manifest[["sample", "content", "label"]].astype(str).to_numpy().tolist()
    return digest({sample: [content, label] for sample, content, label in rows})


def splits_digest(splits: pd.DataFrame) -> str:
    """Return the identity of splits: that of their table."""
    return hashlib.sha256(splits.to_csv(index=False).encode()).hexdigest()
