"""How many patients a study needs, before it. `python -m src.plan --help`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import product
from math import ceil
from typing import Any

from omegaconf import DictConfig

from src.cli.command import command, is_given
from src.cli.terminal import print_table
from src.config import SampleSize, build
from src.evaluation.sample_size import (
    auc_interval,
    correlation_limits,
    design_effect,
    difference_variance,
    fewest,
    patients_for_power,
    proportion_interval,
)
from src.evaluation.text_tables import BEST, TextTable
from src.evaluation.wording import number

Rule = tuple[str, Callable[[float], bool]]
FRACTION: Rule = ("a fraction between 0 and 1, such as 0.85 for 85 %", lambda value: 0 < value < 1)
COUNT: Rule = ("a whole number from 1 on", lambda value: value >= 1 and value == int(value))
RULES: dict[str, Rule] = {
    "auc": ("between 0.5 and 1", lambda value: 0.5 < value < 1),
    "folds": COUNT,
    "repeats": COUNT,
    "comparisons": COUNT,
    "images": ("1 or more", lambda value: value >= 1),
    "images_deviation": ("0 or more", lambda value: value >= 0),
    "likeness": ("0 to 1", lambda value: 0 <= value <= 1),
    "luck": ("0, or a fraction such as 0.03 for 3 points", lambda value: 0 <= value < 1),
    "correlation": ("-1 to 1", lambda value: -1 <= value <= 1),
}
"""What a value must be; those that are not named are fractions."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What can be asked: for what, which keys the answer hangs on, and how it is to be read."""

    purpose: str
    keys: tuple[str, ...]
    remarks: tuple[str, ...]


OF_PATIENTS = ("images", "images_deviation", "likeness")
OF_A_CLASS = ("width", "prevalence", *OF_PATIENTS)
WITH_AND_WITHOUT = "patients with and without the condition"
WILSON = "the interval is Wilson's with patients as clusters, that of `python -m src.run`"
QUESTIONS = {
    "accuracy": Question(
        purpose="for the 95 % interval of an accuracy", keys=("width", *OF_PATIENTS), remarks=(WILSON,)
    ),
    "sensitivity": Question(
        purpose="for the 95 % interval of a sensitivity", keys=OF_A_CLASS, remarks=(WITH_AND_WITHOUT, WILSON)
    ),
    "specificity": Question(
        purpose="for the 95 % interval of a specificity", keys=OF_A_CLASS, remarks=(WITH_AND_WITHOUT, WILSON)
    ),
    "auc": Question(
        purpose="for the 95 % interval of an area under the ROC curve",
        keys=OF_A_CLASS,
        remarks=(
            WITH_AND_WITHOUT,
            "the interval is Newcombe's (2006) with patients as clusters, that of `python -m src.run`; its variance is "
            "taken to be that of Hanley and McNeil's model (1982)",
        ),
    ),
    "difference": Question(
        purpose="to show that one way of learning is better than another",
        keys=("accuracy", "correlation", "luck", "folds", "repeats", "comparisons", "power", *OF_PATIENTS),
        remarks=(
            "shown: the primary metric of two runs, at 0.05, by both tests of `python -m src.compare`: over folds and "
            "over patients; of several comparisons at most so many, as by Bonferroni's correction",
        ),
    ),
}
LIKENESS = "images of a patient count for less the more they are alike: likeness= is a guess unless you know it"
BESIDE = (0.5, 0.75, 1.0, 1.5, 2.0)
"""The multiples of the one width, or difference, that is asked which the table shows."""
ANSWER = ["patients", "images", "95 % interval"]
NAMES = {"images": "images per patient", "likeness": "likeness (ICC)", "correlation": "correlation (phi)"}

Values = Mapping[str, float]


def main(config: DictConfig) -> None:
    """Show how many patients are needed; nothing is written."""
    options: SampleSize = build(config)
    question = asked_question(options)
    given = {name: read_values(name, getattr(options, name)) for name in (question, *QUESTIONS[question].keys)}
    print_table(plan_table(question, given))


def asked_question(options: SampleSize) -> str:
    """Return what is asked; `ValueError` where it is not one thing, or where something given means nothing to it."""
    asked = [name for name in QUESTIONS if getattr(options, name) is not None]
    if "difference" in asked:
        asked = [name for name in asked if name != "accuracy"]
    if len(asked) != 1:
        raise ValueError(
            "give one of accuracy=, sensitivity=, specificity= and auc= with width=, or difference= with accuracy=, "
            f"but got {' and '.join(asked) or 'none'}: --help shows examples"
        )
    known = (asked[0], *QUESTIONS[asked[0]].keys, "workspace")
    for each in fields(options):
        if each.name not in known and is_given(each.name):
            raise ValueError(f"{each.name}= means nothing to {asked[0]}=, which takes {', '.join(known[1:-1])}")
    return asked[0]


