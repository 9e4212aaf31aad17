"""Which images are to be predicted."""

from pathlib import Path

import pytest

from src.data.listing import listed


class TestListing:
    def test_a_csv_may_name_cases_and_views(self, tmp_path: Path) -> None:
        (tmp_path / "new.csv").write_text("sample,case,view,note\na\\1.png,A,CC,x\nb.png,, ,y\n")
        rows, root = listed(tmp_path / "new.csv")
        assert rows.to_numpy().tolist() == [["a/1.png", "A", "cc"], ["b.png", "b.png", ""]]
        assert root == tmp_path

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("file\na.png\n", "needs a column sample, the images' paths, but has file"),
            ("sample\n", "lists no images"),
            ("", "cannot be read as one"),
            ("sample\na.png\na.png\n", "an image has one row, but not so in row 3"),
            (
                "sample,view\na.png,left\n",
                "a view is cc, mlo or empty, but not so in row 2",
            ),
            ("sample,case\n,x\n", "every row has a sample, but not so in row 2"),
        ],
    )
    def test_a_csv_is_checked(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "new.csv").write_text(text)
        with pytest.raises(ValueError, match=said):
            listed(tmp_path / "new.csv")

    def test_hidden_files_are_left_out(self, tmp_path: Path) -> None:
        (tmp_path / ".hidden").mkdir()
        for name in (".hidden/a.png", "._b.png", "c.PNG", "note.txt"):
            (tmp_path / name).touch()
        assert listed(tmp_path)[0]["sample"].tolist() == ["c.PNG"]

    def test_nothing_to_predict_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="holds no images"):
            listed(tmp_path)
        with pytest.raises(ValueError, match="but there is no"):
            listed(tmp_path / "nowhere")
