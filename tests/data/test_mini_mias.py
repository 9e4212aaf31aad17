from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.data.mini_mias import CLASSES, MiniMias
from src.images import BadImage
from tests.data.conftest import MIAS, mammogram

CIRCLE = ("x", "y_from_bottom", "radius")


def tiny(root: Path, **changes: object) -> MiniMias:
    return MiniMias(root=str(root), **({"expected": 0, "size": 8} | changes))  # type: ignore[arg-type]


def rewrite(root: Path, old: str, new: str) -> None:
    assert old in MIAS
    (root / "Info.txt").write_bytes(MIAS.replace(old, new).encode())


def test_lines_of_every_kind_are_read(mini_mias: Path) -> None:
    table = tiny(mini_mias).manifest().set_index("case")
    assert table["label"].astype(str).to_dict() == {
        "mdb001": "benign",
        "mdb002": "benign",
        "mdb003": "normal",
        "mdb004": "normal",
        "mdb005": "benign",
        "mdb059": "benign",
        "mdb144": "malignant",
        "mdb216": "malignant",
    }
    assert table["patient"].tolist() == ["p001", "p001", "p002", "p002", "p003", "p030", "p072", "p108"]
    assert table["side"].tolist() == ["left", "right", "left", "right", "left", "left", "right", "right"]
    assert table["lesions"].tolist() == [1, 1, 0, 0, 2, 1, 2, 1]
    assert table["tissue"].tolist() == list("GGDDFFFD")
    assert table.loc["mdb003", "abnormality"] == "NORM"
    circle = ["x", "y_from_bottom", "radius"]
    assert table.loc["mdb005", circle].tolist() == [477, 133, 30]  # of two alike the first
    assert table.loc["mdb144", circle].tolist() == [313, 540, 27]  # the worst
    assert table.loc[["mdb003", "mdb059", "mdb216"], circle].isna().all(axis=None)


@pytest.mark.parametrize(
    ("task", "counts", "positive"),
    [
        ("severity", [2, 4, 2], []),
        ("malignancy", [4, 2], ["malignant"]),
        ("abnormality", [2, 6], ["abnormal"]),
    ],
)
def test_tasks(mini_mias: Path, task: str, counts: list[int], positive: list[str]) -> None:
    reader = tiny(mini_mias, task=task)
    labels = reader.manifest()["label"]
    assert tuple(labels.cat.categories) == CLASSES[task]
    assert labels.value_counts(sort=False).tolist() == counts
    assert reader.positive == positive
    assert tiny(mini_mias, task="severity", positive=["malignant"]).positive == ["malignant"]


def test_grey_is_readable_by_default(mini_mias: Path) -> None:
    reader = tiny(mini_mias)
    pixels = reader.read("mdb001.pgm")
    grey = np.array(Image.open(mini_mias / "mdb001.pgm"))
    assert (pixels == grey[..., None]).all()
    assert reader.decoding() == {"convert": True}
    with pytest.raises(BadImage, match="grey"):
        tiny(mini_mias, convert=False).read("mdb001.pgm")


def test_the_folder_may_be_one_down(mini_mias: Path, tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "all-mias"
    inner.parent.mkdir()
    inner.mkdir()
    for path in [*mini_mias.glob("*.pgm"), mini_mias / "Info.txt"]:
        path.rename(inner / path.name)
    assert tiny(inner.parent).manifest()["sample"][0] == "all-mias/mdb001.pgm"
    assert tiny(inner).manifest()["sample"][0] == "mdb001.pgm"
    with pytest.raises(ValueError, match=r"holds mini-MIAS' Info\.txt.*src\.download data=mini_mias"):
        tiny(mini_mias).manifest()


def test_counts_and_sizes_are_expected_by_default(mini_mias: Path) -> None:
    with pytest.raises(ValueError, match=r"322 images, but .* has 8.*data\.expected=0"):
        MiniMias(root=str(mini_mias)).manifest()
    with pytest.raises(
        ValueError, match=r"mini-MIAS' images have 1024 x 1024 pixels, but .*mdb001\.pgm has 8 x 8.*data\.size=0"
    ):
        tiny(mini_mias, size=1024).manifest()
    mammogram(mini_mias / "mdb002.pgm", size=9)
    with pytest.raises(ValueError, match=r"mdb002\.pgm has 9 x 9"):
        tiny(mini_mias).manifest()
    assert len(tiny(mini_mias, size=0).manifest()) == 8
    (mini_mias / "mdb002.pgm").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"mdb002\.pgm: the file is not an image.*src\.download data=mini_mias\S* fetches and unpacks it$",
    ):
        tiny(mini_mias).manifest()


