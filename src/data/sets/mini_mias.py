"""mini-MIAS: the small version of the mammograms of the Mammographic Image Analysis Society."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd

from src.data import image_file
from src.data.found_files import EXTENSIONS
from src.data.image_file import SizeRule
from src.data.manifest import as_sample, check_manifest, list_first
from src.data.reader import ArchiveRecord, Reader
from src.data.region import Region, square_around
from src.images import BadImage
from src.system.checks import at_least, holds, one_of
from src.system.next_commands import download_command
from src.system.spreadsheets import read_text

SEVERITIES = {"": "normal", "B": "benign", "M": "malignant"}  # from good to bad
CLASSES = {
    "severity": ("normal", "benign", "malignant"),
    "malignancy": ("benign", "malignant"),
    "abnormality": ("normal", "abnormal"),
}
POSITIVE = {"severity": [], "malignancy": ["malignant"], "abnormality": ["abnormal"]}
LINE = re.compile(
    r"(?P<case>mdb\d{3})\s+(?P<tissue>[FGD])\s+"
    r"(?:(?P<normal>NORM)|(?P<abnormality>CALC|CIRC|SPIC|MISC|ARCH|ASYM)\s+(?P<severity>[BM]))"
    r"(?:\s+(?P<x>\d+)\s+(?P<y_from_bottom>\d+)\s+(?P<radius>\d+))?(?:\s.*)?"
)
CIRCLE = ("x", "y_from_bottom", "radius")
INFO, LISTED = "Info.txt", "samples.csv"
READ = ("file", "label", "tissue", "abnormality", *CIRCLE)  # the columns of samples.csv that are read
ORIGINAL = 1024  # pixels, in which circles are given
ORDER = (
    *("sample", "case", "patient", "view", "label"),
    *("side", "tissue", "abnormality", "severity", "lesions", *CIRCLE),
)


def way_out() -> str:
    """Return how mini-MIAS is had."""
    return f"`{download_command('mini_mias')}` fetches and unpacks it"


@dataclass(kw_only=True)
class MiniMias(Reader):
    """322 grey mammograms (medio-lateral oblique) of 161 patients, 1024 x 1024 pixels of 200 um, as `mdbNNN.pgm`.

    `root` is the folder that holds them and their `Info.txt`, or that folder's parent where it is called `all-mias`; or
    a folder with a `samples.csv` (`file,label,tissue,abnormality,x,y_from_bottom,radius`; files are relative to it and
    called mdbNNN, in any format and size; label is normal, benign or malignant; the circle in pixels of the original).
    mdb001 and mdb002 are the left and the right breast of one patient, and so on. Grey becomes RGB by design
    (`convert`). An `expected` or `size` of 0 is not checked.

    By `region` a sample, and a case, is an

    - `image`, labelled by its worst lesion; `task` is severity (normal, benign, malignant), malignancy (benign,
      malignant: of the abnormal images only) or abnormality (normal, abnormal);
    - `lesion`, benign or malignant: the square around its circle, `margin` times as wide, at least `minimum` pixels
      of the original, and moved inwards where it would leave the image. Each circle of an image with several is a case
      with a label of its own, of the same patient. Lesions without a circle are left out and counted, normal images
      have none. A model of lesions takes such crops, or regions of images (`src.data.region`), not whole mammograms.

    Source: Suckling et al. 1994, http://peipa.essex.ac.uk/info/mias.html.
    """

    convert: bool = True
    slices: list[str] = field(default_factory=lambda: ["tissue", "abnormality"])
    task: str = "severity"
    region: str = "image"
    margin: float = 1.5
    minimum: int = 64
    expected: int = 322
    size: int = ORIGINAL

    records: ClassVar[tuple[ArchiveRecord, ...]] = (
        ArchiveRecord(
            url="http://peipa.essex.ac.uk/pix/mias/all-mias.tar.gz",
            files={"all-mias.tar.gz": ""},
            direct=True,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(CLASSES, task=self.task)
        one_of(("image", "lesion"), region=self.region)
        at_least(0, expected=self.expected, size=self.size)
        holds("margin >= 1", self.margin >= 1, margin=self.margin)
        at_least(1, minimum=self.minimum)
        if self.region == "lesion":
            if self.task == "abnormality":
                raise ValueError("every lesion is abnormal: data.task=abnormality is for data.region=image")
            self.task = "malignancy"
        self.positive = self.positive or list(POSITIVE[self.task])

    def manifest(self) -> pd.DataFrame:
        """Return one row per image of the task, or per lesion; counts and the info file are checked.

        Own columns: side, tissue (F fatty, G fatty-glandular, D dense-glandular), abnormality (NORM or a kind of
        lesion), severity, lesions (how many the image has), and the circle of the (worst) lesion, x, y_from_bottom and
        radius in pixels of the original, missing where none is given.
        """
        folder, listed = self._listed()
        self._check_files(folder, listed)
        table = keep_worst(listed)
        if self.region == "lesion":
            table = self._lesions(folder, listed.merge(table[["case", "lesions"]], on="case"))
        prefix = folder.relative_to(self.root)
        number = table["case"].str[3:6].astype(int)
        table = table.assign(
            sample=[(prefix / file).as_posix() for file in table["file"]],
            patient=[f"p{(each + 1) // 2:03d}" for each in number],
            view="",
            side=(number % 2 == 1).map({True: "left", False: "right"}),
        )
        return check_manifest(self._labelled(table)[list(ORDER)], self.positive)

    @property
    def size_rule(self) -> SizeRule:
        """The size that images must have."""
        side = self.size
        return SizeRule(width=side, height=side, whose="mini-MIAS'", way_out=way_out(), any_size="data.size=0")

    def notes(self, manifest: pd.DataFrame) -> list[str]:
        """Return how many images have several lesions, each a case, and how many lesions have no circle."""
        if self.region == "image":
            return super().notes(manifest)
        several = sorted(set(manifest["case"].str[:6][manifest["lesions"] > 1]))
        table = self._listed()[1]
        lost = sorted(table["case"][(table["severity"] != "normal") & ~_has_circle(table)])
        notes = []
        if several:
            notes.append(
                f"{len(several)} images have several lesions, of which each with a circle is a case: "
                f"{list_first(several)}"
            )
        if lost:
            notes.append(f"{len(lost)} lesions have no circle and are left out: {list_first(lost)}")
        return notes

    def _lesions(self, folder: Path, table: pd.DataFrame) -> pd.DataFrame:
        """One row per lesion with a circle: its case is the image's with its number, its file ends in its region."""
        table = table[table["severity"] != "normal"]
        number = (table.groupby("case").cumcount() + 1).astype(str)
        table = table.assign(case=table["case"] + "-" + number)[_has_circle(table)]
        circles = zip(table["file"], *(table[name] for name in CIRCLE), strict=True)
        return table.assign(
            file=[f"{file}{self._region(folder / file, *map(int, circle))}" for file, *circle in circles]
        )

    def _region(self, path: Path, x: int, y_from_bottom: int, radius: int) -> Region:
        """Return the square around a circle, in pixels of the image as it lies there."""
        try:
            size = (self.size, self.size) if self.size else image_file.size(path)  # checked when it is read
        except BadImage as error:
            raise ValueError(f"{path}: {error}; {way_out()}") from error
        if size[0] != size[1]:
            raise ValueError(
                f"lesions' circles are those of square images of {ORIGINAL} pixels, but {path} has {size[0]} x "
                f"{size[1]}: {way_out()}"
            )
        if max(x, y_from_bottom) > ORIGINAL:
            raise ValueError(
                f"a circle's centre lies in the image's {ORIGINAL} x {ORIGINAL} pixels, but that of {path} is {x}, "
                f"{y_from_bottom}: {way_out()}"
            )
        scale = size[0] / ORIGINAL
        centre, radius_here = (x * scale, (ORIGINAL - y_from_bottom) * scale), radius * scale
        return square_around(*centre, radius_here, size=size, margin=self.margin, least=self.minimum * scale)

    def _labelled(self, table: pd.DataFrame) -> pd.DataFrame:
        label = table["severity"]
        if self.task == "abnormality":
            label = label.where(label == "normal", "abnormal")
        table = table.assign(label=label)[label.isin(CLASSES[self.task])]
        return table.astype({"label": pd.CategoricalDtype(list(CLASSES[self.task]))})

    def _listed(self) -> tuple[Path, pd.DataFrame]:
        """The folder that files are relative to, and one row per lesion and per normal image, as of `read_lesions`."""
        candidates = (Path(self.root), Path(self.root, "all-mias"))
        for folder in candidates:
            if (folder / INFO).is_file():
                table = read_lesions(folder / INFO)
                return folder, table.assign(file=table["case"] + ".pgm")
            if (folder / LISTED).is_file():
                return folder, read_samples(folder / LISTED)
        raise ValueError(
            f"data.root must be the folder that holds mini-MIAS' {INFO} and mdb*.pgm, or a {LISTED}, but neither of "
            f"{' and '.join(str(folder) for folder in candidates)} has one: {way_out()}"
        )

    def _check_files(self, folder: Path, table: pd.DataFrame) -> None:
        """The list and the folder name the same images, as many as there must be."""
        inside = folder.glob("mdb*.pgm") if (folder / INFO).is_file() else folder.rglob("mdb*")
        files = {
            path.relative_to(folder).as_posix(): path for path in sorted(inside) if path.suffix.lower() in EXTENSIONS
        }
        listed = set(table["file"])
        for names, where in (
            (sorted(listed - set(files)), "listed but not a file"),
            (sorted(set(files) - listed), "a file but not listed"),
        ):
            if names:
                raise ValueError(
                    f"mini-MIAS' {INFO} or {LISTED} lists the images beside it, but in {folder} {list_first(names)}: "
                    f"{where}. {way_out()}"
                )
        count = table["case"].nunique()
        if self.expected and count != self.expected:
            raise ValueError(
                f"mini-MIAS has {self.expected} images, but {folder} has {count}: {way_out()}, "
                "data.expected=0 takes what is there"
            )


