"""Encoding for other machines: the same bytes from any process, and no work where store, images or weights differ."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from src.encoders.network_encoder import WORDS
from src.methods.frozen.extraction_work import Encoding, EncodingAbroad, located_cell
from src.recipes import descriptor_recipe
from src.storage.store import Store
from tests.support.cells import cell
from tests.support.frozen import extract_all, samples
from tests.support.images import folder_of_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def work(images: Path, tmp_path: Path) -> Encoding:
    one = cell(images)
    wanted = descriptor_recipe(one, one.encoder.digest())
    return Encoding(cell=one, store=Store(tmp_path / "store"), wanted=wanted, batch=4, workers=1, device="cpu")


def abroad(work: Encoding) -> EncodingAbroad:
    """The work as another process gets it."""
    return pickle.loads(pickle.dumps(work.abroad()))  # our own


def test_in_parts_elsewhere_the_same_bytes(work: Encoding, tmp_path: Path) -> None:
    chosen = samples(work.cell)
    here = extract_all(work.cell, tmp_path / "here", chosen)
    counts = [sum(abroad(work)(chosen[first : first + 2])) for first in (2, 0, 4)]
    assert counts == [2 * 2 * 3] * 3
    files = sorted(work.store.root.rglob("*.safetensors"))
    assert {file.name: file.read_bytes() for file in files} == here
    written = [file.stat().st_mtime_ns for file in files]
    assert sum(abroad(work)(chosen)) == 6 * 2 * 3  # all is there: a task that is done again counts the same
    assert [file.stat().st_mtime_ns for file in files] == written


def test_a_machine_with_all_of_it_may_work(work: Encoding) -> None:
    take_away = work.prepare()
    abroad(work).check()
    take_away()
    assert [path.name for path in work.store.root.rglob("*") if path.is_file()] == ["recipe.json"]


def test_a_machine_with_another_store_is_told(work: Encoding) -> None:
    work.store.open(work.wanted)
    with pytest.raises(ValueError, match="store is not the store of this run.*store=FOLDER"):
        abroad(work).check()


def test_a_machine_without_the_images_is_told(work: Encoding) -> None:
    work.prepare()
    there = abroad(work)
    there.cell.data.root = "/nowhere"
    with pytest.raises(ValueError, match="there are no images in /nowhere.*data.root="):
        there.check()


def test_a_machine_with_other_weights_is_told(work: Encoding) -> None:
    work.prepare()
    there = abroad(work)
    there.cell.encoder = replace(there.cell.encoder, seed=1)
    with pytest.raises(ValueError, match="weights of SqueezeNet are others.*encoder.weights=PATH"):
        there.check()


def test_an_image_that_is_another_one_is_not_stored_under_a_wrong_name(work: Encoding) -> None:
    first, second = samples(work.cell)[:2]
    wrong = replace(first, content=second.content)
    with pytest.raises(ValueError, match="is another image than on the machine of the run"):
        list(abroad(work)([wrong]))
    assert not list(work.store.root.rglob("*.safetensors"))


def test_paths_are_absolute_elsewhere(work: Encoding, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(work.cell.data.root)
    monkeypatch.chdir(root.parent)
    work.cell.data.root = root.name
    work.store = Store(Path("store"))
    there = abroad(work)
    assert (there.cell.data.root, there.store.root) == (str(root), root.parent / "store")


@pytest.mark.parametrize("word", WORDS)
def test_a_word_for_weights_is_no_path(
    work: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / word).mkdir()
    work.cell.encoder.weights = word
    assert located_cell(work.cell).encoder.weights == word
