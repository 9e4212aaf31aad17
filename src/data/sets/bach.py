"""BACH: the ICIAR 2018 Grand Challenge on Breast Cancer Histology images, part A."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd

from src.data.found_files import EXTENSIONS
from src.data.image_file import SizeRule
from src.data.manifest import check_manifest, list_first
from src.data.patients import PatientReader
from src.data.reader import ArchiveRecord
from src.evaluation.predictions import class_names as predicted_classes
from src.system.checks import at_least, one_of
from src.system.next_commands import download_command
from src.system.spreadsheets import read_text

CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
PREFIXES = {"n": "Normal", "b": "Benign", "is": "InSitu", "iv": "Invasive"}
TRAIN, TEST = "ICIAR2018_BACH_Challenge", "ICIAR2018_BACH_Challenge_TestDataset"
TRUTH = "microscopy_ground_truth.csv"


def way_out() -> str:
    """Return how BACH is had."""
    return f"`{download_command('bach')}` fetches and unpacks it"


@dataclass(kw_only=True)
class Bach(PatientReader):
    """400 H&E images, 100 of each of four classes, 2048 x 1536 pixels, 0.42 um per pixel; patients are not released.

    `root` is the folder that holds `ICIAR2018_BACH_Challenge`, that folder itself, its `Photos`, or any other that has
    the four class folders, as copies of another size or format do. A case is named by its file (b008.tif, b008.jpg),
    and published folds fit whatever the ending is. `part` is train, or test (100 images without labels: `unlabelled`).
    A count or size of 0 is not checked. Labels are the folders'; the files' names must agree, and the table of labels
    where there is one. Source: Aresta et al. 2019, https://doi.org/10.5281/zenodo.3632035.
    """

    positive: list[str] = field(default_factory=lambda: ["InSitu", "Invasive"])
    part: str = "train"
    expected_per_class: int = 100
    expected_test: int = 100
    width: int = 2048
    height: int = 1536

    records: ClassVar[tuple[ArchiveRecord, ...]] = (
        ArchiveRecord(
            url="https://zenodo.org/api/records/3632035",
            files={f"{TRAIN}.zip": "8ae1801334aa943c44627c1eef3631b2", f"{TEST}.zip": ""},
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(("train", "test"), part=self.part)
        at_least(0, expected_per_class=self.expected_per_class, expected_test=self.expected_test)
        at_least(0, width=self.width, height=self.height)

    def manifest(self) -> pd.DataFrame:
        """Return one row per training image; counts, names and the table of labels are checked, each named."""
        if self.part == "test":
            raise ValueError(
                "BACH's test images have no labels (data.part=test): nothing can be learned or evaluated on them"
            )
        photos = self._train()
        files = {name: _images(photos / name) for name in CLASSES}
        labels = {path.name: name for name, paths in files.items() for path in paths}
        self._check_counts(photos, files)
        _check_names(photos, labels)
        _check_truth(photos / TRUTH, labels)
        paths = [path for name in CLASSES for path in files[name]]
        manifest = self._rows(paths).assign(label=pd.Categorical([path.parent.name for path in paths], list(CLASSES)))
        return self.with_patients(check_manifest(manifest, self.positive))

    def samples(self) -> pd.DataFrame:
        """Return the images of the part, whether or not they have labels, each of its size."""
        return self.sized(self.unlabelled() if self.part == "test" else self.manifest())

    @property
    def size_rule(self) -> SizeRule:
        """The size that images must have."""
        any_size = "data.width=0 data.height=0"
        return SizeRule(width=self.width, height=self.height, whose="BACH's", way_out=way_out(), any_size=any_size)

    def notes(self, manifest: pd.DataFrame) -> list[str]:
        """Return whether the labels are without the table that comes with them."""
        lacking = not (self._train() / TRUTH).is_file()
        why = f"there is no {TRUTH}: labels are those of the folders, with which the files' names agree"
        return super().notes(manifest) + ([why] if lacking else [])

    def unlabelled(self) -> pd.DataFrame:
        """Return one row per test image, as in a manifest, without label."""
        photos = self._photos(TEST, lambda folder: bool(_tests(folder)), "images test0, test1, ...")
        paths = _tests(photos)
        if self.expected_test and len(paths) != self.expected_test:
            raise ValueError(f"BACH has {self.expected_test} test images, but {photos} has {len(paths)}: {way_out()}")
        return self._rows(paths).sort_values("sample", ignore_index=True)

    def _train(self) -> Path:
        return self._photos(TRAIN, _has_classes, f"the folders {', '.join(CLASSES)}")

    def _photos(self, name: str, holds: Callable[[Path], bool], what: str) -> Path:
        root = Path(self.root)
        candidates = (root / name / "Photos", root / "Photos", root)
        for folder in candidates:
            if folder.is_dir() and holds(folder):
                return folder
        raise ValueError(
            f"data.root must be the folder that holds {name} (or be it, or its Photos), but no folder of "
            f"{', '.join(str(folder) for folder in candidates)} holds {what}: {way_out()}"
        )

    def _rows(self, paths: list[Path]) -> pd.DataFrame:
        samples = [path.relative_to(self.root).as_posix() for path in paths]
        return pd.DataFrame({"sample": samples, "case": [path.name for path in paths], "patient": "", "view": ""})

    def _check_counts(self, photos: Path, files: dict[str, list[Path]]) -> None:
        found = ", ".join(f"{name} {len(paths)}" for name, paths in files.items())
        if self.expected_per_class and any(len(paths) != self.expected_per_class for paths in files.values()):
            raise ValueError(
                f"BACH has {self.expected_per_class} images of each class, but {photos} has {found}: {way_out()}, "
                "data.expected_per_class=0 takes what is there"
            )
        paths = [path.relative_to(photos).as_posix() for paths in files.values() for path in paths]
        names = Counter(map(_stem, paths))
        double = [path for path in paths if names[_stem(path)] > 1]
        if double:
            raise ValueError(
                f"an image lies in the folder of one class, in one format, but {photos} has {list_first(double)}: "
                "leave one"
            )


def _has_classes(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in CLASSES)


def _images(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.glob("*.*") if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
    )


def _tests(folder: Path) -> list[Path]:
    return [path for path in _images(folder) if path.name.startswith("test")]


def _stem(name: str) -> str:
    return Path(name).stem


def _check_names(photos: Path, labels: dict[str, str]) -> None:
    """The folders and the files' names must agree; `labels` are the folders' by file name."""
    problems = [
        f"{name} is in folder {folder} but {_by_name(name)} by its name"
        for name, folder in sorted(labels.items())
        if _by_name(name) != folder
    ]
    if problems:
        raise ValueError(
            f"BACH's images are called n001, b001, is001, iv001 and so on by their class, but in {photos} "
            f"{list_first(problems)}: {way_out()}, data=folder takes any names"
        )


def _check_truth(path: Path, labels: dict[str, str]) -> None:
    """The table of labels, where there is one, and the folders must agree; `labels` are the folders' by file name."""
    if not path.is_file():
        return
    truth = {_stem(name): (name, label) for name, label in _truth(path).items()}
    found = set(map(_stem, labels))
    problems = [
        f"{name} is in the table but not in the folders"
        for stem, (name, _) in sorted(truth.items())
        if stem not in found
    ]
    for name, folder in sorted(labels.items()):
        _, label = truth.get(_stem(name), ("", ""))
        if not label:
            problems.append(f"{name} is in folder {folder} but not in the table")
        elif label != folder:
            problems.append(f"{name} is in folder {folder} but {label} in the table")
    if problems:
        raise ValueError(f"{path} and the class folders beside it must agree, but {list_first(problems)}: {way_out()}")


