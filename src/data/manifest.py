"""The manifest: one row per sample, what every reader gives and every method starts from."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from src.data import conversion, image_file
from src.system.checks import holds

COLUMNS = ("sample", "case", "patient", "view", "label")
VIEWS = ("", "cc", "mlo")


@dataclass(frozen=True, kw_only=True)
class ArchiveRecord:
    """Public files: the address of the API that lists them, and their MD5 by name ("" = as the API says).

    With `direct`, `url` is the address of the one file itself: what it weighs the server says, and where its MD5 is ""
    nobody knows it, so that it is checked by its archive's own checksums and by the reader's counts.
    """

    url: str
    files: Mapping[str, str]
    direct: bool = False

    def __post_init__(self) -> None:
        assert not self.direct or len(self.files) == 1, f"a direct record has one file, but got {list(self.files)}"


@dataclass(frozen=True)
class LeftOut:
    """What is not read under a folder: its name, relative to the folder and fit to print, and what it is (plural)."""

    name: str
    kind: str


@dataclass(kw_only=True)
class Reader(ABC):
    """A data set on disk.

    `root` is the folder that samples are relative to; with `convert`, images that are not 8-bit RGB are turned into it,
    and of 16 bits so many `bits` are used (0: all; it is asked where that would be dark); `positive` lists the classes
    of the positive side of the two-class view (empty: of two classes the one that its name says,
    `src.evaluation.two_classes`; of more there is no such view); `slices` the columns of the manifest by whose values a
    run's figures are told apart, too.
    """

    root: str
    convert: bool = False
    bits: int = 0
    positive: list[str] = field(default_factory=list)
    slices: list[str] = field(default_factory=list)

    records: ClassVar[tuple[ArchiveRecord, ...]] = ()
    """What `download` fetches."""
    by_hand: ClassVar[str] = ""
    """What `download` says of data that it cannot fetch: what to get, from where, where to put it ("{root}" stands for
    the root) and how it is checked. Empty: nothing to fetch by hand."""

    added: ClassVar[dict[str, Any]] = {"bits": 0}
    """Keys that configs of earlier runs lack, and the values that change nothing."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        holds("bits = 0 or 8 <= bits <= 16", self.bits == 0 or 8 <= self.bits <= 16, bits=self.bits)

    @property
    def title(self) -> str:
        """What people call the data set: by the folder that it is in."""
        return Path(self.root).resolve().name

    @abstractmethod
    def manifest(self) -> pd.DataFrame:
        """One row per sample, checked: sample, case, patient, view, label (categorical), then the data set's own."""

    def samples(self) -> pd.DataFrame:
        """What the data set holds, checked, one row per image; without labels where it has none."""
        return self.manifest()

    def left_out(self) -> list[LeftOut]:
        """What lies beside the samples and is not read, as far as the data set looks for it."""
        return []

    def decoding(self) -> dict[str, Any]:
        """The parameters that determine an image's pixels besides the bytes of its file."""
        if not self.convert:
            return {"convert": False}
        return {"convert": True, "conversion": conversion.REVISION} | ({"bits": self.bits} if self.bits else {})

    def notes(self, manifest: pd.DataFrame) -> list[str]:
        """What a reader of a run's figures has to know about the data: as of here, how many cases lack a view."""
        return single_views(manifest, "cases")

    def read(self, sample: str) -> UInt8[np.ndarray, "height width 3"]:
        """The sample's image as 8-bit RGB; BadImage where it cannot be had."""
        return image_file.read(os.path.join(self.root, sample), self.convert, self.bits)

    def shape(self, sample: str) -> tuple[int, int]:
        """The height and width of what `read` gives, by the file's header where that says it; BadImage as of `read`."""
        if type(self).read is not Reader.read:  # a part of the file's image, or a format of its own
            height, width = self.read(sample).shape[:2]
            return height, width
        width, height = image_file.size(os.path.join(self.root, sample))
        return height, width


def check_manifest(manifest: pd.DataFrame, positive: Sequence[str] = ()) -> pd.DataFrame:
    """The manifest by sample and with a fresh index; ValueError names the first sample or case that breaks a rule."""
    _check_columns(manifest)
    manifest = manifest.sort_values("sample", ignore_index=True)
    _refuse(manifest, manifest["sample"].map(_leaves), "a sample is a path relative to the root, inside of it")
    _refuse(manifest, manifest["sample"].duplicated(), "a sample has one row")
    _refuse(manifest, manifest["case"] == "", "every sample has a case")
    _refuse(manifest, manifest["label"].isna() | (manifest["label"].astype(str) == ""), "every sample has a label")
    _refuse(manifest, ~manifest["view"].isin(VIEWS), "a view is cc, mlo or empty")
    for column in ("label", "patient"):
        _check_one(manifest, column)
    _check_classes(manifest, positive)
    return manifest


def first(names: Sequence[str]) -> str:
    """The first three for a message, and how many there are."""
    return ", ".join(names[:3]) + (f", ... ({len(names)} in all)" if len(names) > 3 else "")


def as_sample(path: str) -> str:
    """A path as people write it, as a sample: `.\\a//b.png` is `a/b.png`."""
    return PurePosixPath(path.replace("\\", "/")).as_posix() if path else ""


def cases(manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per case, by case: case, patient ("" = unknown), label."""
    return manifest[["case", "patient", "label"]].drop_duplicates("case").sort_values("case", ignore_index=True)


def groups(manifest: pd.DataFrame) -> "pd.Series[str]":
    """Indexed by case: what must not stand on both sides of a split, the patient where known, else the case itself."""
    table = cases(manifest).set_index("case")
    names = table.index.to_series()
    return table["patient"].where(table["patient"] != "", names).rename("group")


def among(names: "pd.Series[str]", chosen: Iterable[str]) -> "pd.Series[bool]":
    """Whether each name is one of the chosen, as `isin` says it, which takes long to read many chosen strings."""
    return names.astype(object).isin(list(chosen))


def single_views(manifest: pd.DataFrame, what: str) -> list[str]:
    """One note on the cases (`what` they are) that have one view only, where a data set has two; else none."""
    rows = manifest[manifest["view"] != ""]
    single = rows.groupby("case")["view"].agg("first")[rows.groupby("case")["view"].nunique() == 1]
    if rows["view"].nunique() < 2 or single.empty:
        return []
    listed = ", ".join(f"{view} {(single == view).sum()}" for view in VIEWS[1:])
    return [f"{len(single)} of {manifest['case'].nunique()} {what} have one view only ({listed})"]


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
