import csv
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.data import image_file
from src.data.sets.cbis_ddsm import CbisDdsm
from src.images import BadImage
from tests.support.dicoms import DESCRIPTIONS, cbis_ddsm, tables, write
from tests.support.dicoms import image as drawn

PAIRS = "cbis_ddsm_pairs"


def reader(root: Path, **changes: object) -> CbisDdsm:
    return CbisDdsm(root=str(root), expected=False, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cbis_ddsm(tmp_path_factory.mktemp("cbis"))


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "cbis"))


def views(manifest: pd.DataFrame) -> dict[str, str]:
    return manifest.groupby("case")["view"].agg(" ".join).to_dict()


def labels(manifest: pd.DataFrame) -> dict[str, str]:
    return manifest.drop_duplicates("case").set_index("case")["label"].astype(str).to_dict()


def folder(root: Path, name: str) -> Path:
    (found,) = root.glob(f"**/{name}")
    return found


def test_a_lesion_is_a_case_with_its_views(made: Path) -> None:
    manifest = reader(made).manifest()
    assert views(manifest) == {
        "P_00001_left_mass_1": "cc mlo",
        "P_00004_right_mass_1": "mlo",
        "P_00005_right_calcification_1": "cc mlo",
        "P_00016_left_mass_1": "cc mlo",
        "P_00038_left_calcification_1": "cc mlo",
        "P_00041_left_calcification_2": "cc",
        "P_00041_left_mass_1": "cc mlo",
        "P_00419_left_mass_1_cc": "cc",
        "P_00419_left_mass_1_mlo": "mlo",
        "P_00419_left_mass_2_cc": "cc",
        "P_00419_left_mass_2_mlo": "mlo",
    }
    assert manifest["patient"].nunique() == 7
    assert labels(manifest)["P_00016_left_mass_1"] == "malignant"
    assert labels(manifest)["P_00041_left_mass_1"] == "benign"  # without callback


def test_what_the_tables_say_is_kept(made: Path) -> None:
    rows = reader(made).manifest().set_index(["case", "view"])
    mass, calcification = rows.loc[("P_00001_left_mass_1", "cc")], rows.loc[("P_00041_left_calcification_2", "cc")]
    assert mass["mass_shape"] == "IRREGULAR-ARCHITECTURAL_DISTORTION"
    assert (mass["mass_margins"], mass["breast_density"], mass["assessment"]) == ("SPICULATED", "3", "4")
    assert (mass["calc_type"], mass["part"], mass["side"]) == ("", "train", "left")
    assert (calcification["calc_type"], calcification["calc_distribution"]) == ("LUCENT_CENTER", "NA")
    assert (calcification["breast_density"], calcification["part"]) == ("1", "test")
    assert calcification["pathology"] == "BENIGN_WITHOUT_CALLBACK"
    assert rows.loc[("P_00041_left_mass_1", "mlo"), "mass_shape"] == "ROUND"  # by the other view LOBULATED
    assert set(CbisDdsm(root="").slices) <= set(rows.columns)


def test_views_that_disagree_are_cases_of_their_own(made: Path) -> None:
    own = reader(made)
    manifest = own.manifest()
    assert labels(manifest)["P_00419_left_mass_1_cc"] == labels(manifest)["P_00419_left_mass_2_mlo"] == "benign"
    assert labels(manifest)["P_00419_left_mass_1_mlo"] == labels(manifest)["P_00419_left_mass_2_cc"] == "malignant"
    assert own.notes(manifest) == [
        "6 of 11 lesions have one view only (cc 3, mlo 3)",
        "lesions that the tables call benign in one view and malignant in the other: 2 (P_00419_left_mass_1, "
        "P_00419_left_mass_2); each of their views is a case",
    ]


def test_a_breast_is_a_case_of_full_mammograms(made: Path) -> None:
    own = reader(made, image="full")
    manifest = own.manifest()
    assert views(manifest)["P_00041_left"] == "cc cc mlo"  # the calcification's release has its own
    assert len(manifest) == 14
    assert labels(manifest)["P_00419_left"] == "malignant"
    both = manifest[manifest["case"] == "P_00419_left"].set_index("view")
    assert both.loc["cc", "mass_margins"] == "CIRCUMSCRIBED+ILL_DEFINED"
    assert both.loc["mlo", "assessment"] == "3+5"
    assert both.loc["cc", "breast_density"] == "3"
    assert own.notes(manifest) == ["1 of 7 breasts have one view only (cc 0, mlo 1)"]
    assert own.read(manifest["sample"][0]).shape == (12, 10, 3)