def read_values(name: str, given: Any) -> list[float]:
    """Return the one or several values of a key; `ValueError` where one cannot be."""
    rule, holds = RULES.get(name, FRACTION)
    values = given if isinstance(given, list) else [given]
    for value in values or [given]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
            raise ValueError(f"{name} is {rule}, or a list of such, but got {'none' if value is None else value}")
    return [float(value) for value in values]


def plan_table(question: str, given: Mapping[str, list[float]]) -> TextTable:
    """Return the patients that are needed, a row per combination of the values that are given."""
    size = question if question == "difference" else "width"
    asked = given[size]
    given = {**given, size: values_beside(asked[0], given) if len(asked) == 1 else asked}
    varied = [name for name, values in given.items() if len(values) > 1 or name in (question, size)]
    rows: list[list[str]] = []
    tones: dict[tuple[int, int], str] = {}
    for place, values in enumerate(product(*given.values())):
        row = dict(zip(given, values, strict=True))
        rows.append([*(short(row[name]) for name in varied), *answer(question, row)])
        tones |= {(place, len(varied)): BEST} if len(asked) == 1 and row[size] == asked[0] else {}
    return TextTable(
        caption=f"Patients {QUESTIONS[question].purpose}",
        header=[*(NAMES.get(name, name) for name in varied), *ANSWER[: len(rows[0]) - len(varied)]],
        rows=rows,
        text=0,
        tones=tones,
        notes=plan_notes(question, given, varied),
    )


def values_beside(asked: float, given: Mapping[str, list[float]]) -> list[float]:
    """Return a width or a difference that is asked, among smaller and larger ones that can be."""
    values = [round(asked * part, 4) for part in BESIDE]
    if "power" not in given:
        return [value for value in values if value < 1]
    accuracy, alike = max(given["accuracy"]), max(given["correlation"])
    return [
        value
        for value in values
        if value == asked or (accuracy + value < 1 and alike <= correlation_limits(value, accuracy)[1])
    ]


def answer(question: str, row: Values) -> list[str]:
    """Return the patients, their images, and of an interval the ends."""
    design = design_effect(row["images"], row["likeness"], row["images_deviation"])
    if question == "difference":
        patients, ends = patients_to_show(row, design), []
    else:
        patients, found = patients_for_width(question, row, design)
        ends = [" to ".join(number(end, 3) for end in found)]
    return [str(patients), str(ceil(patients * row["images"] - 1e-9)), *ends]


def patients_to_show(row: Values, design: float) -> int:
    """Return the patients with whom a difference is shown with the power that is asked."""
    folds, repeats, comparisons = (int(row[name]) for name in ("folds", "repeats", "comparisons"))
    if row["accuracy"] + row["difference"] >= 1:
        raise ValueError(
            f"accuracy (of the lesser way) + difference < 1 must hold, but got accuracy={short(row['accuracy'])} and "
            f"difference={short(row['difference'])}"
        )
    if folds == 1 < repeats:
        raise ValueError(f"repeats={repeats} are of folds=2 or more: a single test set is not drawn anew")
    variance = difference_variance(row["difference"], row["accuracy"], row["correlation"]) * design / row["images"]
    luck = 2 * row["luck"] ** 2  # that of both ways
    rest = {"repeats": repeats, "luck": luck, "comparisons": comparisons}
    return patients_for_power(row["difference"], variance, row["power"], folds, **rest)


def patients_for_width(question: str, row: Values, design: float) -> tuple[int, tuple[float, float]]:
    """Return the patients with whom the interval is no wider than asked, and the interval."""
    value, prevalence = row[question], row.get("prevalence", 1.0)
    share = {"sensitivity": prevalence, "specificity": 1 - prevalence}.get(question, 1.0)

    def interval(patients: int) -> tuple[float, float]:
        if question == "auc":
            return auc_interval(value, prevalence, patients, row["images"], design)
        return proportion_interval(value, patients, row["images"], design)

    patients = fewest(lambda count: interval(count)[1] - interval(count)[0] <= row["width"])
    return ceil(patients / share - 1e-9), interval(patients)


def plan_notes(question: str, given: Mapping[str, list[float]], varied: list[str]) -> list[str]:
    """Return what the answer hangs on, and how it is to be read."""
    single = given["images"] == [1]
    fixed = [name for name in given if name not in varied and not (single and name in OF_PATIENTS[1:])]
    lines = [f"with {' '.join(f'{name}={short(given[name][0])}' for name in fixed)}", *QUESTIONS[question].remarks]
    return lines if single else [*lines, LIKENESS]


def short(value: float) -> str:
    """Return a value as it would be typed."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


if __name__ == "__main__":
    command(main, "plan")
