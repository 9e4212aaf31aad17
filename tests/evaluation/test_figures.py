from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.evaluation.binary import Binary
from src.evaluation.evaluation import evaluate, evaluate_published
from src.evaluation.figures import draw

Make = Callable[..., pd.DataFrame]


def texts(axes: Any) -> list[str]:
    legend = axes.get_legend()
    entries = [] if legend is None else [entry.get_text() for entry in legend.get_texts()]
    return [text.get_text() for text in axes.texts] + entries


def test_the_published_figures_hold_the_published_data(published: pd.DataFrame) -> None:
    evaluation = evaluate_published(published, replicates=50)
    figures = draw(evaluation, note="image-level folds: optimistic")
    assert sorted(figures) == ["confusion", "roc"]
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
    figures = draw(evaluation, note="untrained encoder")
    assert sorted(figures) == ["confusion", "reliability", "roc"]
    for figure in figures.values():
        file = BytesIO()
        figure.savefig(file, format="png")
        assert file.getvalue().startswith(b"\x89PNG")
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_a_class_that_no_case_has_is_drawn(make: Make) -> None:
    predictions = make(cases=40)
    figures = draw(evaluate(predictions[predictions["label"] != "Benign"], replicates=5))
    assert texts(figures["confusion"].axes[0]).count("-") == 4
    figures["confusion"].savefig(BytesIO())
