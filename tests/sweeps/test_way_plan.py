"""Plans: what a budget bears, in which order, and what is too little."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from src.sweeps.way_plan import FILLED, Candidate, Plan, Source, parse_budget, plan_ways, spell_budget


def candidate(name: str, source: str, seconds: float, rank: int) -> Candidate:
    return Candidate(
        name=name, overrides={"name": name}, source=source, seconds=seconds, learns=1.0, predicts=0.1, rank=rank
    )


SOURCES = [
    Source(name="hand", overrides={}, seconds=20, per_image=0.1),
    Source(name="small", overrides={}, seconds=60, per_image=0.2),
    Source(name="large", overrides={}, seconds=600, per_image=2.0),
]
CANDIDATES = [
    candidate("hand logistic", "hand", 10, 0),
    candidate("large logistic", "large", 10, 1),
    candidate("small logistic", "small", 10, 1),
    candidate("small trees", "small", 100, 2),
    candidate("small knn", "small", 5, 3),
    candidate("fine-tuned", "", 5000, 100),
]


def test_the_floor_comes_first_then_what_costs_least() -> None:
    plan = plan_ways(CANDIDATES, SOURCES, budget=3600, spent=30, most=12)
    assert [way.name for way in plan.ways] == [
        "hand logistic",
        "small knn",
        "small logistic",
        "small trees",
        "large logistic",
    ]
    assert [way.seconds for way in plan.ways] == [30, 65, 10, 100, 610]
    assert plan.left == {"fine-tuned": "takes 84min"}
    assert plan.seconds == 30 + 815
    assert plan.floor == "hand logistic"


def test_a_smaller_budget_leaves_out_what_does_not_fit_and_goes_on() -> None:
    plan = plan_ways(CANDIDATES, SOURCES, budget=300, spent=30, most=12)
    assert {way.name for way in plan.ways} == {"hand logistic", "small logistic", "small knn"}
    assert plan.left["large logistic"] == "takes 11min"


def test_there_are_no_more_ways_than_asked() -> None:
    plan = plan_ways(CANDIDATES, SOURCES, budget=1e6, spent=0, most=3)
    assert [way.name for way in plan.ways] == ["hand logistic", "small logistic", "large logistic"]
    assert plan.left["small knn"] == "3 ways are enough to look at"


@pytest.mark.parametrize("budget", [10, 60, 120])
def test_a_budget_that_is_too_small_is_told_what_is_enough(budget: float) -> None:
    with pytest.raises(ValueError, match=r"too small for anything.*hand logistic and small knn") as refused:
        plan_ways(CANDIDATES, SOURCES, budget=budget, spent=8, most=12)
    found = re.search(r"budget=(\w+)", str(refused.value))
    assert found
    assert len(plan_ways(CANDIDATES, SOURCES, parse_budget(found[1]), spent=8, most=12).ways) >= 2


@given(
    some.lists(
        some.tuples(some.sampled_from(["hand", "small", "large", ""]), some.floats(0, 500)), min_size=2, max_size=20
    ),
    some.floats(1000, 10_000),
)
@settings(max_examples=100)
def test_a_plan_keeps_to_its_budget(given_ways: list[tuple[str, float]], budget: float) -> None:
    candidates = [candidate(f"{n}", source, seconds, n) for n, (source, seconds) in enumerate(given_ways)]
    try:
        plan = plan_ways(candidates, SOURCES, budget, spent=10, most=12)
    except ValueError:
        return
    assert plan.seconds - plan.spent <= FILLED * (budget - plan.spent) + 1e-6
    assert plan.ways[0].name == "0"
    assert {way.name for way in plan.ways} | set(plan.left) == {each.name for each in candidates}
    assert Plan.of_json(plan.to_json()) == plan


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30min", 1800), ("2h", 7200), ("1h30min", 5400)])
def test_budgets_are_times(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds
    assert parse_budget(spell_budget(seconds)) >= seconds


@pytest.mark.parametrize("text", ["", "30", "half", "0min", "-3min", "3 min", "30mins"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="`budget` is a time such as"):
        parse_budget(text)
