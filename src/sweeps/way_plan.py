"""Which ways of learning a budget of time bears, and in which order: from rates that were measured to a plan."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
FILLED = 0.7
"""The share of what is left of a budget that a plan fills: rates of a few images are not those of all."""

Overrides = dict[str, str]
"""Values by the key of the config that they are given to."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The descriptors of an encoder and a crop, from which heads learn."""

    name: str
    overrides: Overrides
    seconds: float
    """What it takes to encode the images whose descriptors are not stored."""
    per_image: float
    """Seconds of one image, from its file to its descriptors."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A way of learning that could be tried."""

    name: str
    overrides: Overrides
    source: str
    """The descriptors that it needs; empty: none."""
    seconds: float
    """What it takes to learn and to predict all folds, with whatever a run does besides, without the descriptors."""
    learns: float
    """Seconds from the images' files to one model."""
    predicts: float
    """Seconds from an image's file to its prediction."""
    rank: int
    """The less, the sooner a plan takes it; the least is the floor, which every other way has to beat."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of learning that a plan has."""

    name: str
    overrides: Overrides
    seconds: float
    """What it takes where the ways before it are done."""
    learns: float
    predicts: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is tried, in order, the floor first; what is `left` out, and which encoders are `absent`, each with why.

    `spent` seconds went into it.
    """

    budget: float
    spent: float
    ways: list[Way]
    left: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """What all of it takes, as estimated, with what was spent."""
        return self.spent + sum(way.seconds for way in self.ways)

    @property
    def floor(self) -> str:
        """The way that every other one has to beat."""
        return self.ways[0].name

    def varied(self) -> dict[str, list[str]]:
        """Return the values of each key that the ways vary."""
        found: dict[str, list[str]] = {}
        for way in self.ways:
            for key, value in way.overrides.items():
                values = found.setdefault(key, [])
                values += [value] * (value not in values)
        return found

    def to_json(self) -> str:
        """Return the plan as text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def of_json(cls, text: str) -> "Plan":
        """Return the plan of a text."""
        found: dict[str, Any] = json.loads(text)
        return cls(**found | {"ways": [Way(**way) for way in found["ways"]]})


def parse_budget(text: str) -> float:
    """Return the seconds of a budget such as 30min, 2h or 1h30min; `ValueError` for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(s|min|h)", text)
    seconds = sum(float(count) * UNITS[unit] for count, unit in parts)
    if "".join(count + unit for count, unit in parts) != text or seconds <= 0:
        raise ValueError(f"`budget` is a time such as 90s, 30min, 2h or 1h30min, but got budget={text}")
    return seconds


def spell_budget(seconds: float) -> str:
    """Return a time, rounded up, as a budget is given."""
    if seconds <= 60:
        return f"{max(1, int(-(-seconds // 1)))}s"
    minutes = max(1, int(-(-seconds // 60)))
    hours, rest = divmod(minutes, 60)
    return f"{minutes}min" if minutes <= 90 else f"{hours}h" + (f"{rest}min" if rest else "")


def plan_ways(
    candidates: Sequence[Candidate], sources: Sequence[Source], budget: float, spent: float, most: int
) -> Plan:
    """Return the plan that fills `FILLED` of what is left of a budget (seconds), with `most` ways.

    Candidates are taken by rank while they fit; the descriptors of a source are paid for once. Those that are taken run
    from the least additional time on, but for the floor, which comes first: without it no figure says much.

    Errors: ValueError where not even the floor and a way with other descriptors fit; it says what would be enough.
    """
    named = {source.name: source for source in sources}
    limit = FILLED * (budget - spent)
    ranked = sorted(candidates, key=lambda each: (each.rank, each.seconds))
    taken: list[Candidate] = []
    left: dict[str, str] = {}
    total = 0.0
    for each in ranked:
        cost = added_cost(each, taken, named)
        if len(taken) >= most:
            left[each.name] = f"{most} ways are enough to look at"
        elif total + cost > limit:
            left[each.name] = f"takes {spell_budget(cost)}"
        else:
            taken.append(each)
            total += cost
    if taken[:1] != ranked[:1] or not rivals(taken):
        raise ValueError(refuse_budget(ranked, named, budget, spent))
    return Plan(budget=budget, spent=spent, ways=cheapest_first(taken, named), left=left)


def rivals(ranked: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that learn from something else than the floor, the first one."""
    return [each for each in ranked if each.source != ranked[0].source]


def added_cost(candidate: Candidate, before: Sequence[Candidate], sources: Mapping[str, Source]) -> float:
    """Return what a candidate takes where others are done before it."""
    paid = not candidate.source or any(each.source == candidate.source for each in before)
    return candidate.seconds + (0.0 if paid else sources[candidate.source].seconds)


def cheapest_first(taken: Sequence[Candidate], sources: Mapping[str, Source]) -> list[Way]:
    """Return the ways in the order in which they run: the first one, then whichever costs least at that point."""
    waiting, done, ways = list(taken), list[Candidate](), list[Way]()
    while waiting:
        costs = [added_cost(each, done, sources) for each in waiting]
        place = costs.index(min(costs)) if done else 0
        each = waiting.pop(place)
        done.append(each)
        ways.append(
            Way(
                name=each.name,
                overrides=each.overrides,
                seconds=costs[place],
                learns=each.learns,
                predicts=each.predicts,
            )
        )
    return ways


def refuse_budget(ranked: Sequence[Candidate], sources: Mapping[str, Source], budget: float, spent: float) -> str:
    """Return what to tell of a budget that is too small: the least that is enough, and for what."""
    floor = ranked[0]
    other = min(rivals(ranked), key=lambda each: added_cost(each, [floor], sources), default=floor)
    least = added_cost(floor, [], sources) + added_cost(other, [floor], sources)
    enough = spent + least / FILLED
    return (
        f"a budget of {spell_budget(budget)} is too small for anything: to look at the data and measure took "
        f"{spent:.0f} s here, and the least, {floor.name} and {other.name}, takes about {least:.0f} s: "
        f"budget={spell_budget(1.2 * enough)} is enough for these two"
    )