def test_the_info_file_and_the_files_must_agree(mini_mias: Path) -> None:
    (mini_mias / "mdb216.pgm").rename(mini_mias / "mdb217.pgm")
    with pytest.raises(ValueError, match=r"mdb216: in Info\.txt but not a file"):
        tiny(mini_mias).manifest()
    mammogram(mini_mias / "mdb216.pgm")
    with pytest.raises(ValueError, match=r"mdb217: a file but not in Info\.txt"):
        tiny(mini_mias).manifest()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("mdb059 F CIRC B", "mdb059 F CIRC", r"1 of 10 are not: 'mdb059 F CIRC'"),
        ("mdb059 F CIRC B", "mdb059 X CIRC B", "'mdb059 X CIRC B'"),
        ("mdb059 F CIRC B", "mdb059 F CIRC Q 1 2 3", "'mdb059 F CIRC Q 1 2 3'"),
        ("mdb005 F CIRC B 500", "mdb005 D CIRC B 500", "an image is of one tissue, but .* for mdb005"),
        ("mdb005 F CIRC B 500 168 26", "mdb005 F NORM", "an image is normal or not, but .* for mdb005"),
        (MIAS, "nothing of mdb001\n", "there is none"),
    ],
)
def test_a_line_that_cannot_be_is_named(mini_mias: Path, old: str, new: str, said: str) -> None:
    rewrite(mini_mias, old, new)
    with pytest.raises(ValueError, match=said):
        tiny(mini_mias).manifest()


def test_values_check_themselves(mini_mias: Path) -> None:
    for changes in ({"task": "binary"}, {"expected": -1}, {"size": -1}):
        with pytest.raises(ValueError, match="=".join(str(part) for part in next(iter(changes.items())))):
            tiny(mini_mias, **changes)


def test_it_agrees_with_the_shared_table(shared: Path, tmp_path: Path) -> None:
    """Its lines, written as the info file has them, read back as its own columns: also patient and side, which they do
    not hold. mdb144 stands in the table twice, benign and malignant: here it is one image, malignant."""
    listed = pd.read_csv(shared / "data" / "mini_mias" / "samples.csv", dtype=str, keep_default_na=False)
    listed["case"] = listed["file"].str.extract(r"(mdb\d{3})")
    severity = listed["label"].map({"benign": "B", "malignant": "M"})
    parts = [listed[name] for name in ("case", "tissue", "abnormality")] + [severity]
    lines = [" ".join(part) for part in zip(*parts, *(listed[name] for name in CIRCLE), strict=True)]
    (tmp_path / "Info.txt").write_text("\n".join(lines))
    for case in listed["case"].unique():
        mammogram(tmp_path / f"{case}.pgm")
    table = tiny(tmp_path, task="malignancy").manifest().merge(listed, on="case", suffixes=("", "_listed"))
    assert (len(lines), table["case"].nunique()) == (115, 114)
    same = table[table["label"].astype(str) == table["label_listed"]]
    assert table["case"][~table.index.isin(same.index)].tolist() == ["mdb144"]
    assert same["case"].nunique() == 114
    for name in ("patient", "side", "tissue", "abnormality", *CIRCLE):
        assert same[name].astype(object).fillna("").astype(str).tolist() == same[f"{name}_listed"].tolist()
