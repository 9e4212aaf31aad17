"""The fusion of tracked runs: what a sweep ends with, and what `python -m src.fuse` makes again."""

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.cli.command import given_values
from src.config import ROOT
from src.data.manifest import case_groups, is_among, list_first
from src.evaluation.predictions import class_names
from src.evaluation.two_classes import Binary
from src.tracking import RunRecord, Tracking

if TYPE_CHECKING:
    import pandas as pd

    from src.evaluation.chosen_threshold import ThresholdChoice
    from src.evaluation.evaluation import Evaluation
    from src.evaluation.side_by_side import Group, SideBySide

AXES = ("data", "protocol", "training_patients")
"""The keys, themselves or what is below them, that make cells of which one cannot be fused with the other."""
BY_IMAGE = ("image_kfold", "image_holdout")
GIVEN = ("fit", "stopping")
"""The roles of cases that a fold's models know."""


@dataclass(kw_only=True)
class Fusion:
    """The fusions of a sweep: a group or several, side by side if they are, and why others could not be fused.

    `members` are the runs of each group, by the name of their model.
    """

    groups: "list[Group]"
    together: "SideBySide | None"
    failed: dict[str, str] = field(default_factory=dict)
    members: list[dict[str, RunRecord]] = field(default_factory=list)


def fuse_runs(
    tracking: Tracking,
    runs: list[RunRecord],
    replicates: int,
    binary: Binary | None = None,
    slices: Sequence[str] = (),
) -> "tuple[Evaluation, list[str]]":
    """Return the evaluation of the mean of runs' predictions, and the notes on them.

    The two-class view and the slices are those of the runs unless they are given. `ValueError` where the runs do not
    fit each other.
    """
    from src.evaluation.evaluation import evaluate
    from src.evaluation.predictions import align_tables

    read = read_predictions(tracking, runs)
    found, left_out = shared_cases(runs, read)
    evaluation = evaluate(
        align_tables(found),
        binary or recorded_view(runs),
        replicates,
        facts=told_apart(tracking, runs, slices),
        choice=recorded_choice(tracking, dict(zip(read, runs, strict=True))),
    )
    return evaluation, fusion_notes(runs) + left_out


def fuse_sweep(
    tracking: Tracking,
    runs: list[RunRecord],
    keys: Sequence[str],
    replicates: int,
    binary: Binary | None = None,
    slices: Sequence[str] = (),
) -> Fusion:
    """Return the fusions of a sweep's finished cells, where `keys` were varied: one of each group of cells that fit.

    A group is of the same cases, classes, folds and number of training patients. Where there are several, one that
    cannot be fused is left out, with the reason; `ValueError` where nothing is left.
    """
    from src.evaluation.side_by_side import axes_title, side_by_side

    found = read_predictions(tracking, runs)
    parts = group_runs(dict(zip(found, runs, strict=True)), found, ["training_patients"])
    fusion = Fusion(groups=[], together=None)
    for part, axes in zip(parts, told_by(parts, keys), strict=True):
        named = {name_in_group(name, axes): found[name] for name in part}
        try:
            fusion.groups.append(fuse_group(tracking, list(part.values()), named, axes, replicates, binary, slices))
            fusion.members.append(dict(zip(named, part.values(), strict=True)))
        except ValueError as error:
            if len(parts) == 1:
                raise
            fusion.failed[axes_title(axes)] = str(error)
    if not fusion.groups:
        raise ValueError(
            "no cells could be fused: " + "; ".join(f"{name}: {why}" for name, why in fusion.failed.items())
        )
    results = read_published(runs)
    if len(fusion.groups) > 1 or results is not None:
        fusion.together = side_by_side(fusion.groups, results, replicates)
    return fusion


def fuse_group(
    tracking: Tracking,
    runs: list[RunRecord],
    predictions: "Mapping[str, pd.DataFrame]",
    axes: dict[str, str],
    replicates: int,
    binary: Binary | None,
    slices: Sequence[str],
) -> "Group":
    """Return the fusion of runs that fit, from their predictions by the name of the model."""
    from src.evaluation.evaluation import evaluate
    from src.evaluation.predictions import align_tables
    from src.evaluation.side_by_side import TRAINING, Group

    found, left_out = shared_cases(runs, {name: table.assign(model=name) for name, table in predictions.items()})
    aligned, view = align_tables(found), binary or recorded_view(runs)
    choice = recorded_choice(tracking, dict(zip(predictions, runs, strict=True)))
    return Group(
        axes=axes,
        leaks=any(map(leaks_patients, runs)),
        patients=training_patients(tracking, runs) if TRAINING in axes else float("nan"),
        predictions=aligned,
        binary=view,
        evaluation=evaluate(aligned, view, replicates, facts=told_apart(tracking, runs, slices), choice=choice),
        notes=fusion_notes(runs) + left_out,
        choice=choice,
    )