def read_samples(path: Path) -> pd.DataFrame:
    """The rows of a CSV with the columns READ as of `read_lesions`, and `file`; ValueError names what is wrong."""
    table = read_text(path, f"mini-MIAS' {LISTED}")
    if lacking := [name for name in READ if name not in table]:
        raise ValueError(
            f"{path} needs the columns {', '.join(READ)}, but lacks {', '.join(lacking)}: data=csv takes any table"
        )
    table["file"] = table["file"].map(as_sample)
    table["case"] = table["file"].str.extract(r"(?:^|/)(mdb\d{3})\.[^./]+$", expand=False).fillna("")
    table["abnormality"] = table["abnormality"].where(table["abnormality"] != "", "NORM")
    for wrong, rule in (
        (table["case"] == "", "a file is called mdbNNN"),
        (~table["label"].isin(SEVERITIES.values()), f"a label is {', '.join(SEVERITIES.values())}"),
        (
            ~table[list(CIRCLE)].apply(lambda row: row.str.fullmatch(r"\d{0,5}")).all(axis=1),
            "a circle is whole numbers",
        ),
    ):
        if wrong.any():
            row = table[wrong].iloc[0]
            shown = ", ".join(f"{name} {row[name]!r}" for name in ("file", "label", *CIRCLE))
            raise ValueError(f"{rule}, but not so in {path}: {shown}, and {wrong.sum() - 1} more")
    table[list(CIRCLE)] = table[list(CIRCLE)].replace("", None)
    table = table.rename(columns={"label": "severity"})[["file", "case", "tissue", "abnormality", "severity", *CIRCLE]]
    return table.astype(dict.fromkeys(CIRCLE, "Int64"))


