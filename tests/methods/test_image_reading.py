"""The first reading of images: what it finds, and how often an image is opened on its way through a cell."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.data.image_file import file_digest
from src.data.sets.bach import Bach
from src.data.sets.folder import Folder
from src.methods.image_reading import SETTLED, read_images
from src.recipes import hash_recipe
from src.storage.store import Store
from src.system.progress import Progress
from tests.support.commands import QUICK, ROOT
from tests.support.images import folder_of_images

COUNTING = """
import atexit, json, runpy, sys
from collections import Counter

folder, told, module, *arguments = sys.argv[1:]
opened = Counter()

def count(event, given):
    if event == "open" and str(given[0]).startswith(folder) and "w" not in (given[1] or ""):
        opened[str(given[0])] += 1

sys.addaudithook(count)
atexit.register(lambda: open(told, "w").write(json.dumps(opened)))
sys.argv[:] = [module, *arguments]
runpy.run_module(module, run_name="__main__")
"""
SMALL = [each for each in QUICK if not each.startswith(("data", "examples"))]


def opened(module: str, workspace: Path, images: Path, *overrides: str) -> Mapping[str, int]:
    """Run a command, and return how often it opened each of the images."""
    told = workspace / f"{module}.json"
    command = [sys.executable, "-c", COUNTING, f"{images}{os.sep}", str(told), f"src.{module}", *overrides]
    subprocess.run([*command, f"workspace={workspace}"], cwd=ROOT, check=True, timeout=240, env=os.environ)
    found: dict[str, int] = json.loads(told.read_text())
    return found


@pytest.mark.slow
def test_an_image_is_opened_twice_and_once_more_where_it_is_explained_or_shown_beside_one(tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "images", 8)
    options = [*SMALL, "data=folder", f"data.root={images}", "stain=none", "crop.fit=true"]
    found = opened("run", tmp_path, images, *options, "examples=1")
    assert len(found) == 8
    assert set(found.values()) <= {2, 3, 4}  # read and hashed, decoded for the encoder; explained, shown as a neighbour
    assert 8 * 2 < sum(found.values()) <= 8 * 3 + 4  # explained are one of each class, right and wrong


@pytest.mark.slow
@pytest.mark.parametrize("method", ["frozen", "finetune"])
def test_an_image_is_opened_once_where_it_is_known_and_twice_where_it_is_new(method: str, tmp_path: Path) -> None:
    images, new = folder_of_images(tmp_path / "images", 8), folder_of_images(tmp_path / "new", 2)
    options = [*SMALL, "data=folder", f"data.root={images}", f"method={method}", "stain=none", "examples=0"]
    options += ["finetune.phases=[{trainable: head, epochs: 2}]", "finetune.validation=0", "finetune.patience=0"]
    first = opened("run", tmp_path, images, *options, "name=first")
    assert len(first) == 8
    assert set(first.values()) == {2}  # read and hashed; decoded for the encoder, or to be learnt from
    again = opened("run", tmp_path, images, *options, "name=again", "resume=false", "classifier.c=2")
    assert set(again.values()) == {1 if method == "frozen" else 2}
    output = f"output={tmp_path / 'new.csv'}"
    predicted = opened("predict", tmp_path, new, "model=first", f"input={new}", output, "device=cpu")
    assert list(predicted.values()) == [2, 2]


def test_what_is_found_is_that_of_the_files_one_by_one(tmp_path: Path) -> None:
    data = Folder(root=str(folder_of_images(tmp_path / "images", 6)))
    (tmp_path / "images" / "one" / "damaged.png").write_bytes(b"no image")
    store = Store(tmp_path / "store")
    manifest, sizes = read_images(data, data.manifest(), store, 3, Progress())
    contents = [file_digest(tmp_path / "images" / sample) for sample in manifest["sample"]]
    assert manifest["content"].tolist() == contents
    damaged = manifest["content"][manifest["sample"] == "one/damaged.png"].item()
    assert sizes == dict.fromkeys([each for each in contents if each != damaged], (100, 130))
    held = store.held(hash_recipe(data))
    assert held.samples == set(sizes)
    assert set(held.notes) == {damaged}


def test_an_image_of_another_size_than_the_data_set_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Benign" / "b001.tif"
    path.parent.mkdir()
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(path)
    table = pd.DataFrame({"sample": ["Benign/b001.tif"]})
    with pytest.raises(ValueError, match=r"BACH's images have 20 x 8 pixels, but .*b001\.tif has 12 x 8: "):
        read_images(Bach(root=str(tmp_path), width=20, height=8), table, Store(tmp_path / "store"), 1, Progress())
    Path(path).write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"b001\.tif: the file is not an image .*src\.download data=bach"):
        read_images(Bach(root=str(tmp_path), width=20, height=8), table, Store(tmp_path / "store"), 1, Progress())


def test_a_file_that_was_not_touched_is_not_read_again_by_the_next_cell(tmp_path: Path) -> None:
    data = Folder(root=str(folder_of_images(tmp_path / "images", 4)))
    manifest = data.manifest()
    files = [Path(data.root) / sample for sample in manifest["sample"]]

    def read(store: str = "store") -> tuple[list[str], list[str]]:
        opened: list[str] = []
        LISTENING.append(opened)
        try:
            table, sizes = read_images(data, manifest, Store(tmp_path / store), 2, Progress())
        finally:
            LISTENING.clear()
        assert list(table["content"]) == [file_digest(file) for file in files]
        assert sizes.keys() == set(table["content"])
        return list(table["content"]), sorted(name for name in opened if name.startswith(data.root))

    every = sorted(map(str, files))
    assert read()[1] == every
    assert read()[1] == every  # they have just been written, and might be written again unseen
    for file in files:
        os.utime(file, (1, 1))
    ago = time.time_ns() + 2 * SETTLED
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: ago)
        first = read()[0]
        assert read() == (first, [])
        assert read("other")[1] == every  # a store that lacks what images are recognised by
        Image.fromarray(np.full((90, 120, 3), 77, np.uint8)).save(files[0])
        again, opened = read()
        assert opened == [str(files[0])]
        assert [one == other for one, other in zip(again, first, strict=True)] == [False, True, True, True]


LISTENING: list[list[str]] = []


def listen(event: str, given: tuple[object, ...]) -> None:
    if event == "open" and LISTENING:
        LISTENING[0].append(str(given[0]))


sys.addaudithook(listen)
