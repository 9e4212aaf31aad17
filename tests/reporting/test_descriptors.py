"""What a page says of the descriptors of tracked runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.classifiers.knn import Knn
from src.evaluation.descriptors import PCA
from src.reporting.descriptors import DescribedImages, map_picture, read_described, told_table
from src.reporting.typesetting import MISSING
from src.tracking import CELL, Tracking
from tests.support.cells import cell
from tests.support.commands import tracking
from tests.support.images import folder_of_images
from tests.support.tracked_cell import track_cell

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """Two runs of the same descriptors, and one that has none."""
    workspace = tmp_path_factory.mktemp("described")
    keep, one = tracking(workspace), cell(folder_of_images(workspace / "images", 12))
    facts = {"patient": [f"p{n // 2}" for n in range(12)], "site": list("AABBAABBAABB")}
    track_cell(keep, one, "one", workspace / "store", **facts)
    track_cell(keep, cell(Path(one.data.root), classifier=Knn(neighbours=2)), "two", workspace / "store", **facts)
    with keep.run("trained", CELL) as run:
        run.log(params={"method": "finetune"})
    return keep


def test_the_same_descriptors_are_told_of_once(tracked: Tracking) -> None:
    runs = [tracked.find(name) for name in ("trained", "one", "two")]
    (found,) = read_described(tracked, runs, ["site", "patient"])
    assert (found.cells, found.stain, found.columns, found.left) == (["one", "two"], "macenko", ["site"], 0)
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    assert len(found.images) == len(found.descriptors) == 12
    predictions = tracked.predictions(runs[1]).drop_duplicates("sample").set_index("sample")
    for row in found.images.to_dict("records"):
        said = predictions.loc[row["sample"]]
        assert (row["label"], row["fold"]) == (said["label"], str(said["fold"]))
        right = said[f"p_{row['label']}"] > 0.5
        assert row["answer"] == ("right" if right else "wrong")
    with pytest.raises(ValueError, match=r"`slices` must name columns of the manifest, .*site.*, but got 'scanner'"):
        read_described(tracked, runs, ["scanner"])


def described(columns: list[str], **images: list[str]) -> DescribedImages:
    count = 24
    table = pd.DataFrame({"case": [f"c{n:02d}" for n in range(count)], "patient": [f"p{n // 2}" for n in range(count)]})
    table = table.assign(label=["ab"[n // 2 % 2] for n in range(count)], fold="1", answer="right", **images)
    values = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    return DescribedImages(
        cells=["one", "two"],
        encoder="VGG",
        stain="none",
        view="",
        descriptors=values,
        images=table,
        columns=columns,
        left=3,
    )


def test_a_column_that_a_cell_lacks_is_left_out_of_its_row() -> None:
    site = [f"s{n // 4 % 2}" for n in range(24)]
    table = told_table([described(["site"], site=site), described([])])
    assert table.header == [
        *("Cell", "Encoder", "Stain", "Class (95 %)", "by chance", "Site (95 %)", "by chance"),
        *("Nearest: same patient (95 %)", "by chance"),  # all are of one fold
    ]
    (one, other) = table.rows
    assert one[:3] == ["one and 1 more", "VGG", "none"]
    assert other[5:7] == [MISSING, MISSING]
    assert one[3:5] == other[3:5]
    assert float(one[6]) == pytest.approx(50, abs=8)
    assert table.notes == ["3 more images of a run are not among those whose descriptors it keeps."]


def test_only_what_differs_between_images_is_drawn() -> None:
    picture = map_picture(described([]), PCA)
    assert picture.alt == "Map of 24 images coloured by class, patient: figures in the table above"
    assert picture.caption == "one: 24 images by their descriptors (principal components)"
    assert picture.content.startswith(b"<?xml")
