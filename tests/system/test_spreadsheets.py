import re
from pathlib import Path

import pandas as pd
import pytest

from src.system.spreadsheets import blank_missing, read_text
from tests.support.datasets import BAD


def test_cells_are_text_as_written(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("\ufeffname,fold,more\n  Käthe ,001,NA\n,1e3\n".encode())
    assert read_text(path, "it").to_dict("list") == {"name": ["Käthe", ""], "fold": ["001", "1e3"], "more": ["NA", ""]}
    path.write_text("name,fold\n")
    assert read_text(path, "it").to_dict("list") == {"name": [], "fold": []}


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


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("name\nKäthe\n".encode("latin-1"), "it is in another encoding"),
        ("name\nKäthe\n".encode("utf-16"), "it is text in UTF-16"),
        (b"PK\x03\x04\x14\x00\x80", "it is a workbook (.xlsx, .ods)"),
        (b"\xd0\xcf\x11\xe0\xa1", "it is a workbook (.xls)"),
    ],
)
def test_what_is_in_another_form_is_named_with_the_way_out(tmp_path: Path, content: bytes, form: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"in UTF-8, but .*table\.csv cannot be read as one: {re.escape(form)}.* as `CSV UTF-8`$"
    ):
        read_text(path, "it")


def test_lines_above_the_header_are_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("# exported today\nsample,label\na,x\n")
    with pytest.raises(ValueError, match="row 2 has 2 cells, but the first row has 1: take away what stands above"):
        read_text(path, "it")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_cells_are_parted_by_what_parts_the_header(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "table.csv"
    lines = ["name|label", "a b.png|x", '"a, b; c.png"|y']
    path.write_text("\r\n".join(line.replace("|", delimiter) for line in lines))
    assert read_text(path, "it").to_dict("list") == {"name": ["a b.png", "a, b; c.png"], "label": ["x", "y"]}


def test_commas_at_the_end_and_row_names_are_no_columns(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("name,label\na,x,\nb,y,,\n,,\nc\n")
    table = read_text(path, "it")
    assert table.to_dict("list") == {"name": ["a", "b", "c"], "label": ["x", "y", ""]}
    assert table.index.tolist() == [2, 3, 5]  # as a spreadsheet numbers them
    path.write_text('"",name,label,\n1,a,x,\n2,b,y,\n')
    assert read_text(path, "it").to_dict("list") == {"name": ["a", "b"], "label": ["x", "y"]}
    path.write_text("name,label\na,x\nb,c,y\n")
    with pytest.raises(ValueError, match=r"row 3 has 3 cells, but the first row has 2: .*',' in double quotes"):
        read_text(path, "it")


def test_a_repeated_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("sample,label, label\na,x,y\n")
    with pytest.raises(ValueError, match=r"table\.csv has two that are called 'label'"):
        read_text(path, "it")


def test_what_stands_for_a_missing_value() -> None:
    values = pd.Series(["NA", "nan", "NaN", "null", "None", "n/a", "-", "?", "", "p1", "nano", "0"])
    assert [value for value in blank_missing(values) if value] == ["p1", "nano", "0"]
    assert blank_missing(values, ["p1"]).tolist() == [*values[:9], "", "nano", "0"]
    assert blank_missing(values, []).tolist() == values.tolist()
