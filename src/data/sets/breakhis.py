"""BreakHis: microscopic images of breast tumours at four magnifications."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pandas as pd

from src.data.manifest import check_manifest, list_first
from src.data.reader import ArchiveRecord, Reader
from src.system.checks import one_of
from src.system.next_commands import download_command

SUBTYPES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}
COUNTS = dict(zip(SUBTYPES.values(), (444, 1014, 453, 569, 3451, 626, 792, 560), strict=True))
CLASSES = {
    "binary": ("benign", "malignant"),
    "benign": tuple(SUBTYPES.values())[:4],
    "malignant": tuple(SUBTYPES.values())[4:],
    "all": tuple(SUBTYPES.values()),
    "frequent": tuple(SUBTYPES[code] for code in ("TA", "MC", "F", "DC")),
}
MAGNIFICATIONS = (40, 100, 200, 400)
NAME = re.compile(
    r"SOB_(?P<kind>[BM])_(?P<subtype>[A-Z]+)-(?P<year>\d\d)-(?P<number>\d+)(?P<part>[A-Z]*)-(?P<magnification>\d+)-\d+\.png"
)
FOLDERS = ("BreaKHis_v1", "histology_slides", "breast")
LAYOUT = "{benign,malignant}/SOB/SUBTYPE/SLIDE/{40,100,200,400}X/SOB_*.png"
ORDER = ("sample", "case", "patient", "view", "label", "subtype", "magnification", "slide")


def way_out() -> str:
    """Return how BreakHis is had."""
    return f"`{download_command('breakhis')}` fetches and unpacks it"


@dataclass(kw_only=True)
class BreakHis(Reader):
    """7,909 H&E images, 700 x 460 pixels, of eight sub-types of breast tumours at 40, 100, 200 and 400 times.

    `root` is the folder that holds `BreaKHis_v1`, that folder itself, or a deeper one down to its `breast`. `task` says
    which classes: binary (benign, malignant), benign or malignant (the four sub-types of those images only), all
    eight, or the frequent ones: the four of seven slides or more, on which eva judges encoders. A case is an image and
    is named by its file. `expected=false` takes what is there, whatever the counts.

    All is read from the names, `SOB_M_DC-14-3909-100-014.png`: kind, sub-type, year and slide, magnification, number.
    `patients` says what a patient is. number (the default): a year's number without the letters behind it. The letters
    (14-22549AB, -CD, -G) name parts of one specimen, and parts of one can be of two sub-types (29960AB, 29960CD), so
    that 81 slides are 70 patients. slide: the letters count too, as in the 82 "patients" of the authors (who count
    14-13412 twice, under DC and LC: here it is one), for comparison with papers that split so; a leak, most probably.

    Source: Spanhol et al. 2016, https://doi.org/10.1109/TBME.2015.2496264.
    """

    slices: list[str] = field(default_factory=lambda: ["magnification", "subtype"])
    task: str = "binary"
    magnifications: list[int] = field(default_factory=lambda: list(MAGNIFICATIONS))
    patients: str = "number"
    expected: bool = True

    records: ClassVar[tuple[ArchiveRecord, ...]] = (
        ArchiveRecord(
            url="http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz",
            files={"BreaKHis_v1.tar.gz": ""},
            direct=True,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(CLASSES, task=self.task)
        one_of(("number", "slide"), patients=self.patients)
        wanted = set(self.magnifications)
        if not wanted or not wanted <= set(MAGNIFICATIONS) or len(wanted) < len(self.magnifications):
            raise ValueError(
                f"`magnifications` must be some of {list(MAGNIFICATIONS)}, each once, but got {self.magnifications}"
            )
        if self.task == "binary":
            self.positive = self.positive or ["malignant"]
        else:
            self.slices = [name for name in self.slices if name != "subtype"]  # the classes themselves

    def manifest(self) -> pd.DataFrame:
        """Return one row per image of the task; own columns subtype, magnification (int) and slide."""
        table = self._found()
        self._check_counts(table)
        classes = CLASSES[self.task]
        names = table["kind"] if self.task == "binary" else table["subtype"]
        chosen = names.isin(classes) & table["magnification"].isin(self.magnifications)
        table = table.assign(label=names)[chosen].astype({"label": pd.CategoricalDtype(list(classes))})
        return check_manifest(table[list(ORDER)], self.positive)

    def _found(self) -> pd.DataFrame:
        """Return one row per image on disk, whatever the task."""
        breast = self._breast()
        paths = sorted(path for path in breast.glob("*/SOB/*/*/*X/SOB_*.png"))
        table = pd.DataFrame([parse_name(path.relative_to(breast).as_posix()) for path in paths])
        double = [name for name, count in Counter(table["case"]).items() if count > 1]
        if double:
            raise ValueError(f"an image lies in one folder, but {breast} has in several: {list_first(double)}")
        patient = table["slide"] if self.patients == "slide" else table["specimen"]
        return table.assign(sample=[path.relative_to(self.root).as_posix() for path in paths], patient=patient, view="")

    def _breast(self) -> Path:
        root = Path(self.root)
        candidates = [root.joinpath(*FOLDERS[start:]) for start in range(len(FOLDERS) + 1)]
        for folder in candidates:
            if next(folder.glob("*/SOB/*/*/*X/SOB_*.png"), None):
                return folder
        raise ValueError(
            f"data.root must be the folder that holds {FOLDERS[0]} (or be it, or deeper), but no folder of "
            f"{', '.join(str(folder) for folder in candidates)} holds {LAYOUT}: {way_out()}; data=folder and "
            "data=csv take other layouts"
        )

    def _check_counts(self, table: pd.DataFrame) -> None:
        found = Counter(table["subtype"])
        differ = [f"{name} {found[name]} instead of {count}" for name, count in COUNTS.items() if found[name] != count]
        if self.expected and differ:
            raise ValueError(
                f"BreakHis has {sum(COUNTS.values())} images, but {self.root} has {len(table)}: {', '.join(differ)}. "
                f"{way_out()}; data.expected=false takes what is there"
            )


def parse_name(path: str) -> dict[str, str | int]:
    """What the name of an image says: case, kind (benign, malignant), subtype, magnification, slide and specimen.

    `path` is relative to the folder `breast`; ValueError where its folders say anything else.
    """
    kind_folder, _, subtype_folder, _, magnification_folder, name = PurePosixPath(path).parts
    match = NAME.fullmatch(name)
    if not match or match["subtype"] not in SUBTYPES or int(match["magnification"]) not in MAGNIFICATIONS:
        raise ValueError(
            f"a name is SOB_<B|M>_<sub-type>-<year>-<slide>-<magnification>-<number>.png with a sub-type of "
            f"{', '.join(SUBTYPES)}, but {path} is not: {way_out()}"
        )
    subtype = SUBTYPES[match["subtype"]]
    kind = "benign" if match["kind"] == "B" else "malignant"
    named = (kind, subtype, f"{match['magnification']}X")
    if named != (kind_folder, subtype_folder, magnification_folder) or subtype not in CLASSES[kind]:
        raise ValueError(
            f"an image lies in the folders of its name, but {path} is {', '.join(named)} by name: {way_out()}"
        )
    specimen = f"{match['year']}-{match['number']}"
    return {
        "case": name,
        "kind": kind,
        "subtype": subtype,
        "magnification": int(match["magnification"]),
        "slide": specimen + match["part"],
        "specimen": specimen,
    }
