from pathlib import Path

import pytest

from src.data.bach import Bach
from src.data.text import read_text
from src.data.tma import Tma


def test_cells_are_text_as_written(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("\ufeffname,fold,more\n  Käthe ,001,NA\n,1e3\n".encode())
    assert read_text(path, "it").to_dict("list") == {"name": ["Käthe", ""], "fold": ["001", "1e3"], "more": ["NA", ""]}
    path.write_text("name,fold\n")
    assert read_text(path, "it").to_dict("list") == {"name": [], "fold": []}


BAD = [b"", "name\nKäthe\n".encode("latin-1"), b'a,b\n1,2,3,4\n"']


@pytest.mark.parametrize("content", BAD)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^it is a CSV file in UTF-8, but .*table\.csv cannot be read as one: "):
        read_text(path, "it")
    with pytest.raises(ValueError, match=r"^it is a CSV file in UTF-8, but .* cannot be read as one: "):
        read_text(tmp_path, "it")
    with pytest.raises(ValueError, match="it is a CSV file, but there is no file"):
        read_text(tmp_path / "none.csv", "it")


@pytest.mark.parametrize("content", BAD)
def test_labels_that_are_no_table(bach: Path, content: bytes) -> None:
    (truth,) = bach.rglob("microscopy_ground_truth.csv")
    truth.write_bytes(content)
    with pytest.raises(ValueError, match=r"^BACH's table of labels is a CSV file in UTF-8, but .* cannot be read"):
        Bach(root=str(bach), expected_per_class=0).manifest()


@pytest.mark.parametrize("content", BAD)
def test_patients_that_are_no_table(tma: Path, content: bytes) -> None:
    (tma / "patients.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"^data\.patients is a CSV file in UTF-8, but .* cannot be read"):
        Tma(root=str(tma), expected=0, patients=str(tma / "patients.csv")).manifest()
