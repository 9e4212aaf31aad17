"""Parameters chosen on drawn cases."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

from src.cell import Cell
from src.classifiers.classifier import Classifier
from src.classifiers.knn import Knn
from src.data.splits import KFold
from src.methods.frozen.frozen import Frozen
from src.methods.method import CellTask, Outcome
from src.storage.store import Store
from src.tuning.learners import Descriptors
from src.tuning.studies import Owner
from src.tuning.tuning import Chosen, Plan, run_studies, search_of
from tests.support.cells import cell as any_cell

NEIGHBOURS = {
    "classifier.neighbours": {"low": 1, "high": 9},
    "classifier.metric": {"choices": ["cosine", "euclidean", "manhattan"]},
    "pool.p": {"low": 1.0, "high": 40.0},
}
"""Here `p` draws the features that are seen, so that trials differ as much as they can."""


class Problem:
    """Cases of two classes, two of each patient, with descriptors that tell the classes apart by `signal`."""

    def __init__(self, seed: int = 0, signal: float = 0.0, count: int = 48, patients: bool = True) -> None:
        draws = np.random.default_rng(seed)
        names = [f"case{number:03d}" for number in range(count)]
        labels = np.repeat(draws.permutation(count // 2) % 2, 2)
        self.features = (draws.normal(size=(count, 1, 8)) + signal * labels[:, None, None]).astype(np.float32)
        group = [f"patient{number // 2:02d}" if patients else "" for number in range(count)]
        label = pd.Categorical.from_codes(labels, ["a", "b"])
        self.manifest = pd.DataFrame(
            {"sample": names, "case": names, "patient": group, "view": "", "label": label, "content": names}
        )
        self.reads: list[float] = []

    def read(self, cell: Cell, rows: pd.DataFrame) -> np.ndarray:
        self.reads.append(cell.pool.p)
        return self.features[:, :, np.random.default_rng(int(1000 * cell.pool.p)).permutation(8)[:4]]

    def learner(self, kind: type[Descriptors] = Descriptors) -> Descriptors:
        bad = pd.DataFrame(columns=["sample", "outcome", "reason"])
        return kind(self.manifest, self.manifest, self.read, bad, {"recipe": "drawn"})


class Run:
    """Stands for a tracked run; calls `at` after each inner fold."""

    id = "run"

    def __init__(self, at: Callable[[], None]) -> None:
        self.at = at

    def point(self, step: int, of_fold: float, so_far: float) -> None:
        self.at()

    def end(self, state: str) -> None:
        pass


def watching(at: Callable[[], None] = lambda: None) -> Any:
    @contextmanager
    def watch(name: str, values: dict[str, Any]) -> Iterator[Run]:
        yield Run(at)

    return watch


def cell(seed: int = 0, classifier: Classifier | None = None, **changes: Any) -> Cell:
    given = {"classifier": classifier or Knn(), "protocol": KFold(folds=2), "seed": seed}
    return any_cell(Path("unused"), **(given | changes))


def tuned(
    problem: Problem,
    place: Path,
    one: Cell | None = None,
    learner: Descriptors | None = None,
    watch: Any = None,
    owner: Owner | None = None,
    memory: bool = False,
    **plan: Any,
) -> tuple[Outcome, Chosen]:
    one = one or cell()
    given = {"study": "given", "search": NEIGHBOURS, "trials": 8, "inner_folds": 2, "objective": "balanced_accuracy"}
    given |= plan
    asked = Plan(**given)
    search = search_of(asked, one, Frozen(), str(place / "studies" / "given.log"), owner or Owner())
    if memory:  # where there is nothing to continue
        search = replace(search, storage=optuna.storages.InMemoryStorage())
    splits = one.protocol.split(problem.manifest)
    task = CellTask(cell=one, manifest=problem.manifest, store=Store(place / "unused"))
    return run_studies(asked, search, learner or problem.learner(), task, splits, watch or watching())


def trials(chosen: Chosen) -> pd.DataFrame:
    """What of the trials must be the same whenever they are run."""
    return pd.concat(chosen.trials).drop(columns=["seconds", "run"])


class Spying(Descriptors):
    """Remembers what each trial was shown."""

    def trial(self, cell: Cell, part: pd.DataFrame, place: str) -> pd.DataFrame:
        self.__dict__.setdefault("seen", []).append((place, part))
        return super().trial(cell, part, place)


def drawn() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32), np.arange(8) % 2
