"""Descriptors and trained networks on disk, addressed by the recipe that made them: `python -m src.store --help`."""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from src.files import replace

Recipe = dict[str, Any]
"""All that determines a descriptor but the sample's bytes, or a trained network, as JSON values."""
Tensors = Mapping[str, Shaped[np.ndarray, "..."]]

KIND, FIT = "kind", "fit"
"""What the recipe of a trained network says of itself; those of descriptors say nothing."""
WEIGHTS, TRAINING = "model.safetensors", "training.json"
"""A trained network, and how its training went."""
MODEL = "model"
"""The entry of a network's file that says, as JSON, what it is."""


def digest(recipe: Recipe) -> str:
    """Return the name of a recipe: 32 hexadecimal digits of its canonical JSON."""
    return hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass
class Store:
    """A folder per recipe with `recipe.json` and one file per sample, named by the digest of the sample's bytes.

    A sample whose image is bad has a note, a text file of that name, with the reason.

    The recipe of a fit is of one trained network: its folder holds `model.safetensors` and `training.json`, and while
    the training runs its checkpoint.

    Files are written under a temporary name and renamed, so a killed process leaves only whole ones, and two processes
    that write the same sample write the same bytes.
    """

    root: Path

    def path(self, recipe: Recipe, content: str) -> Path:
        """Return the file of one sample's descriptors."""
        return self.root / digest(recipe) / f"{content}.safetensors"

    def holds(self, recipe: Recipe, content: str) -> bool:
        """Return whether the sample's descriptors are stored."""
        return self.path(recipe, content).is_file()

    def write(
        self, recipe: Recipe, content: str, descriptors: Float32[np.ndarray, "augmentation crop feature"]
    ) -> None:
        """Store the unpooled descriptors of one sample."""
        from safetensors.numpy import save

        self.open(recipe)
        tensors = {"descriptors": descriptors}
        replace(self.path(recipe, content), save(tensors, {"checksum": checksum(tensors)}))

    def note(self, recipe: Recipe, content: str, reason: str) -> None:
        """Store what is wrong with a sample's image, whether or not it has descriptors."""
        self.open(recipe)
        replace(self.path(recipe, content).with_suffix(".txt"), reason.encode())

    def noted(self, recipe: Recipe, content: str) -> str:
        """Return what is wrong with a sample's image, empty where nothing is known to be."""
        note = self.path(recipe, content).with_suffix(".txt")
        return note.read_text() if note.is_file() else ""

    def open(self, recipe: Recipe) -> Path:
        """Make and return the recipe's folder, which says what it holds."""
        folder = self.root / digest(recipe)
        folder.mkdir(parents=True, exist_ok=True)
        if not (file := folder / "recipe.json").exists():
            replace(file, (json.dumps(recipe, indent=2, sort_keys=True) + "\n").encode())
        return folder

    def read(self, recipe: Recipe, content: str) -> Float32[np.ndarray, "augmentation crop feature"]:
        """Return the descriptors of one sample; `ValueError` where the file is damaged."""
        return load(self.path(recipe, content))["descriptors"]

    def fit(self, recipe: Recipe) -> Path | None:
        """Return the file of a fit's network, where it is stored."""
        path = self.root / digest(recipe) / WEIGHTS
        return path if path.is_file() else None

    def write_fit(self, recipe: Recipe, weights: Tensors, facts: dict[str, Any], training: dict[str, Any]) -> Path:
        """Store a trained network with the facts that describe it, and how its training went; return its file."""
        from safetensors.numpy import save

        folder = self.open(recipe)
        replace(folder / TRAINING, (json.dumps(training, indent=2) + "\n").encode())
        # One entry: safetensors writes several in no fixed order.
        stated = {MODEL: json.dumps(facts | {"checksum": checksum(weights)}, sort_keys=True)}
        replace(folder / WEIGHTS, save(dict(weights), stated))
        return folder / WEIGHTS

    def recipes(self) -> dict[str, Recipe]:
        """Return the stored recipes by digest."""
        files = sorted(self.root.glob("*/recipe.json"))
        return {file.parent.name: json.loads(file.read_text()) for file in files}

    def nearest(self, recipe: Recipe) -> tuple[str, dict[str, tuple[Any, Any]]] | None:
        """Return the other stored recipe with the fewest differing fields: its digest and {field: (here, there)}."""
        others = [
            (name, difference(recipe, other))
            for name, other in self.recipes().items()
            if name != digest(recipe) and other.get(KIND) == recipe.get(KIND)
        ]
        return min(others, key=lambda other: len(other[1]), default=None)


