"""What holds for every reader."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from src.data.manifest import COLUMNS, case_groups, check_manifest, list_cases
from src.data.reader import Reader
from src.data.region import split_region
from src.data.sets.bach import Bach
from src.data.sets.breakhis import BreakHis
from src.data.sets.cbis_ddsm import CbisDdsm
from src.data.sets.demo import Demo
from src.data.sets.demo_mammograms import DemoMammograms
from src.data.sets.folder import Folder
from src.data.sets.mini_mias import MiniMias
from src.data.sets.table import Table
from src.data.sets.tma import Tma
from tests.support.datasets import mammogram
from tests.support.dicoms import cbis_ddsm

READERS = ("bach", "folder", "csv", "demo", "breakhis", "tma", "mini_mias", "lesions", "cbis_ddsm", "demo_mammograms")


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Reader:
    if request.param == "bach":
        root = request.getfixturevalue("bach")
        return Bach(root=str(root), expected_per_class=2, expected_test=3, width=12, height=8)
    if request.param == "folder":
        return Folder(root=str(request.getfixturevalue("folder")))
    if request.param == "csv":
        columns = {"sample": "file", "patient": "patient_id", "view": "View"}
        return Table(path=str(request.getfixturevalue("table")), columns=columns)
    if request.param == "breakhis":
        return BreakHis(root=str(request.getfixturevalue("breakhis")), expected=False)
    if request.param == "tma":
        return Tma(root=str(request.getfixturevalue("tma")), expected=0)
    if request.param == "mini_mias":
        return MiniMias(root=str(request.getfixturevalue("mini_mias")), expected=0, size=8)
    if request.param == "lesions":
        root = request.getfixturevalue("mini_mias")
        for path in root.glob("*.pgm"):
            mammogram(path, size=64)
        return MiniMias(root=str(root), expected=0, size=64, region="lesion")
    if request.param == "cbis_ddsm":
        return CbisDdsm(root=str(cbis_ddsm(tmp_path)), expected=False)
    if request.param == "demo_mammograms":
        return DemoMammograms(root=str(tmp_path / "demo"), cases=6, size=64)
    return Demo(root=str(tmp_path / "demo"), cases=4, width=96, height=64)


def test_manifest_has_the_columns(reader: Reader) -> None:
    manifest = reader.manifest()
    assert tuple(manifest.columns[: len(COLUMNS)]) == COLUMNS
    assert all(isinstance(value, str) for name in COLUMNS for value in manifest[name])
    assert manifest["sample"].is_monotonic_increasing
    assert manifest["sample"].is_unique
    assert manifest.index.tolist() == list(range(len(manifest)))
    assert isinstance(manifest["label"].dtype, pd.CategoricalDtype)
    pd.testing.assert_frame_equal(check_manifest(manifest), manifest)


def test_manifest_is_the_same_again(reader: Reader) -> None:
    pd.testing.assert_frame_equal(reader.manifest(), reader.manifest())


def test_every_sample_reads_as_8_bit_rgb(reader: Reader) -> None:
    for sample in reader.manifest()["sample"]:
        pixels = reader.read(sample)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.flags.writeable
        assert reader.shape(sample) == pixels.shape[:2]
        assert Path(reader.root, split_region(sample)[0]).is_file()


def test_cases_and_groups_agree(reader: Reader) -> None:
    manifest = reader.manifest()
    table, group = list_cases(manifest), case_groups(manifest)
    assert table["case"].tolist() == group.index.tolist() == sorted(set(manifest["case"]))
    known = table["patient"] != ""
    assert (group.to_numpy() == np.where(known, table["patient"], table["case"])).all()


def test_positive_classes_are_classes(reader: Reader) -> None:
    classes = reader.manifest()["label"].cat.categories
    assert set(reader.positive) <= set(classes)
    reader.positive = ["nonsense"]
    with pytest.raises(ValueError, match="nonsense"):
        reader.manifest()
    reader.positive = list(classes)
    with pytest.raises(ValueError, match="negative side"):
        reader.manifest()


def test_schema_makes_the_object(reader: Reader) -> None:
    schema = OmegaConf.structured(type(reader))
    values = {name: getattr(reader, name) for name in schema}
    assert OmegaConf.to_object(OmegaConf.merge(schema, values)) == reader


def test_what_all_readers_take_is_checked(reader: Reader) -> None:
    with pytest.raises(ValueError, match="8 <= bits <= 16. must hold, but got bits=7"):
        replace(reader, bits=7)


def test_an_image_that_is_gone_is_named_missing(reader: Reader) -> None:
    from src.images import BadImage

    with pytest.raises(BadImage, match="missing"):
        reader.read("no/such.png")
