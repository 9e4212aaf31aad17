"""A cell of a second's work, made of objects."""

from pathlib import Path

from src.cell import Cell
from src.classifiers.logistic import Logistic
from src.data.sets.folder import Folder
from src.data.splits import KFold
from src.encoders.pooling import PowerMean
from src.encoders.torchvision import Torchvision
from src.images.augment import StainJitter
from src.images.crop import Crop
from src.images.stain import Macenko
from src.methods.image_reading import read_images
from src.methods.method import CellTask
from src.storage.store import Store
from src.system.progress import Progress
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


def task_of(cell: Cell, store: Path, progress: Progress | None = None, workers: int = 2) -> CellTask:
    """The task of a cell on all of its data."""
    progress, place = Progress() if progress is None else progress, Store(store)
    manifest, sizes = read_images(cell.data, cell.data.manifest(), place, workers, progress)
    return CellTask(cell=cell, manifest=manifest, store=place, progress=progress, sizes=sizes)
