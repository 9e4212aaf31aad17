"""The nearest images that the models of an example's fold learnt from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.methods.neighbours import SIDE, find_neighbours, shrink
from tests.support.cells import cell, task_of
from tests.support.frozen import examples, predict
from tests.support.images import folder_of_images

pytestmark = pytest.mark.usefixtures("one_thread")


def test_are_of_the_training_part_and_the_nearest_first(tmp_path: Path) -> None:
    images = folder_of_images(tmp_path / "images", 12)
    with Image.open(images / "one" / "000.png") as image:  # nearly the same, another file
        image.resize((131, 101)).save(images / "one" / "900.png")
    one = cell(images)
    outcome = predict(one, tmp_path / "store")
    chosen = examples(one, outcome.predictions, tmp_path / "store", count=20).manifest
    task = task_of(one, tmp_path / "store")
    found = find_neighbours(task, outcome, chosen)
    facts = outcome.predictions.groupby("sample")[["fold", "label"]].first()
    assert len(found) == len(facts) == 13
    for sample, neighbours in found.items():
        for each in neighbours:
            assert facts.loc[each.sample, "fold"] != facts.loc[sample, "fold"]
            assert each.label == facts.loc[each.sample, "label"]
        distances = [each.distance for each in neighbours]
        assert len(distances) == 3
        assert 0 < distances[0] <= distances[1] <= distances[2]
    held_apart = facts.loc["one/000.png", "fold"] != facts.loc["one/900.png", "fold"]
    assert (found["one/000.png"][0].sample == "one/900.png") == held_apart
    np.testing.assert_array_equal(found["two/001.png"][0].image, task.cell.read(found["two/001.png"][0].sample))
    unknown = chosen.assign(content="never seen")
    assert find_neighbours(task, outcome, unknown) == {}
    assert find_neighbours(task, replace(outcome, known={}), chosen) == {}


def test_pictures_are_small_and_keep_their_shape() -> None:
    assert shrink(np.zeros((1536, 2048, 3), np.uint8)).shape == (SIDE * 3 // 4, SIDE, 3)
    assert shrink(np.zeros((40, 30, 3), np.uint8)).shape == (40, 30, 3)
