from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.evaluation.predictions import (
    align_tables,
    average_by_case,
    check_predictions,
    class_names,
    probability_columns,
)

Make = Callable[..., pd.DataFrame]
with_fixtures = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)


def test_classes_keep_the_order_of_the_columns(make: Make) -> None:
    assert class_names(make()) == ["Normal", "Benign", "InSitu", "Invasive"]
    assert probability_columns(make(classes=("b", "a"))) == ["p_b", "p_a"]


def test_check_accepts_a_table(make: Make) -> None:
    check_predictions(make(views=("cc", "mlo")))


def changed(table: pd.DataFrame, row: int, **values: object) -> pd.DataFrame:
    table = table.copy()
    for name, value in values.items():
        table.loc[row, name] = value
    return table


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"p_Normal": np.nan}, r"finite and in 0\.\.1, but sample '0000\.png' of model 'resnet'"),
        ({"p_Normal": np.inf}, r"finite and in 0\.\.1, but sample '0000\.png'"),
        ({"p_Normal": -0.1}, r"finite and in 0\.\.1, but sample '0000\.png'"),
        ({"p_Normal": 1.0}, r"sum to 1 within 1e-06, but those of sample '0000\.png' of model 'resnet' sum to 1\."),
        ({"label": "Insitu"}, r"must be one of .*'InSitu'.* but got Insitu"),
        ({"label": "Benign"}, r"one label, but 1 have two or more labels: 0000; 0000 has \['Benign', 'Normal'\]"),
        ({"fold": 3}, r"one fold, but 1 have two or more held-out folds: 0000; 0000 has \[1, 3\]"),
        ({"patient": "p0009"}, r"one patient, but 1 have two or more patients: 0000"),
        ({"seed": 1}, r"once under one key, but 1 rows are repeated: sample=0000\.png, view=, model=resnet, fold=1"),
        ({"case": None}, r"'case' must have a value in every row, but lacks 1"),
    ],
)
def test_check_names_the_offender(make: Make, values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_predictions(changed(make(), 0, **values))


def test_check_names_missing_columns_and_classes_and_an_empty_table(make: Make) -> None:
    with pytest.raises(ValueError, match=r"lacks \['patient', 'fold'\]"):
        check_predictions(make().drop(columns=["patient", "fold"]))
    with pytest.raises(ValueError, match=r"two classes or more, but has \['Normal'\]"):
        check_predictions(make().drop(columns=["p_Benign", "p_InSitu", "p_Invasive"]))
    with pytest.raises(ValueError, match="at least one row"):
        check_predictions(make().head(0))


def test_check_names_three_cases_and_counts_the_rest(make: Make) -> None:
    table = make(seeds=2)
    table.loc[(table["seed"] == 1) & (table["case"] < "0005"), "fold"] = 7
    with pytest.raises(ValueError, match=r"5 have two or more held-out folds: 0000, 0001, 0002 and 2 more"):
        check_predictions(table)


def test_align_concatenates(make: Make) -> None:
    first, second = make("resnet"), make("vgg", draw=1)
    aligned = align_tables(
        {"a": first, "b": second[second.columns[::-1]]}
    )  # columns in another order are the same columns
    assert len(aligned) == len(first) + len(second)
    assert class_names(aligned) == class_names(first)
    pd.testing.assert_frame_equal(align_tables({"a": first}), first)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda t: t.rename(columns={"p_Benign": "p_benign"}).replace("Benign", "benign"), r"'one' has .*'two' has"),
        (lambda t: t[t["case"] > "0004"], r"of 12 run 'two' lacks 5: 0000, 0001, 0002 and 2 more$"),
        (lambda t: t.replace("0011", "0099"), r"of 13 run 'one' lacks 1: 0099; run 'two' lacks 1: 0011$"),
        (
            lambda t: t.assign(label="Normal"),
            r"same label in all runs, but 9 differ: 0001, 0002, 0003 and 6 more; 0001",
        ),
        (lambda t: t.assign(fold=t["fold"] % 3 + 1), r"same fold .* 12 differ: .* 1 in run 'one' and 2 in run 'two'"),
        (lambda t: t.assign(patient=""), r"same patient .* 'p0000' in run 'one' and '' in run 'two'"),
        (lambda t: t.assign(model="resnet"), r"in one run, but 'resnet' is in 'one' and 'two'"),
        (lambda t: t.drop(columns="view"), r"^run 'two': .* lacks \['view'\]"),
    ],
)
def test_align_refuses_by_name(make: Make, break_it: Callable[[pd.DataFrame], pd.DataFrame], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align_tables({"one": make("resnet"), "two": break_it(make("vgg"))})


def test_align_needs_a_run() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        align_tables({})


def test_average_by_hand_over_samples_views_seeds_models() -> None:
    rows = [  # view, model, seed, p_yes
        ("cc", "a", 0, 0.2),
        ("cc", "a", 0, 0.4),  # a second sample of the view: the view's mean is 0.3
        ("mlo", "a", 0, 0.5),  # seed 0 of a: 0.4
        ("cc", "a", 1, 0.8),  # seed 1 of a: 0.8; a: 0.6
        ("cc", "b", 0, 1.0),  # b: 1.0
    ]
    table = pd.DataFrame(rows, columns=["view", "model", "seed", "p_yes"])
    table = table.assign(sample=["1", "2", "3", "1", "1"], case="x", patient="", label="yes", fold=2)
    table.insert(0, "p_no", 1 - table["p_yes"])
    cases = average_by_case(table)
    assert cases.columns.tolist() == ["repeat", "case", "patient", "label", "fold", "p_no", "p_yes"]
    assert cases.iloc[0, :5].tolist() == [1, "x", "", "yes", 2]
    np.testing.assert_allclose(cases[["p_no", "p_yes"]], [[0.2, 0.8]])


@with_fixtures
@given(order=st.randoms(use_true_random=False), views=st.sampled_from([("",), ("cc", "mlo")]))
def test_average_does_not_depend_on_the_order_of_rows(make: Make, order: object, views: tuple[str, ...]) -> None:
    table = pd.concat([make("b", views=views), make("a", views=views, draw=1)], ignore_index=True)
    shuffled = list(range(len(table)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    pd.testing.assert_frame_equal(average_by_case(table.iloc[shuffled]), average_by_case(table), check_exact=True)


@with_fixtures
@given(draw=st.integers(0, 10_000), signal=st.floats(0, 300), seeds=st.integers(1, 3))
def test_average_stays_on_the_simplex(make: Make, draw: int, signal: float, seeds: int) -> None:
    cases = average_by_case(make(draw=draw, signal=signal, seeds=seeds, views=("cc", "mlo")))
    values = cases[probability_columns(cases)].to_numpy()
    assert (values >= 0).all()
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-12)
    assert cases["case"].is_monotonic_increasing


@with_fixtures
@given(draw=st.integers(0, 10_000))
def test_fusion_of_a_model_with_itself_is_itself(make: Make, draw: int) -> None:
    one = make("a", draw=draw)
    both = align_tables({"one": one, "two": one.assign(model="b")})
    pd.testing.assert_frame_equal(average_by_case(both), average_by_case(one), check_exact=True)