def test_abnormality_and_part_choose_tables(made: Path, tmp_path: Path) -> None:
    for name in ("mass_case_description_train_set.csv", "mass_case_description_test_set.csv"):
        shutil.copy(made / name, tmp_path)
    masses = reader(made, abnormality="mass", tables=str(tmp_path)).manifest()
    assert set(masses["abnormality"]) == {"mass"}
    assert len(masses) == 11
    train = reader(made, part="train").manifest()
    assert set(train["part"]) == {"train"}
    assert len(train) == 11
    assert set(reader(made, abnormality="calcification").manifest()["case"].str.split("_").str[3]) == {"calcification"}


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("images", ["CBIS-DDSM", "manifest-1617905855234/CBIS-DDSM", "."])
def test_crops_are_told_from_masks(tmp_path: Path, described: bool, images: str) -> None:
    own = reader(cbis_ddsm(tmp_path, images, described))
    manifest = own.manifest()
    assert len(manifest) == 16
    for sample in manifest["sample"]:
        pixels = own.read(sample)
        assert pixels.shape == (4, 5, 3)
        assert len(np.unique(pixels)) > 2


def test_the_layout_of_unique_identifiers_with_crop_and_mask_apart(root: Path) -> None:
    case = folder(root, "Mass-Training_P_00001_LEFT_CC_1")
    shutil.rmtree(case)
    study = case / "1.3.6.1.4.1.9590.100.1.2.108268213011361124203859148071588939106"
    write(study / "1.3.6.1.4.1.9590.100.1.2.1" / "000000.dcm", drawn("mask"), DESCRIPTIONS["mask"])
    write(study / "1.3.6.1.4.1.9590.100.1.2.2" / "000000.dcm", drawn("crop"), DESCRIPTIONS["crop"])
    (study / "1.3.6.1.4.1.9590.100.1.2.2" / "._000000.dcm").write_bytes(b"as macOS leaves it")
    rows = reader(root).manifest().set_index(["case", "view"])
    assert rows.loc[("P_00001_left_mass_1", "cc"), "sample"].endswith("100.1.2.2/000000.dcm")


def test_a_download_in_two_pieces(root: Path) -> None:
    whole = reader(root).manifest()
    other = root / "manifest-2" / "CBIS-DDSM"
    other.mkdir(parents=True)
    for path in sorted((root / "manifest-1" / "CBIS-DDSM").iterdir())[::2]:
        shutil.move(path, other)
        path.mkdir()  # begun, and empty
    again = reader(root).manifest()
    assert set(again["sample"].str.replace("manifest-2", "manifest-1")) == set(whole["sample"])


def test_crop_and_mask_of_one_size_are_told_by_their_pixels(root: Path) -> None:
    case = folder(root, "Mass-Training_P_00001_LEFT_CC_1")
    shutil.rmtree(case)
    write(case / "a" / "1-1.dcm", drawn("mask"))
    write(case / "a" / "1-2.dcm", drawn("full"))
    rows = reader(root).manifest().set_index(["case", "view"])
    assert rows.loc[("P_00001_left_mass_1", "cc"), "sample"].endswith("1-2.dcm")


@pytest.mark.parametrize("kind", ["mask", "undescribed mask", "two crops", "nothing"])
def test_a_lesion_without_its_file(root: Path, kind: str) -> None:
    case = folder(root, "Calc-Training_P_00005_RIGHT_MLO_1")
    shutil.rmtree(case)
    if kind == "two crops":
        write(case / "1-1.dcm", drawn("crop", 1), DESCRIPTIONS["crop"])
        write(case / "1-2.dcm", drawn("crop", 2), DESCRIPTIONS["crop"])
    elif kind != "nothing":
        write(case / "1-1.dcm", drawn("mask"), "" if kind.startswith("un") else DESCRIPTIONS["mask"])
    with pytest.raises(ValueError, match=r"1 of 16 have none, .*: Calc-Training_P_00005_RIGHT_MLO_1\..*missing=skip"):
        reader(root).manifest()
    own = reader(root, missing="skip")
    manifest = own.manifest()
    assert views(manifest)["P_00005_right_calcification_1"] == "cc"
    assert own.notes(manifest)[0] == "7 of 11 lesions have one view only (cc 4, mlo 3)"
    assert own.notes(manifest)[-1] == "images that are missing and left out (data.missing=skip): 1"


