"""What every reader of a data set is: its images, its manifest, and what can be fetched of it."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from src.data import conversion, image_file
from src.data.image_file import SizeRule
from src.data.manifest import single_views
from src.system.checks import holds


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
        """What the data set holds, checked, sizes of images, too: a row per image, without labels where it has none."""
        return self.sized(self.manifest())

    def sized(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table of samples whose images have been found to have the size that they must have."""
        for sample in table["sample"]:
            self.check_size(sample)
        return table

    def left_out(self) -> list[LeftOut]:
        """Return what lies beside the samples and is not read, as far as the data set looks for it."""
        return []

    def decoding(self) -> dict[str, Any]:
        """Return the parameters that determine an image's pixels besides the bytes of its file."""
        if not self.convert:
            return {"convert": False}
        return {"convert": True, "conversion": conversion.REVISION} | ({"bits": self.bits} if self.bits else {})

    @property
    def estimates_patients(self) -> bool:
        """Whether patients are to be estimated from what images show."""
        return False

    def notes(self, manifest: pd.DataFrame) -> list[str]:
        """What a reader of a run's figures has to know about the data: as of here, how many cases lack a view."""
        return single_views(manifest, "cases")

    def read(self, sample: str, content: bytes | None = None) -> UInt8[np.ndarray, "height width 3"]:
        """The sample's image as 8-bit RGB, from the bytes of its file where they are given; BadImage where it cannot be
        had."""
        return image_file.read(os.path.join(self.root, sample), self.convert, self.bits, content)

    def shape(self, sample: str, content: bytes | None = None) -> tuple[int, int]:
        """The height and width of what `read` gives, by the file's header where that says it; BadImage as of `read`."""
        if type(self).read is not Reader.read:  # a part of the file's image, or a format of its own
            height, width = self.read(sample, content).shape[:2]
            return height, width
        width, height = image_file.size(os.path.join(self.root, sample), content)
        return height, width

    @property
    def size_rule(self) -> SizeRule | None:
        """The size that images must have; none where they may have any."""
        return None

    def check_size(self, sample: str, content: bytes | None = None) -> None:
        """Raise `ValueError` where a sample's image has not the size that it must have."""
        if self.size_rule:
            self.size_rule.check(os.path.join(self.root, sample), content)
