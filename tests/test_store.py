"""The store: whole files only, addressed by recipe, damage named."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.store import Store, difference, digest, explain, listing, load, prune, verify

RECIPE = {"crop": {"size": 400, "scale": 0.5}, "encoder": {"weights": "abc"}, "seed": 0}


def descriptors(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 3, 4)).astype(np.float32)


def test_gives_back_what_was_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert "a" not in store.held(RECIPE)
    store.write(RECIPE, "a", descriptors())
    assert store.held(RECIPE).samples == {"a"}
    np.testing.assert_array_equal(store.read(RECIPE, "a"), descriptors())


def test_same_descriptors_are_the_same_bytes(tmp_path: Path) -> None:
    stores = Store(tmp_path / "one"), Store(tmp_path / "two")
    for store in stores:
        store.write(RECIPE, "a", descriptors())
    one, two = (store.path(RECIPE, "a").read_bytes() for store in stores)
    assert one == two


def test_only_whole_files_appear(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(RECIPE, "a", descriptors())
    names = sorted(file.name for file in (tmp_path / digest(RECIPE)).iterdir())
    assert names == ["a.safetensors", "recipe.json"]


@pytest.mark.parametrize("damage", [b"", b"short", None], ids=["empty", "short", "changed"])
def test_damage_is_named(tmp_path: Path, damage: bytes | None) -> None:
    store = Store(tmp_path)
    store.write(RECIPE, "a", descriptors())
    path = store.path(RECIPE, "a")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage is None else damage)
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        store.read(RECIPE, "a")
    assert [line.split(" is damaged")[0] for line in verify(store)] == [str(path)]


def test_notes_say_what_is_wrong_with_an_image(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.held(RECIPE).notes == {}
    store.note(RECIPE, "a", "flat")
    held = store.held(RECIPE)
    assert (held.samples, held.notes) == (set(), {"a": "flat"})
    assert "a" in held


def test_a_miss_is_explained_by_the_nearest_recipe(tmp_path: Path) -> None:
    store = Store(tmp_path)
    far = RECIPE | {"crop": {"size": 650, "scale": 1.0}, "seed": 1}
    near = RECIPE | {"crop": {"size": 650, "scale": 0.5}}
    assert store.nearest(RECIPE) is None
    for recipe in (far, near):
        store.write(recipe, "a", descriptors())
    assert store.nearest(RECIPE) == (digest(near), {"crop.size": (400, 650)})
    assert "  crop.scale: 0.5 here, 1.0 there" in list(explain(store, digest(near)))
    assert sum("crop.size=650" in line for line in listing(store)) == 0  # the same in both
    assert sum("crop.scale=1.0" in line for line in listing(store)) == 1


def test_pruning_takes_one_recipe(tmp_path: Path) -> None:
    store = Store(tmp_path)
    other = RECIPE | {"seed": 1}
    for recipe in (RECIPE, other):
        store.write(recipe, "a", descriptors())
    list(prune(store, digest(RECIPE)))
    assert list(store.recipes()) == [digest(other)]
    with pytest.raises(ValueError, match="holds no recipe"):
        list(prune(store, digest(RECIPE)))


FIT = {"kind": "fit", "encoder": {"weights": "abc"}, "fold": 1}


def test_trained_networks_are_kept_beside_descriptors(tmp_path: Path) -> None:
    """Verified, told apart from their like only, and the same bytes whatever is stored about them."""
    weights = {"head": np.ones((2, 3), np.float32), "count": np.array(4)}
    facts = {name: [name] for name in "abcdefgh"}
    paths = []
    for root in (tmp_path / "one", tmp_path / "two"):
        store = Store(root)
        assert store.fit(FIT) is None
        paths.append(store.write_fit(FIT, weights, facts, {"best_epoch": 2}))
        store.write(RECIPE, "a", descriptors())
        store.open(FIT | {"fold": 2})
    assert store.fit(FIT) == paths[1]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    for name, values in load(paths[0]).items():
        np.testing.assert_array_equal(values, weights[name])
    assert store.nearest(FIT) == (digest(FIT | {"fold": 2}), {"fold": (1, 2)})
    assert list(explain(store, digest(RECIPE))) == [f"{digest(RECIPE)} is the only recipe of its kind"]
    lines = {line.split()[0]: line for line in listing(store)}
    assert "1 samples" in lines[digest(RECIPE)]
    assert lines[digest(FIT)].split()[1:] == ["trained", "0.0", "MiB", "fold=1"]
    assert "in training" in lines[digest(FIT | {"fold": 2})]
    assert not list(verify(store))
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert [line.split(" is damaged")[0] for line in verify(store)] == [str(paths[1])]
    list(prune(store, digest(FIT)))
    assert digest(FIT) not in store.recipes()


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_digest_is_the_content_not_the_order(recipe: dict[str, object]) -> None:
    assert digest(recipe) == digest(dict(reversed(recipe.items())))
    assert difference(recipe, recipe) == {}
    assert digest(recipe) != digest(recipe | {"one more": 1})


def write_many(root: Path) -> None:
    for number in range(20):
        Store(root).write(RECIPE, f"sample{number}", descriptors(number))


def test_two_processes_may_write_the_same_samples(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    for number in range(20):
        np.testing.assert_array_equal(Store(tmp_path).read(RECIPE, f"sample{number}"), descriptors(number))
    assert not list(verify(Store(tmp_path)))


def test_the_command_lists_and_verifies(tmp_path: Path) -> None:
    Store(tmp_path).write(RECIPE, "a", descriptors())

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "src.store", *arguments, "--root", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert digest(RECIPE) in run("list").stdout
    assert "nothing damaged" in run("verify").stdout
    unknown = run("explain", "0000")
    assert (unknown.returncode, "Traceback" in unknown.stderr) == (1, False)
    assert "holds no recipe '0000'" in unknown.stderr