def shared_cases(
    runs: Iterable[RunRecord], predictions: "Mapping[str, pd.DataFrame]"
) -> "tuple[Mapping[str, pd.DataFrame], list[str]]":
    """Return the predictions of the cases that all runs of one split have, and a note where others are left out.

    Images may be bad for one run and not for another, such as those that are too small for larger crops.
    """
    sets = [set(table["case"]) for table in predictions.values()]
    common = set.intersection(*sets)
    others = sorted(set.union(*sets) - common)
    splits = {run.splits for run in runs}
    if not others or not common or len(splits) > 1 or "" in splits:
        return predictions, []
    note = f"{len(others)} cases are left out, as not all of these runs predict them: {list_first(others)}"
    return {name: table[is_among(table["case"], common)] for name, table in predictions.items()}, [note]


def group_runs(
    runs: Mapping[str, RunRecord], predictions: "Mapping[str, pd.DataFrame]", params: Sequence[str] = ()
) -> list[dict[str, RunRecord]]:
    """Return the runs that fit each other together: the same splits, classes and values of params."""
    parts: dict[tuple[object, ...], dict[str, RunRecord]] = {}
    for name, run in runs.items():
        key = (run.splits, *map(run.params.get, params), frozenset(class_names(predictions[name])))
        parts.setdefault(key, {})[name] = run
    return list(parts.values())


def told_by(parts: list[dict[str, RunRecord]], keys: Sequence[str]) -> list[dict[str, str]]:
    """Return what tells each group from the others: the varied keys that are one within every group, and their values.

    Where these do not tell all of them apart, also the number of the group.
    """
    values = {
        key: [{run.params.get(key, "") for run in part.values()} for part in parts]
        for key in keys
        if key_group(key) in AXES
    }
    same = {
        key: [min(each) for each in found] for key, found in values.items() if all(len(each) == 1 for each in found)
    }
    axes = sorted(
        (key for key, found in same.items() if len(set(found)) > 1), key=lambda key: AXES.index(key_group(key))
    )
    told = [{key: same[key][number] for key in axes} for number in range(len(parts))]
    if len({tuple(each.items()) for each in told}) == len(parts):
        return told
    return [each | {"group": str(number)} for number, each in enumerate(told, start=1)]


def key_group(key: str) -> str:
    """Return the group of a key: data of data.task."""
    return key.split(".")[0]


def name_in_group(name: str, axes: Mapping[str, str]) -> str:
    """Return the name of a cell without what it says about its group, so that groups have the same models."""
    for key, value in axes.items():
        name = name.replace(f" {key}={value}", "")
    return name


def leaks_patients(run: RunRecord) -> bool:
    """Return whether patients stand on both sides of a run's splits: as its audit found, else as its protocol says."""
    audited = run.audit.get("audit_patients")
    return run.protocol in BY_IMAGE if audited is None else audited > 0


def training_patients(tracking: Tracking, runs: list[RunRecord]) -> float:
    """Return the mean, over runs and folds, of the patients that models learn from or decide by when to stop.

    A case of an unknown patient counts as one.
    """
    import pandas as pd

    counts = []
    for run in runs:
        roles = read_table(tracking, run, "roles.csv")
        known = roles[roles["role"].isin(GIVEN)]
        patient = known["case"].map(case_groups(read_table(tracking, run, "manifest.csv")))
        counts.append(patient.groupby(known["fold"]).nunique())
    return float(pd.concat(counts).mean())


def told_apart(tracking: Tracking, runs: list[RunRecord], slices: Sequence[str] = ()) -> "pd.DataFrame | None":
    """Return what tells the samples of runs apart: the columns `slices`, or those with which they were evaluated."""
    import pandas as pd

    from src.evaluation.slices import slice_facts

    names = list(slices) or list(dict.fromkeys(name for run in runs for name in run.slices))
    if not names:
        return None
    manifests = (read_table(tracking, run, "manifest.csv") for run in runs)  # mostly one and the same
    return slice_facts(reduce(lambda one, other: pd.concat([one, other]).drop_duplicates("sample"), manifests), names)


