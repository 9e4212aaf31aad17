"""Fitted cells in folders, and what they say of new images."""

import shutil
from pathlib import Path
from typing import Any

from src.cell import Cell
from src.data.new_images import list_images
from src.methods.finetune.finetune import FineTune
from src.methods.frozen.frozen import Frozen
from src.methods.method import Method, Outcome
from src.models.prediction import fuse_thresholds, predict_new
from src.models.saved import Member, ModelThreshold, save_fitted
from src.system.progress import Progress
from tests.support.cells import task_of

FROZEN = Frozen(workers=2, batch=4, device="cpu")


TRAINED = FineTune(workers=2, device="cpu")


def fit(one: Cell, method: Method, store: Path) -> Outcome:
    task = task_of(one, store)
    return method.predict(task, one.protocol.split(task.manifest))


def kept(
    one: Cell, method: Method, folder: Path, name: str = "one", threshold: ModelThreshold | None = None
) -> tuple[Outcome, Path]:
    """A fitted cell and the folder that it is kept in."""
    outcome = fit(one, method, folder / "store")
    classes = [str(label) for label in one.data.manifest()["label"].cat.categories]
    save_fitted(folder / "model" / name, name, one, method, outcome, classes, threshold)
    return outcome, folder / "model" / name


def copied(images: Path, folder: Path) -> Path:
    """Copies of images under other names, in a folder without classes."""
    folder.mkdir()
    for file in sorted(images.rglob("*.png")):
        shutil.copy(file, folder / f"copy of {file.name}")
    return folder


def asked(members: list[Member], folder: Path, **options: Any) -> Any:
    new = list_images(folder)
    return predict_new(members, new.images, new.root, Progress(), threshold=fuse_thresholds(members), **options)
