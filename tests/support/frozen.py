"""Frozen descriptors of a small cell: extracted, predicted from and explained."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from src.cell import Cell
from src.data.image_file import file_digest as content_digest
from src.evaluation.map_figures import choose_examples
from src.methods.frozen.extraction import Extraction
from src.methods.frozen.extraction_work import extract_descriptors
from src.methods.frozen.frozen import Frozen
from src.methods.method import CellTask, Explanation, Outcome
from src.methods.preparation import Sample
from src.recipes import descriptor_recipe
from src.storage.store import Store
from tests.support.cells import task_of


def samples(cell: Cell) -> list[Sample]:
    names = cell.data.manifest()["sample"]
    return [Sample(name, content_digest(Path(cell.data.root) / name)) for name in names]


def extract_all(cell: Cell, root: Path, chosen: list[Sample], batch: int = 4, workers: int = 2) -> dict[str, bytes]:
    """Extract into a store, and return the bytes of its files."""
    store, wanted = Store(root), descriptor_recipe(cell, cell.encoder.digest())
    held = store.held(wanted)
    missing = [sample for sample in chosen if sample.content not in held]
    work = Extraction(cell=cell, store=store, wanted=wanted, batch=batch, workers=workers)
    list(extract_descriptors(work, missing, cell.encoder.load()))
    return {file.name: file.read_bytes() for file in sorted(root.rglob("*.safetensors"))}


def predict(one: Cell, store: Path, workers: int = 2) -> Outcome:
    task = task_of(one, store)
    return Frozen(workers=workers, batch=4, device="cpu").predict(task, one.protocol.split(task.manifest))


def examples(one: Cell, predictions: pd.DataFrame, store: Path, count: int = 1) -> CellTask:
    """The task of explaining so many cases of each class, right and wrong."""
    task = task_of(one, store)
    shown = choose_examples(predictions.assign(model="run"), count).merge(
        task.manifest[["sample", "content"]], on="sample"
    )
    return replace(task, manifest=shown)


def explained(one: Cell, store: Path) -> tuple[CellTask, list[Explanation]]:
    outcome = predict(one, store)
    task = examples(one, outcome.predictions, store)
    return task, list(Frozen(workers=2, batch=4, device="cpu").explain(task, dict(outcome.models)))
