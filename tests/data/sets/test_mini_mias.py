from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.data import image_file
from src.data.conversion import REVISION
from src.data.sets.mini_mias import CLASSES, MiniMias
from src.images import BadImage
from tests.support.datasets import MIAS, mammogram

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
    assert reader.decoding() == {"convert": True, "conversion": REVISION}
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
        tiny(mini_mias, size=1024).samples()
    mammogram(mini_mias / "mdb002.pgm", size=9)
    with pytest.raises(ValueError, match=r"mdb002\.pgm has 9 x 9"):
        tiny(mini_mias).samples()
    assert len(tiny(mini_mias, size=0).manifest()) == 8
    (mini_mias / "mdb002.pgm").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"mdb002\.pgm: the file is not an image.*src\.download data=mini_mias\S* fetches and unpacks it$",
    ):
        tiny(mini_mias).samples()


def test_the_info_file_and_the_files_must_agree(mini_mias: Path) -> None:
    (mini_mias / "mdb216.pgm").rename(mini_mias / "mdb217.pgm")
    with pytest.raises(ValueError, match=r"mdb216\.pgm: listed but not a file"):
        tiny(mini_mias).manifest()
    mammogram(mini_mias / "mdb216.pgm")
    with pytest.raises(ValueError, match=r"mdb217\.pgm: a file but not listed"):
        tiny(mini_mias).manifest()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("mdb059 F CIRC B", "mdb059 F CIRC", r"1 of 10 are not: 'mdb059 F CIRC'"),
        ("mdb059 F CIRC B", "mdb059 X CIRC B", "'mdb059 X CIRC B'"),
        ("mdb059 F CIRC B", "mdb059 F CIRC Q 1 2 3", "'mdb059 F CIRC Q 1 2 3'"),
        ("mdb005 F CIRC B 500", "mdb005 D CIRC B 500", "an image is of one tissue, but .*: mdb005"),
        ("mdb005 F CIRC B 500 168 26", "mdb005 F NORM", "an image is normal or not, but .*: mdb005"),
        (MIAS, "nothing of mdb001\n", "there is none"),
    ],
)
def test_a_line_that_cannot_be_is_named(mini_mias: Path, old: str, new: str, said: str) -> None:
    rewrite(mini_mias, old, new)
    with pytest.raises(ValueError, match=said):
        tiny(mini_mias).manifest()


def test_values_check_themselves(mini_mias: Path) -> None:
    for changes in (
        {"task": "binary"},
        {"expected": -1},
        {"size": -1},
        {"region": "breast"},
        {"margin": 0.5},
        {"minimum": 0},
    ):
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


LISTED = """file,label,tissue,abnormality,x,y_from_bottom,radius
benign/mdb005.png,benign,F,CIRC,512,256,64
benign/mdb144.png,benign,F,MISC,0,1024,32
malignant/mdb144.png,malignant,F,MISC,312,540,4
malignant/mdb216.png,malignant,D,CALC,,,
normal/mdb003.png,normal,D,NORM,,,
"""


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A copy of a quarter of the size in a folder per class, with a table: a pixel's value is its row (row, column)."""
    rows, columns = np.mgrid[:256, :256].astype(np.uint8)
    pixels = np.dstack([rows, columns, rows])
    for line in LISTED.splitlines()[1:]:
        path = tmp_path / "copy" / line.split(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "copy" / "samples.csv").write_text(LISTED)
    return tmp_path / "copy"


def test_a_table_lists_images_of_any_size_and_format(listed: Path) -> None:
    table = tiny(listed, size=256).manifest().set_index("case")
    assert table["sample"].tolist() == [
        "benign/mdb005.png",
        "malignant/mdb144.png",
        "malignant/mdb216.png",
        "normal/mdb003.png",
    ]
    assert table["label"].tolist() == ["benign", "malignant", "malignant", "normal"]
    assert table["patient"].tolist() == ["p003", "p072", "p108", "p002"]
    assert table.loc["mdb144", ["lesions", *CIRCLE]].tolist() == [2, 312, 540, 4]
    with pytest.raises(ValueError, match=r"1024 x 1024 pixels, but .* has 256 x 256.*data\.size=0"):
        tiny(listed, size=1024).samples()
    with pytest.raises(ValueError, match=r"322 images, but .* has 4.*data\.expected=0"):
        tiny(listed, size=256, expected=322).manifest()


