"""Fitted classifiers, back from the files that they were saved to. Nothing is unpickled."""

from pathlib import Path

from src.classifiers.classifier import Model
from src.classifiers.knn import Neighbours
from src.classifiers.lightgbm import Boosted
from src.classifiers.logistic import Linear

BOOSTED = ".txt"


def load(path: Path) -> Model:
    """Return the model of a file; `ValueError` where it is damaged. What it is, the file itself says."""
    if path.suffix == BOOSTED:
        return Boosted.load(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
            metadata = file.metadata()
        return (Linear if "coefficients" in tensors else Neighbours).stored(tensors, metadata)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or no classifier ({error!r})") from None
