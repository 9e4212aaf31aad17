"""Progress, on a terminal and where there is none."""

import re
from collections.abc import Iterator

import pytest

from src.cli import progress
from src.cli.progress import TerminalProgress, byte_progress


class Clock:
    """Goes on by 20 seconds each time it is asked."""

    seconds = 0

    def monotonic(self) -> int:
        self.seconds += 20
        return self.seconds


def test_a_log_has_a_line_of_progress_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "time", Clock())
    told = []
    for _ in TerminalProgress().track(range(5), "encoding crops", 80, size=lambda _: 16):
        told += capsys.readouterr().err.splitlines()
    assert told == [
        "encoding crops: 32 of 80, 0.8/s, 0:01:00 to go",
        "encoding crops: 64 of 80, 0.8/s, 0:00:20 to go",
    ]
    assert capsys.readouterr().err.splitlines() == ["encoding crops: 80 of 80, 0.7/s, in 0:02:00"]


def test_a_log_says_how_far_a_transfer_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "time", Clock())
    with byte_progress() as tell:
        for done in (20, 20, 60, 100):  # 20 were there
            tell("bach.zip", done * 10**6, 10**8)
    assert capsys.readouterr().err.splitlines() == [
        "bach.zip: 20.0 of 100.0 MB, 0.0 MB/s, unknown to go",
        "bach.zip: 100.0 of 100.0 MB, 1.0 MB/s, in 0:01:20",
    ]


def test_short_work_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(TerminalProgress().track(range(3), "reading", 3)) == [0, 1, 2]
    assert re.fullmatch(r"reading: 3 of 3, [\d,.]+/s, in 0:00:00\n", capsys.readouterr().err)


def test_work_of_unequal_steps_is_counted_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress().counting("training images", 30) as count:
        for steps in (16, 14):
            count(steps)
    assert capsys.readouterr().err.startswith("training images: 30 of 30, ")


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(("after", "shown"), [(60.0, False), (0.0, True)])
def test_work_is_shown_if_it_takes_long_enough(
    terminal: bool, after: float, shown: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", terminal)
    assert list(TerminalProgress(after=after).track(range(5), "bootstrap", 5)) == list(range(5))
    assert ("bootstrap" in capsys.readouterr().err) == shown


@pytest.mark.parametrize("terminal", [True, False])
def test_broken_off_work_is_not_told_as_done(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", terminal)

    def broken() -> Iterator[int]:
        yield 1
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        list(TerminalProgress().track(broken(), "reading", 2))
    assert "in 0:00" not in capsys.readouterr().err
