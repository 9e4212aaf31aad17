"""The store: whole files only, addressed by recipe, damage named."""

import io
import json
import multiprocessing
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.encoders.pooling import PowerMean
from src.storage.store import TRAINING, Store, load_tensors, recipe_difference, recipe_digest
from src.store import (
    explain_miss,
    export_run,
    list_recipes,
    main,
    parse_export,
    prune_recipe,
    shared_pool,
    verify_files,
    with_folds,
)
from src.tracking import CELL, RunRecord, Tracking
from tests.support.buckets import BUCKET, STORAGE, Storage, storage
from tests.support.cells import cell
from tests.support.commands import tracking
from tests.support.images import folder_of_images
from tests.support.tracked_cell import track_cell

RECIPE = {"crop": {"size": 400, "scale": 0.5}, "encoder": {"weights": "abc"}, "seed": 0}


def descriptors(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 3, 4)).astype(np.float32)


def file_of(store: Store) -> Path:
    """Where the descriptors of the sample "a", or a copy of them, lie on this machine."""
    return store.place.folder / recipe_digest(RECIPE) / "a.safetensors"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    with storage(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(params=["folder", pytest.param("s3", marks=STORAGE)])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """What opens one and the same store, or another one of a name, as each of several machines would."""
    if request.param == "folder":
        return lambda name="store": Store(tmp_path / name)
    for key, value in request.getfixturevalue("served").environment.items():
        monkeypatch.setenv(key, value)
    machines = count()
    below = f"s3://{BUCKET}/{tmp_path.name}"
    return lambda name="store": Store(f"{below}/{name}", tmp_path / f"machine{next(machines)}")


def test_lists_anew_only_where_more_is_needed(opened: Callable[..., Store]) -> None:
    store, other = opened(), opened()
    for content in "abc":
        other.write(RECIPE, content, descriptors())
        other.note(RECIPE, f"bad {content}", "white")
        other.finish()
        if content == "a":
            assert store.held(RECIPE).samples == {"a"}
            continue
        assert content not in store.held(RECIPE, {"a", "bad a"})
        assert store.held(RECIPE, {"a", f"bad {content}"}).samples == set("abc"[: "abc".index(content) + 1])
    assert store.held({"other": "recipe"}, {"a"}).samples == set()


def test_gives_back_what_was_stored(opened: Callable[..., Store]) -> None:
    store = opened()
    assert "a" not in store.held(RECIPE)
    store.write(RECIPE, "a", descriptors())
    store.write(RECIPE, "b", descriptors(1))
    assert store.held(RECIPE).samples == {"a", "b"}
    assert [store.holds(RECIPE, content) for content in ("a", "absent")] == [True, False]
    for machine in (store, opened(), pickle.loads(pickle.dumps(opened()))):
        np.testing.assert_array_equal(machine.read(RECIPE, "a"), descriptors())
        given = machine.each(RECIPE, iter("bab"))
        for read, seed in zip(given, (1, 0, 1), strict=True):
            np.testing.assert_array_equal(read, descriptors(seed))
    with pytest.raises(FileNotFoundError):
        store.read(RECIPE, "absent")


def test_same_descriptors_are_the_same_bytes(opened: Callable[..., Store]) -> None:
    stores = opened("one"), opened("two")
    for store in stores:
        store.write(RECIPE, "a", descriptors())
        store.finish()
    one, two = (file_of(store).read_bytes() for store in stores)
    assert one == two == stores[0].place.read(f"{recipe_digest(RECIPE)}/a.safetensors")


def test_only_whole_files_appear(opened: Callable[..., Store]) -> None:
    store = opened()
    store.write(RECIPE, "a", descriptors())
    store.finish()
    names = ["a.safetensors", "recipe.json"]
    assert sorted(store.place.names(recipe_digest(RECIPE))) == names
    assert sorted(file.name for file in file_of(store).parent.iterdir()) == names


@pytest.mark.parametrize("damage", [b"", b"short", None], ids=["empty", "short", "changed"])
def test_damage_is_named(opened: Callable[..., Store], damage: bytes | None) -> None:
    store = opened()
    store.write(RECIPE, "a", descriptors())
    store.finish()
    name = f"{recipe_digest(RECIPE)}/a.safetensors"
    content = store.place.read(name)
    store.place.write(name, content[:-1] + bytes([content[-1] ^ 1]) if damage is None else damage)
    store.finish()
    elsewhere = opened()
    address = elsewhere.place.address(name)
    assert address.startswith(str(store.root))
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^{re.escape(address)} is damaged .*; delete it and run again$"):
            elsewhere.read(RECIPE, "a")
    assert [line.split(" is damaged")[0] for line in verify_files(store)] == [address]
    store.place.write(name, content)
    store.finish()
    np.testing.assert_array_equal(elsewhere.read(RECIPE, "a"), descriptors())
    assert not list(verify_files(store))


def test_notes_say_what_is_wrong_with_an_image(opened: Callable[..., Store]) -> None:
    store = opened()
    assert store.held(RECIPE).notes == {}
    store.note(RECIPE, "a", "flat")
    held = store.held(RECIPE)
    assert (held.samples, held.notes) == (set(), {"a": "flat"})
    assert "a" in held


def test_a_miss_is_explained_by_the_nearest_recipe(opened: Callable[..., Store]) -> None:
    store = opened()
    far = RECIPE | {"crop": {"size": 650, "scale": 1.0}, "seed": 1}
    near = RECIPE | {"crop": {"size": 650, "scale": 0.5}}
    assert store.nearest(RECIPE) is None
    for recipe in (far, near):
        store.write(recipe, "a", descriptors())
    assert store.nearest(RECIPE) == (recipe_digest(near), {"crop.size": (400, 650)})
    assert "  crop.scale: 0.5 here, 1.0 there" in list(explain_miss(store, recipe_digest(near)))
    assert sum("crop.size=650" in line for line in list_recipes(store)) == 0  # the same in both
    assert sum("crop.scale=1.0" in line for line in list_recipes(store)) == 1


def test_what_is_being_written_is_not_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(RECIPE, "a", descriptors())
    (file_of(store).parent / ".b.safetensors.x1y2").write_bytes(b"half")
    assert set(store.place.sizes(recipe_digest(RECIPE))) == {"a.safetensors", "recipe.json"}
    assert sum(" 1 samples " in line for line in list_recipes(store)) == 1


def test_pruning_takes_one_recipe(opened: Callable[..., Store]) -> None:
    store = opened()
    other = RECIPE | {"seed": 1}
    for recipe in (RECIPE, other):
        store.write(recipe, "a", descriptors())
    list(prune_recipe(store, recipe_digest(RECIPE)))
    assert list(store.recipes()) == [recipe_digest(other)]
    assert "a" not in store.held(RECIPE)
    assert not file_of(store).exists()
    with pytest.raises(ValueError, match="holds no recipe"):
        list(prune_recipe(store, recipe_digest(RECIPE)))
    store.write(RECIPE, "a", descriptors())
    assert set(store.recipes()) == {recipe_digest(RECIPE), recipe_digest(other)}


FIT = {"kind": "fit", "encoder": {"weights": "abc"}, "fold": 1}


def test_trained_networks_are_kept_beside_descriptors(opened: Callable[..., Store]) -> None:
    """Verified, told apart from their like only, and the same bytes whatever is stored about them."""
    weights = {"head": np.ones((2, 3), np.float32), "count": np.array(4)}
    facts = {name: [name] for name in "abcdefgh"}
    paths = []
    for name in ("one", "two"):
        store = opened(name)
        assert store.fit(FIT) is None
        paths.append(store.write_fit(FIT, weights, facts, {"best_epoch": 2}))
        store.write(RECIPE, "a", descriptors())
        store.open(FIT | {"fold": 2})
        store.finish()
    assert store.fit(FIT) == paths[1]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    elsewhere = opened("two").fit(FIT)
    assert elsewhere is not None
    assert json.loads((elsewhere.parent / TRAINING).read_text()) == {"best_epoch": 2}
    for name, values in load_tensors(elsewhere).items():
        np.testing.assert_array_equal(values, weights[name])
    assert store.nearest(FIT) == (recipe_digest(FIT | {"fold": 2}), {"fold": (1, 2)})
    assert list(explain_miss(store, recipe_digest(RECIPE))) == [
        f"{recipe_digest(RECIPE)} is the only recipe of its kind"
    ]
    lines = {line.split()[0]: line for line in list_recipes(store)}
    assert "1 samples" in lines[recipe_digest(RECIPE)]
    assert lines[recipe_digest(FIT)].split()[1:] == ["trained", "0.0", "MiB", "fold=1"]
    assert "in training" in lines[recipe_digest(FIT | {"fold": 2})]
    assert not list(verify_files(store))
    name = f"{recipe_digest(FIT)}/model.safetensors"
    content = paths[1].read_bytes()
    store.place.write(name, content[:-1] + bytes([content[-1] ^ 1]))
    store.finish()
    assert [line.split(" is damaged")[0] for line in verify_files(store)] == [store.place.address(name)]
    list(prune_recipe(store, recipe_digest(FIT)))
    assert recipe_digest(FIT) not in store.recipes()


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_digest_is_the_content_not_the_order(recipe: dict[str, object]) -> None:
    assert recipe_digest(recipe) == recipe_digest(dict(reversed(recipe.items())))
    assert recipe_difference(recipe, recipe) == {}
    assert recipe_digest(recipe) != recipe_digest(recipe | {"one more": 1})


def write_many(store: Store) -> None:
    for number in range(20):
        store.write(RECIPE, f"sample{number}", descriptors(number))
    store.finish()


@pytest.mark.slow
def test_two_processes_may_write_the_same_samples(opened: Callable[..., Store]) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(opened(),)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = opened()
    for number in range(20):
        np.testing.assert_array_equal(store.read(RECIPE, f"sample{number}"), descriptors(number))
    assert len(store.held(RECIPE).samples) == 20
    assert not list(verify_files(store))


def test_the_command_lists_and_verifies(opened: Callable[..., Store]) -> None:
    store = opened()
    store.write(RECIPE, "a", descriptors())
    store.finish()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "src.store", *arguments, "--root", str(store.root)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert recipe_digest(RECIPE) in run("list").stdout
    assert "nothing damaged" in run("verify").stdout
    unknown = run("explain", "0000")
    assert (unknown.returncode, "Traceback" in unknown.stderr) == (1, False)
    assert "holds no recipe '0000'" in unknown.stderr
    # Options stand anywhere, and the last one counts.
    assert run("explain", "--root", "elsewhere", "0000").stderr == unknown.stderr
    assert run("prune", recipe_digest(RECIPE)).stderr == ""
    assert "empty" in run("list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "workspace=/x"], "list takes no recipe, but got workspace=/x; --root FOLDER names another store"),
        (["prune"], "prune takes a recipe, see list, but got none"),
        (["verify", "--root", "/no/store"], "--root is a store's folder, .* but there is no /no/store"),
    ],
)
def test_the_command_says_what_it_cannot_do(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["src.store", *arguments])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code
    assert re.search(said, f"{raised.value.code} {capsys.readouterr().err}")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tracking, RunRecord]:
    workspace = tmp_path_factory.mktemp("exported")
    images = folder_of_images(workspace / "images", 8)
    keep = tracking(workspace)
    return keep, track_cell(keep, cell(images), "one", workspace / "store", site="A", crop="round")


