"""What is shown and written of an evaluation; names of folders for groups."""

import re
from pathlib import Path

import pytest

from src.cli.evaluations import cell_summary, show_evaluation, slices_table, slug, write_evaluation
from src.evaluation.evaluation import Evaluation, evaluate
from src.evaluation.two_classes import Binary
from tests.support.predictions import make_predictions


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("", ""),
        ("protocol=kfold", "protocol_kfold"),
        ("data=bach, training_patients=40", "data_bach_training_patients_40"),
    ],
)
def test_a_group_has_a_folder_of_its_name(title: str, name: str) -> None:
    assert slug(title) == name


def test_groups_that_differ_have_folders_that_differ() -> None:
    titles = [f"data.root=/data/{end}" for end in ("甲", "乙", "a_b", "a/b", "a+b", "a:b")]
    names = {slug(title) for title in titles}
    assert len(names) == len(titles)
    assert all(re.fullmatch(r"data\.root_data_[ab_]*-[0-9a-f]{6}", name) for name in names)


def two_classes(folder: Path, positive: list[str], names: tuple[str, ...] = ("cancer", "healthy")) -> Evaluation:
    predictions = make_predictions(model="a [x]", cases=40, classes=names, views=("cc", "mlo"))
    evaluation = evaluate(predictions, Binary(positive=positive), replicates=5)
    write_evaluation(evaluation, folder, ["a note"])
    return evaluation


def test_what_is_shown_and_written_names_the_positive_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluation(two_classes(tmp_path, []), "title [y]", [])
    shown = capsys.readouterr().out
    assert "Two classes: cancer (positive) against healthy" in shown
    assert "note: the positive class is cancer, by its name" in shown
    written = (tmp_path / "table.md").read_text()
    assert "Two classes: cancer (positive) against healthy." in written
    assert "the positive class is cancer, by its name" in written
    assert "title [y]" in shown
    assert "a [x]" in shown


def test_of_many_classes_each_table_with_two_class_figures_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_evaluation(two_classes(tmp_path, ["a+ [z]"], ("a+ [z]", "b", "c")), "title", [])
    shown = capsys.readouterr().out
    assert "two classes (positive: a+ [z])" in shown
    assert shown.count("a+ [z] (positive) against b + c") == 2
    assert "missed at 0.50" in shown
    assert " a+ [z]\n" in shown


def test_an_accuracy_stands_beside_that_of_the_most_frequent_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = two_classes(tmp_path, ["healthy"])
    show_evaluation(evaluation, "title", [])
    said = f"always naming cancer, the most frequent class: {100 * evaluation.commonest[1]:.1f} %"
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in (tmp_path / "table.md").read_text()
    assert said in cell_summary(evaluation, "cell")


def test_the_name_of_a_column_stands_once_above_its_slices(tmp_path: Path) -> None:
    table = slices_table(two_classes(tmp_path, []))
    assert [row[:2] for row in table.rows] == [["all cases", ""], ["view", "cc"], ["", "mlo"]]
    assert table.caption == "slices (95 % intervals)"
