"""A network fine-tuned in a second."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from src.cell import Cell
from src.images.crop import Crop
from src.images.stain import NoStain
from src.methods.finetune.finetune import FineTune
from src.methods.method import Outcome
from src.system.progress import Progress
from src.training.parameters import FineTuning
from tests.support.cells import cell as any_cell
from tests.support.cells import task_of
from tests.support.networks import Tiny


def cell(root: Path, **changes: object) -> Cell:
    """Three epochs of a small network; images jittered, flipped and turned."""
    small = {
        "stain": NoStain(),
        "crop": Crop(size=32, scale=0.5, count=2),
        "encoder": Tiny(),
        "finetune": tuned(),
    }
    return any_cell(root, **(small | changes))


def tuned(**changes: object) -> FineTuning:
    given = {"epochs": 3, "batch": 4, "learning_rate": 0.01, "hidden": [4], "dropout": 0.2}
    return FineTuning(**(given | {"transforms": [{"HorizontalFlip": {}}, {"StainJitter": {}}]} | changes))


class Curves(Progress, dict[str, dict[int, float]]):
    """Remembers the points of curves."""

    def point(self, curve: str, value: float, step: int) -> None:
        self.setdefault(curve, {})[step] = value


def predict(
    one: Cell,
    store: Path,
    progress: Progress | None = None,
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda manifest: manifest,
    **method: object,
) -> Outcome:
    task = task_of(one, store, progress)
    splits = one.protocol.split(task.manifest)
    tuner = FineTune(**({"workers": 2, "device": "cpu"} | method))
    return tuner.predict(replace(task, manifest=change(task.manifest)), splits)
