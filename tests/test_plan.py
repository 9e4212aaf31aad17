"""The command that says how many patients a study needs, as it is typed."""

import re
from pathlib import Path

import pytest

from tests.support.commands import run


def answers(text: str) -> list[list[str]]:
    """The rows of the printed table."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]


def test_a_width_stands_among_others(tmp_path: Path) -> None:
    process = run("plan", "accuracy=0.85", "width=0.1", "images=2", "likeness=0.5", workspace=tmp_path)
    assert process.returncode == 0, process.stderr
    rows = answers(process.stdout)
    assert [row[1] for row in rows] == ["0.05", "0.075", "0.1", "0.15", "0.2"]
    patients = [int(row[2]) for row in rows]
    assert patients == sorted(patients, reverse=True)
    assert [int(row[3]) for row in rows] == [2 * count for count in patients]
    low, high = map(float, rows[2][4].split(" to "))
    assert 0.09 < high - low <= 0.1
    assert "with images=2 images_deviation=0 likeness=0.5" in process.stdout


def test_a_row_for_each_combination(tmp_path: Path) -> None:
    given = ["difference=0.1", "accuracy=[0.7,0.75]", "repeats=[1,10]", "correlation=0.3"]
    rows = answers(run("plan", *given, workspace=tmp_path).stdout)
    asked = [row for row in rows if row[0] == "0.1"]
    assert [row[1:3] for row in asked] == [
        [accuracy, repeats] for accuracy in ("0.7", "0.75") for repeats in ("1", "10")
    ]
    once, ten = (int(asked[place][3]) for place in (2, 3))
    assert ten < 0.9 * once


def test_a_rare_condition_asks_for_more_patients(tmp_path: Path) -> None:
    rows = answers(run("plan", "sensitivity=0.9", "width=[0.1]", "prevalence=[0.1,0.5]", workspace=tmp_path).stdout)
    tenth, half = (int(row[3]) for row in rows if row[1] == "0.1")
    assert tenth == pytest.approx(5 * half, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of accuracy=, sensitivity=, specificity= and auc= with width=, or difference="),
        (["accuracy=0.8", "auc=0.9", "width=0.1"], "but got accuracy and auc"),
        (
            ["accuracy=0.8"],
            "width is a fraction between 0 and 1, such as 0.85 for 85 %, or a list of such, but got none",
        ),
        (["accuracy=85", "width=0.1"], "accuracy is a fraction between 0 and 1"),
        (["accuracy=[0.8,high]", "width=0.1"], "but got high"),
        (["auc=0.4", "width=0.1", "prevalence=0.5"], "auc is between 0.5 and 1"),
        (["accuracy=0.8", "width=0.1", "folds=5"], "folds= means nothing to accuracy=, which takes width, images"),
        (["difference=0.3", "accuracy=0.75"], "difference < 1 must hold, but got accuracy=0.75"),
        (["difference=0.1", "accuracy=0.75", "correlation=0.9"], "has a correlation of -0.24 to 0.73, but got"),
        (["difference=0.1", "accuracy=0.75", "folds=1", "repeats=5"], "repeats=5 are of folds=2 or more"),
        (["accuracy=0.5", "width=1e-6"], "not even 10,000,000 patients are enough"),
    ],
    ids=str,
)
def test_a_mistake_is_told_in_a_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    process = run("plan", *arguments, workspace=tmp_path)
    assert process.returncode == 1
    assert said in re.sub(r"\s+", " ", process.stderr)
    assert "Traceback" not in process.stderr
    assert not answers(process.stdout)
