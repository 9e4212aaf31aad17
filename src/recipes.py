"""All that determines a result, as recipes and digests: of images, descriptors, fits, maps, studies, cells and sweeps.

A recipe is JSON: operators with their revisions and parameters, seeds, and the digests of weights. It names no path, no
time and no machine. What is stored is stored under its digest (`src.storage.store.recipe_digest`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from omegaconf import DictConfig, ListConfig, OmegaConf

from src.cell import IDLE, Cell
from src.data.reader import Reader
from src.encoders.backends import AUTO
from src.encoders.network_encoder import NetworkEncoder
from src.images.keypoints import Keypoints
from src.images.perceptual_hash import PerceptualHash
from src.storage.store import FIT, KIND, Recipe, recipe_digest

WITHOUT = {
    "name",
    "workspace",
    "store",
    "resume",
    "examples",
    "budget",
    "tracking",
    "executor",
    "encoder.known",
    "encoder.tolerance",
    *IDLE,
}
"""What of a config does not change results."""
MAP_REVISION = 1
"""Raised when a map takes other crops of an image: their descriptors are stored."""
OVERLAPS_REVISION = 1
"""Raised when the same keypoints give other overlaps: these are stored."""


def image_recipe(cell: Cell) -> Recipe:
    """Return all that determines a prepared image, and the crops of it, but the sample's bytes."""
    operators = {name: operator_recipe(getattr(cell, name)) for name in ("stain", "crop")}
    return operators | cell.decoding() | {"seed": cell.seed, "on_bad_image": cell.on_bad_image == "pass"}


def encoder_recipe(cell: Cell, weights: str) -> Recipe:
    """Return all that determines an encoder; `weights` is the digest of its weights."""
    settled = not isinstance(cell.encoder, NetworkEncoder) or cell.encoder.backend != AUTO
    assert settled, "a recipe names what computes"
    return operator_recipe(cell.encoder) | {"weights": weights}


def operator_recipe(operator: Any) -> dict[str, Any]:
    """Return an operator's name, revision and the parameters that determine what it does.

    Those `outside_recipe` do not; those that it names as `added` are left out where they have the value given there.
    """
    idle, added = getattr(operator, "outside_recipe", ()), getattr(operator, "added", {})
    parameters = {
        name: value
        for name, value in asdict(operator).items()
        if name not in idle and not (name in added and value == added[name])
    }
    return {"operator": type(operator).__name__, "revision": operator.revision} | parameters


def descriptor_recipe(cell: Cell, weights: str) -> Recipe:
    """Return all that determines a descriptor but the sample's bytes; `weights` is the digest of the encoder's.

    Where neither images nor crops are drawn, every seed makes the same, as its default does.
    """
    seed = cell.seed if cell.augment.drawn or cell.crop.drawn else 0
    operators = {"augment": operator_recipe(cell.augment), "encoder": encoder_recipe(cell, weights)}
    return image_recipe(cell) | {"seed": seed} | operators


def fit_recipe(cell: Cell) -> Recipe:
    """Return what determines every fit of a cell, besides its rows, its fold and its seed."""
    finetune = {name: value for name, value in operator_recipe(cell.finetune).items() if name != "orientations"}
    encoder = encoder_recipe(cell, cell.encoder.digest())
    return image_recipe(cell) | {KIND: FIT, "encoder": encoder, "finetune": finetune}


def map_recipe(cell: Cell) -> Recipe:
    """Return all that determines the descriptors that explain an image but its bytes."""
    explained = {"operator": "Explained", "revision": MAP_REVISION}
    return image_recipe(cell) | {"encoder": encoder_recipe(cell, cell.encoder.digest()), "crops": explained}


def hash_recipe(data: Reader) -> Recipe:
    """Return all that determines an image's hash but the bytes of its file."""
    return operator_recipe(PerceptualHash()) | data.decoding()


def keypoints_recipe(data: Reader) -> Recipe:
    """Return all that determines an image's keypoints but the bytes of its file."""
    return operator_recipe(Keypoints()) | data.decoding()


def overlaps_recipe(data: Reader) -> Recipe:
    """Return all that determines which of some images overlap, but the bytes of their files."""
    return {"operator": "Overlaps", "revision": OVERLAPS_REVISION, "keypoints": keypoints_recipe(data)}


def data_digest(manifest: pd.DataFrame) -> str:
    """Return the identity of the data of a manifest with contents: names, bytes and labels."""
    rows = manifest[["sample", "content", "label"]].astype(str).to_numpy().tolist()
    return recipe_digest({sample: [content, label] for sample, content, label in rows})


def splits_digest(splits: pd.DataFrame) -> str:
    """Return the identity of splits: that of their table."""
    return hashlib.sha256(splits.to_csv(index=False).encode()).hexdigest()


def study_recipe(
    cell: Cell,
    asked: Mapping[str, Any],
    inner_folds: int,
    operators: Sequence[str],
    learnt: str,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
) -> dict[str, str]:
    """Return all that determines a study of parameters, as text: it cannot go on where one of them is another.

    `asked` is how they are chosen, `inner_folds` the folds of a training part (0: those of `splits`); `operators` are
    the cell's that learn from what has the digest `learnt`.
    """
    facts = {
        **asked,
        "encoder": cell.encoder.label,
        "views": cell.views,
        "training_patients": cell.training_patients,
        "seed": cell.seed,
        "seeds": cell.seeds,
        "data": data_digest(manifest),
        "splits": splits_digest(splits),
        **({"inner_folds": inner_folds} if inner_folds else {}),
        **{name: repr(getattr(cell, name)) for name in ("stain", "crop", *operators)},
        "recipe": learnt,
    }
    return {name: str(value) for name, value in facts.items()}


def config_digest(config: DictConfig, **more: Any) -> str:
    """Return the identity of all in a config that may change results: values, operators and their revisions."""
    return recipe_digest({"config": significant_values(config)} | more)


def significant_values(config: DictConfig, prefix: str = "") -> dict[str, Any]:
    """Return what of a config may change results, by dotted key; of a node also its operator, with its revision."""
    values: dict[str, Any] = {}
    for key in map(str, config):
        name = f"{prefix}{key}"
        if name in WITHOUT:
            continue
        value = config[key]
        if isinstance(value, DictConfig):
            kind = OmegaConf.get_type(value)
            values[name] = [getattr(kind, "__name__", ""), getattr(kind, "revision", None)]
            values |= significant_values(value, f"{name}.")
        else:
            values[name] = OmegaConf.to_container(value) if isinstance(value, ListConfig) else value
    return values


def sweep_digest(config: DictConfig, varied: Mapping[str, list[str]]) -> str:
    """Return the identity of a sweep: its name or experiment, its config, and what it varies in whatever order."""
    named = [config.name, config.hydra.runtime.choices.get("experiment")]
    cells = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return config_digest(cells, named=named, varied={key: sorted(values) for key, values in varied.items()})