def test_many_missing_files_are_counted(root: Path) -> None:
    for path in sorted((root / "manifest-1" / "CBIS-DDSM").glob("Mass-*"))[:-2]:
        shutil.rmtree(path)
    with pytest.raises(ValueError, match=r"9 of 16 .*LEFT_CC_1, .*, .*, \.\.\. \(9 in all\)"):
        reader(root).manifest()


def test_a_damaged_crop_is_a_bad_image_when_it_is_read(root: Path) -> None:
    case = folder(root, "Mass-Training_P_00001_LEFT_CC_1")
    (crop,) = (path for path in case.rglob("*.dcm") if path.name == "1-2.dcm")
    crop.write_bytes(b"broken")
    own = reader(root)
    rows = own.manifest().set_index(["case", "view"])
    assert rows.loc[("P_00001_left_mass_1", "cc"), "sample"] == crop.relative_to(root).as_posix()
    with pytest.raises(BadImage, match="not a DICOM file"):
        own.read(crop.relative_to(root).as_posix())
    write(crop, None, DESCRIPTIONS["crop"])
    assert len(own.manifest()) == 16
    with pytest.raises(BadImage, match="has no pixels"):
        own.read(crop.relative_to(root).as_posix())


def test_only_headers_are_read(root: Path) -> None:
    expected = reader(root).manifest()
    for path in root.rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:-9])
    pd.testing.assert_frame_equal(reader(root).manifest(), expected)


def test_no_images_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NBIA Data Retriever filled, but neither"):
        reader(tables(tmp_path)).manifest()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


