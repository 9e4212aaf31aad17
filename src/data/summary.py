"""What was read, in words: for the beginning of a run and of a prediction."""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import PurePosixPath

import pandas as pd

from src.data.found_files import is_part
from src.data.leaks import unknown_patients
from src.data.manifest import COLUMNS, list_first
from src.data.reader import LeftOut

PATIENT = re.compile(
    r"(patient|subject|person|participant|pat|donor|mrn)([ _.-]?(id|nr|no|num|number|name|code|key))?"
    r"|(id|nr)[ _.-]?(patient|subject)",
    re.IGNORECASE,
)
"""The name of a column that may hold the patient."""
SHOWN = 12


def describe_manifest(images: pd.DataFrame, left_out: Sequence[LeftOut] = ()) -> list[str]:
    """Return what was read, a line each: how much of what, what was left out, and what looks like a mistake.

    `images` is a manifest, or has of its columns `sample, case, view` only.
    """
    lines = ["; ".join(filter(None, [_counted(images), _views(images), _patients(images)]))]
    if left_out:
        lines += filter(None, [f"left out: {_kinds(left_out)}", _unread_patients(images, left_out)])
    return lines + ([f"looks like a mistake: {line}" for line in find_mistakes(images)] if "label" in images else [])


def find_mistakes(manifest: pd.DataFrame) -> list[str]:
    """What a manifest that is right hardly has: labels that tell nothing apart, patients that are none or not taken."""
    found = [
        _lone_classes(manifest),
        _parts(manifest),
        _same_folders(manifest),
        _untaken(manifest),
        _one_patient(manifest),
    ]
    return [line for line in found if line]


def describe_held_out(splits: pd.DataFrame) -> str:
    """Return how many cases the folds hold out, and how many they never do."""
    held_out = splits[splits["fold"] > 0]
    number, repeats = held_out["fold"].nunique(), splits["repeat"].nunique()
    cases, every = held_out["case"].nunique(), splits["case"].nunique()
    line = f"{cases} of {every} cases are held out, in {number} {_plural('fold', number)}"
    line += f" of {repeats} repeats" if repeats > 1 else ""
    never = every - cases
    why = "in no repeat held out" if repeats > 1 else "fold 0"
    return line + (f"; {never} ({why}) are learnt from and never predicted" if never else "")


def _counted(images: pd.DataFrame) -> str:
    cases = images["case"].nunique()
    line = f"{len(images)} {_plural('image', len(images))}"
    line += f" of {cases} {_plural('case', cases)}" if cases != len(images) else ""
    if "label" not in images:
        return line
    counts = _by_class(images)
    shown = ", ".join(f"{name} {count}" for name, count in counts[:SHOWN].items())
    return f"{line}: {shown}" + (f", ... ({len(counts)} classes)" if len(counts) > SHOWN else "")


def _views(images: pd.DataFrame) -> str:
    counts = images.loc[images["view"] != "", "view"].value_counts().sort_index()
    shown = ", ".join(f"{view} {count}" for view, count in counts.items())
    return f"views {shown}" if shown else ""


def _patients(images: pd.DataFrame) -> str:
    if "patient" not in images:
        return ""
    number = images.loc[images["patient"] != "", "patient"].nunique()
    if not number:
        return "patients unknown"
    without = unknown_patients(images)
    return f"{number} {_plural('patient', number)}" + (f", those of {without} cases unknown" if without else "")


def _kinds(left_out: Sequence[LeftOut]) -> str:
    """Return how many of each kind were left out, most first, and the first of each."""
    ordered = sorted(left_out, key=lambda each: (each.kind, each.name))
    kinds = [(kind, [each.name for each in part]) for kind, part in groupby(ordered, lambda each: each.kind)]
    kinds.sort(key=lambda pair: -len(pair[1]))
    shown = ", ".join(f"{kind} {len(names)} ({names[0]}{', ...' * (len(names) > 1)})" for kind, names in kinds[:SHOWN])
    return shown + (f" and {len(kinds) - SHOWN} kinds more" if len(kinds) > SHOWN else "")


def _unread_patients(images: pd.DataFrame, left_out: Sequence[LeftOut]) -> str:
    """Where patients are unknown, a table that lies beside the images and may know them."""
    tables = [each.name for each in left_out if each.name.lower().endswith(".csv")]
    if not tables or "patient" not in images or (images["patient"] != "").any():
        return ""
    return (
        f"patients are unknown: if {tables[0]} says whose images are whose, data=csv data.path=FILE reads it, and "
        "data.columns= says which column is which"
    )


def _lone_classes(manifest: pd.DataFrame) -> str:
    counts = _by_class(manifest)
    lone = counts.index[counts == 1].tolist()
    if 2 * len(lone) <= len(counts):
        return ""
    return f"{len(lone)} of {len(counts)} classes have a single case, {list_first(lone)}: are these the labels?"


def _parts(manifest: pd.DataFrame) -> str:
    """Parts of a split as classes, or as folders that are read together."""
    classes = [str(name) for name in manifest["label"].cat.categories]
    if all(map(is_part, classes)):
        return f"the classes {list_first(classes)} are called as the parts of a split are"
    folders = {name for sample in manifest["sample"] for name in PurePosixPath(sample).parts[:-1]}
    parts = sorted(name for name in folders if is_part(name) and name not in classes)
    if len(parts) < 2:
        return ""
    return f"folders {list_first(parts)} are read together: the protocol alone decides what is held out"


def _same_folders(manifest: pd.DataFrame) -> str:
    """Sites, years or devices as classes, with the classes below each; numbered folders are magnifications and such."""
    below: dict[str, set[str]] = {str(name): set() for name in manifest["label"].cat.categories}
    for sample, label in zip(manifest["sample"], manifest["label"], strict=True):
        top, *folders = PurePosixPath(sample).parts[:-1] or ("",)
        if top != label or not folders or re.search(r"\d", folders[0]):
            return ""
        below[str(label)].add(folders[0])
    names = min(below.values(), key=len)
    if len(names) < 2 or any(map(is_part, names)) or any(names != each for each in below.values()):
        return ""
    return (
        f"the classes are {list_first(list(below))}, and each has the folders {list_first(sorted(names))}: if those "
        "are the classes, put their folders into data.root, or list the images in a table (data=csv)"
    )


def _untaken(manifest: pd.DataFrame) -> str:
    named = [str(name) for name in manifest if name not in COLUMNS and PATIENT.fullmatch(str(name))]
    if not named or (manifest["patient"] != "").any():
        return ""
    return (
        f"patients are unknown, though there is a column {named[0]}: data.columns.patient={named[0]} keeps the images "
        "of one patient together"
    )


def _one_patient(manifest: pd.DataFrame) -> str:
    counts = manifest[manifest["patient"] != ""].drop_duplicates("case")["patient"].value_counts()
    if len(counts) < 3 or 2 * counts.iloc[0] <= manifest["case"].nunique():
        return ""
    return (
        f"patient {counts.index[0]!r} has {counts.iloc[0]} of {manifest['case'].nunique()} cases: if that stands for "
        "patients who are unknown, leave it empty, or name it in data.missing_values"
    )


def _by_class(manifest: pd.DataFrame) -> "pd.Series[int]":
    """Return the number of cases by class."""
    return manifest.drop_duplicates("case")["label"].value_counts(sort=False).rename(index=str)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