def read_published(runs: list[RunRecord]) -> "pd.DataFrame | None":
    """Return the published figures that the runs name, a path being relative to here or to the code's checkout."""
    import pandas as pd

    paths = sorted({run.published for run in runs} - {""})
    found = [published_at(path) for path in paths]
    return (
        pd.concat(found, ignore_index=True).drop_duplicates(["model", "metric"], ignore_index=True) if found else None
    )


def published_at(path: str) -> "pd.DataFrame":
    """Return the published figures of a file; `ValueError` where there is none, or where it holds something else."""
    from src.evaluation.fold_tables import published_results

    return published_results(published_file(path))


def published_file(path: str) -> Path:
    """Return where a file of published figures is: the path is relative to here, or to the code's checkout."""
    for place in (Path(path), ROOT / path):
        if place.is_file():
            return place
    raise ValueError(f"`published` is a CSV of published figures, but there is none at {path}")


def read_table(tracking: Tracking, run: RunRecord, name: str) -> "pd.DataFrame":
    """Return a table that a run holds, as text."""
    import pandas as pd

    return pd.read_csv(io.BytesIO(tracking.artifact(run, name)), dtype=str, keep_default_na=False)


def fusion_notes(runs: list[RunRecord]) -> list[str]:
    """Return what is noted on any of the runs: what several have in common is told once."""
    notes = (note for run in runs for note in run.notes.split("; "))
    return list(dict.fromkeys(filter(None, notes)))


def finished_cells(runs: list[RunRecord]) -> list[RunRecord]:
    """Return the runs that have results."""
    return [run for run in runs if run.finished]


def read_predictions(tracking: Tracking, runs: list[RunRecord]) -> "dict[str, pd.DataFrame]":
    """Return the predictions of runs by name; runs of one name are told apart by the beginning of their ids."""
    if twice := [run_id for run_id, count in Counter(run.id for run in runs).items() if count > 1]:
        raise ValueError(f"a run is fused once, but {twice[0]} is given twice")
    names = Counter(run.name for run in runs)
    found = {}
    for run in runs:
        name = run.name if names[run.name] == 1 else f"{run.name} {run.id[:6]}"
        found[name] = tracking.predictions(run).assign(model=name)
    return found


def recorded_choice(tracking: Tracking, runs: Mapping[str, RunRecord]) -> "ThresholdChoice | None":
    """Return what the thresholds of runs, by the name of their model, are chosen by; None unless all have one rule."""
    import pandas as pd

    rules = {run.threshold for run in runs.values()}
    if len(rules) > 1 or "" in rules:
        return None
    inner = read_inner(tracking, runs)
    return (
        threshold_choice(rules.pop(), pd.concat(inner.values(), ignore_index=True)) if len(inner) == len(runs) else None
    )


def threshold_choice(rule: str, inner: "pd.DataFrame | None") -> "ThresholdChoice | None":
    """Return what thresholds are chosen by: a rule, and predictions of training parts; None where one is lacking."""
    from src.evaluation.chosen_threshold import ThresholdChoice, parse_rule

    parsed = parse_rule(rule)
    return None if parsed is None or inner is None else ThresholdChoice(rule=parsed, inner=inner)


def read_inner(tracking: Tracking, runs: Mapping[str, RunRecord]) -> "dict[str, pd.DataFrame]":
    """Return what runs predicted of training parts, by the name of their model, of those that did."""
    found = {name: tracking.inner_predictions(run) for name, run in runs.items()}
    return {name: table.assign(model=name) for name, table in found.items() if table is not None}


def given_view(binary: Binary, runs: list[RunRecord]) -> Binary | None:
    """Return the two-class view that the command line asks for, in all else that of the runs; None where nothing of it
    is given."""
    given = given_values("binary", binary)
    return recorded_view(runs, given) if given else None


def recorded_view(runs: list[RunRecord], given: Mapping[str, Any] | None = None) -> Binary:
    """Return the two-class view with which runs were evaluated, but for what is given of it.

    Where they do not agree, what is given has to say which classes are positive.
    """
    given = dict(given or {})
    views = [run.values("binary") | given for run in runs] or [given]
    if "positive" in given and any(view != views[0] for view in views):
        return Binary(**given)
    if any(view != views[0] for view in views):
        raise ValueError("the runs were evaluated with different two-class views; give one by binary.positive=[...]")
    return Binary(**views[0])
