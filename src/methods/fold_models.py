"""Whom each model learns from and predicts, the same for every method."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from src.cell import Cell
from src.data.manifest import is_among
from src.data.splits import FIT
from src.methods.method import Applied
from src.methods.preparation import Sample

LEFT_OUT, PASSED = "left out", "passed"


def bad_images(samples: list[Sample], reasons: Mapping[str, str], used: Callable[[str], bool]) -> pd.DataFrame:
    """Return `sample, outcome, reason` of the images that were left out, or passed without normalisation.

    `reasons` says by content what is wrong with an image, if anything is; `used` whether it is used all the same.
    """
    rows = [
        (sample.name, PASSED if used(sample.content) else LEFT_OUT, reasons[sample.content])
        for sample in samples
        if reasons[sample.content]
    ]
    return pd.DataFrame(rows, columns=["sample", "outcome", "reason"])


def leave_out(manifest: pd.DataFrame, bad: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest without the bad images that are left out; `ValueError` where none remain."""
    kept = remaining_samples(manifest, bad)
    if kept.empty:
        left_out = bad[bad["outcome"] == LEFT_OUT]
        raise ValueError(f"all {len(left_out)} images are bad; first {' '.join(left_out.iloc[0])}")
    return kept


def remaining_samples(manifest: pd.DataFrame, bad: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest without the bad images that are left out."""
    return manifest[~manifest["sample"].isin(bad["sample"][bad["outcome"] == LEFT_OUT])]


def by_view(cell: Cell, manifest: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the views that have models of their own, and their rows; one without a name where all share a model."""
    if cell.views == "shared":
        if len(manifest):
            yield "", manifest
    else:
        for view, rows in manifest.groupby("view", sort=True):
            yield str(view), rows


def model_name(view: str, fold: int, seed: int) -> str:
    """Return the name of a model: fold01-seed0, before it the view where there are views."""
    return f"{view}-fold{fold:02d}-seed{seed}".removeprefix("-")


def parse_model_name(name: str) -> tuple[str, int, int]:
    """Return the view, fold and seed of a model's name."""
    found = re.fullmatch(r"(?:(.*)-)?fold(\d+)-seed(\d+)", name)
    assert found is not None, f"no model is named {name}"
    return found[1] or "", int(found[2]), int(found[3])


def role_mask(rows: pd.DataFrame, roles: pd.DataFrame, fold: int, role: str) -> npt.NDArray[np.bool_]:
    """Return which rows of a manifest have a role in a fold (`src.data.splits.assign_roles`)."""
    chosen = roles["case"][(roles["fold"] == fold) & (roles["role"] == role)]
    return is_among(rows["case"], chosen).to_numpy()


def check_classes(rows: pd.DataFrame, roles: pd.DataFrame, fold: int, view: str) -> None:
    """Raise `ValueError` where a class has no row to learn from: images may be bad, or a view missing."""
    present = set(rows["label"][role_mask(rows, roles, fold, FIT)])
    lacking = [str(name) for name in rows["label"].cat.categories if name not in present]
    if lacking:
        of_view = f" of view {view}" if view else ""
        raise ValueError(
            f"fold {fold} has no image{of_view} of class {lacking[0]} to learn from, once those missing or bad "
            "are left out: take fewer folds, or another protocol.seed"
        )


def predictions_table(rows: pd.DataFrame, probabilities: npt.NDArray[Any], fold: int, seed: int) -> pd.DataFrame:
    """Return the predictions of one model for rows of a manifest; `probabilities` (rows, classes)."""
    facts = rows[["sample", "case", "patient", "view", "label"]].astype(str)
    names = rows["label"].cat.categories
    columns = {f"p_{name}": probabilities[:, number] for number, name in enumerate(names)}
    return facts.assign(fold=fold, seed=seed, **columns)


def join_predictions(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return predictions as one table; `ValueError` where there are none."""
    if not tables:
        raise ValueError(
            "no image is held out, once those missing or bad are left out: take another protocol, or protocol.seed"
        )
    return pd.concat(tables, ignore_index=True)


def models_of(view: str, models: Mapping[str, Any]) -> Iterator[tuple[int, int, Any]]:
    """Yield fold, seed and model of a view's models."""
    for name, model in sorted(models.items()):
        of, fold, seed = parse_model_name(name)
        if of == view:
            yield fold, seed, model


def join_applied(
    parts: list[tuple[pd.DataFrame, pd.DataFrame, npt.NDArray[Any]]],
    bad: pd.DataFrame,
    nearest: Sequence[pd.DataFrame] = (),
) -> Applied:
    """Return what models say of new samples, given each one's predictions, the rows, and their distances.

    `nearest` are tables of the known images that are nearest (`src.methods.likeness.Known.nearest`).
    """
    if not parts:
        return Applied(pd.DataFrame(), pd.DataFrame(), bad)
    far = [rows[["case", "sample"]].assign(distance=distances) for _, rows, distances in parts]
    tables = [table for table, _, _ in parts]
    named = pd.concat(nearest, ignore_index=True) if nearest else pd.DataFrame()
    return Applied(pd.concat(tables, ignore_index=True), pd.concat(far, ignore_index=True), bad, named)
