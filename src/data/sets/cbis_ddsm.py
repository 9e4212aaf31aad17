"""CBIS-DDSM: the Curated Breast Imaging Subset of the Digital Database for Screening Mammography, as on TCIA."""

import io
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from src.data import dicom
from src.data.dicom import Header
from src.data.manifest import COLUMNS, check_manifest, list_first, single_views
from src.data.reader import Reader
from src.images import BadImage
from src.system.checks import holds, one_of
from src.system.next_commands import download_command
from src.system.spreadsheets import read_text

CLASSES = ("benign", "malignant")
PATHOLOGIES = {"BENIGN": "benign", "BENIGN_WITHOUT_CALLBACK": "benign", "MALIGNANT": "malignant"}
ABNORMALITIES = {"mass": ("mass",), "calcification": ("calc",), "both": ("mass", "calc")}
ROWS = {("mass", "train"): 1318, ("mass", "test"): 378, ("calc", "train"): 1546, ("calc", "test"): 326}  # of the tables
SHARED = {  # the columns of every table, as written with underscores, and their names here
    "patient_id": "patient",
    "left_or_right_breast": "side",
    "image_view": "view",
    "abnormality_type": "abnormality",
    "abnormality_id": "number",
    "breast_density": "breast_density",
    "assessment": "assessment",
    "subtlety": "subtlety",
    "pathology": "pathology",
    "image_file_path": "full",
    "cropped_image_file_path": "crop",
}
OWN = {"mass": ["mass_shape", "mass_margins"], "calc": ["calc_type", "calc_distribution"]}
KEPT = [
    "part",
    "side",
    "abnormality",
    *OWN["mass"],
    *OWN["calc"],
    *("breast_density", "assessment", "subtlety", "pathology"),
]
LESION = ["patient", "side", "abnormality", "number"]
DESCRIPTIONS = {"full": "full mammogram images", "crop": "cropped images", "mask": "ROI mask images"}
ADDRESS = "https://www.cancerimagingarchive.net/collection/cbis-ddsm"
ONE_VIEW = "(.*)_(?:cc|mlo)$"  # the case of one view of a lesion whose views disagree
FOLDER = re.compile(r"(Mass|Calc)-(Training|Test)_P_\d+_(LEFT|RIGHT)_(CC|MLO)(_\d+)?")


