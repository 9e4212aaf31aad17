"""Inner folds: the training part of each fold predicted out of fold.

What is chosen on these predictions (a threshold, a run among several) has not seen the cases that the fold holds out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

import pandas as pd
from filelock import FileLock

from src.cell import Cell
from src.data.manifest import is_among, list_first
from src.data.splits import FIT, KFold, assign_roles, count_rarest
from src.methods.method import CellTask, Method
from src.recipes import data_digest
from src.storage.store import Store, recipe_digest
from src.system.files import replace_file
from src.system.progress import PartProgress, Progress

Parts = Mapping[int, pd.DataFrame]
"""By fold, the inner splits of its training part: `case, fold`, of whole patients."""


def split_training_parts(
    method: Method, cell: Cell, manifest: pd.DataFrame, splits: pd.DataFrame, folds: int
) -> dict[int, pd.DataFrame]:
    """Return the inner splits of every fold's training part, at most `folds` of each.

    Errors: ValueError where a training part cannot be split, or leaves nothing to decide when to stop by.
    """
    roles = assign_roles(manifest, splits, cell.training_patients, seed=cell.seed)
    stopping = cell.finetune.validation if method.method_for(cell.encoder).trains else 0.0
    parts = {}
    for fold in sorted(set(roles["fold"])):
        known = roles["case"][(roles["fold"] == fold) & (roles["role"] == FIT)]
        rows = manifest[is_among(manifest["case"], known)]
        parts[fold] = split_training_part(rows, folds, cell.seed, fold)
        try:
            assign_roles(rows, parts[fold], stopping=stopping, seed=cell.seed)
        except ValueError as error:
            raise ValueError(f"in an inner fold of fold {fold}: {error}") from None
    return parts


def split_training_part(rows: pd.DataFrame, folds: int, seed: int, fold: int) -> pd.DataFrame:
    """Return the inner splits of the rows of a fold's training part: stratified, whole patients together.

    There are so many `folds`, or as many as the class with the fewest patients has of them.
    """
    fewest, found = count_rarest(rows)
    if fewest < 2:
        raise ValueError(
            f"inner folds need two patients of every class in each training part, but in that of fold {fold} {found}: "
            "add patients, leave the class out, or ask for nothing that needs inner_folds"
        )
    protocol = KFold(folds=min(folds, fewest), seed=seed)
    try:
        return protocol.split(rows)
    except ValueError as error:
        said = str(error).replace(protocol.way_out, "try another seed, or other inner_folds")
        raise ValueError(f"the training part of fold {fold} cannot be split into inner folds: {said}") from None


@dataclass(kw_only=True)
class InnerFolds:
    """The prediction of every fold's training part, by a method on the inner splits of `parts`.

    `chosen` are the cells of folds whose parameters a study chose (`src.methods.method.Outcome`). Networks that are
    trained lie in `work` while their fold is predicted: nothing else needs them. What a killed process predicted is
    found there.
    """

    method: Method
    parts: Parts
    work: Path
    chosen: Mapping[int, Cell]

    def predict(self, task: CellTask) -> pd.DataFrame:
        """Return `sample, case, patient, view, label, fold, inner_fold, seed, p_<class>...`.

        `fold` is the one whose training part a case belongs to, `inner_fold` the one that held it out within.
        """
        if not self.trains(task.cell):
            folds = task.progress.track(self.parts, "inner folds", len(self.parts))
            return pd.concat([self.of_fold(task, fold, task.store, Progress()) for fold in folds], ignore_index=True)
        return pd.concat(self.trained(task), ignore_index=True)

    def trains(self, cell: Cell) -> bool:
        """Return whether networks are trained, which nothing needs afterwards."""
        return self.method.method_for(cell.encoder).trains

    def trained(self, task: CellTask) -> Iterator[pd.DataFrame]:
        """Yield the predictions by networks that are trained for each fold, and deleted after it."""
        folder = self.work / self.digest(task)
        self.work.mkdir(parents=True, exist_ok=True)
        with FileLock(lock := folder.with_suffix(".lock")):
            folder.mkdir(exist_ok=True)
            for number, fold in enumerate(self.parts, start=1):
                done, networks = folder / f"{fold}.parquet", folder / f"{fold}"
                if not done.is_file():
                    progress = PartProgress(task.progress, f"inner folds of {number}/{len(self.parts)}")
                    table = self.of_fold(task, fold, Store(networks), progress)
                    replace_file(done, table.to_parquet(index=False))
                rmtree(networks, ignore_errors=True)
                yield pd.read_parquet(done)
            rmtree(folder)
        lock.unlink(missing_ok=True)

    def digest(self, task: CellTask) -> str:
        """Return the identity of what is predicted."""
        cells = {fold: repr(self.cell(task.cell, fold)) for fold in self.parts}
        splits = {fold: part.to_csv(index=False) for fold, part in self.parts.items()}
        return recipe_digest({"cells": cells, "splits": splits, "data": data_digest(task.manifest)})

    def cell(self, cell: Cell, fold: int) -> Cell:
        """Return the cell that predicts a training part: of its patients, who were chosen, none is left out."""
        own = self.chosen.get(fold, cell)
        return replace(own, training_patients=0, classifier=own.classifier.of_fold(fold))

    def of_fold(self, task: CellTask, fold: int, store: Store, progress: Progress) -> pd.DataFrame:
        """Return the predictions of one fold's training part."""
        splits = self.parts[fold]
        part = replace(
            task,
            cell=self.cell(task.cell, fold),
            manifest=task.manifest[is_among(task.manifest["case"], splits["case"])],
            store=store,
            progress=progress,
        )
        table = self.method.predict(part, splits).predictions
        table.insert(list(table).index("fold"), "inner_fold", table.pop("fold"))
        table.insert(list(table).index("inner_fold"), "fold", fold)
        return table

    def notes(self, cell: Cell, folds: int) -> list[str]:
        """Return what a reader has to know: fewer folds than were asked for, parameters that knew a training part."""
        counts = {fold: part["fold"].nunique() for fold, part in self.parts.items()}
        fewer = [f"{count} in that of fold {fold}" for fold, count in counts.items() if count < folds]
        notes = [f"inner_folds={folds}, but a class has fewer patients in training parts: {list_first(fewer)}"] * bool(
            fewer
        )
        if any(self.cell(cell, fold).classifier != cell.classifier for fold in self.parts) or self.chosen:
            notes.append(
                "parameters were chosen on whole training parts, before inner folds predicted these: what is chosen by "
                "such predictions leans on that; what is held out was not seen"
            )
        return notes
