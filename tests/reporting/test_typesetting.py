"""How figures and names are written."""

import pytest

from src.reporting.typesetting import command, counted, duration, number, typeset
from src.system.addresses import mask_passwords

NAN = float("nan")
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def test_figures() -> None:
    assert number(-1.25, 1) == f"{MINUS}1.2"
    assert number(-0.0004, 3) == "0.000"
    assert number(NAN) == DASH


def test_the_terminals_signs_become_those_of_print() -> None:
    assert typeset("50.0 +- 1.0 (-27.3 to +24.1)") == f"50.0 ± 1.0 ({MINUS}27.3 to +24.1)"
    assert typeset("ResNet-400") == "ResNet-400"
    assert typeset("-") == DASH


def test_counts() -> None:
    assert counted(1, "class", "classes") == "1 class"
    assert counted(2, "class", "classes") == "2 classes"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "address", ["http://me:word@server/x", "postgresql://me:wo%40rd@server:5432/db", "http://me:w@rd@server"]
)
def test_a_command_gives_no_password_away(address: str) -> None:
    shown = command(f"/home/me/tenfold/src/run.py -m tracking.uri={address} name=a@b")
    assert shown.startswith("python -m src.run -m tracking.uri=")
    assert "me:" not in shown
    assert "rd@" not in shown
    assert shown.endswith("name=a@b")
    assert mask_passwords("no address") == "no address"