@dataclass(kw_only=True)
class CbisDdsm(Reader):
    """Film mammograms of 1,566 patients with masses and calcifications, benign or malignant by biopsy or follow-up.

    `root` is the folder that the NBIA Data Retriever filled (of `manifest-*/CBIS-DDSM`, `CBIS-DDSM` or case folders);
    the four tables lie in it, or in `tables`. `abnormality` is mass, calcification or both. By `image` a sample is a

    - `crop` around a lesion; a case is a lesion (patient, side, abnormality and its number) with its views. Where the
      views of a number have different labels (3 of 2,050), they may show two lesions: each view is then a case, and
      the run notes it;
    - `full` mammogram; a case is a breast, malignant if any of the chosen lesions in it is. A mammogram with several
      lesions has their different values in alphabetical order, joined by "+". One that was released with the masses and
      again with the calcifications is two samples of its case.

    `part` is train, test or all: the released split, also a column, which `protocol=published` follows if given as a
    CSV (test 1, train 0). It divides the patients of each abnormality; of both, 31 stand in both parts. A patient has
    one name among masses and calcifications. With `missing=skip` images that are not there are left out and counted,
    with `fail` they are an error; `expected` compares the tables with the released ones. Files are found by their
    case's folder, and told apart by what they say of themselves: the tables' file names do not hold.

    `window` and `percentile` say how 16 bits become 8: see `dicom.read_dicom`. Source: Lee et al. 2017,
    https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY.
    """

    positive: list[str] = field(default_factory=lambda: ["malignant"])
    slices: list[str] = field(default_factory=lambda: ["abnormality", "mass_margins", "breast_density", "assessment"])
    tables: str = ""
    abnormality: str = "both"
    image: str = "crop"
    part: str = "all"
    missing: str = "fail"
    window: str = "stored"
    percentile: float = 0.5
    expected: bool = True

    by_hand: ClassVar[str] = (
        f"CBIS-DDSM (163 GB) is fetched by hand: {ADDRESS} has its manifest, which the NBIA Data Retriever opens, and "
        f"four tables ({{mass,calc}}_case_description_{{train,test}}_set.csv). Put both into {{root}}: the folder "
        "manifest-* as the Retriever made it, and the tables beside it. Then this command checks the tables' rows, and "
        "that every lesion and mammogram of theirs has its file."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(ABNORMALITIES, abnormality=self.abnormality)
        one_of(("crop", "full"), image=self.image)
        one_of(("all", "train", "test"), part=self.part)
        one_of(("fail", "skip"), missing=self.missing)
        one_of(dicom.WINDOWS, window=self.window)
        holds("0 <= percentile < 50", 0 <= self.percentile < 50, percentile=self.percentile)

    def manifest(self) -> pd.DataFrame:
        """One row per image, with what the tables say of it; ValueError names the first lesions without a file."""
        rows = self._rows()
        files = _files(Path(self.root), rows["folder"].tolist(), self.image)
        lost = rows["folder"][[path is None for path in files]].tolist()
        if lost and self.missing == "fail":
            raise ValueError(
                f"every row of CBIS-DDSM's tables has its image under {self.root}, but {len(lost)} of {len(rows)} have "
                f"none, or none that can be told from a mask: {list_first(lost)}. Complete the download ({ADDRESS}), "
                "or data.missing=skip leaves them out"
            )
        samples = ["" if path is None else path.relative_to(self.root).as_posix() for path in files]
        rows = rows.assign(sample=samples, label=pd.Categorical(rows["label"], list(CLASSES)))
        return check_manifest(rows.loc[rows["sample"] != "", [*COLUMNS, *KEPT]], self.positive)

    def notes(self, manifest: pd.DataFrame) -> list[str]:
        """How many cases have one view only, are one view of a lesion whose views disagree, or lack their file."""
        notes = single_views(manifest, "lesions" if self.image == "crop" else "breasts")
        divided = sorted(manifest["case"].str.extract(ONE_VIEW)[0].dropna().unique())
        if divided:
            notes.append(
                f"lesions that the tables call benign in one view and malignant in the other: {len(divided)} "
                f"({list_first(divided)}); each of their views is a case"
            )
        lost = len(self._rows()) - len(manifest) if self.missing == "skip" else 0
        return notes + ([f"images that are missing and left out (data.missing=skip): {lost}"] if lost else [])

    def decoding(self) -> dict[str, Any]:
        """Return the parameters that determine an image's pixels besides the bytes of its file."""
        percentile = {"percentile": self.percentile} if self.window == "percentiles" else {}
        return {"dicom": dicom.REVISION, "window": self.window} | percentile

    def read(self, sample: str, content: bytes | None = None) -> UInt8[np.ndarray, "height width 3"]:
        """Return the sample's image as 8-bit RGB; BadImage where it cannot be had."""
        return dicom.read_dicom(self._file(sample, content), self.window, self.percentile)

    def shape(self, sample: str, content: bytes | None = None) -> tuple[int, int]:
        """Return the height and width of the sample's image, by the file's header; BadImage where it does not say."""
        return dicom.read_shape(self._file(sample, content))

    def _file(self, sample: str, content: bytes | None) -> Path | io.BytesIO:
        return Path(self.root, sample) if content is None else io.BytesIO(content)

    def _rows(self) -> pd.DataFrame:
        """Return one row per image that the tables list: folder, case, patient, view, label and what is kept."""
        parts = ("train", "test") if self.part == "all" else (self.part,)
        tables = [self._table(kind, part) for kind in ABNORMALITIES[self.abnormality] for part in parts]
        lesions = pd.concat(tables, ignore_index=True).drop_duplicates(ignore_index=True)
        double = lesions[lesions.duplicated([*LESION, "view"])]
        if len(double):
            name = " ".join(double.iloc[0][[*LESION, "view"]])
            raise ValueError(
                f"a view of a lesion has one row in CBIS-DDSM's tables, but {name} has several that differ, and "
                f"{len(double) - 1} more do: take the tables as released ({ADDRESS})"
            )
        lesions["label"] = lesions["pathology"].map(PATHOLOGIES)
        lesions["folder"] = lesions[self.image].str.partition("/")[0]
        return _crops(lesions) if self.image == "crop" else _mammograms(lesions)

    def _table(self, kind: str, part: str) -> pd.DataFrame:
        """Return a table under our names, its values checked."""
        path = Path(self.tables or self.root, f"{kind}_case_description_{part}_set.csv")
        table = _text(path)
        wanted = [*SHARED, *OWN[kind]]
        lacking = [name for name in wanted if name not in table]
        if lacking:
            raise ValueError(
                f"CBIS-DDSM's tables have the columns {', '.join(wanted)}, but {path} lacks {', '.join(lacking)} "
                f"(it has {', '.join(table.columns)}): take it as released ({ADDRESS})"
            )
        if self.expected and len(table) != ROWS[kind, part]:
            raise ValueError(
                f"{path.name} has {ROWS[kind, part]} rows as released, but {path} has {len(table)}: take it from "
                f"{ADDRESS}, or data.expected=false takes what is there"
            )
        table = table[wanted].rename(columns=SHARED).assign(part=part)
        for name, choices in (("view", ("CC", "MLO")), ("side", ("LEFT", "RIGHT")), ("pathology", tuple(PATHOLOGIES))):
            other = table[~table[name].isin(choices)]
            if len(other):
                raise ValueError(
                    f"{name} is one of {', '.join(choices)}, but {path} has {other[name].iloc[0]!r} for patient "
                    f"{other['patient'].iloc[0]!r}, and {len(other) - 1} more: take it as released ({ADDRESS})"
                )
        table = table.assign(view=table["view"].str.lower(), side=table["side"].str.lower())
        return table.reindex(columns=list(dict.fromkeys([*SHARED.values(), *KEPT])), fill_value="")


def _text(path: Path) -> pd.DataFrame:
    """Return a table as text: column names with underscores throughout, and no blanks or line breaks around values."""
    if not path.is_file():
        raise ValueError(
            f"CBIS-DDSM has a table {path.name}, but there is none at {path}: {ADDRESS} has it; data.tables=FOLDER if "
            "it lies elsewhere"
        )
    table = read_text(path, f"CBIS-DDSM's table as released ({ADDRESS})")
    return table.rename(columns=lambda name: re.sub(r"\W+", "_", name.strip().lower()))


def _crops(lesions: pd.DataFrame) -> pd.DataFrame:
    """Return a case per lesion; where its views disagree on the label, per view."""
    case = lesions[LESION].agg("_".join, axis=1)
    differ = lesions["label"].groupby(case).transform("nunique") > 1
    return lesions.assign(case=case.where(~differ, case + "_" + lesions["view"]))


def _mammograms(lesions: pd.DataFrame) -> pd.DataFrame:
    """Return a row per mammogram and a case per breast; the values of several lesions are joined."""
    case = lesions["patient"] + "_" + lesions["side"]
    lesions = lesions.assign(case=case, label=lesions["label"].groupby(case).transform("max"))  # malignant is greater
    once = lesions.groupby("folder", sort=False)[["case", "patient", "view", "label"]].first()
    kept = lesions.groupby("folder", sort=False)[KEPT].agg(_joined)
    return once.join(kept).reset_index()


def _joined(values: "pd.Series[str]") -> str:
    return "+".join(value for value in sorted(values.unique()) if value)


def _files(root: Path, names: list[str], image: str) -> list[Path | None]:
    """For each case folder's name the DICOM file of its full mammogram or crop; None where it cannot be told."""
    folders: dict[str, list[Path]] = {}
    places = [root, root / "CBIS-DDSM", *sorted(root.glob("manifest-*")), *sorted(root.glob("manifest-*/CBIS-DDSM"))]
    for path in (path for place in places if place.is_dir() for path in sorted(place.iterdir())):
        if FOLDER.fullmatch(path.name):
            folders.setdefault(path.name, []).append(path)
    if not folders:
        raise ValueError(
            f"data.root is the folder that the NBIA Data Retriever filled, but neither {root} nor CBIS-DDSM or "
            f"manifest-*/CBIS-DDSM in it has a folder such as {names[0]}: see `{download_command('cbis_ddsm')}`"
        )
    return [next(filter(None, (_chosen(each, image) for each in folders.get(name, []))), None) for name in names]


def _chosen(folder: Path, image: str) -> Path | None:
    """The file of a case's folder that is the full mammogram or the crop, not the mask; None where it cannot be told.

    By their headers' series descriptions. Where these are lacking: by elimination, then by size (a mask is as large as
    the full mammogram), and last by the pixels (a mask has two values).
    """
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    paths = sorted(path for path in paths if path.suffix.lower() == ".dcm" and not path.name.startswith("."))
    if len(paths) == 1 and image == "full":  # masks and crops lie in folders of their own
        return paths[0]
    headers = {path: _header(path) for path in paths}
    named = [path for path in paths if headers[path].description == DESCRIPTIONS[image]]
    unnamed = [path for path in paths if headers[path].description not in DESCRIPTIONS.values()]
    candidates = named or unnamed
    if len(candidates) == 1 and (named or len(paths) > 1):
        return candidates[0]
    sizes = [headers[path].pixels for path in candidates]
    wanted = min(sizes, default=0) if image == "crop" else max(sizes, default=0)
    if len(candidates) > 1 and min(sizes) > 0 and sizes.count(wanted) == 1:
        return candidates[sizes.index(wanted)]
    images = [path for path in candidates if not _mask(path)]
    sound = [path for path in images if headers[path].pixels] or images
    return sound[0] if len(sound) == 1 else None


def _header(path: Path) -> Header:
    """Return the file's header; an empty one where it is damaged, so that it is named when it is read."""
    try:
        return dicom.read_header(path)
    except BadImage:
        return Header(description="", pixels=0)


def _mask(path: Path) -> bool:
    try:
        return dicom.is_binary(path)
    except BadImage:
        return False