WRONG = {
    "lacks mass_margins": ("mass margins", "margins"),
    "'MALIGN' for patient 'P_00016', and 1 more": ("MALIGNANT", "MALIGN"),
    "view is one of": (",CC,", ",XCCL,"),
    "P_00016 left mass 1 cc has several": ("LEFT,MLO", "LEFT,CC"),
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_table_that_breaks_a_rule(root: Path, reason: str) -> None:
    edit(root / "mass_case_description_test_set.csv", *WRONG[reason])
    with pytest.raises(ValueError, match=reason):
        reader(root).manifest()


def test_a_table_is_whole_and_there(root: Path) -> None:
    with pytest.raises(ValueError, match="1318 rows as released, but .* has 9: .*data.expected=false"):
        CbisDdsm(root=str(root)).manifest()
    (root / "mass_case_description_train_set.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="as released .* cannot be read as one"):
        reader(root).manifest()
    (root / "mass_case_description_train_set.csv").unlink()
    with pytest.raises(ValueError, match="there is none at .*data.tables=FOLDER"):
        reader(root).manifest()


def test_a_row_that_stands_twice_counts_once(root: Path) -> None:
    expected = reader(root).manifest()
    path = root / "calc_case_description_test_set.csv"
    head, *rows = path.read_bytes().split(b"\r\n")
    path.write_bytes(b"\r\n".join([head, rows[1], *rows]))
    pd.testing.assert_frame_equal(reader(root).manifest(), expected)


def test_the_window_is_part_of_the_recipe() -> None:
    recipes = [CbisDdsm(root="", window=name).decoding() for name in ("stored", "bits", "percentiles")]
    recipes.append(CbisDdsm(root="", window="percentiles", percentile=2).decoding())
    assert len({str(recipe) for recipe in recipes}) == 4
    assert CbisDdsm(root="", percentile=2).decoding() == recipes[0]


def test_values_check_themselves() -> None:
    for name in ("abnormality", "image", "part", "missing", "window"):
        with pytest.raises(ValueError, match=f"`{name}` must be one of .*{name}=other"):
            CbisDdsm(root="", **{name: "other"})
    with pytest.raises(ValueError, match="percentile=50"):
        CbisDdsm(root="", percentile=50)


def released(shared: Path) -> list[dict[str, str]]:
    """The released tables' rows, by the standard library."""
    rows = []
    for path in sorted((shared / "published" / "cbis_ddsm").glob("*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                rows.append({name.replace(" ", "_"): value.strip() for name, value in row.items()})
    return rows


@pytest.mark.slow
def test_the_released_tables(shared: Path, tmp_path: Path) -> None:
    rows = released(shared)
    crop = write(tmp_path / "crop.dcm", drawn("crop"), DESCRIPTIONS["crop"]).read_bytes()
    for row in rows:
        for name in ("image_file_path", "cropped_image_file_path"):
            path = tmp_path / "CBIS-DDSM" / row[name].split("/")[0] / "1-1.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(crop)
    lesions, breasts = defaultdict(dict), defaultdict(list)
    for row in rows:
        lesion = (row["patient_id"], row["left_or_right_breast"], row["abnormality_type"], row["abnormality_id"])
        lesions[lesion][row["image_view"]] = row["pathology"] == "MALIGNANT"
        breasts[lesion[:2]].append(row["pathology"] == "MALIGNANT")
    agreeing = {lesion: each for lesion, each in lesions.items() if len(set(each.values())) == 1}
    assert (len(rows), len(lesions), len(agreeing), len(breasts)) == (3568, 2050, 2047, 1708)

    own = CbisDdsm(root=str(tmp_path), tables=str(shared / "published" / "cbis_ddsm"))
    manifest = own.manifest()
    cases = manifest.drop_duplicates("case")
    assert (len(manifest), len(cases), manifest["patient"].nunique()) == (3568, 2053, 1566)
    malignant = sum(next(iter(each.values())) for each in agreeing.values())
    assert cases["label"].value_counts().to_dict() == {"benign": 2047 - malignant + 3, "malignant": malignant + 3}
    assert malignant == 840
    single = [next(iter(each)) for each in lesions.values() if len(each) == 1]
    assert (len(single), single.count("CC"), single.count("MLO")) == (532, 154, 378)
    assert own.notes(manifest)[0] == "538 of 2053 lesions have one view only (cc 157, mlo 381)"  # 6 disagreeing views
    assert "benign in one view and malignant in the other: 3 " in own.notes(manifest)[1]
    assert (cases.groupby("patient")["part"].nunique() > 1).sum() == 31
    masses = cases[cases["abnormality"] == "mass"]
    assert masses["label"].value_counts().to_dict() == {"benign": 546, "malignant": 462}
    assert masses["patient"].nunique() == 892

    assert (manifest[own.slices].nunique() <= 30).all()
    own.image = "full"
    manifest = own.manifest()
    assert (manifest[own.slices].nunique() <= 30).all()
    cases = manifest.drop_duplicates("case")
    assert (len(manifest), len(cases)) == (len({row["image_file_path"] for row in rows}), 1708) == (3103, 1708)
    assert (cases["label"] == "malignant").sum() == sum(map(any, breasts.values())) == 761


def test_real_mammograms(shared: Path, tmp_path: Path) -> None:
    """Real pixels in DICOM files under their real names read as the PNGs that they come from."""
    chosen = ("P_00041", "P_00127", "P_00202")
    for path in (shared / "published" / "cbis_ddsm").glob("calc*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        kept = table[table["patient_id"].isin(chosen)] if "test" in path.name else table[:0]
        kept.to_csv(tmp_path / path.name, index=False)
    pairs = {path.stem: path for path in (shared / "data" / PAIRS).glob("*.png")}
    for name, path in pairs.items():
        with Image.open(path) as picture:
            pixels = np.array(picture).astype(np.uint16)
        write(tmp_path / "CBIS-DDSM" / name / "1-1" / "1-1.dcm", pixels, DESCRIPTIONS["full"])
    own = reader(tmp_path, abnormality="calcification", image="full")
    manifest = own.manifest()
    assert views(manifest) == {f"{case}": "cc mlo" for case in ("P_00041_left", "P_00127_right", "P_00202_right")}
    assert labels(manifest) == {"P_00041_left": "benign", "P_00127_right": "malignant", "P_00202_right": "malignant"}
    for sample in manifest["sample"]:
        expected = image_file.read(pairs[Path(sample).parts[1]], convert=True)
        assert (own.read(sample) == expected).all()
