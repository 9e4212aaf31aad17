"""What a study varies: checked before any work, and taken over by a cell."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from src.classifiers.lightgbm import LightGBM
from src.methods.finetune.finetune import FineTune
from src.methods.frozen.frozen import Frozen
from src.training.parameters import FineTuning, Phase
from src.tuning.search_space import apply_values, parse_space
from tests.support.cells import cell as any_cell
from tests.support.estimators import FOREST

CELL = any_cell(Path("unused"), classifier=LightGBM())
LIMITS = {"low": 1, "high": 9}


def test_nested_and_dotted_keys_are_the_same() -> None:
    dotted = {"classifier.rounds": {"low": 5, "high": 9}, "pool.p": {"choices": [1, 3]}}
    nested = {"classifier": {"rounds": {"low": 5, "high": 9}}, "pool": {"p": {"choices": [1, 3]}}}
    assert parse_space(dotted, CELL, Frozen.varied) == parse_space(nested, CELL, Frozen.varied)
    assert parse_space(dotted, CELL, Frozen.varied).keys == ["classifier.rounds", "pool.p"]


def test_a_trials_values_are_within_the_limits_and_of_the_parameters_types() -> None:
    search = {
        "classifier.rounds": {"low": 5, "high": 9},
        "classifier.num_leaves": {"low": 2, "high": 64, "log": True},
        "classifier.feature_fraction": {"low": 0.2, "high": 0.8, "step": 0.2},
        "classifier.learning_rate": {"low": 1e-3, "high": 1, "log": True},
        "pool.p": {"choices": [1, 3, float("inf")]},
    }
    found = parse_space(search, CELL, Frozen.varied)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(40):
        values = found.suggest(study.ask())
        one = apply_values(CELL, values)
        assert type(one.classifier.rounds) is int
        assert 5 <= one.classifier.rounds <= 9
        assert 2 <= one.classifier.num_leaves <= 64
        assert round(one.classifier.feature_fraction, 6) in (0.2, 0.4, 0.6, 0.8)
        assert 1e-3 <= one.classifier.learning_rate <= 1
        assert type(one.pool.p) is float
        assert one.classifier.max_depth == CELL.classifier.max_depth
        assert found.values(values) == values


def test_parameters_of_an_estimator_are_varied_and_the_others_stay() -> None:
    forest = any_cell(Path("unused"), classifier=FOREST)
    search = {
        "classifier.parameters": {
            "max_depth": {"low": 2, "high": 9},
            "max_features": {"low": 0.1, "high": 1, "log": True},
            "class_weight": {"choices": [None, "balanced"]},
        }
    }
    found = parse_space(search, forest, Frozen.varied)
    assert found.keys == [f"classifier.parameters.{name}" for name in ("max_depth", "max_features", "class_weight")]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        values = found.suggest(study.ask())
        parameters = apply_values(forest, values).classifier.parameters
        assert type(parameters["max_depth"]) is int
        assert 0.1 <= parameters["max_features"] <= 1
        assert parameters == FOREST.parameters | {name.split(".")[2]: value for name, value in values.items()}


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"parameters.max_dept": LIMITS}, "max_dept=1, which is refused: .* no parameter max_dept; .* max_depth?"),
        ({"parameters.max_depth": LIMITS | {"low": 0}}, "max_depth=0, which is refused: .*'max_depth' parameter"),
        ({"parameters": {"choices": [1]}}, "Sklearn has no parameters; it has estimator, parameters"),
        ({"estimator.max_depth": LIMITS}, "Sklearn has no estimator.max_depth"),
    ],
    ids=str,
)
def test_what_an_estimator_does_not_take_is_named(search: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_space({"classifier": search}, any_cell(Path("unused"), classifier=FOREST), Frozen.varied)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({}, "a search varies something"),
        ({"classifier.c": LIMITS}, "LightGBM has no c; it has rounds, learning_rate"),
        ({"crop.size": LIMITS}, r"a study varies classifier.\* and pool.\* here: sweep others"),
        ({"finetune.epochs": LIMITS}, r"a study varies classifier.\* and pool.\* here"),
        ({"classifier": 3}, "search.classifier must hold low and high, or choices, but got 3"),
        ({"classifier.rounds": {"low": 1}}, "must hold low and high, or choices"),
        ({"classifier.rounds": {"low": 1, "high": 9, "hihg": 3}}, "has hihg; its keys are low, high, log, step"),
        ({"classifier.rounds": {"low": 1, "high": 9, "choices": [1]}}, r"must hold choices=\[...\] alone"),
        ({"classifier.rounds": {"choices": []}}, r"must hold choices=\[...\] alone"),
        ({"classifier.rounds": {"choices": ["many"]}}, "must be of type int, but 'many' is not"),
        ({"classifier.rounds": {"choices": [1.5]}}, "must be of type int, but 1.5 is not"),
        ({"classifier.rounds": {"low": 1.5, "high": 9}}, "low must be a whole number, but got 1.5"),
        ({"classifier.rounds": {"low": "few", "high": 9}}, "low must be a whole number, but got 'few'"),
        ({"classifier.rounds": {"low": 9, "high": 1}}, "`low < high` must hold"),
        ({"classifier.lambda_l2": {"low": 0, "high": 1, "log": True}}, "`low > 0 with log` must hold"),
        ({"classifier.rounds": {"low": 1, "high": 9, "log": True, "step": 2}}, "`log without step` must hold"),
        ({"classifier.rounds": {"low": 1, "high": 9, "step": 0}}, "`step > 0` must hold"),
        ({"classifier.rounds": {"low": 1, "high": 9, "log": "yes"}}, "log must be true or false"),
        ({"classifier.c": LIMITS}, "take the search=OPTION that belongs to classifier=lightgbm"),
        ({"classifier.num_leaves": LIMITS}, "tries classifier.num_leaves=1, which is refused: `num_leaves >= 2`"),
        ({"pool.p": {"choices": [0.5, 1]}}, "tries pool.p=0.5, which is refused: `p >= 1` must hold"),
    ],
    ids=str,
)
def test_what_cannot_be_varied_is_named(search: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_space(search, CELL, Frozen.varied)


def test_words_are_chosen_from_and_not_drawn_between() -> None:
    with pytest.raises(ValueError, match=r"is no number: give search.finetune.optimizer.choices"):
        parse_space({"finetune.optimizer": LIMITS}, CELL, FineTune.varied)
    with pytest.raises(
        ValueError, match="which is refused: `optimizer` must be one of adamw, .*finetune.optimizer=adam"
    ):
        parse_space({"finetune.optimizer": {"choices": ["adam"]}}, CELL, FineTune.varied)


def test_what_phases_override_is_not_varied() -> None:
    phased = any_cell(Path("unused"), finetune=FineTuning(phases=[Phase(epochs=2)]))
    with pytest.raises(ValueError, match=r"finetune.phases are given, so that finetune.learning_rate has no effect"):
        parse_space({"finetune.learning_rate": {"low": 1e-4, "high": 1e-2}}, phased, FineTune.varied)
