"""Descriptors and trained networks, addressed by the recipe that made them."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import Shaped

from src.storage.bucket import ADDRESS, Bucket, describe_endpoint
from src.storage.folder import StoreFolder
from src.storage.place import Place
from src.system.files import read_tensors

Recipe = dict[str, Any]
"""All that determines a descriptor but the sample's bytes, or a trained network, as JSON values."""
Tensors = Mapping[str, Shaped[np.ndarray, "..."]]
Descriptors = Shaped[np.ndarray, "augmentation crop feature"]
KIND, FIT = "kind", "fit"
"""What the recipe of a trained network says of itself; those of descriptors say nothing."""
WEIGHTS, TRAINING = "model.safetensors", "training.json"
"""A trained network, and how its training went."""
RECIPE, SAMPLE, NOTE = "recipe.json", ".safetensors", ".txt"
"""What a folder holds, and of each sample its descriptors or what is wrong with its image."""
MODEL = "model"
"""The entry of a network's file that says, as JSON, what it is."""


def recipe_digest(recipe: Recipe) -> str:
    """Return the name of a recipe: 32 hexadecimal digits of its canonical JSON."""
    return hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16).hexdigest()


def place_of(root: Path | str, copies: Path) -> Place:
    """Return the place of a root, which is a folder or s3://BUCKET/PREFIX; copies of what is far go to `copies`."""
    if "://" not in str(root):
        return StoreFolder(Path(root))
    found = ADDRESS.fullmatch(str(root).rstrip("/"))
    if found is None or ".." in str(root):  # it may hold a key: it is not shown
        raise ValueError(
            "a store is a folder, or on S3-compatible storage s3://BUCKET/PREFIX: without keys, which are taken from "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and without a host, which is taken from AWS_ENDPOINT_URL"
        )
    prefix = found["prefix"] or ""
    host = (
        urlsplit(describe_endpoint().removeprefix(" at ")).netloc or "s3"
    )  # another host's bucket of this name is another
    return Bucket(found["bucket"], prefix, copies / host / found["bucket"] / prefix)


@dataclass
class Holdings:
    """What is stored of a recipe: the samples that have descriptors, and what is wrong with images, by content."""

    samples: set[str]
    notes: dict[str, str]

    def __contains__(self, content: str) -> bool:
        """Return whether anything is known of a sample."""
        return content in self.samples or content in self.notes


