from pathlib import Path

import pandas as pd
import pytest

from src.data.manifest import list_cases
from src.data.sets.breakhis import CLASSES, BreakHis, parse_name
from src.data.splits import ImageKFold, KFold, Published
from tests.support.datasets import BREAKHIS, breakhis_path

BREAST = Path("BreaKHis_v1", "histology_slides", "breast")


def tiny(root: Path, **changes: object) -> BreakHis:
    return BreakHis(root=str(root), **({"expected": False} | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distributed layout with all 7,909 names, and nothing in the files."""
    root = tmp_path_factory.mktemp("breakhis")
    folders = set()
    for name in (shared / "published" / "breakhis_files.txt").read_text().split():
        path = root / breakhis_path(name)
        if path.parent not in folders:
            path.parent.mkdir(parents=True)
            folders.add(path.parent)
        path.touch()
    return root


@pytest.mark.parametrize("depth", range(4))
def test_root_is_any_of_four_folders(breakhis: Path, depth: int) -> None:
    root = breakhis.joinpath(*BREAST.parts[:depth])
    manifest = tiny(root).manifest()
    assert sorted(manifest["case"]) == sorted(BREAKHIS)
    assert all((root / sample).is_file() for sample in manifest["sample"])


def test_a_row_says_all_that_the_name_says(breakhis: Path) -> None:
    row = tiny(breakhis, task="all").manifest().set_index("case").loc["SOB_M_MC-14-18842D-200-016.png"]
    assert row["sample"] == breakhis_path("SOB_M_MC-14-18842D-200-016.png").as_posix()
    assert (row["label"], row["subtype"]) == ("mucinous_carcinoma", "mucinous_carcinoma")
    assert (row["patient"], row["slide"], row["magnification"], row["view"]) == ("14-18842", "14-18842D", 200, "")


def test_tasks_have_their_classes_in_order(breakhis: Path) -> None:
    for task, count in (("binary", 11), ("benign", 5), ("malignant", 6), ("all", 11), ("frequent", 6)):
        reader = tiny(breakhis, task=task)
        manifest = reader.manifest()
        assert tuple(manifest["label"].cat.categories) == CLASSES[task]
        assert len(manifest) == count
        assert reader.positive == (["malignant"] if task == "binary" else [])
        assert reader.slices == ["magnification", "subtype"][: 2 if task == "binary" else 1]
    assert CLASSES["all"] == CLASSES["benign"] + CLASSES["malignant"]


def test_evas_split_has_parts_of_four_specimens_on_both_sides(real: Path, shared: Path) -> None:
    """Its patients are slides by their letters, so that 91 of 339 images are of specimens that are learnt from."""
    reader = BreakHis(root=str(real), task="frequent", magnifications=[40])
    manifest = reader.manifest()
    folds = Published(path="experiments/eva_breakhis/published/eva_split.csv").split(manifest).set_index("case")["fold"]
    assert folds.value_counts().to_dict() == {0: 1132, 1: 339}
    held_out = folds.loc[manifest["case"]].to_numpy() == 1
    listed = (shared / "published" / "eva_breakhis_validation_patients.txt").read_text().split()
    assert set(manifest["slide"][held_out].str[3:]) == set(listed)
    assert not set(manifest["slide"][held_out]) & set(manifest["slide"][~held_out])
    both = set(manifest["patient"][held_out]) & set(manifest["patient"][~held_out])
    assert both == {"14-16184", "14-18842", "14-19979", "14-23060"}
    assert (held_out & manifest["patient"].isin(both)).sum() == 91


def test_positive_and_slices_are_the_users_where_given(breakhis: Path) -> None:
    reader = tiny(breakhis, task="all", positive=["ductal_carcinoma"], slices=[])
    reader.manifest()
    assert (reader.positive, reader.slices) == (["ductal_carcinoma"], [])
    with pytest.raises(ValueError, match=r"data\.positive lists classes of adenosis.*but got malignant"):
        tiny(breakhis, task="benign", positive=["malignant"]).manifest()


def test_magnifications_are_chosen(breakhis: Path) -> None:
    assert tiny(breakhis, magnifications=[400, 40]).manifest()["magnification"].tolist() == [40, 400, 40, 400, 400]
    with pytest.raises(ValueError, match=r"every class has a sample, but class 'adenosis' has none"):
        tiny(breakhis, task="all", magnifications=[200]).manifest()


def test_parts_of_a_specimen_are_one_patient_unless_asked_otherwise(breakhis: Path) -> None:
    for patients, count in (("number", 8), ("slide", 10)):
        table = tiny(breakhis, patients=patients).manifest()
        assert table["patient"].nunique() == count
        assert set(table["patient"][table["slide"] == "14-13412"]) == {"14-13412"}
        assert set(table["subtype"][table["patient"] == "14-13412"]) == {"ductal_carcinoma", "lobular_carcinoma"}
    assert "14-29960AB" in set(table["patient"])


def test_counts_are_expected_by_default(breakhis: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"7909 images, but .* has 11: adenosis 2 instead of 444.*src\.download data=breakhis.*expected",
    ):
        BreakHis(root=str(breakhis)).manifest()


def test_a_folder_without_the_layout_is_named(breakhis: Path) -> None:
    with pytest.raises(ValueError, match=r"holds BreaKHis_v1 .*src\.download data=breakhis.*data=folder"):
        tiny(breakhis / "elsewhere").manifest()


def test_names_and_folders_must_agree(breakhis: Path) -> None:
    path = breakhis / breakhis_path("SOB_B_PT-14-22704-100-013.png")
    other = path.parent / "SOB_B_PT-14-22704-40-013.png"
    path.rename(other)
    with pytest.raises(ValueError, match=r"100X/SOB_B_PT-14-22704-40-013\.png is benign, phyllodes_tumor, 40X by name"):
        tiny(breakhis).manifest()
    other.rename(path.parent / "SOB_B_PT-22704.png")
    with pytest.raises(ValueError, match=r"a name is SOB_.*but .*SOB_B_PT-22704\.png is not"):
        tiny(breakhis).manifest()


@pytest.mark.parametrize("name", ["SOB_M_A-14-1-40-001.png", "SOB_B_DC-14-1-40-001.png"])
def test_a_subtype_of_the_other_kind_is_refused(name: str) -> None:
    kind, subtype = ("malignant", "adenosis") if "_M_" in name else ("benign", "ductal_carcinoma")
    with pytest.raises(ValueError, match="lies in the folders of its name"):
        parse_name(f"{kind}/SOB/{subtype}/slide/40X/{name}")


def test_an_image_in_two_folders_is_named(breakhis: Path) -> None:
    path = breakhis / breakhis_path(BREAKHIS[0])
    copy = path.parents[2] / "other" / path.parent.name
    copy.mkdir(parents=True)
    (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=f"in several: {path.name}"):
        tiny(breakhis).manifest()


def test_values_check_themselves() -> None:
    for changes, said in (
        ({"task": "eight"}, "task=eight"),
        ({"patients": "name"}, "patients=name"),
        ({"magnifications": [50]}, r"\[50\]"),
        ({"magnifications": []}, r"\[\]"),
        ({"magnifications": [40, 40]}, "each once"),
    ):
        with pytest.raises(ValueError, match=said):
            tiny(Path(), **changes)


def test_all_real_names_have_the_papers_counts(real: Path) -> None:
    table = BreakHis(root=str(real), task="all").manifest()
    assert len(table) == 7909
    assert table["label"].value_counts(sort=False).tolist() == [444, 1014, 453, 569, 3451, 626, 792, 560]
    assert table["magnification"].value_counts().to_dict() == {40: 1995, 100: 2081, 200: 2013, 400: 1820}
    assert table["slide"].nunique() == 81
    assert table.groupby("subtype")["slide"].nunique().sum() == 82  # the authors' patients
    assert table["patient"].nunique() == 70
    binary = BreakHis(root=str(real)).manifest()
    assert binary["label"].value_counts().to_dict() == {"benign": 2480, "malignant": 5429}
    assert BreakHis(root=str(real), task="benign", magnifications=[40]).manifest().shape[0] == 625
    assert BreakHis(root=str(real), task="malignant", magnifications=[100, 400]).manifest().shape[0] == 1437 + 1232


@pytest.mark.parametrize(
    ("task", "patients", "folds", "least"),
    [
        ("binary", "number", 5, None),
        ("binary", "slide", 5, None),
        ("malignant", "slide", 5, "lobular_carcinoma has 5"),
        ("malignant", "number", 4, "lobular_carcinoma has 4"),
        ("benign", "slide", 3, "phyllodes_tumor has 3"),
        ("benign", "number", 2, "adenosis has 2"),
        ("all", "slide", 3, "phyllodes_tumor has 3"),
        ("all", "number", 2, "adenosis has 2"),
    ],
)
def test_no_patient_stands_in_two_folds(real: Path, task: str, patients: str, folds: int, least: str | None) -> None:
    """As many folds as the class with the fewest patients allows; one more is refused, with the number that works."""
    table = BreakHis(root=str(real), task=task, patients=patients).manifest()
    joined = table.merge(KFold(folds=folds).split(table), on="case")
    assert joined.groupby("patient")["fold"].nunique().max() == 1
    assert joined.groupby("fold")["label"].nunique().tolist() == [len(CLASSES[task])] * folds
    assert len(joined) == len(table)
    if least:
        with pytest.raises(ValueError, match=f"class {least} patients .*protocol.folds={folds} or fewer"):
            KFold(folds=folds + 1).split(table)


def test_the_papers_own_split_is_flagged(real: Path) -> None:
    table = BreakHis(root=str(real)).manifest()
    for protocol, patients in ((ImageKFold(), 70), (KFold(), 0)):
        joined = list_cases(table).merge(protocol.split(table), on="case")
        assert (joined.groupby("patient")["fold"].nunique() > 1).sum() == patients


def test_the_real_images_parse(shared: Path, tmp_path: Path) -> None:
    """The images of the shared sample that keep their names say what its table says."""
    folder = shared / "data" / "histology_sample"
    listed = pd.read_csv(folder / "samples.csv", dtype=str)
    listed = listed[listed["file"].str.contains("SOB_")].assign(case=listed["file"].str.split("/").str[1])
    for file, case in zip(listed["file"], listed["case"], strict=True):
        path = tmp_path / breakhis_path(case)
        path.parent.mkdir(parents=True)
        path.symlink_to(folder / file)
    reader = tiny(tmp_path, patients="slide")
    table = reader.manifest().merge(listed, on="case")
    assert len(table) == 8
    for name in ("label", "subtype", "patient", "magnification"):
        assert table[f"{name}_x"].astype(str).tolist() == table[f"{name}_y"].tolist()
    assert reader.read(table["sample"][0]).shape == (460, 700, 3)