def load(path: Path) -> Tensors:
    """Return a file's tensors by name; `ValueError` with the way out where it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
            metadata = file.metadata()
        expected = (json.loads(metadata[MODEL]) if MODEL in metadata else metadata)["checksum"]
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from None
    if checksum(tensors) != expected:
        raise ValueError(f"{path} is damaged (its checksum differs); delete it and run again")
    return tensors


def checksum(tensors: Tensors) -> str:
    """Return the digest of tensors' values, in the order of their names."""
    hashed = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        hashed.update(np.ascontiguousarray(tensors[name]).data)
    return hashed.hexdigest()


def flatten(recipe: Recipe, prefix: str = "") -> dict[str, Any]:
    """Return a recipe's leaves by dotted name."""
    leaves: dict[str, Any] = {}
    for key, value in recipe.items():
        leaves |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def difference(here: Recipe, there: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two recipes differ, with both values."""
    one, other = flatten(here), flatten(there)
    return {key: (one.get(key), other.get(key)) for key in sorted(one | other) if one.get(key) != other.get(key)}


def listing(store: Store) -> Iterator[str]:
    """Yield a line per recipe: digest, samples or state of the fit, size, and what tells it apart from its like."""
    recipes = store.recipes()
    for kind in (None, FIT):
        like = {name: flatten(recipe) for name, recipe in recipes.items() if recipe.get(KIND) == kind}
        keys = sorted({key for leaves in like.values() for key in leaves})
        varying = [key for key in keys if len({repr(leaves.get(key)) for leaves in like.values()}) > 1]
        for name, leaves in like.items():
            files = [file for file in (store.root / name).iterdir() if file.suffix in (".safetensors", ".ckpt")]
            size = sum(file.stat().st_size for file in files) / 2**20
            held = f"{len(files):6d} samples" if kind is None else state(store.fit(recipes[name]))
            traits = " ".join(f"{key}={leaves[key]}" for key in varying if key in leaves)
            yield f"{name} {held} {size:9.1f} MiB  {traits}"


def state(fit: Path | None) -> str:
    """Return in as many letters as samples take whether a network is trained."""
    return f"{'trained' if fit else 'in training':>14}"


def verify(store: Store) -> Iterator[str]:
    """Yield a line for every damaged file."""
    for file in sorted(store.root.glob("*/*.safetensors")):
        try:
            load(file)
        except ValueError as error:
            yield str(error)


def explain(store: Store, name: str) -> Iterator[str]:
    """Yield the fields in which a stored recipe differs from the nearest one of its kind."""
    nearest = store.nearest(find(store, name))
    if nearest is None:
        yield f"{name} is the only recipe of its kind"
        return
    yield f"{name} is nearest to {nearest[0]}; they differ in"
    yield from (f"  {key}: {here} here, {there} there" for key, (here, there) in nearest[1].items())


def prune(store: Store, name: str) -> Iterator[str]:
    """Delete one recipe's descriptors, or its network."""
    find(store, name)
    shutil.rmtree(store.root / name)
    yield f"deleted {name}"


def find(store: Store, name: str) -> Recipe:
    """Return a stored recipe by its digest; `ValueError` where there is none."""
    recipes = store.recipes()
    if name not in recipes:
        raise ValueError(f"{store.root} holds no recipe {name!r}; it holds {', '.join(recipes) or 'none'}")
    return recipes[name]


def main() -> None:
    """List, verify, explain or prune what is stored."""
    parser = argparse.ArgumentParser(prog="python -m src.store", description=__doc__)
    parser.add_argument("action", choices=["list", "verify", "explain", "prune"])
    parser.add_argument("recipe", nargs="?", default="", help="a recipe's digest, for explain and prune")
    parser.add_argument("--root", type=Path, default=Path("mlruns/store"), help="the store's folder")
    arguments = parser.parse_args()
    store = Store(arguments.root)
    actions: dict[str, Callable[[], Iterator[str]]] = {
        "list": lambda: listing(store),
        "verify": lambda: verify(store),
        "explain": lambda: explain(store, arguments.recipe),
        "prune": lambda: prune(store, arguments.recipe),
    }
    try:
        lines = list(actions[arguments.action]())
    except ValueError as error:
        sys.exit(f"error: {error}")
    print("\n".join(lines) or f"{arguments.root}: {'nothing damaged' if arguments.action == 'verify' else 'empty'}")
    sys.exit(int(arguments.action == "verify" and bool(lines)))


if __name__ == "__main__":
    main()