@dataclass
class Store:
    """A folder per recipe with `recipe.json` and one file per sample, named by the digest of the sample's bytes.

    A sample whose image is bad has a note, a text file of that name, with the reason.

    The recipe of a fit is of one trained network: its folder holds `model.safetensors` and `training.json`, and while
    the training runs its checkpoint, on the machine that trains.

    `root` is a folder, or s3://BUCKET/PREFIX on S3-compatible storage (`src.storage.bucket`), of which what was read or
    written is kept in `copies`. A file appears as a whole or not at all, so a killed process leaves only whole ones,
    and two processes that write the same sample write the same bytes.
    """

    root: Path | str
    copies: Path = Path("mlruns/copies")

    def __post_init__(self) -> None:
        """Check the root; nothing is asked yet."""
        self.place = place_of(self.root, self.copies)
        self.listed: dict[str, Holdings] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes connect by themselves, and may work in other folders."""
        root = str(self.root) if "://" in str(self.root) else Path(self.root).absolute()
        return Store, (root, self.copies.absolute())

    def check(self) -> None:
        """Raise `ValueError`, with what to do, where the store cannot be used."""
        self.place.check()

    def holds(self, recipe: Recipe, content: str) -> bool:
        """Return whether one sample's descriptors are stored; of many ask `held`."""
        return self.place.holds(f"{recipe_digest(recipe)}/{content}{SAMPLE}")

    def held(self, recipe: Recipe, needed: Collection[str] | None = None) -> Holdings:
        """Return what is stored of a recipe, by one listing however many samples there are.

        Where the last listing knows of all samples that are `needed`, it is returned: what is stored does not change,
        and who asks for many samples in small parts does not list all of them each time.
        """
        folder = recipe_digest(recipe)
        last = self.listed.get(folder)
        if last and needed is not None and all(content in last for content in needed):
            return last
        names = self.place.names(folder)
        noted = sorted(name for name in names if name.endswith(NOTE))
        reasons = self.place.abreast(lambda name: self.place.read(f"{folder}/{name}").decode(), noted)
        notes = {name.removesuffix(NOTE): reason for name, reason in zip(noted, reasons, strict=True)}
        self.listed[folder] = Holdings({name.removesuffix(SAMPLE) for name in names if name.endswith(SAMPLE)}, notes)
        return self.listed[folder]

    def write(self, recipe: Recipe, content: str, descriptors: Descriptors) -> None:
        """Store the unpooled descriptors of one sample, at the latest when `finish` returns."""
        from safetensors.numpy import save

        name = f"{self.open(recipe).name}/{content}{SAMPLE}"
        tensors = {"descriptors": descriptors}
        self.place.write(name, save(tensors, {"checksum": tensor_checksum(tensors)}))

    def note(self, recipe: Recipe, content: str, reason: str) -> None:
        """Store what is wrong with a sample's image, whether or not it has descriptors."""
        self.place.write(f"{self.open(recipe).name}/{content}{NOTE}", reason.encode())

    def finish(self) -> None:
        """Wait until all is stored that was written: storage that is far is written to while the caller goes on."""
        self.place.finish()

    def open(self, recipe: Recipe) -> Path:
        """Return the recipe's folder on this machine, and leave a word in the store on what it holds."""
        name = recipe_digest(recipe)
        self.place.create(f"{name}/{RECIPE}", lambda: (json.dumps(recipe, indent=2, sort_keys=True) + "\n").encode())
        return self.place.folder / name

    def mark(self, recipe: Recipe, token: str) -> Callable[[], None]:
        """Leave a token with a recipe, by which others know that they have the same store; return what removes it."""
        name = f"{self.open(recipe).name}/{token}"
        self.place.write(name, b"")
        self.place.finish()
        return lambda: self.place.remove(name)

    def marked(self, recipe: Recipe, token: str) -> bool:
        """Return whether the store has a token."""
        return self.place.holds(f"{recipe_digest(recipe)}/{token}")

    def read(self, recipe: Recipe, content: str) -> Descriptors:
        """Return the descriptors of one sample; `ValueError` where the file is damaged."""
        return next(self.each(recipe, [content]))

    def each(self, recipe: Recipe, contents: Iterable[str]) -> Iterator[Descriptors]:
        """Yield the descriptors of samples, in their order; `ValueError` where a file is damaged."""
        self.finish()
        folder = recipe_digest(recipe)
        names = (f"{folder}/{content}{SAMPLE}" for content in contents)
        yield from self.place.abreast(lambda name: load_tensors(self.local(name))["descriptors"], names)

    def found(self, recipe: Recipe, contents: Iterable[str]) -> dict[str, Descriptors]:
        """Return the descriptors of those samples that are there, by content; `ValueError` where a file is damaged."""
        held = self.held(recipe).samples
        kept = [content for content in dict.fromkeys(contents) if content in held]
        return dict(zip(kept, self.each(recipe, kept), strict=True))

    def local(self, name: str) -> Path:
        """Return a file of tensors on this machine; one that is fetched and found damaged is not kept."""
        return self.place.local(name, lambda content: parse_tensors(content, self.place.address(name)))

    def fit(self, recipe: Recipe) -> Path | None:
        """Return the file of a fit's network, beside it how its training went, where it is stored."""
        name = recipe_digest(recipe)
        if WEIGHTS not in self.place.names(name):
            return None
        self.place.local(f"{name}/{TRAINING}", json.loads)
        return self.local(f"{name}/{WEIGHTS}")

    def write_fit(self, recipe: Recipe, weights: Tensors, facts: dict[str, Any], training: dict[str, Any]) -> Path:
        """Store a trained network with the facts that describe it, and how its training went; return its file."""
        from safetensors.numpy import save

        folder = self.open(recipe)
        self.place.write(f"{folder.name}/{TRAINING}", (json.dumps(training, indent=2) + "\n").encode())
        self.place.finish()  # a network without its training is none
        # One entry: safetensors writes several in no fixed order.
        stated = {MODEL: json.dumps(facts | {"checksum": tensor_checksum(weights)}, sort_keys=True)}
        self.place.write(f"{folder.name}/{WEIGHTS}", save(dict(weights), stated))
        self.place.finish()
        return folder / WEIGHTS

    def recipes(self) -> dict[str, Recipe]:
        """Return the stored recipes by digest."""
        names = self.place.folders()
        return {
            name: recipe for name, recipe in zip(names, self.place.abreast(self.recipe, names), strict=True) if recipe
        }

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of a folder; none where it has none."""
        file = f"{name}/{RECIPE}"
        try:
            return json.loads(self.place.read(file))
        except FileNotFoundError:
            return {}
        except json.JSONDecodeError as error:
            raise damaged_file(self.place.address(file), error) from None

    def nearest(self, recipe: Recipe) -> tuple[str, dict[str, tuple[Any, Any]]] | None:
        """Return the other stored recipe with the fewest differing fields: its digest and {field: (here, there)}."""
        others = [
            (name, recipe_difference(recipe, other))
            for name, other in self.recipes().items()
            if name != recipe_digest(recipe) and other.get(KIND) == recipe.get(KIND)
        ]
        return min(others, key=lambda other: len(other[1]), default=None)


def load_tensors(path: Path) -> Tensors:
    """Return a file's tensors by name; `ValueError` with the way out where it is damaged."""
    return load_stated(path)[0]


