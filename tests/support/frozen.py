"""Frozen descriptors of a small cell: extracted, predicted from and explained."""

from pathlib import Path

import pandas as pd

from src.cell import Cell
from src.data.image_file import file_digest as content_digest
from src.evaluation.map_figures import choose
from src.methods.frozen.extraction import extract_descriptors
from src.methods.frozen.frozen import Frozen
from src.methods.method import Explanation, Outcome
from src.methods.preparation import Sample, with_contents
from src.recipes import descriptor_recipe
from src.storage.store import Store
from tests.support.cells import quiet


def samples(cell: Cell) -> list[Sample]:
    names = cell.data.manifest()["sample"]
    return [Sample(name, content_digest(Path(cell.data.root) / name)) for name in names]


def extract_all(cell: Cell, root: Path, chosen: list[Sample], batch: int = 4, workers: int = 2) -> dict[str, bytes]:
    """Extract into a store, and return the bytes of its files."""
    store, wanted = Store(root), descriptor_recipe(cell, cell.encoder.digest())
    held = store.held(wanted)
    missing = [sample for sample in chosen if sample.content not in held]
    list(extract_descriptors(cell, missing, cell.encoder.load(), store, wanted, batch, workers))
    return {file.name: file.read_bytes() for file in sorted(root.rglob("*.safetensors"))}


def unrecorded(name: str, value: float, step: int) -> None:
    raise AssertionError("frozen descriptors have no curves")


def predict(one: Cell, store: Path, workers: int = 2) -> Outcome:
    manifest = with_contents(one.data.manifest(), one.data.root, 2, quiet)
    return Frozen(workers=workers, batch=4, device="cpu").predict(
        one, manifest, one.protocol.split(manifest), Store(store), quiet, unrecorded
    )


def examples(one: Cell, predictions: pd.DataFrame, count: int = 1) -> pd.DataFrame:
    manifest = with_contents(one.data.manifest(), one.data.root, 2, quiet)
    return choose(predictions.assign(model="run"), count).merge(manifest[["sample", "content"]], on="sample")


def explained(one: Cell, store: Path) -> tuple[pd.DataFrame, list[Explanation]]:
    outcome = predict(one, store)
    shown = examples(one, outcome.predictions)
    method = Frozen(workers=2, batch=4, device="cpu")
    return shown, list(method.explain(one, shown, dict(outcome.models), Store(store)))
