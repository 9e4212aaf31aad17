"""A registered model as MLflow loads it: images over HTTP, or in a table, to class probabilities.

MLflow runs this file by its code; it needs no checkout and no config.
"""

import base64
import binascii
import tempfile
import threading
from itertools import count, islice
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

import src
from src.config import rebuild_operator, take_own
from src.models.prediction import fuse_thresholds, predict_new
from src.models.saved import CELLS, Member, ModelThreshold, load_all_fitted, packed_cells
from src.system import memory
from src.system.progress import Progress

TURN = threading.Lock()
"""MLflow answers in threads, but the members have one network for all, and precision is set for the whole process."""


class Served(PythonModel):  # type: ignore[misc]  # MLflow has no types that mypy would take
    """Takes a table with the column `image`, base64 of an image file's bytes, and perhaps `case` and `view`."""

    members: list[Member]
    threshold: ModelThreshold | None

    def load_context(self, context: Any) -> None:
        """Load the fitted cells."""
        memory.reuse_freed()
        self.members = load_members(Path(context.artifacts[CELLS]))
        self.threshold = fuse_thresholds(self.members)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row per case, as `python -m src.predict` writes them."""
        with TURN:
            table = answer_request(self.members, self.threshold, model_input)
        return table.astype(object).where(table.notna(), None)  # JSON has no word for what is not a number


def load_members(cells: Path) -> list[Member]:
    """Return the fitted cells of a folder, to run on what this machine has."""
    take_own(Path(src.__path__[0]).parent)  # a user's own files go with a model, beside `src`
    found = load_all_fitted(packed_cells(cells), rebuild_operator)
    for member in found:
        member.run_on(workers=0, device="auto")
    return found


def answer_request(members: list[Member], threshold: ModelThreshold | None, asked: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of a table with the column `image`; a row without a case is one by itself."""
    rows = pd.DataFrame({"sample": [f"image {number}" for number in range(len(asked))]})
    for name in ("case", "view"):
        given = asked[name].reset_index(drop=True) if name in asked else pd.Series("", index=rows.index)
        rows[name] = given.fillna("").astype(str)
    rows["case"] = rows["case"].where(rows["case"] != "", unused_names(rows["case"]))
    with tempfile.TemporaryDirectory(prefix="tenfold-") as folder:
        for name, image in zip(rows["sample"], asked["image"], strict=True):
            (Path(folder) / name).write_bytes(decode_image(image))
        return predict_new(members, rows, Path(folder), Progress(), threshold=threshold).table


def unused_names(names: "pd.Series[str]") -> "pd.Series[str]":
    """Return as many names, which none of these is: numbers, those of the rows where none is taken."""
    taken = set(names)
    free = (str(number) for number in count() if str(number) not in taken)
    return pd.Series(list(islice(free, len(names))), index=names.index)


def decode_image(image: str) -> bytes:
    """Return the bytes of base64; none where it is no such text, so that the image is named as one that is none."""
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return b""


set_model(Served())
