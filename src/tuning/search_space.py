"""What a study varies: parameters below the experiment, and between what."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, get_origin

from src.cell import Cell

if TYPE_CHECKING:
    from optuna import Trial

RANGE, CHOICES = ("low", "high", "log", "step"), "choices"
Values = dict[str, Any]


@dataclass(kw_only=True)
class Dimension:
    """A parameter: a number from `low` to `high`, or one of `choices`.

    `log` draws it evenly in its logarithm; `step` are its distances from `low` (none: any number, or every whole one).
    """

    key: str
    whole: bool = False
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: list[Any] = field(default_factory=list)

    def suggest(self, trial: "Trial") -> Any:
        """Return the value of a trial."""
        if self.choices:
            return self.named()[trial.suggest_categorical(self.key, list(self.named()))]
        if self.whole:
            step = int(self.step or 1)
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def named(self) -> dict[Any, Any]:
        """Return the choices by what stands for them in a study: the choice itself, or its JSON where it is a list."""
        return {json.dumps(each) if isinstance(each, list | dict) else each: each for each in self.choices}

    def ends(self) -> list[Any]:
        """Return the values by which to see whether an operator takes them."""
        number = int if self.whole else float
        return list(self.choices) or [number(self.low), number(self.high)]


@dataclass
class Space:
    """The parameters that a study varies."""

    dimensions: list[Dimension]

    def suggest(self, trial: "Trial") -> Values:
        """Return the values of a trial by dotted key."""
        return {dimension.key: dimension.suggest(trial) for dimension in self.dimensions}

    def values(self, params: Mapping[str, Any]) -> Values:
        """Return the values that a study's parameters stand for."""
        return {
            each.key: each.named()[params[each.key]] if each.choices else params[each.key] for each in self.dimensions
        }

    @property
    def keys(self) -> list[str]:
        """The dotted keys."""
        return [dimension.key for dimension in self.dimensions]


def parse_space(search: Mapping[str, Any], cell: Cell, operators: tuple[str, ...]) -> Space:
    """Return what a study of a cell varies, of these operators of its; `ValueError` names a key that cannot be."""
    given = dict(flatten_search(search))
    if not given:
        raise ValueError("a search varies something: search=lightgbm, or search.classifier.c.low=... and .high=...")
    found = Space([parse_dimension(key, limits, cell, operators) for key, limits in given.items()])
    for each in found.dimensions:
        for value in each.ends():
            try:
                apply_values(cell, {each.key: value})
            except (ValueError, TypeError) as error:
                raise ValueError(f"the search tries {each.key}={value}, which is refused: {error}") from None
    if cell.finetune.phases and (idle := [key for key in given if key in IDLE]):
        raise ValueError(f"finetune.phases are given, so that {idle[0]} has no effect: search without it")
    return found


IDLE = ("finetune.trainable", "finetune.epochs", "finetune.learning_rate")


def flatten_search(search: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield dotted keys and their limits, whether the keys are dotted or nested."""
    for name, value in search.items():
        key = f"{prefix}{name}"
        if not isinstance(value, Mapping):
            raise ValueError(f"search.{key} must hold low and high, or choices, but got {value}")
        if value and set(value) <= {*RANGE, CHOICES}:
            yield key, value
        elif any(name in value for name in ("low", "high", CHOICES)):
            wrong = next(name for name in value if name not in (*RANGE, CHOICES))
            raise ValueError(f"search.{key} has {wrong}; its keys are {', '.join(RANGE)}, or {CHOICES}")
        else:
            yield from flatten_search(value, f"{key}.")


def parse_dimension(key: str, limits: Mapping[str, Any], cell: Cell, operators: tuple[str, ...]) -> Dimension:
    """Return a dimension; `ValueError` where the key or its limits are none."""
    operator, _, path = key.partition(".")
    name, _, below = path.partition(".")
    if operator not in operators:
        ways = " and ".join(f"{each}.*" for each in operators)
        raise ValueError(
            f"the search holds {key}, but a study varies {ways} here: sweep others by `python -m src.run -m`"
        )
    known = {each.name: each.type for each in fields(getattr(cell, operator))}
    if name not in known or bool(below) != is_dictionary(known[name]):
        kind = type(getattr(cell, operator)).__name__
        raise ValueError(
            f"the search holds {key}, but {kind} has no {path}; it has {', '.join(known)}: take the search=OPTION that "
            f"belongs to {operator}={kind.lower()}, or the {operator} that the search is for"
        )
    if CHOICES in limits:
        return parse_choices(key, limits, known[name])
    if below:  # whose type no one says
        return parse_range(key, limits, whole=all(type(limits.get(end)) is int for end in ("low", "high")))
    if known[name] not in (int, float):
        raise ValueError(f"the search holds {key}, which is no number: give search.{key}.choices=[...]")
    return parse_range(key, limits, whole=known[name] is int)


def is_dictionary(kind: Any) -> bool:
    """Return whether a parameter holds others by name, which the operator checks."""
    return get_origin(kind) is dict


def parse_choices(key: str, limits: Mapping[str, Any], kind: Any) -> Dimension:
    """Return a dimension of choices."""
    choices = list(limits[CHOICES]) if isinstance(limits[CHOICES], list) else []
    if set(limits) != {CHOICES} or not choices:
        raise ValueError(f"search.{key} must hold choices=[...] alone, or low and high, but got {dict(limits)}")
    if kind is float:
        choices = [float(each) if isinstance(each, int) else each for each in choices]
    wrong = [each for each in choices if kind in (int, float, str) and type(each) is not kind]
    if wrong:
        raise ValueError(f"search.{key}.choices must be of type {kind.__name__}, but {wrong[0]!r} is not")
    return Dimension(key=key, choices=choices)


def parse_range(key: str, limits: Mapping[str, Any], whole: bool) -> Dimension:
    """Return a dimension from a number to another."""
    if not {"low", "high"} <= set(limits):
        raise ValueError(f"search.{key} must hold low and high, or choices, but got {dict(limits)}")
    numbers = {name: limits[name] for name in ("low", "high", "step") if limits.get(name) is not None}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value != int(value)):
            raise ValueError(f"search.{key}.{name} must be a {'whole ' * whole}number, but got {value!r}")
    log = limits.get("log", False)
    if log not in (True, False):
        raise ValueError(f"search.{key}.log must be true or false, but got {log!r}")
    made = Dimension(key=key, whole=whole, **numbers, log=bool(log))
    rules = {
        "low < high": made.low < made.high,
        "step > 0": made.step is None or made.step > 0,
        "low > 0 with log": made.low > 0 or not made.log,
        "log without step": not (made.log and made.step),
    }
    if broken := [rule for rule, held in rules.items() if not held]:
        raise ValueError(f"`{broken[0]}` must hold in search.{key}, but got {dict(limits)}")
    return made


def apply_values(cell: Cell, values: Mapping[str, Any]) -> Cell:
    """Return a cell with other parameters, by dotted key; `ValueError` where an operator refuses one."""
    changed: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        operator, _, path = key.partition(".")
        name, _, below = path.partition(".")
        given = changed.setdefault(operator, {})
        given[name] = {**given.get(name, getattr(getattr(cell, operator), name)), below: value} if below else value
    return replace(cell, **{name: replace(getattr(cell, name), **given) for name, given in changed.items()})
