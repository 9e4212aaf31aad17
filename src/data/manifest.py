"""The manifest: one row per sample, what every reader gives and every method starts from."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import pandas as pd

COLUMNS = ("sample", "case", "patient", "view", "label")
VIEW = re.compile(r"[\w -]*")
"""The name of a view: a model of its own is called by it, and so is that model's file."""
MOST_VIEWS = 12


def check_manifest(manifest: pd.DataFrame, positive: Sequence[str] = ()) -> pd.DataFrame:
    """The manifest by sample and with a fresh index; ValueError names the first sample or case that breaks a rule."""
    _check_columns(manifest)
    manifest = manifest.sort_values("sample", ignore_index=True)
    _refuse(manifest, manifest["sample"].map(_leaves), "a sample is a path relative to the root, inside of it")
    _refuse(manifest, manifest["sample"].duplicated(), "a sample has one row")
    _refuse(manifest, manifest["case"] == "", "every sample has a case")
    _refuse(manifest, manifest["label"].isna() | (manifest["label"].astype(str) == ""), "every sample has a label")
    check_views(manifest)
    for column in ("label", "patient"):
        _check_one(manifest, column)
    _check_classes(manifest, positive)
    return manifest


def check_views(images: pd.DataFrame) -> None:
    """Raise `ValueError` for views that are none: of other signs, or too many to have a model each.

    `images` has the columns `sample` and `view`.
    """
    odd = images[~images["view"].map(lambda view: VIEW.fullmatch(view) is not None)]
    if len(odd):
        row = odd.iloc[0]
        raise ValueError(
            f"a view's name is of letters, digits, blanks, _ and -, but {row['sample']} has view {row['view']!r}"
        )
    if (count := images["view"].nunique()) > MOST_VIEWS:
        found = list_first(sorted(images["view"].unique()))
        raise ValueError(
            f"there are at most {MOST_VIEWS} views, in which cases have an image or several each, but there are "
            f"{count}, {found}: if that column tells images of a case apart and no more, leave it out, and they are "
            "averaged"
        )


def list_first(names: Sequence[str]) -> str:
    """Return the first three for a message, and how many there are."""
    return ", ".join(names[:3]) + (f", ... ({len(names)} in all)" if len(names) > 3 else "")


def as_sample(path: str) -> str:
    """Return a path as people write it, as a sample: `.\\a//b.png` is `a/b.png`."""
    return PurePosixPath(path.replace("\\", "/")).as_posix() if path else ""


def list_cases(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return one row per case, by case: case, patient ("" = unknown), label."""
    return manifest[["case", "patient", "label"]].drop_duplicates("case").sort_values("case", ignore_index=True)


def case_groups(manifest: pd.DataFrame) -> "pd.Series[str]":
    """Indexed by case: what must not stand on both sides of a split, the patient where known, else the case itself."""
    table = list_cases(manifest).set_index("case")
    names = table.index.to_series()
    return table["patient"].where(table["patient"] != "", names).rename("group")


def is_among(names: "pd.Series[str]", chosen: Iterable[str]) -> "pd.Series[bool]":
    """Whether each name is one of the chosen, as `isin` says it, which takes long to read many chosen strings."""
    return names.astype(object).isin(list(chosen))


def single_views(manifest: pd.DataFrame, what: str) -> list[str]:
    """Return one note on the cases (`what` they are) that lack views, where a data set has several; else none."""
    rows = manifest[manifest["view"] != ""]
    there = pd.crosstab(rows["case"], rows["view"]) > 0
    lacking = there[~there.all(axis=1)]
    if len(there.columns) < 2 or lacking.empty:
        return []
    several = len(there.columns) > 2
    counts = (~lacking if several else lacking).sum()
    listed = ", ".join(f"{view} {count}" for view, count in counts.items())
    verb = f"lack at least one of {len(there.columns)} views" if several else "have one view only"
    return [f"{len(lacking)} of {manifest['case'].nunique()} {what} {verb} ({listed})"]


def _check_columns(manifest: pd.DataFrame) -> None:
    lacking = [name for name in COLUMNS if name not in manifest]
    if lacking:
        raise ValueError(f"a manifest has the columns {', '.join(COLUMNS)}, but got none called {', '.join(lacking)}")
    if manifest.empty:
        raise ValueError("a manifest has at least one sample, but got none: check the data set's folder (data.root)")
    if not isinstance(manifest["label"].dtype, pd.CategoricalDtype):
        raise ValueError(f"labels are categorical, in the classes' order, but got {manifest['label'].dtype}")
    for name in COLUMNS[:-1]:
        text = manifest[name].map(lambda value: isinstance(value, str))
        if not text.all():
            row = manifest[~text].iloc[0]
            raise ValueError(f"{name} is text, but {row['sample']!r} has {name}={row[name]!r}")


def _leaves(sample: str) -> bool:
    path = PurePosixPath(sample)
    return not sample or path.is_absolute() or ".." in path.parts or "\\" in sample or path.as_posix() != sample


def _refuse(manifest: pd.DataFrame, bad: "pd.Series[bool]", rule: str) -> None:
    if bad.any():
        row = manifest[bad].iloc[0]
        more = f" and {bad.sum() - 1} more" if bad.sum() > 1 else ""
        raise ValueError(
            f"{rule}, but this does not hold for {row['sample']!r} "
            f"(case {row['case']!r}, view {row['view']!r}, label {row['label']!r}){more}"
        )


def _check_one(manifest: pd.DataFrame, column: str) -> None:
    """Every sample of a case says the same in `column`."""
    expected = manifest.groupby("case")[column].transform("first").astype(str)
    other = manifest[column].astype(str) != expected
    if other.any():
        row = manifest[other].iloc[0]
        start = manifest[manifest["case"] == row["case"]].iloc[0]
        raise ValueError(
            f"a case has one {column}, but case {row['case']!r} has {start[column]!r} ({start['sample']}) "
            f"and {row[column]!r} ({row['sample']})"
        )


def _check_classes(manifest: pd.DataFrame, positive: Sequence[str]) -> None:
    counts = manifest["label"].value_counts(sort=False)
    classes = [str(name) for name in counts.index]
    if len(classes) < 2:
        raise ValueError(
            f"there are two classes or more, but all samples from {manifest['sample'][0]} on are {classes[0]}"
        )
    if (counts == 0).any():
        raise ValueError(f"every class has a sample, but class {counts.idxmin()!r} has none; found {_listed(counts)}")
    unknown = [name for name in positive if name not in classes]
    if unknown:
        raise ValueError(f"data.positive lists classes of {', '.join(classes)}, but got {', '.join(unknown)}")
    if set(positive) == set(classes):
        raise ValueError(f"data.positive leaves a class for the negative side, but got all of {', '.join(classes)}")


def _listed(counts: "pd.Series[int]") -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
