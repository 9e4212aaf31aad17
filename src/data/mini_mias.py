"""mini-MIAS: the small version of the mammograms of the Mammographic Image Analysis Society."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd

from src.checks import at_least, one_of
from src.data import image
from src.data.manifest import Reader, Record, check, first

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
INFO = "Info.txt"
ORDER = (
    *("sample", "case", "patient", "view", "label"),
    *("side", "tissue", "abnormality", "severity", "lesions", *CIRCLE),
)
WAY_OUT = "`python -m src.download data=mini_mias` fetches and unpacks it"


@dataclass(kw_only=True)
class MiniMias(Reader):
    """322 grey mammograms (medio-lateral oblique) of 161 patients, 1024 x 1024 pixels of 200 um, as `mdbNNN.pgm`.

    `root` is the folder that holds them and their `Info.txt`, or that folder's parent where it is called `all-mias`.
    `task`: severity (normal, benign, malignant), malignancy (benign, malignant: of the abnormal images only) or
    abnormality (normal, abnormal). An image with several lesions is labelled by its worst. mdb001 and mdb002 are the
    left and the right breast of one patient, and so on. Grey becomes RGB by design (`convert`). An `expected` or `size`
    of 0 is not checked.

    Source: Suckling et al. 1994, http://peipa.essex.ac.uk/info/mias.html.
    """

    convert: bool = True
    slices: list[str] = field(default_factory=lambda: ["tissue", "abnormality"])
    task: str = "severity"
    expected: int = 322
    size: int = 1024

    records: ClassVar[tuple[Record, ...]] = (
        Record(
            url="http://peipa.essex.ac.uk/pix/mias/all-mias.tar.gz",
            files={"all-mias.tar.gz": ""},
            direct=True,
        ),
    )

    def __post_init__(self) -> None:
        one_of(CLASSES, task=self.task)
        at_least(0, expected=self.expected, size=self.size)
        self.positive = self.positive or list(POSITIVE[self.task])

    def manifest(self) -> pd.DataFrame:
        """One row per image of the task; counts, sizes and the info file are checked.

        Own columns: side, tissue (F fatty, G fatty-glandular, D dense-glandular), abnormality (NORM or a kind of
        lesion), severity, lesions (how many), and the circle of the worst lesion, x, y_from_bottom and radius in pixels
        of the original, missing where the info file gives none.
        """
        folder = self._folder()
        table = worst(lesions(folder / INFO))
        self._check_files(folder, table["case"])
        prefix = folder.relative_to(self.root)
        odd = table["case"].str[3:].astype(int) % 2 == 1
        table = table.assign(
            sample=[(prefix / f"{case}.pgm").as_posix() for case in table["case"]],
            patient=[f"p{(int(case[3:]) + 1) // 2:03d}" for case in table["case"]],
            view="",
            side=odd.map({True: "left", False: "right"}),
        )
        return check(self._labelled(table)[list(ORDER)], self.positive)

    def _labelled(self, table: pd.DataFrame) -> pd.DataFrame:
        label = table["severity"]
        if self.task == "abnormality":
            label = label.where(label == "normal", "abnormal")
        table = table.assign(label=label)[label.isin(CLASSES[self.task])]
        return table.astype({"label": pd.CategoricalDtype(list(CLASSES[self.task]))})

    def _folder(self) -> Path:
        candidates = (Path(self.root), Path(self.root, "all-mias"))
        for folder in candidates:
            if (folder / INFO).is_file():
                return folder
        raise ValueError(
            f"data.root must be the folder that holds mini-MIAS' {INFO} and mdb*.pgm, but neither of "
            f"{' and '.join(str(folder) for folder in candidates)} has an {INFO}: {WAY_OUT}"
        )

    def _check_files(self, folder: Path, cases: "pd.Series[str]") -> None:
        """The info file and the folder name the same images, as many as there must be, each of its size."""
        files = {path.stem: path for path in sorted(folder.glob("mdb*.pgm"))}
        for names, where in (
            (sorted(set(cases) - set(files)), f"in {INFO} but not a file"),
            (sorted(set(files) - set(cases)), f"a file but not in {INFO}"),
        ):
            if names:
                raise ValueError(f"{folder / INFO} lists the images beside it, but {first(names)}: {where}. {WAY_OUT}")
        if self.expected and len(files) != self.expected:
            raise ValueError(
                f"mini-MIAS has {self.expected} images, but {folder} has {len(files)}: {WAY_OUT}, "
                "data.expected=0 takes what is there"
            )
        image.check_sizes(files.values(), self.size, self.size, "mini-MIAS'", WAY_OUT, "data.size=0")


def lesions(path: Path) -> pd.DataFrame:
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
            f"are not: {first([repr(line) for line in wrong]) or 'there is none'}. {WAY_OUT}"
        )
    table = pd.DataFrame([match.groupdict() for match in matches if match])
    table["abnormality"] = table["abnormality"].fillna(table.pop("normal"))
    table["severity"] = table["severity"].fillna("").map(SEVERITIES)
    return table.astype(dict.fromkeys(CIRCLE, "Int64"))


def worst(table: pd.DataFrame) -> pd.DataFrame:
    """One row per image: its worst lesion, of several such the first, and `lesions`, how many it has.

    ValueError names an image that is normal in one line and not in another, or of two tissues.
    """
    rank = table["severity"].map({name: number for number, name in enumerate(SEVERITIES.values())})
    for values, what in ((table["severity"] == "normal", "normal or not"), (table["tissue"], "of one tissue")):
        differ = values.groupby(table["case"]).nunique()
        if (differ > 1).any():
            raise ValueError(
                f"an image is {what}, but {INFO} has it both ways for {first(list(differ.index[differ > 1]))}"
            )
    count = (table["severity"] != "normal").groupby(table["case"]).transform("sum")
    ordered = table.assign(lesions=count, rank=rank).sort_values(
        ["case", "rank"], ascending=[True, False], kind="stable"
    )
    return ordered.drop_duplicates("case").drop(columns="rank").reset_index(drop=True)
