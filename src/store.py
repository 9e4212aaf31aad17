"""Descriptors and trained networks, addressed by the recipe that made them: `python -m src.store --help`."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.storage.store import FIT, KIND, SAMPLE, WEIGHTS, Recipe, Store, flatten_recipe, parse_tensors

if TYPE_CHECKING:
    import pandas as pd

    from src.encoders.pooling import Pool
    from src.storage.export import Export
    from src.tracking import RunRecord, Tracking

ROOT = "mlruns/store"
"""The store of runs that were told of no other."""
TAKEN = ("augmentation", "crop", "descriptor", "descriptors", "metadata")
"""The columns of an export that are not of the manifest."""
STATED = ("data", "splits", "weights", "recipe", "git_commit")
"""The tags of a run that are stated with its descriptors: digests, and the code that made them."""


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


def export_run(arguments: argparse.Namespace) -> str:
    """Write the descriptors of a run into a file, whole or not at all, and return what was written."""
    from src.config import COPIES, compose_command
    from src.storage.export import check_format, write_export
    from src.system.files import check_file, replacement
    from src.tracking import CELL

    output = Path(arguments.output)
    check_format(arguments.output)
    check_file(output=arguments.output)
    if output.exists() and not arguments.overwrite:
        raise ValueError(f"{output} exists: name another --output, or add --overwrite to write over it")
    options = compose_command("runs", arguments.overrides)
    run = options.tracking.find(arguments.run, CELL)
    store = Store(arguments.root or run.params.get("store", ROOT), Path(options.workspace) / COPIES)
    export = gather_export(options.tracking, run, store, arguments.crops)
    with replacement(output) as temporary:
        write_export(export, temporary, output.suffix)
    left = len(export.metadata["left_out"])
    told = f"; {left} whose images could not be used are left out" if left else ""
    return f"descriptors of {len(export.facts)} samples of run {run.name} written to {output}{told}"


def gather_export(tracking: "Tracking", run: "RunRecord", store: Store, crops: bool) -> "Export":
    """Return the descriptors of a run with what is known of their samples: of crops, or as its pool has them.

    Errors: ValueError where the run has none, or the store lacks some.
    """
    from src.storage.export import Export
    from src.sweeps.fusion import read_table

    if "recipe" not in run.tags:
        raise ValueError(f"run {run.name} ({run.id}, {run.status}) has no frozen descriptors: name one that has")
    manifest = read_table(tracking, run, "manifest.csv")
    recipe = store.recipe(run.tags["recipe"])
    held = store.held(recipe)
    lacking = manifest["sample"][[content not in held for content in manifest["content"]]].tolist()
    if lacking:
        raise ValueError(
            f"{store.root} lacks the descriptors of {len(lacking)} of {len(manifest)} samples of run {run.name}, first "
            f"{lacking[0]}: name the store that has them by --root, or run the cell again"
        )
    kept = manifest["content"].isin(held.samples)
    facts = with_folds(manifest[kept], read_table(tracking, run, "splits.csv"))
    found = store.each(recipe, facts["content"])
    pool = None if crops else shared_pool(json.loads(tracking.artifact(run, "model/model.json")))
    return Export(
        facts=facts,
        descriptors=found if pool is None else map(rebuild(pool), found),
        metadata={
            "run": {"id": run.id, "name": run.name} | {name: run.tags.get(name, "") for name in STATED},
            "recipe": recipe,
            "pool": pool,
            "left_out": manifest["sample"][~kept].tolist(),
        },
    )


def rebuild(pool: Mapping[str, Any]) -> "Pool":
    """Return the pool of a description."""
    from src.config import rebuild_operator

    built: Pool = rebuild_operator(pool)
    return built


def shared_pool(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the description of the pool of a model (its model.json); `ValueError` where its folds differ in it."""
    pools = [own["pool"] for own in model["chosen"].values()] or [model["cell"]["pool"]]
    if any(pool != pools[0] for pool in pools):
        raise ValueError(
            f"the folds of {model['name']} were tuned to different pools, so that it has no one descriptor of an "
            "image: --crops exports those of its crops"
        )
    return pools[0]


def with_folds(manifest: "pd.DataFrame", splits: "pd.DataFrame") -> "pd.DataFrame":
    """Return samples with the fold that holds each out, 0 where none does: `fold`, of several repeats `fold_1, ...`.

    Columns of the data set that are called as one of ours get an underscore.
    """
    from src.evaluation.predictions import number_repeats

    folds = (
        number_repeats(splits).astype({"fold": int, "repeat": int}).pivot(index="case", columns="repeat", values="fold")
    )
    names = ["fold"] if folds.shape[1] == 1 else [f"fold_{repeat}" for repeat in folds]
    own = manifest.rename(columns={name: f"{name}_" for name in (*names, *TAKEN) if name in manifest})
    return own.assign(
        **{
            name: own["case"].map(folds[repeat]).fillna(0).astype(int)
            for name, repeat in zip(names, folds, strict=True)
        }
    ).reset_index(drop=True)


def parse_export(arguments: list[str]) -> argparse.Namespace:
    """Return what was typed after `export`."""
    parser = argparse.ArgumentParser(
        prog="python -m src.store export",
        description="The descriptors of a run with its manifest and folds, in one file for a notebook.",
        epilog=(
            "Parquet has a row per descriptor, its values in the column `descriptor`; NPZ an array `descriptors`, of "
            "which the first axis is the samples, and one per column of the manifest. Recipe and digests are in "
            "pyarrow.parquet.read_schema(FILE).metadata[b'tenfold'] and numpy.load(FILE)['metadata'], as JSON."
        ),
    )
    parser.add_argument("run", help="the id, its beginning, or the name of a run of method=frozen")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="where runs are: workspace=, tracking=server")
    parser.add_argument("--output", required=True, help="FILE.parquet or FILE.npz")
    parser.add_argument("--crops", action="store_true", help="the descriptors of single crops, not the pooled ones")
    parser.add_argument("--overwrite", action="store_true", help="write over a file that is there")
    parser.add_argument("--root", default="", help="the store, if it is no longer where the run had it")
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    """List, verify, explain or prune what is stored, or export it."""
    if sys.argv[1:2] == ["export"]:
        from src.cli.mistakes import tell_mistakes

        with tell_mistakes():
            print(export_run(parse_export(sys.argv[2:])))
        return
    more = "export RUN --output FILE: descriptors for a notebook, see export --help"
    parser = argparse.ArgumentParser(prog="python -m src.store", description=__doc__, epilog=more)
    parser.add_argument("action", choices=["list", "verify", "explain", "prune"])
    parser.add_argument("recipe", nargs="?", default="", help="a recipe's digest, for explain and prune")
    parser.add_argument("--root", default=ROOT, help="the store's folder, or s3://BUCKET/PREFIX")
    arguments = parser.parse_intermixed_args()
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
