"""Which images are to be predicted."""

import os
from pathlib import Path

import pytest

from src.data.new_images import list_images


class TestListing:
    def test_a_csv_may_name_cases_and_views(self, tmp_path: Path) -> None:
        rows = ["a\\1.png,A,CC,x", "b.png,, ,y", "./c//d.png,NA,?,z"]
        (tmp_path / "new.csv").write_text("\n".join(["sample,case,view,note", *rows]))
        listing = list_images(tmp_path / "new.csv")
        assert listing.images.to_numpy().tolist() == [
            ["a/1.png", "A", "cc"],
            ["b.png", "b.png", ""],
            ["c/d.png", "c/d.png", ""],
        ]
        assert listing.root == tmp_path

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("file\na.png\n", "needs a column sample, the images' paths, but has file"),
            ("sample\n", "lists no images"),
            ("", "cannot be read as one"),
            ("sample\na.png\n\n./a.png\n", "an image has one row, but not so in row 4"),
            (
                "sample,view\na.png,left/right\n",
                "a view's name is of letters, digits, blanks, _ and -, but a.png has view 'left/right'",
            ),
            ("sample,case\n,x\n", "every row has a sample, but not so in row 2"),
        ],
    )
    def test_a_csv_is_checked(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "new.csv").write_text(text)
        with pytest.raises(ValueError, match=said):
            list_images(tmp_path / "new.csv")

    def test_what_is_left_out_is_named(self, tmp_path: Path) -> None:
        (tmp_path / ".hidden").mkdir()
        for name in (".hidden/a.png", "._b.png", "c.PNG", "d.dcm", "e.WebP", "note.txt", ".DS_Store"):
            (tmp_path / name).touch()
        (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
        listing = list_images(tmp_path)
        assert listing.images["sample"].tolist() == ["c.PNG", "d.dcm", "e.WebP"]
        assert [(each.name, each.kind) for each in listing.left_out] == [
            ("._b.png", "hidden images"),
            (".hidden", "hidden folders"),
            ("gone.png", "links that lead nowhere"),
            ("note.txt", ".txt files"),
        ]

    def test_a_name_that_is_no_text_is_named(self, tmp_path: Path) -> None:
        file = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")
        Path(file).touch()
        for path in (tmp_path, Path(file)):
            with pytest.raises(ValueError, match=r"UTF-8.*\\xff\\xfe\.png: rename") as caught:
                list_images(path)
            assert str(caught.value).encode()

    def test_nothing_to_predict_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="holds no images"):
            list_images(tmp_path)
        with pytest.raises(ValueError, match="but there is no"):
            list_images(tmp_path / "nowhere")

    @pytest.mark.parametrize("name", ["new.xlsx", "new.TSV"])
    def test_a_table_of_another_kind_is_no_image(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        with pytest.raises(ValueError, match=rf"but got .*{name}: save the table as CSV"):
            list_images(tmp_path / name)