def _by_name(name: str) -> str:
    match = re.fullmatch(r"(n|b|is|iv)\d+", _stem(name))
    return PREFIXES[match[1]] if match else "no class"


def _truth(path: Path) -> dict[str, str]:
    """Labels by file name, from a table with or without a header."""
    table = read_text(path, "BACH's table of labels", header=False)
    if table.shape[1] != 2:
        raise ValueError(f"{path} has the columns name and label, but {table.shape[1]} were found: {way_out()}")
    names, labels = table[0].tolist(), table[1].tolist()
    header = names[0].lower() in ("name", "image", "file", "filename")
    rows = list(zip(names, labels, strict=True))[int(header) :]
    for name, label in rows:
        if label not in CLASSES:
            raise ValueError(f"labels are {', '.join(CLASSES)}, but {path} has {label!r} for {name!r}: {way_out()}")
    return dict(rows)


def make_submission(table: pd.DataFrame) -> pd.DataFrame:
    """Return the submission of the BACH challenge: `case`, the image's number, and `class`, 0..3 in its order.

    `ValueError` as of `check_submission`, and where an image has no label.
    """
    cases = table["case"].tolist()
    check_submission(predicted_classes(table), cases)
    lacking = table[table["label"] == ""]
    if len(lacking):
        raise ValueError(
            f"a submission has all images, but {len(lacking)} could not be predicted: {lacking.iloc[0]['reason']}"
        )
    made = pd.DataFrame({"case": list(map(case_number, cases)), "class": table["label"].map(CLASSES.index)})
    return made.sort_values("case", ignore_index=True)


def check_submission(classes: list[str], cases: list[str]) -> None:
    """Raise `ValueError` where classes are not those of BACH, or an image has no number, or that of another."""
    if set(classes) != set(CLASSES):
        raise ValueError(
            f"format=bach is for models of {', '.join(CLASSES)}, but this one has {', '.join(sorted(classes))}"
        )
    known: dict[int, str] = {}
    for case in cases:
        if (other := known.setdefault(case_number(case), case)) != case:
            raise ValueError(f"an image of the challenge has a number of its own, but {other} and {case} share one")


def case_number(case: str) -> int:
    """Return the number at the end of an image's name."""
    found = re.search(r"(\d+)$", Path(case).stem)
    if found is None:
        raise ValueError(f"an image of the challenge has a number, as test12.tif has, but {case} has none")
    return int(found[1])
