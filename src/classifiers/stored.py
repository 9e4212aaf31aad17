"""Fitted classifiers, back from the files that they were saved to. Nothing is unpickled."""

from pathlib import Path

from src.classifiers.classifier import Model
from src.classifiers.knn import Neighbours
from src.classifiers.lightgbm import Boosted
from src.classifiers.logistic import Linear
from src.system.files import read_tensors

BOOSTED = ".txt"


def load(path: Path) -> Model:
    """Return the model of a file; `ValueError` where it is damaged. What it is, the file itself says."""
    if path.suffix == BOOSTED:
        return Boosted.load(path)
    from safetensors import SafetensorError

    try:
        tensors, metadata = read_tensors(path)
        return (Linear if "coefficients" in tensors else Neighbours).stored(tensors, metadata)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or no classifier ({error!r})") from None
