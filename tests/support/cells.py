"""A cell of a second's work, made of objects."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from src.cell import Cell
from src.classifiers.logistic import Logistic
from src.data.sets.folder import Folder
from src.data.splits import KFold
from src.encoders.pooling import PowerMean
from src.encoders.torchvision import Torchvision
from src.images.augment import StainJitter
from src.images.crop import Crop
from src.images.stain import Macenko
from src.training.parameters import FineTuning


def cell(root: Path, **changes: object) -> Cell:
    operators = {
        "data": Folder(root=str(root)),
        "protocol": KFold(folds=2),
        "stain": Macenko(),
        "augment": StainJitter(count=2),
        "crop": Crop(size=40, scale=0.5, count=3),
        "encoder": Torchvision(
            label="SqueezeNet", architecture="squeezenet1_1", weights="random", head=["classifier."]
        ),
        "pool": PowerMean(),
        "classifier": Logistic(),
        "finetune": FineTuning(),
    }
    return Cell(**(operators | changes))


def quiet(items: Iterable[Any], *_: object, **__: object) -> Iterator[Any]:
    yield from items