def load_stated(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Return a file's tensors by name, and what it says they are; `ValueError` as `load_tensors` has it."""
    from safetensors import SafetensorError

    try:
        tensors, metadata = read_tensors(path)
    except SafetensorError as error:
        raise damaged_file(path, error) from None
    return check_tensors(tensors, metadata, path), json.loads(metadata.get(MODEL, "{}"))


def parse_tensors(content: bytes, name: str) -> Tensors:
    """Return the tensors that the content of a file holds, by name; `ValueError` as `load_tensors` has it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    except (SafetensorError, KeyError) as error:
        raise damaged_file(name, error) from None
    return check_tensors(tensors, metadata, name)


def check_tensors(tensors: Tensors, metadata: Any, name: Path | str) -> Tensors:
    """Return tensors; `ValueError` where they are not those that the file's metadata are of."""
    try:
        expected = (json.loads(metadata[MODEL]) if MODEL in metadata else metadata)["checksum"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise damaged_file(name, error) from None
    if tensor_checksum(tensors) != expected:
        raise damaged_file(name, "its checksum differs")
    return tensors


def damaged_file(name: Path | str, reason: object) -> ValueError:
    """Return the error that names a damaged file, and the way out."""
    return ValueError(f"{name} is damaged ({reason}); delete it and run again")


def tensor_checksum(tensors: Tensors) -> str:
    """Return the digest of tensors' values, in the order of their names."""
    hashed = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        hashed.update(np.ascontiguousarray(tensors[name]).data)
    return hashed.hexdigest()


def flatten_recipe(recipe: Recipe, prefix: str = "") -> dict[str, Any]:
    """Return a recipe's leaves by dotted name."""
    leaves: dict[str, Any] = {}
    for key, value in recipe.items():
        leaves |= flatten_recipe(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def recipe_difference(here: Recipe, there: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two recipes differ, with both values."""
    one, other = flatten_recipe(here), flatten_recipe(there)
    return {key: (one.get(key), other.get(key)) for key in sorted(one | other) if one.get(key) != other.get(key)}
