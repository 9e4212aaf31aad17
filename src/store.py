"""Descriptors and trained networks, addressed by the recipe that made them: `python -m src.store --help`."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from src.storage.store import FIT, KIND, SAMPLE, WEIGHTS, Recipe, Store, flatten_recipe, parse_tensors


def list_recipes(store: Store) -> Iterator[str]:
    """Yield a line per recipe: digest, samples or state of the fit, size, and what tells it apart from its like."""
    recipes = store.recipes()
    for kind in (None, FIT):
        like = {name: flatten_recipe(recipe) for name, recipe in recipes.items() if recipe.get(KIND) == kind}
        keys = sorted({key for leaves in like.values() for key in leaves})
        varying = [key for key in keys if len({repr(leaves.get(key)) for leaves in like.values()}) > 1]
        for name, leaves in like.items():
            sizes = store.place.sizes(name)
            kept = [size for file, size in sizes.items() if file.endswith((SAMPLE, ".ckpt"))]
            held = f"{len(kept):6d} samples" if kind is None else fit_state(WEIGHTS in sizes)
            traits = " ".join(f"{key}={leaves[key]}" for key in varying if key in leaves)
            yield f"{name} {held} {sum(kept) / 2**20:9.1f} MiB  {traits}"


def fit_state(trained: bool) -> str:
    """Return in as many letters as samples take whether a network is trained."""
    return f"{'trained' if trained else 'in training':>14}"


def verify_files(store: Store) -> Iterator[str]:
    """Yield a line for every damaged file."""

    def look(name: str) -> str:
        content = store.place.read(name)
        try:
            parse_tensors(content, store.place.address(name))
        except ValueError as error:
            return str(error)
        return ""

    for folder in store.place.folders():
        files = sorted(name for name in store.place.names(folder) if name.endswith(SAMPLE))
        yield from filter(None, store.place.abreast(look, (f"{folder}/{name}" for name in files)))


def explain_miss(store: Store, name: str) -> Iterator[str]:
    """Yield the fields in which a stored recipe differs from the nearest one of its kind."""
    nearest = store.nearest(find_recipe(store, name))
    if nearest is None:
        yield f"{name} is the only recipe of its kind"
        return
    yield f"{name} is nearest to {nearest[0]}; they differ in"
    yield from (f"  {key}: {here} here, {there} there" for key, (here, there) in nearest[1].items())


def prune_recipe(store: Store, name: str) -> Iterator[str]:
    """Delete one recipe's descriptors, or its network."""
    find_recipe(store, name)
    store.place.delete(name)
    yield f"deleted {name}"


def find_recipe(store: Store, name: str) -> Recipe:
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
    parser.add_argument("--root", default="mlruns/store", help="the store's folder, or s3://BUCKET/PREFIX")
    arguments = parser.parse_args()
    if bool(arguments.recipe) != (arguments.action in ("explain", "prune")):
        rule = f"{arguments.action} takes {'no recipe' if arguments.recipe else 'a recipe, see list'}"
        parser.error(f"{rule}, but got {arguments.recipe or 'none'}; --root FOLDER names another store")
    actions: dict[str, Callable[[], Iterator[str]]] = {
        "list": lambda: list_recipes(store),
        "verify": lambda: verify_files(store),
        "explain": lambda: explain_miss(store, arguments.recipe),
        "prune": lambda: prune_recipe(store, arguments.recipe),
    }
    told = False
    try:
        store = Store(arguments.root)
        store.check()
        if "://" not in arguments.root and not Path(arguments.root).is_dir():
            raise ValueError(f"--root is a store's folder, WORKSPACE/store of runs, but there is no {arguments.root}")
        for line in actions[arguments.action]():
            print(line, flush=True)
            told = True
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    if not told:
        print(f"{arguments.root}: {'nothing damaged' if arguments.action == 'verify' else 'empty'}")
    sys.exit(int(arguments.action == "verify" and told))


if __name__ == "__main__":
    main()
