"""Descriptors in a file for a notebook: the same in both formats, and whole whatever their number."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from src.storage import export
from src.storage.export import Export, check_format, write_export

STATED = {"recipe": {"crop": {"size": 40}}, "left_out": ["c.png"]}


def exported(*axes: int, samples: int = 5) -> tuple[Export, np.ndarray]:
    values = np.random.default_rng(0).normal(size=(samples, *axes, 4)).astype(np.float32)
    facts = pd.DataFrame({"sample": [f"bild é{n}" for n in range(samples)], "patient": "", "fold": range(samples)})
    return Export(facts=facts, descriptors=iter(values), metadata=STATED), values


@pytest.mark.parametrize("axes", [(2,), (2, 3)], ids=["pooled", "crops"])
def test_both_formats_hold_the_same(axes: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BLOCK", 2 * 4 * 4 * int(np.prod(axes)))  # two samples at a time, and one is left
    for suffix in (".npz", ".parquet"):
        made, values = exported(*axes)
        write_export(made, tmp_path / f"all{suffix}", suffix)
    with np.load(tmp_path / "all.npz") as arrays:
        np.testing.assert_array_equal(arrays["descriptors"], values)
        assert arrays["sample"].tolist() == made.facts["sample"].tolist()
        assert arrays["fold"].tolist() == list(range(5))
        assert json.loads(str(arrays["metadata"])) == STATED
    table = pd.read_parquet(tmp_path / "all.parquet")
    np.testing.assert_array_equal(np.stack(table["descriptor"]), values.reshape(-1, 4))
    assert table["sample"].tolist() == made.facts["sample"].repeat(np.prod(axes)).tolist()
    places = table[["augmentation", *(["crop"] if len(axes) > 1 else [])]].iloc[: np.prod(axes)].to_numpy()
    assert places.tolist() == [list(place) for place in np.ndindex(axes)]
    assert json.loads(parquet.read_schema(tmp_path / "all.parquet").metadata[b"tenfold"]) == STATED


def test_an_archive_says_nothing_of_when_it_was_made(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_export(exported(2)[0], tmp_path / name, ".npz")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with zipfile.ZipFile(io.BytesIO((tmp_path / "one").read_bytes())) as archive:
        assert archive.testzip() is None


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"as FILE.parquet or FILE.npz, but got all.csv"):
        check_format("all.csv")
