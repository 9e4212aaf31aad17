"""How figures and metrics are said."""

import pytest

from src.evaluation import metrics
from src.evaluation.wording import (
    METRICS,
    ends,
    headed,
    listed,
    measured,
    number,
    p_value,
    percent,
    ranged,
    scale,
    shown,
    signed,
    spread,
    titled,
    unit_of,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(-1.26, 1, "-1.3"), (-0.0004, 3, "0.000"), (-0.0, 1, "0.0"), (2, 0, "2"), (NAN, 1, "-")],
)
def test_a_figure(value: float, digits: int, text: str) -> None:
    assert number(value, digits) == text
    assert percent(value / 100, digits) == text


def test_an_interval_is_said_where_both_ends_are_known() -> None:
    assert ends(0.5, 2) == "0.5 to 2.0"
    assert ends(0.5, 2, 2, level=True) == "95 %: 0.50 to 2.00"
    assert ends(NAN, 2) == ends(0.5, NAN) == ends(NAN, NAN, level=True) == ""


def test_a_figure_with_its_interval() -> None:
    assert ranged(1, 0.5, 2) == "1.0 (0.5 to 2.0)"
    assert ranged(1, NAN, 2) == ranged(1, 0.5, NAN) == "1.0"
    assert ranged(NAN, 0.5, 2) == "-"


def test_a_difference_has_its_sign_in_its_interval_too() -> None:
    assert signed(0.04, -1.26, 3) == "0.0 (-1.3 to +3.0)"
    assert signed(-0.04, -0.06, -0.04) == "0.0 (-0.1 to 0.0)"
    assert signed(1, NAN, NAN) == "+1.0"
    assert signed(NAN, 1, 2) == "-"
    assert signed(0.5, 0.25, 1, 2, level=True) == "+0.50 (95 %: +0.25 to +1.00)"


def test_a_figure_held_beside_the_ends_of_its_interval() -> None:
    found = {"auc": 0.5, "auc_low": 0.25, "auc_high": 0.75}
    assert measured(found, "auc") == "0.500 (0.250 to 0.750)"
    assert measured(found, "auc", 100, 0, level=True) == "50 (95 %: 25 to 75)"
    assert measured({"auc": 0.5, "auc_low": 0.25}, "auc") == "0.500"
    assert measured({}, "auc") == "-"
    assert (
        shown(
            {f"accuracy{end}": value for end, value in zip(("", "_low", "_high"), found.values(), strict=True)},
            "accuracy",
        )
        == "50.0 (25.0 to 75.0)"
    )


def test_a_mean_with_its_deviation() -> None:
    assert spread(50, 0) == "50.0 +- 0.0"
    assert spread(50, 1.234, 2) == "50.00 +- 1.23"
    assert spread(50, NAN) == "50.0"


@pytest.mark.parametrize(("p", "text"), [(0.0, "<0.001"), (0.000999, "<0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_a_p_is_never_said_to_be_zero(p: float, text: str) -> None:
    assert p_value(p) == text
    assert p_value(NAN) == "-"


def test_metrics_have_titles_units_and_digits() -> None:
    assert list(METRICS) == list(metrics.METRICS)
    assert titled("balanced_accuracy") == "balanced accuracy"
    assert titled("binary_auc") == "two-class AUC"
    assert headed("binary_macro_f1") == "Two-class macro F1, %"
    assert headed("accuracy", percent="points") == "Accuracy, points"
    assert headed("auc", percent="points") == "AUC"
    assert headed("log_loss", percent="points") == "Log loss, nats"
    assert (scale("binary_accuracy"), scale("binary_auc"), scale("log_loss")) == ((100, 1), (1, 3), (1, 3))
    assert unit_of("binary_log_loss") == "nats"


def test_names_in_a_sentence() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
    assert listed(list("abc"), 2, "others") == "a, b and 1 others"
    assert listed([]) == ""
