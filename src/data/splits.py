"""How cases are split: every protocol gives rows of case, repeat and fold, fold 0 being never held out.

Where splits are drawn several times (`repeats`), fold numbers run on: of 5 folds the second repeat has 6 to 10. A fold,
and what is named after it, thus belongs to one repeat.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from src.data.found_files import EXTENSIONS
from src.data.manifest import case_groups, is_among, list_cases, list_first
from src.system.checks import at_least, holds
from src.system.spreadsheets import read_text

NAMES = ("case", "image", "sample")
TRAINING, HELD_OUT = ("train", "training"), ("test", "testing", "validation", "val", "valid")
FIT, STOPPING, REPORT, UNUSED = "fit", "stopping", "report", "unused"
FOLDS = 10
"""Folds unless another number is asked for: fewer where a class has fewer patients."""


@dataclass(kw_only=True)
class SplitProtocol(ABC):
    """Which cases are held out together. The assignment depends on the set of cases only, not on their order."""

    grouped: ClassVar[bool] = False

    def split(self, manifest: pd.DataFrame) -> pd.DataFrame:
        """Rows `case, repeat, fold` by repeat and case; both count from 1, cases of fold 0 are always learnt from."""
        table, parts, last = list_cases(manifest), [], 0
        for repeat, draw in enumerate(self.draws(), start=1):
            drawn = pd.DataFrame({"case": table["case"], "fold": draw.folds_of(manifest).astype(np.int64)})
            part = check_splits(drawn, manifest, self.grouped, self.way_out)
            part.insert(1, "repeat", repeat)
            part["fold"] += np.where(part["fold"] > 0, last, 0)
            last = int(part["fold"].max())
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def draws(self) -> "list[SplitProtocol]":
        """Return the protocol of each repeat."""
        return [self]

    @property
    def way_out(self) -> str:
        """What to do where a fold holds out all cases of a class."""
        return (
            "try another protocol.seed, fewer folds (of a holdout a smaller protocol.fraction), or image_kfold or "
            "image_holdout, which ignore patients"
        )

    @property
    def slices(self) -> list[str]:
        """The columns of the manifest whose values the folds are: figures are told apart by them."""
        return []

    def remarks(self, manifest: pd.DataFrame) -> list[str]:
        """Return what was made of folds that somebody else gave, for the beginning of a run."""
        return []

    def notes(self, splits: pd.DataFrame) -> list[str]:
        """Return what a reader of a run's figures has to know about the splits."""
        return []

    @abstractmethod
    def folds_of(self, manifest: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Return the fold of each row of `cases(manifest)`."""


@dataclass(kw_only=True)
class DrawnSplit(SplitProtocol):
    """Splits that a seed draws, `repeats` times: repeat r of seed s is the first one of seed s + r - 1."""

    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the parameters."""
        at_least(1, repeats=self.repeats)
        holds("0 <= seed < 2**32", 0 <= self.seed and self.seed + self.repeats <= 2**32, seed=self.seed)

    def draws(self) -> list[SplitProtocol]:
        """Return the protocol of each repeat, with a seed of its own."""
        return [replace(self, repeats=1, seed=self.seed + number) for number in range(self.repeats)]

    def units(self, manifest: pd.DataFrame) -> "pd.Series[str]":
        """Return, by case, what stays together: the cases of a known patient, or every case by itself."""
        return case_groups(manifest) if self.grouped else single_cases(manifest)


@dataclass(kw_only=True)
class KFold(DrawnSplit):
    """Folds stratified by label; cases of a known patient stay together.

    Without a number of `folds` there are 10, or as many as the rarest class has patients.
    """

    folds: int | None = None

    grouped: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        if self.folds is not None:
            at_least(2, folds=self.folds)

    def folds_of(self, manifest: pd.DataFrame) -> npt.NDArray[np.int64]:
        """By scikit-learn's StratifiedGroupKFold where patients are known, by its StratifiedKFold elsewhere."""
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        table, units = list_cases(manifest), self.units(manifest)
        patients = self.grouped and bool((manifest["patient"] != "").any())
        folds = count_folds(table.assign(unit=units.to_numpy()), self.folds, patients)
        kind = StratifiedGroupKFold if patients else StratifiedKFold
        splitter = kind(folds, shuffle=True, random_state=self.seed)
        together = units.to_numpy() if patients else None
        parts = splitter.split(table["case"], table["label"].astype(str).to_numpy(), together)
        return _numbered(parts, len(table))


@dataclass(kw_only=True)
class ImageKFold(KFold):
    """Folds stratified by label that ignore patients, as many papers did: see `src.data.leaks`."""

    grouped: ClassVar[bool] = False


@dataclass(kw_only=True)
class Holdout(DrawnSplit):
    """One test part (fold 1) of about `fraction` of every class; cases of a known patient stay together."""

    fraction: float = 0.3

    grouped: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        holds("0 < fraction < 1", 0 < self.fraction < 1, fraction=self.fraction)

    def folds_of(self, manifest: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Patients in random order, the largest first, go to the test part while that brings its classes nearer."""
        table, group = list_cases(manifest), self.units(manifest).to_numpy()
        _check_parted(table.assign(unit=group), self.grouped and bool((table["patient"] != "").any()))
        counts = pd.crosstab(group, table["label"].astype(str).to_numpy())
        order = np.random.default_rng(self.seed).permutation(len(counts))
        order = order[np.argsort(-counts.to_numpy().sum(axis=1)[order], kind="stable")]
        chosen = _nearest(counts.to_numpy()[order], self.fraction)
        folds = np.isin(group, counts.index.to_numpy()[order[chosen]]).astype(np.int64)
        lacking = sorted(set(table["label"]) - set(table["label"][folds == 1]))
        if lacking:
            raise ValueError(
                f"the test part holds every class, but protocol.fraction={self.fraction} leaves {lacking[0]} out of it "
                f"({(table['label'] == lacking[0]).sum()} cases): raise protocol.fraction"
            )
        return folds


@dataclass(kw_only=True)
class ImageHoldout(Holdout):
    """A test part drawn by image that ignores patients, as many papers did: see `src.data.leaks`."""

    grouped: ClassVar[bool] = False


@dataclass(kw_only=True)
class Published(SplitProtocol):
    """The folds of a CSV: a column case, image or sample (a case, a sample's path or its file name), and one fold.

    Folds count from 1; a case of fold 0 is always learnt from and never predicted, unless folds count `from_zero`: then
    each is held out, under a number that is greater by 1. Where that is not said, folds 0, 1, 2 and so on are taken as
    such if fold 0 is not twice as large as the others. Instead of fold, a column split may say `train` (0) or
    `validation` or `test` (1). Names fit without the endings of image files (b001.tif is b001.jpg) where more of them
    do.
    """

    path: str
    from_zero: bool | None = None

    @property
    def way_out(self) -> str:
        """What to do where a fold holds out all cases of a class."""
        return f"correct the folds in {self.path}, or take protocol=kfold, which makes its own"

    def remarks(self, manifest: pd.DataFrame) -> list[str]:
        """Return what numbers from 0 on were taken as."""
        folds = self._written(manifest)
        if folds.all() and not self.from_zero:
            return []
        if not self._counts_from_zero(folds):
            return ["fold 0 is never held out (protocol.from_zero=true holds it out as any other)"]
        return [
            f"folds count from 0: those called {folds.min()} to {folds.max()} are {folds.min() + 1} to "
            f"{folds.max() + 1} here, and each is held out (protocol.from_zero=false: fold 0 is not)"
        ]

    def folds_of(self, manifest: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Return the CSV's folds, from 1 on; ValueError as of `_written`."""
        folds = self._written(manifest)
        return folds + self._counts_from_zero(folds)

    def _counts_from_zero(self, folds: npt.NDArray[np.int64]) -> bool:
        if self.from_zero is not None:
            return self.from_zero
        numbers, counts = np.unique(folds, return_counts=True)
        without_gap = numbers.tolist() == list(range(max(3, len(numbers))))
        return bool(without_gap and counts[0] <= 2 * counts[1:].max())

    def _written(self, manifest: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Return the CSV's folds; ValueError names rows that are double, that miss a case, or that no case has."""
        rows = self._read()
        known = _cases_of(rows.index, manifest)
        self._refuse(rows.index[~rows.index.isin(known.index)], "every row is one of the manifest's", "is not")
        matched = pd.DataFrame({"case": known.reindex(rows.index).to_numpy(), "fold": rows.to_numpy()})
        differ = matched.groupby("case")["fold"].nunique()
        self._refuse(differ.index[differ > 1], "a case has one fold", "has several")
        fold = matched.groupby("case")["fold"].first()
        wanted = list_cases(manifest)["case"]
        self._refuse(wanted[~is_among(wanted, fold.index)], "every case of the manifest has a row", "has none")
        return fold.loc[wanted].to_numpy(dtype=np.int64)

    def notes(self, splits: pd.DataFrame) -> list[str]:
        """Return how many cases are never held out."""
        never = (splits["fold"] == 0).sum()
        if not never:
            return []
        return [
            f"predicted are {len(splits) - never} of {len(splits)} cases: by {Path(self.path).name} the other {never} "
            "are always learnt from"
        ]

    def _read(self) -> "pd.Series[int]":
        """Folds by the name in the CSV."""
        table = read_text(self.path, "protocol.path")
        name = next((column for column in NAMES if column in table), "")
        if not name or not {"fold", "split"} & set(table):
            raise ValueError(
                f"{self.path} needs a column fold (or split) and one of {', '.join(NAMES)}, "
                f"but has {', '.join(table.columns)}"
            )
        fold = table["fold"] if "fold" in table else self._parts(table["split"])
        wrong = table.assign(fold=fold)[~fold.str.fullmatch(r"\d{1,9}")]
        if len(wrong):
            row = wrong.iloc[0]
            raise ValueError(f"folds are numbers from 0 on, but {self.path} has {row['fold']!r} for {row[name]!r}")
        folds = fold.set_axis(pd.Index(table[name])).astype(np.int64)
        self._refuse(folds.index[folds.index.duplicated()], "a name has one row", "has several")
        return folds

    def _parts(self, split: "pd.Series[str]") -> "pd.Series[str]":
        """Folds, as text: 0 for what is learnt from, 1 for what is held out."""
        parts = split.str.lower()
        found = sorted(set(parts) - set(TRAINING))
        if len(found) != 1 or found[0] not in HELD_OUT:
            raise ValueError(
                f"a split is {TRAINING[0]} or one of {', '.join(HELD_OUT)}, but {self.path} has "
                f"{list_first([repr(part) for part in sorted(set(split))])}: give a column fold instead (0: learnt "
                "from)"
            )
        return parts.isin(found).astype(int).astype(str)

    def _refuse(self, names: "pd.Index[str] | pd.Series[str]", rule: str, verb: str) -> None:
        if len(names):
            raise ValueError(f"{rule}, but in {self.path} {names.tolist()[0]!r} {verb}; so do {len(names)} in all")


def assign_roles(
    manifest: pd.DataFrame, splits: pd.DataFrame, patients: int = 0, stopping: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """Rows `case, fold, role`: what each case is to the models of each fold from 1 on.

    `fit` they learn from it; `stopping` it decides when they stop; `report` they predict it, and know nothing else of
    it; `unused` where only so many `patients` are learnt from (0: all). `stopping` is the share of their patients.
    """
    tables = []
    for _, part in splits.groupby("repeat"):
        for fold in sorted(set(part["fold"]) - {0}):
            training = training_cases(manifest, part, fold, patients, seed)
            deciding = stopping_cases(manifest, training, stopping, seed)
            conditions = [part["fold"] == fold, is_among(part["case"], deciding), is_among(part["case"], training)]
            role = np.select(conditions, [REPORT, STOPPING, FIT], UNUSED)
            tables.append(pd.DataFrame({"case": part["case"], "fold": fold, "role": role}))
    return pd.concat(tables, ignore_index=True)


def repeat_of_fold(splits: pd.DataFrame) -> dict[int, int]:
    """Return the repeat of each fold that is held out."""
    held_out = splits.loc[splits["fold"] > 0, ["fold", "repeat"]].drop_duplicates()
    return {int(fold): int(repeat) for fold, repeat in held_out.itertuples(index=False)}


def training_cases(
    manifest: pd.DataFrame, splits: pd.DataFrame, fold: int, patients: int = 0, seed: int = 0
) -> set[str]:
    """The cases that a fold's models may learn from; of so many `patients` (0: all), the first of `ordered_groups`.

    `splits` are those of the fold's repeat.
    """
    training = manifest[is_among(manifest["case"], splits["case"][splits["fold"] != fold])]
    group = case_groups(training)
    if not patients:
        return set(group.index)
    order = ordered_groups(training, seed)
    if patients > len(order):
        raise ValueError(
            f"training_patients={patients}, but fold {fold} has {len(order)} to learn from: lower it, or 0 for all"
        )
    chosen = order.index[:patients]
    lacking = sorted(set(training["label"]) - set(training["label"][is_among(training["case"].map(group), chosen)]))
    if lacking:
        raise ValueError(f"training_patients={patients} leaves no case of {lacking[0]} in fold {fold}: raise it")
    return set(group.index[is_among(group, chosen)])


def stopping_cases(manifest: pd.DataFrame, training: set[str], fraction: float, seed: int) -> set[str]:
    """The part of the `training` cases that decides when a training stops: about `fraction` of the patients of each
    class, and of each class one at least; every class is left to learn from."""
    if not fraction:
        return set()
    rows = manifest[is_among(manifest["case"], training)]
    place, group = ordered_groups(rows, seed), case_groups(rows)
    chosen = place.index[place >= 1 - fraction]
    stopping = set(group.index[is_among(group, chosen)])
    for part, what in ((stopping, "stop by"), (training - stopping, "learn from")):
        lacking = sorted(set(rows["label"]) - set(rows["label"][is_among(rows["case"], part)]))
        if lacking:
            raise ValueError(
                f"finetune.validation={fraction} leaves no patient of class {lacking[0]} to {what}: change it, or "
                "finetune.validation=0 trains without early stopping"
            )
    return stopping


def ordered_groups(manifest: pd.DataFrame, seed: int) -> "pd.Series[float]":
    """Each group's place (0 to 1) among those of its class, groups in the order of their places: every beginning of
    the order has the classes' shares, one of each class comes first, and one of each class has place 1."""
    table = list_cases(manifest).assign(group=case_groups(manifest).to_numpy())
    drawn = commonest_labels(table).sample(frac=1, random_state=seed)
    rank = drawn.groupby(drawn).cumcount()
    count = drawn.groupby(drawn).transform("size")
    return (rank / (count - 1).clip(lower=1)).sort_values(kind="stable")


def commonest_labels(table: pd.DataFrame) -> "pd.Series[str]":
    """By group, in order: the label that most of its cases have, of several the first by name."""
    counts = table.groupby(["group", table["label"].astype(str)]).size().rename("cases").reset_index()
    counts = counts.sort_values(["group", "cases", "label"], ascending=[True, False, True])
    return counts.drop_duplicates("group").set_index("group")["label"]


def check_splits(
    splits: pd.DataFrame, manifest: pd.DataFrame, grouped: bool = False, way_out: str = ""
) -> pd.DataFrame:
    """The splits by case. ValueError names what breaks a rule: every case stands once, every class is in every training
    part, and if `grouped` no known patient stands in two folds."""
    table = list_cases(manifest)
    double = splits["case"][splits["case"].duplicated()]
    lacking = table["case"][~is_among(table["case"], splits["case"])]
    unknown = splits["case"][~is_among(splits["case"], table["case"])]
    for names, verb in ((double, "stands twice"), (lacking, "is lacking"), (unknown, "is not in the manifest")):
        if len(names):
            raise ValueError(f"splits hold every case once, but {names.iloc[0]!r} {verb}; so do {len(names)} in all")
    splits = splits.sort_values("case", ignore_index=True)
    _check_parts(splits["fold"], table["label"], way_out)
    shared = _shared(splits, manifest)
    if grouped and len(shared):
        raise ValueError(f"a patient stands in one fold, but {shared.index[0]!r} stands in folds {shared.iloc[0]}")
    return splits


def _check_parts(fold: "pd.Series[int]", labels: "pd.Series[str]", way_out: str) -> None:
    """Every training part has every class. `fold` and `labels` are by case."""
    numbers = sorted(set(fold[fold > 0]))
    if (fold < 0).any() or not numbers:
        raise ValueError(f"folds count from 1 (0: never held out), but got folds {sorted(set(fold))}")
    for number in numbers:
        lacking = sorted(set(labels) - set(labels[fold != number]))
        if lacking:
            raise ValueError(
                f"every training part has every class, but all cases of {lacking[0]} are held out in fold {number}"
                f"{way_out and f': {way_out}'}"
            )


def _shared(splits: pd.DataFrame, manifest: pd.DataFrame) -> "pd.Series[str]":
    """Return the folds of each known patient that stands in several, by patient."""
    known = list_cases(manifest).merge(splits, on="case").query("patient != ''")
    several = known.groupby("patient")["fold"].transform("nunique") > 1
    folds = known[several].groupby("patient")["fold"].unique()
    return folds.map(lambda numbers: " and ".join(str(number) for number in sorted(numbers)))


def count_folds(table: pd.DataFrame, asked: int | None, patients: bool) -> int:
    """Return how many folds there are: each can hold out a `unit` of every class, which is a patient or a case."""
    fewest, found = _rarest(table, patients)
    if fewest < (asked or 2):
        way_out = f"protocol.folds={fewest} or fewer" if fewest > 1 else _way_out(patients, "image_kfold")
        wanted = f"protocol.folds={asked}" if asked else "two folds"
        raise ValueError(f"every fold holds out some of every class, but {found} for {wanted}: {way_out}")
    return asked or min(FOLDS, fewest)


def single_cases(manifest: pd.DataFrame) -> "pd.Series[str]":
    """Return each case as a group of its own, by case."""
    names = list_cases(manifest)["case"]
    return names.set_axis(pd.Index(names))


def _numbered(parts: Any, count: int) -> npt.NDArray[np.int64]:
    """Folds 1.. from scikit-learn's pairs of training and test indices."""
    folds = np.zeros(count, np.int64)
    for number, (_, held_out) in enumerate(parts, start=1):
        folds[held_out] = number
    return folds


def count_rarest(manifest: pd.DataFrame) -> tuple[int, str]:
    """Return how many patients, or cases where none is known, the class with the fewest has, and the same in words."""
    units = list_cases(manifest).assign(unit=case_groups(manifest).to_numpy())
    return _rarest(units, patients=bool((manifest["patient"] != "").any()))


def _check_parted(table: pd.DataFrame, patients: bool) -> None:
    """Every class has a `unit`, a patient or a case, to hold out and one to learn from."""
    fewest, found = _rarest(table, patients)
    if fewest < 2:
        way_out = _way_out(patients, "image_holdout")
        raise ValueError(f"of every class some are held out and some learnt from, but {found}: {way_out}")


def _rarest(table: pd.DataFrame, patients: bool) -> tuple[int, str]:
    """Return how many units the class with the fewest has, and the same in words."""
    counts = table.groupby("label", observed=True)["unit"].nunique()
    fewest = int(counts.min())
    unit = "patient" if patients else "case"
    return fewest, f"class {counts.idxmin()} has {fewest} {unit}{'s' * (fewest != 1)}"


def _way_out(patients: bool, other: str) -> str:
    if not patients:
        return "add some, or leave the class out"
    return f"add patients, leave the class out, or take protocol={other}, which ignores patients (and is flagged)"


def _nearest(counts: npt.NDArray[np.int64], fraction: float) -> npt.NDArray[np.bool_]:
    """Which rows (`group x class` counts) sum to about `fraction` of every class: greedily, in the order given."""
    rest = fraction * counts.sum(axis=0)
    chosen = np.zeros(len(counts), bool)
    for row, count in enumerate(counts):
        if np.square(rest - count).sum() < np.square(rest).sum():
            chosen[row] = True
            rest = rest - count
    return chosen


def _cases_of(names: "pd.Index[str]", manifest: pd.DataFrame) -> "pd.Series[str]":
    """The cases by what most `names` are: the case, the sample's path or its file name, or one of these without the
    endings of image files. Names that are none of it are left out; ValueError where one may be several cases."""
    keys = [manifest[key] for key in ("case", "sample")]
    keys.append(manifest["sample"].map(lambda sample: PurePosixPath(sample).name))
    ways = [(names, key) for key in keys] + [(names.map(_bare), key.map(_bare)) for key in keys]
    called, key = max(ways, key=lambda way: way[0].isin(way[1]).sum())
    known = pd.DataFrame({"key": key, "case": manifest["case"]}).drop_duplicates()
    rows = pd.DataFrame({"name": names, "key": called}).merge(known, on="key")
    for column, message in (
        ("name", "a name in protocol.path belongs to one case, but {0!r} to several ({1}): give paths"),
        ("key", "a case has one name in protocol.path, but {0!r} without endings has several ({1})"),
    ):
        several = rows[rows[column].duplicated(keep=False)]
        if len(several):
            value = several[column].iloc[0]
            other = several[several[column] == value]["case" if column == "name" else "name"]
            raise ValueError(message.format(value, list_first(other.tolist())))
    return rows.set_index("name")["case"]


def _bare(name: str) -> str:
    """Return the name without the ending of an image file."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in EXTENSIONS else name