class TestExport:
    """Of a tracked run, its manifest and folds beside its descriptors."""

    def exported(self, tracked: tuple[Tracking, RunRecord], output: Path, *more: str) -> str:
        workspace = Path(tracked[0].spool).parent
        return export_run(parse_export([tracked[1].name, f"workspace={workspace}", "--output", str(output), *more]))

    def test_pooled_descriptors_are_those_of_the_store(
        self, tracked: tuple[Tracking, RunRecord], tmp_path: Path
    ) -> None:
        said = self.exported(tracked, tmp_path / "all.npz")
        assert said == f"descriptors of 8 samples of run one written to {tmp_path / 'all.npz'}"
        self.exported(tracked, tmp_path / "crops.npz", "--crops")
        with np.load(tmp_path / "all.npz") as pooled, np.load(tmp_path / "crops.npz") as crops:
            for one, each in zip(pooled["descriptors"], crops["descriptors"], strict=True):
                np.testing.assert_array_equal(PowerMean()(each), one)
            store = Store(tracked[1].params["store"])
            for each, content in zip(crops["descriptors"], crops["content"], strict=True):
                np.testing.assert_array_equal(each, store.read(store.recipe(tracked[1].tags["recipe"]), str(content)))
            stated = json.loads(str(pooled["metadata"]))
            assert set(pooled["site"]) == {"A"}
            assert set(pooled["crop_"]) == {"round"}  # the table's own `crop` is a number
            folds = dict(zip(pooled["case"].tolist(), pooled["fold"].tolist(), strict=True))
        assert stated["run"]["recipe"] == tracked[1].tags["recipe"]
        assert (stated["pool"]["p"], stated["recipe"]["crop"]["size"]) == (3.0, 40)
        splits = pd.read_csv(io.BytesIO(tracked[0].artifact(tracked[1], "splits.csv")), dtype={"case": str})
        assert folds == dict(zip(splits["case"], splits["fold"], strict=True))

    def test_options_and_values_stand_in_any_order(self) -> None:
        for typed in ("one a=b c=d --output x.npz", "one --output x.npz a=b c=d", "one a=b --output x.npz c=d"):
            found = parse_export(typed.split())
            assert (found.run, found.overrides, found.output) == ("one", ["a=b", "c=d"], "x.npz")

    def test_what_cannot_be_is_said_and_nothing_is_left(
        self, tracked: tuple[Tracking, RunRecord], tmp_path: Path
    ) -> None:
        (tmp_path / "there.npz").write_text("mine")
        with pytest.raises(ValueError, match="there.npz exists: name another --output, or add --overwrite"):
            self.exported(tracked, tmp_path / "there.npz")
        with pytest.raises(ValueError, match="no folder .*nowhere"):
            self.exported(tracked, tmp_path / "nowhere" / "a.npz")
        with pytest.raises(ValueError, match=r"other lacks the descriptors of 8 of 8 samples of run one, first "):
            self.exported(tracked, tmp_path / "a.npz", "--root", str(tmp_path / "other"))
        with tracked[0].run("trained", CELL) as run:
            run.log(params={"method": "finetune"})
        trained = (tracked[0], tracked[0].find("trained"))
        with pytest.raises(ValueError, match=r"run trained .* has no frozen descriptors: name one that has"):
            self.exported(trained, tmp_path / "a.npz")
        assert [path.name for path in tmp_path.iterdir()] == ["there.npz"]

    def test_a_file_that_is_cut_short_is_none(
        self, tracked: tuple[Tracking, RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(self: PowerMean, descriptors: np.ndarray) -> np.ndarray:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(PowerMean, "__call__", fail)
        with pytest.raises(OSError, match="No space left on device.*all.parquet"):
            self.exported(tracked, tmp_path / "all.parquet")
        assert not list(tmp_path.iterdir())

    def test_folds_of_several_repeats_have_a_column_each(self) -> None:
        splits = pd.DataFrame({"case": list("abab"), "repeat": list("1122"), "fold": list("1243")})
        table = with_folds(pd.DataFrame({"case": list("bac"), "fold_1": "mine"}), splits)
        assert table.to_dict("list") == {
            "case": list("bac"),
            "fold_1_": ["mine"] * 3,
            "fold_1": [2, 1, 0],
            "fold_2": [3, 4, 0],
        }
        older = splits.iloc[:2].drop(columns="repeat")
        assert with_folds(pd.DataFrame({"case": ["b"]}), older).to_dict("list") == {"case": ["b"], "fold": [2]}

    def test_folds_tuned_to_different_pools_have_no_descriptor_in_common(self) -> None:
        pools = [{"pool": {"operator": "PowerMean", "p": p}} for p in (1.0, 3.0)]
        with pytest.raises(ValueError, match="tuned to different pools.*--crops exports"):
            shared_pool({"name": "one", "chosen": dict(enumerate(pools)), "cell": pools[0]})
        assert shared_pool({"chosen": {1: pools[1]}, "cell": pools[0]})["p"] == 3.0