def _has_circle(table: pd.DataFrame) -> "pd.Series[bool]":
    return table[list(CIRCLE)].notna().all(axis=1)


def read_lesions(path: Path) -> pd.DataFrame:
    """One row per line of the info file that begins with an image: case, tissue, abnormality, severity and the circle.

    Other lines (a heading, notes) are none of it. ValueError names a line of an image that cannot be read.
    """
    lines = [line.strip() for line in path.read_text(encoding="latin-1").splitlines()]
    lines = [line for line in lines if re.match(r"mdb\d", line)]
    matches = [LINE.fullmatch(line) for line in lines]
    wrong = [line for line, match in zip(lines, matches, strict=True) if not match]
    if wrong or not lines:
        raise ValueError(
            f"{path} has lines as `mdb001 G CIRC B 535 425 197` or `mdb003 D NORM`, but {len(wrong)} of {len(lines)} "
            f"are not: {list_first([repr(line) for line in wrong]) or 'there is none'}. {way_out()}"
        )
    table = pd.DataFrame([match.groupdict() for match in matches if match])
    table["abnormality"] = table["abnormality"].fillna(table.pop("normal"))
    table["severity"] = table["severity"].fillna("").map(SEVERITIES)
    return table.astype(dict.fromkeys(CIRCLE, "Int64"))


def keep_worst(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image: its worst lesion, of several such the first, and `lesions`, how many it has.

    ValueError names an image that is normal in one line and not in another, or of two tissues.
    """
    rank = table["severity"].map({name: number for number, name in enumerate(SEVERITIES.values())})
    for values, what in ((table["severity"] == "normal", "normal or not"), (table["tissue"], "of one tissue")):
        differ = values.groupby(table["case"]).nunique()
        if (differ > 1).any():
            raise ValueError(
                f"an image is {what}, but it is listed both ways: {list_first(list(differ.index[differ > 1]))}"
            )
    count = (table["severity"] != "normal").groupby(table["case"]).transform("sum")
    ordered = table.assign(lesions=count, rank=rank).sort_values(
        ["case", "rank"], ascending=[True, False], kind="stable"
    )
    return ordered.drop_duplicates("case").drop(columns="rank").reset_index(drop=True)
