import math

import pytest

from src.system.checks import at_least, holds, one_of, suggest_choice


def test_what_keeps_the_rules_passes() -> None:
    holds("low <= high", True, low=1, high=2)
    at_least(1, count=1, p=math.inf)
    one_of(("cpu", "cuda"), device="cuda")
    one_of({"binary": 2, "subtypes": 8}, task="binary")


def test_a_broken_rule_is_said_with_all_values() -> None:
    with pytest.raises(ValueError, match=r"^`low <= high` must hold, but got low=2, high=1$"):
        holds("low <= high", False, low=2, high=1)


@pytest.mark.parametrize("value", [0, 0.5, -math.inf, math.nan])
def test_the_first_value_that_is_too_small_is_named(value: float) -> None:
    with pytest.raises(ValueError, match=rf"^`count >= 1` must hold, but got count={value}$"):
        at_least(1, size=1, count=value, scale=-1)


@pytest.mark.parametrize(
    ("choices", "said"), [(("cpu", "gpu"), "cpu, gpu"), ({"cpu": 0, "gpu": 1}, "cpu, gpu"), ((1, 2), "1, 2")]
)
def test_what_is_no_choice_is_named_with_the_choices(choices: tuple[object, ...], said: str) -> None:
    with pytest.raises(ValueError, match=rf"^`device` must be one of {said}, but got device=tpu$"):
        one_of(choices, device="tpu")


def test_the_group_of_a_value_stands_before_its_name() -> None:
    with pytest.raises(ValueError, match=r"^`low < high` must hold, but got search\.low=2, search\.high=1$"):
        holds("low < high", False, group="search", low=2, high=1)
    with pytest.raises(ValueError, match=r"^`samples >= 1` must hold, but got executor\.samples=0$"):
        at_least(1, group="executor", samples=0)
    with pytest.raises(ValueError, match=r"^`optimizer` must be one of sgd, but got finetune\.optimizer=adam$"):
        one_of(("sgd",), group="finetune", optimizer="adam")


def test_values_may_be_called_like_the_parameters_of_a_check() -> None:
    with pytest.raises(ValueError, match=r"^`rule` must be one of a, but got rule=b$"):
        one_of(("a",), rule="b")
    with pytest.raises(ValueError, match=r"^`least >= 1` must hold, but got least=0$"):
        at_least(1, least=0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("mobilnet", "; did you mean mobilenet?"),
        ("ResNet", "; did you mean resnet?"),
        ("xyz", ""),
        ("gpu", ""),
    ],
)
def test_the_choice_that_is_nearest_is_offered(value: object, said: str) -> None:
    assert suggest_choice(value, ["resnet", "mobilenet", "cpu", 3]) == said


def test_a_mistyped_value_gets_the_choice_that_is_nearest() -> None:
    with pytest.raises(ValueError, match=r"finetune\.optimizer=admw; did you mean adamw\?$"):
        one_of(("sgd", "adamw"), group="finetune", optimizer="admw")
