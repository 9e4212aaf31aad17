from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from src.evaluation.evaluation import evaluate
from src.evaluation.figures import (
    draw_figures,
    draw_groups,
    draw_learning_curve,
    draw_roc,
    draw_training,
    image_of,
    to_svg,
)
from src.evaluation.fold_tables import FUSION
from src.evaluation.published import evaluate_published
from src.evaluation.two_classes import Binary

Make = Callable[..., pd.DataFrame]


def texts(axes: Any) -> list[str]:
    legend = axes.get_legend()
    entries = [] if legend is None else [entry.get_text() for entry in legend.get_texts()]
    return [text.get_text() for text in axes.texts] + entries


def test_the_published_figures_hold_the_published_data(published: pd.DataFrame) -> None:
    evaluation = evaluate_published(published, replicates=50)
    figures = draw_figures(evaluation, note="image-level folds: optimistic")
    assert sorted(figures) == ["calibration", "confusion", "decision", "roc"]
    (axes,) = figures["roc"].axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    (curve,) = (line for label, line in lines.items() if str(label).startswith("AUC 0.973 (95 %: "))
    np.testing.assert_array_equal(curve.get_ydata(), evaluation.roc["positive"]["true_positive_rate"])
    point = lines["at 0.33: sensitivity 96.5 %, specificity 88.0 %"]
    np.testing.assert_allclose(point.get_xydata(), [[0.12, 0.965]])
    assert "image-level folds: optimistic" in texts(axes)
    (axes,) = figures["confusion"].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted", "True")
    cells = [text for text in texts(axes) if text.isdigit()]
    assert cells == [str(count) for count in evaluation.confusion.to_numpy().ravel()]


@pytest.mark.parametrize("positive", [[], ["InSitu", "Invasive"]])
def test_every_figure_is_drawn_without_global_state(make: Make, positive: list[str]) -> None:
    import sys

    before = "matplotlib.pyplot" in sys.modules
    evaluation = evaluate(make(cases=40), Binary(positive=positive), replicates=20)
    figures = draw_figures(evaluation, note="untrained encoder")
    of_view = ["calibration", "decision"] if positive else []
    assert sorted(figures) == sorted(["calibration_classes", "confusion", "reliability", "roc", *of_view])
    for figure in figures.values():
        file = BytesIO()
        figure.savefig(file, format="png")
        assert file.getvalue().startswith(b"\x89PNG")
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_a_class_that_no_case_has_is_drawn(make: Make) -> None:
    predictions = make(cases=40)
    figures = draw_figures(evaluate(predictions[predictions["label"] != "Benign"], replicates=5))
    assert texts(figures["confusion"].axes[0]).count("-") == 4
    figures["confusion"].savefig(BytesIO())


def test_slices_are_drawn_with_the_overall_accuracy(make: Make) -> None:
    predictions = make(cases=40, views=("cc", "mlo"))
    evaluation = evaluate(predictions, replicates=5)
    figure = draw_figures(evaluation, note="image-level folds: optimistic")["slices"]
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["view", "cc  (n = 40)", "mlo  (n = 40)"]
    overall, dots, *_ = axes.get_lines()
    np.testing.assert_allclose(overall.get_xdata(), evaluation.slices.loc[0, "accuracy"])
    np.testing.assert_allclose(dots.get_xdata(), evaluation.slices["accuracy"].iloc[1:])
    figure.savefig(BytesIO())


def curve(**axes: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(
        {"model": ["a", FUSION] * 2, **axes, "group": list("xxyy"), "leaks": [True, True, False, False]}
    )
    table = table.assign(patients=[4.0, 4, 25.6, 25.6], mean=[60.0, 62, 80, 84], low=50.0, high=90.0)
    return table.assign(binary_auc=0.8, binary_auc_low=0.7, binary_auc_high=0.9)


def test_a_learning_curve_has_a_line_per_model_and_variant() -> None:
    patients = ["4", "4", "0", "0"]
    figure = draw_learning_curve(curve(training_patients=patients).assign(leaks=False))
    accuracy, auc = figure.axes
    assert accuracy.get_legend_handles_labels()[1] == ["a", FUSION]
    (line,) = (line for line in accuracy.get_lines() if line.get_ydata().tolist() == [60, 80])
    np.testing.assert_allclose(line.get_xdata(), [4, 25.6], rtol=0.01)
    assert [label.get_text() for label in auc.get_xticklabels()] == ["4", "25.6"]
    figure = draw_learning_curve(curve(protocol=["image_kfold"] * 2 + ["kfold"] * 2, training_patients=patients))
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels[:2] == ["a, image_kfold (image-level: optimistic)", "a, kfold"]
    figure.savefig(BytesIO())


def test_a_learning_curve_of_areas_says_of_what() -> None:
    table = curve(training_patients=["4", "4", "0", "0"]).assign(view="cancer (positive) against healthy")
    assert "AUC: cancer (positive) against healthy" in texts(draw_learning_curve(table).axes[0])


def test_groups_are_drawn_side_by_side_and_leaks_are_told() -> None:
    figure = draw_groups(curve(protocol=["image_kfold"] * 2 + ["kfold"] * 2))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", FUSION]
    assert axes.get_legend_handles_labels()[1] == ["x (image-level: optimistic)", "y"]
    figure.savefig(BytesIO())


STRANGE = ("$x_{$", "_under$core$", "50 % \\frac{", "\N{CJK UNIFIED IDEOGRAPH-826F}")
"""Formulas that are none, one dollar and two, what legends leave out, and a letter that the font lacks."""


@pytest.mark.parametrize("positive", [[], ["_under$core$"]])
def test_names_are_drawn_as_they_are(make: Make, positive: list[str]) -> None:
    predictions = make(classes=STRANGE, cases=40, views=("cc", "mlo"))
    evaluation = evaluate(predictions.assign(model="$m^$"), Binary(positive=positive), replicates=5)
    for figure in draw_figures(evaluation, note="$a_{$ and $b$").values():
        assert to_svg(figure).startswith(b"<?xml")
        assert image_of(figure, format="png").startswith(b"\x89PNG")
        assert not any(text.get_parse_math() for text in figure.findobj(Text))


def test_every_class_has_an_entry_in_the_legend(make: Make) -> None:
    figure = draw_roc(evaluate(make(classes=STRANGE, cases=40), replicates=5))
    entries = [text.strip().partition(": ")[0] for text in texts(figure.axes[0])]
    assert entries == list(STRANGE)


def test_groups_and_learning_curves_are_drawn_with_any_names() -> None:
    table = curve(protocol=["_$a_{$", "_$a_{$", "b", "b"], training_patients=["4", "4", "0", "0"])
    table = table.assign(model=["$x_{$", FUSION] * 2, group=["$g^$"] * 2 + ["_h"] * 2)
    points = pd.DataFrame({"cell": ["$c_{$", "_d"], "curve": "training_loss", "epoch": 1, "mean": 1.0})
    for figure in (draw_groups(table), draw_learning_curve(table), draw_training(points.assign(low=0.5, high=2.0))):
        assert to_svg(figure).startswith(b"<?xml")