def test_lesions_are_squares_around_their_circles(listed: Path) -> None:
    """In pixels of the image as it lies there: a quarter of the original's, of which rows are counted from below."""
    reader = tiny(listed, size=0, region="lesion", margin=2)
    table = reader.manifest()
    assert table[["case", "patient", "label", "sample"]].to_numpy().tolist() == [
        [
            "mdb005-1",
            "p003",
            "benign",
            "benign/mdb005.png#xywh=96,160,64,64",
        ],  # 2 x 2 x 64 / 4 pixels around (128, 192)
        ["mdb144-1", "p072", "benign", "benign/mdb144.png#xywh=0,0,32,32"],  # in a corner: moved inwards
        ["mdb144-2", "p072", "malignant", "malignant/mdb144.png#xywh=70,113,16,16"],  # 64 / 4, the minimum
    ]
    crop = reader.read("benign/mdb005.png#xywh=96,160,64,64")
    assert crop.shape == (64, 64, 3)
    assert crop[0, 0].tolist() == [160, 96, 160]
    assert crop[-1, -1].tolist() == [223, 159, 223]
    assert (reader.positive, reader.task) == (["malignant"], "malignancy")
    assert reader.notes(table) == [
        "1 images have several lesions, of which each with a circle is a case: mdb144",
        "1 lesions have no circle and are left out: mdb216",
    ]
    whole = tiny(listed, size=0).manifest()
    assert tiny(listed, size=0).notes(whole) == []


def test_lesions_of_the_info_file(mini_mias: Path) -> None:
    """Two circles of one image are two cases of one patient."""
    for path in mini_mias.glob("*.pgm"):
        mammogram(path, size=64)
    table = tiny(mini_mias, region="lesion", size=64).manifest()
    assert table["case"].tolist() == ["mdb001-1", "mdb002-1", "mdb005-1", "mdb005-2", "mdb144-1", "mdb144-2"]
    assert table["label"].tolist() == ["benign"] * 5 + ["malignant"]
    assert table["lesions"].tolist() == [1, 1, 2, 2, 2, 2]
    assert table["sample"][0] == "mdb001.pgm#xywh=15,19,37,37"


def test_regions_of_one_file_are_different_contents(listed: Path) -> None:
    """So that descriptors are kept for each: contents are half of a stored descriptor's address."""
    samples = [f"benign/mdb005.png{region}" for region in ("", "#xywh=0,0,8,8", "#xywh=0,0,8,9", "#xywh=1,0,8,8")]
    contents = [image_file.file_digest(listed / sample) for sample in samples]
    assert len(set(contents)) == 4
    octets = (listed / "benign/mdb005.png").read_bytes()
    assert [image_file.file_digest(listed / sample, octets) for sample in samples] == contents


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (LISTED, "file,label\n", "lacks tissue, abnormality, x, y_from_bottom, radius: data=csv takes any"),
        ("benign/mdb005.png", "benign/scan 5.png", "a file is called mdbNNN, but not so in .*'benign/scan 5.png'"),
        ("benign/mdb005.png,benign", "benign/mdb005.png,B", "a label is normal, benign, malignant, but .*'B'"),
        ("512,256,64", "512,256,6.4", r"a circle is whole numbers, but .*radius '6\.4'"),
        ("512,256,64", "2512,256,64", r"a circle's centre lies in the image's 1024 x 1024 .*mdb005\.png is 2512, 256"),
        ("normal/mdb003.png", "normal/mdb004.png", r"normal/mdb004\.png: listed but not a file"),
        ("normal/mdb003.png,normal,D,NORM,,,\n", "", r"normal/mdb003\.png: a file but not listed"),
    ],
)
def test_a_table_that_cannot_be_is_named(listed: Path, old: str, new: str, said: str) -> None:
    assert old in LISTED
    (listed / "samples.csv").write_text(LISTED.replace(old, new))
    with pytest.raises(ValueError, match=said):
        tiny(listed, size=0, region="lesion").manifest()


def test_circles_are_those_of_square_images(listed: Path) -> None:
    Image.new("L", (256, 200)).save(listed / "benign" / "mdb005.png")
    with pytest.raises(ValueError, match=r"square images of 1024 pixels, but .*mdb005\.png has 256 x 200"):
        tiny(listed, size=0, region="lesion").manifest()
    (listed / "benign" / "mdb005.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"mdb005\.png: the file is not an image"):
        tiny(listed, size=0, region="lesion").manifest()


def test_lesions_are_all_abnormal(listed: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.task=abnormality is for data\.region=image"):
        tiny(listed, region="lesion", task="abnormality")


def test_the_halved_mammograms_are_read_as_they_lie(shared: Path) -> None:
    root = shared / "data" / "mini_mias"
    whole = tiny(root, task="malignancy", size=512).manifest()
    assert whole["label"].value_counts().to_dict() == {"benign": 62, "malignant": 52}
    reader = tiny(root, region="lesion", size=512)
    table = reader.manifest().set_index("case")
    assert table["label"].value_counts().to_dict() == {"benign": 63, "malignant": 49}
    assert table.loc["mdb001-1", "sample"] == "benign/mdb001.jpg#xywh=120,152,296,296"
    # mdb134's mass is bright on a dark ground, as its circle says.
    crop = reader.read(table.loc["mdb134-1", "sample"])[..., 0].astype(float)
    side = len(crop)
    assert crop[side // 3 : -side // 3, side // 3 : -side // 3].mean() > crop[: side // 6].mean() + 15
