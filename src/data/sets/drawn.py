"""Data sets that are drawn on first use: a folder per set of parameters, made once and renamed into place."""

import hashlib
import json
import os
import shutil
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from src.data.reader import Reader
from src.system.checks import at_least


@dataclass(kw_only=True)
class Drawn(Reader):
    """Drawn images in a folder under `root` whose name carries a digest of the parameters, with `samples.csv`.

    An image is determined by (seed, its name) alone.
    """

    cases: int
    seed: int = 0

    revision: ClassVar[int]  # raise it whenever the images change

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, seed=self.seed)

    @property
    @abstractmethod
    def parameters(self) -> list[int]:
        """All that determines the images besides the revision."""

    @abstractmethod
    def make(self, folder: Path) -> None:
        """Draw all images into the folder, which is not there yet, and write `samples.csv`, the manifest as text."""

    def table(self) -> pd.DataFrame:
        """Return the manifest as text; the images are made where they are not there yet."""
        table = pd.read_csv(self._made() / "samples.csv", dtype=str, keep_default_na=False)
        table["sample"] = f"{self._name}/" + table["sample"]
        return table

    def random(self, name: str) -> np.random.Generator:
        """Return the generator of all draws for what is called `name`."""
        key = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=16).digest()
        return np.random.default_rng(int.from_bytes(key, "little"))

    @property
    def _name(self) -> str:
        parameters = [self.revision, *self.parameters]
        return f"r{self.revision}-" + hashlib.blake2b(json.dumps(parameters).encode(), digest_size=6).hexdigest()

    def _made(self) -> Path:
        """Return the folder of the images. One process makes it and renames it into place, others wait."""
        from filelock import FileLock

        folder = Path(self.root, self._name)
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{self._name}.lock")):
            if not folder.is_dir():
                temporary = folder.with_name(f".{self._name}.part")
                shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
                self.make(temporary)
                os.rename(temporary, folder)
        return folder
