from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from src.evaluation.predictions import average_by_case
from src.evaluation.two_classes import Binary, count_missed, set_points, view_title

Make = Callable[..., pd.DataFrame]
CARCINOMA = ["InSitu", "Invasive"]


def one_case(values: list[float], label: str = "InSitu") -> pd.DataFrame:
    names = ["Normal", "Benign", "InSitu", "Invasive"]
    table = pd.DataFrame([values], columns=[f"p_{name}" for name in names])
    return table.assign(repeat=1, case="x", patient="", label=label, fold=1)


def test_max_as_released() -> None:
    view = Binary(positive=CARCINOMA)(one_case([0.4, 0.1, 0.3, 0.2]))
    assert view is not None
    assert view.columns.tolist() == ["repeat", "case", "patient", "label", "fold", "p_negative", "p_positive"]
    assert view.loc[0, "label"] == "positive"
    np.testing.assert_allclose(view[["p_negative", "p_positive"]], [[4 / 7, 3 / 7]])


def test_sum() -> None:
    view = Binary(positive=CARCINOMA, reduce="sum")(one_case([0.4, 0.1, 0.3, 0.2], "Benign"))
    assert view is not None
    assert view.loc[0, "label"] == "negative"
    np.testing.assert_allclose(view[["p_negative", "p_positive"]], [[0.5, 0.5]])


def test_empty_positive_means_the_second_of_two_and_else_no_view(make: Make) -> None:
    cases = average_by_case(make(classes=("benign", "malignant")))
    view = Binary()(cases)
    assert view is not None
    np.testing.assert_allclose(view["p_positive"], cases["p_malignant"])
    assert (view["label"] == "positive").tolist() == (cases["label"] == "malignant").tolist()
    assert Binary()(average_by_case(make())) is None


def test_the_usual_words_make_the_first_of_two_positive_and_it_is_noted(make: Make) -> None:
    cases = average_by_case(make(classes=("cancer", "healthy")))
    view = Binary()(cases)
    assert view is not None
    np.testing.assert_allclose(view["p_positive"], cases["p_cancer"])
    assert Binary().notes(["cancer", "healthy"]) == [
        "the positive class is cancer, by its name: binary.positive=[...] chooses it"
    ]
    assert Binary().notes(["cat", "dog"])[0].startswith("the positive class is dog, as the last of the two")
    assert Binary(positive=["cat"]).notes(["cat", "dog"]) == Binary().notes(["a", "b", "c"]) == []


def test_a_view_names_both_sides() -> None:
    assert view_title(["cancer"], ["cancer", "healthy"]) == "cancer (positive) against healthy"
    assert view_title(["a", "b"], list("abcdef")) == "a + b (positive) against the rest"


def test_the_first_of_two_classes_may_be_positive(make: Make) -> None:
    cases = average_by_case(make(classes=("benign", "malignant")))
    view = Binary(positive=["benign"])(cases)
    assert view is not None
    np.testing.assert_allclose(view["p_positive"], cases["p_benign"])


@pytest.mark.parametrize("reduce", ["max", "sum"])
def test_a_call_at_one_half_is_the_most_probable_class(make: Make, reduce: str) -> None:
    cases = pd.concat([average_by_case(make(cases=40)), one_case([0.5, 0.0, 0.5, 0.0])], ignore_index=True)
    view = Binary(positive=CARCINOMA, reduce=reduce)(cases)
    assert view is not None
    top = view[["p_negative", "p_positive"]].to_numpy().argmax(axis=1)
    accuracy = set_points(view, [0.5])["accuracy"][0]
    assert accuracy == np.mean(top == (view["label"] == "positive"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reduce": "mean"}, "`reduce` must be one of max, sum, but got reduce=mean"),
        ({"positive": ["a", "a"]}, r"once, but got positive=\['a', 'a'\]"),
        ({"thresholds": []}, r"one or more in 0\.\.1, but got thresholds=\[\]"),
        ({"thresholds": [1.5]}, r"but got thresholds=\[1\.5\]"),
    ],
)
def test_values_check_themselves(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Binary(**values)  # type: ignore[arg-type]


def test_unknown_and_all_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"classes of \['Normal', .*'Invasive'\], but got \['Insitu'\]"):
        Binary(positive=["Insitu", "Invasive"])(one_case([0.4, 0.1, 0.3, 0.2]))
    with pytest.raises(ValueError, match="must leave a negative class"):
        Binary(positive=["Normal", "Benign", "InSitu", "Invasive"])(one_case([0.4, 0.1, 0.3, 0.2]))


def test_set_points_and_missed_by_hand() -> None:
    view = pd.DataFrame({"case": list("abcde"), "patient": "", "fold": [1, 1, 2, 2, 2]})
    view = view.assign(label=["positive"] * 3 + ["negative"] * 2, p_negative=0.0, p_positive=[0.9, 0.5, 0.2, 0.4, 0.1])
    points = set_points(view, [0.3, 0.5])
    np.testing.assert_allclose(points["sensitivity"], [2 / 3, 1 / 3])
    np.testing.assert_allclose(points["specificity"], [1 / 2, 1])
    np.testing.assert_allclose(points["accuracy"], [3 / 5, 3 / 5])
    for name in ("sensitivity", "specificity", "accuracy"):
        assert (points[f"{name}_low"] <= points[name]).all()
        assert (points[f"{name}_high"] >= points[name]).all()
    np.testing.assert_allclose(points["accuracy_std"], [(1 - 1 / 3) / 2, (2 / 3 - 1 / 2) / 2])
    cases = pd.DataFrame({"label": ["InSitu", "InSitu", "Invasive", "Benign", "Normal"]})
    assert count_missed(cases, view, CARCINOMA, 0.5) == {"InSitu": 1, "Invasive": 1}
    assert count_missed(cases, view, CARCINOMA, 0.3) == {"InSitu": 0, "Invasive": 1}


def test_a_class_without_cases_has_no_rate() -> None:
    facts = {"case": ["a"], "patient": [""], "label": ["negative"], "fold": [1]}
    points = set_points(pd.DataFrame({**facts, "p_negative": [0.8], "p_positive": [0.2]}), [0.5])
    assert np.isnan(points["sensitivity"][0])
    assert points["specificity"][0] == 1


@pytest.mark.parametrize("prevalence", [0.0, 1.0, 5.0])
def test_a_prevalence_is_a_fraction(prevalence: float) -> None:
    with pytest.raises(
        ValueError, match=rf"must hold, but got binary.prevalence={prevalence} \(a fraction, not percent"
    ):
        Binary(prevalence=prevalence)
