"""Text and tables on the terminal."""

import pytest

from src.cli.progress import TerminalProgress, byte_progress
from src.cli.terminal import console, print_table, say
from src.evaluation.text_tables import TextTable


def test_text_of_users_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    say("[red]a[/red] :smile:")
    console().print("G2+ [x]", style="yellow")
    print_table(TextTable(caption="[y] :smile:", header=["G2+ [x]"], rows=[["[b]z[/b]"]]))
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    assert list(TerminalProgress().track([1], "G3 [z]", 1)) == [1]
    with byte_progress() as progress:
        progress("a [b].zip", 1, 1)
    printed = capsys.readouterr()
    for text in ("G2+ [x]\n", "┃ G2+ [x]", "[y] :smile:", "[b]z[/b]"):
        assert text in printed.out
    for text in ("[red]a[/red] :smile:\n", "G3 [z]", "a [b].zip"):
        assert text in printed.err
