"""Any CSV with a row per image."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from src.data.found_files import find_files
from src.data.manifest import COLUMNS, as_sample, check_manifest, list_first
from src.data.patients import PatientReader
from src.data.spellings import unify_spellings
from src.system.spreadsheets import blank_missing, read_text


@dataclass(kw_only=True)
class Table(PatientReader):
    """The images that the CSV `path` lists, relative to `root` (empty: the CSV's folder).

    `columns` says which CSV column stands for which of the manifest's where the names differ: `{sample: file}`. A case
    is the sample itself, patient and view are empty where the CSV has none; other columns are kept, as text. `classes`
    gives the classes' order (empty: alphabetical); with `check_folders`, a folder that is named as a class holds that
    class only.

    Of the manifest's columns a cell that is empty or one of `missing_values` (in letters of any case) has no value: a
    patient or view is unknown then, all else is an error; `missing_values=[]` reads such as written. What cases,
    patients and classes are that differ in form only (`1`, `01` and `1.0`, `benign` and `Benign`), `spellings` says:
    `fail`, `unite` makes them one, `keep` leaves them several.
    """

    path: str
    root: str = ""
    columns: dict[str, str] = field(default_factory=lambda: {name: name for name in COLUMNS})
    classes: list[str] = field(default_factory=list)
    check_folders: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name for name in self.columns if name not in COLUMNS]
        if unknown:
            raise ValueError(f"data.columns names {', '.join(COLUMNS)}, but got {', '.join(unknown)}")
        self.columns = {name: name for name in COLUMNS} | self.columns
        self.root = self.root or str(Path(self.path).parent)

    @property
    def title(self) -> str:
        """What people call the data set: by its CSV, and the folder that it is in."""
        path = Path(self.path).resolve()
        return f"{path.parent.name}/{path.name}"

    def manifest(self) -> pd.DataFrame:
        """Return one row per line of the CSV."""
        manifest = self._spelled(self._named(read_text(self.path, "data.path")))
        self._check_labels(manifest)
        self._check_files(manifest["sample"])
        classes = self.classes or sorted(manifest["label"].unique())
        manifest = manifest.assign(label=pd.Categorical(manifest["label"], classes))
        return self.with_patients(check_manifest(manifest, self.positive))

    def _named(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the CSV's columns under the manifest's names, then its own."""
        if table.empty:
            raise ValueError(f"data.path has a row per image, but {self.path} has none below the columns' names")
        for name, column in self.columns.items():
            if column not in table and (column != name or name in ("sample", "label")):
                found = ", ".join(table.columns)
                raise ValueError(
                    f"{self.path} needs a column {column!r} for {name}, but has {found}: "
                    f"data.columns.{name}=THE_COLUMN names it"
                )
        named = {name: table[column] for name, column in self.columns.items() if column in table}
        manifest = pd.DataFrame({name: blank_missing(values, self.missing_values) for name, values in named.items()})
        self._check_filled(manifest, table)
        manifest["sample"] = manifest["sample"].map(as_sample)
        blank = pd.Series("", index=table.index)
        manifest = manifest.assign(
            case=manifest.get("case", manifest["sample"]),
            patient=manifest.get("patient", blank),
            view=manifest.get("view", blank).str.lower(),
        )[list(COLUMNS)]
        own = table.drop(columns=[column for column in self.columns.values() if column in table])
        return manifest.join(own.rename(columns=lambda name: f"csv_{name}" if name in COLUMNS else name))

    def _check_filled(self, manifest: pd.DataFrame, table: pd.DataFrame) -> None:
        """Every row has a sample, a label, and a case where there are any."""
        for name in [name for name in ("sample", "label", "case") if name in manifest]:
            empty = manifest.index[manifest[name] == ""]
            if len(empty):
                written = [repr(value) for value in table.loc[empty, self.columns[name]].unique() if value]
                way_out = f"; where {list_first(written)} has a meaning, data.missing_values=[] reads it as written"
                raise ValueError(
                    f"every row has a {name}, but {self.path} has none in {_rows(empty)} (header: row 1): fill it in, "
                    f"or delete the row{way_out if written else ''}"
                )

    def _spelled(self, manifest: pd.DataFrame) -> pd.DataFrame:
        """Cases, patients and labels, of which those that differ in form only are one, or several."""
        for name, what in (("case", "cases"), ("patient", "patients"), ("label", "classes")):
            if not manifest[name].equals(manifest["sample"]):
                preferred = self.classes if name == "label" else []
                manifest[name] = unify_spellings(manifest[name], what, self.spellings, self.path, preferred)
        return manifest

    def _check_labels(self, manifest: pd.DataFrame) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"data.classes names each class once, but got {', '.join(self.classes)}")
        other = manifest.index[~manifest["label"].isin(self.classes or manifest["label"])]
        if len(other):
            raise ValueError(
                f"labels are those of data.classes ({', '.join(self.classes)}), but {self.path} "
                f"has {manifest['label'][other[0]]!r} in {_rows(other)}"
            )
        if self.check_folders:
            self._check_folders(manifest)

    def _check_folders(self, manifest: pd.DataFrame) -> None:
        """A folder that is named as a class holds that class."""
        classes = set(manifest["label"])
        wrong = [
            f"{sample} is {label}"
            for sample, label in zip(manifest["sample"], manifest["label"], strict=True)
            if classes & (set(PurePosixPath(sample).parts[:-1]) - {label}) and label not in PurePosixPath(sample).parts
        ]
        if wrong:
            raise ValueError(
                f"labels agree with folders that are named as classes, but by {self.path} {list_first(wrong)}: correct "
                "the table, move the images, or take data.check_folders=false if the folders mean something else"
            )

    def _check_files(self, samples: "pd.Series[str]") -> None:
        root = Path(self.root)
        missing = [sample for sample in samples if not (root / sample).is_file()]
        if missing:
            raise ValueError(
                f"every image of {self.path} is a file under {root} (data.root), but {len(missing)} of {len(samples)} "
                f"are missing: {list_first(missing)}{_elsewhere(root, missing[0])}"
            )


def _elsewhere(root: Path, sample: str) -> str:
    """Where there is a file of a missing one's name, with another ending or in another folder; empty where none is."""
    path = PurePosixPath(sample)
    found = [PurePosixPath(file) for file in find_files(root).files] if root.is_dir() else []
    near = [file for file in found if path.name in (file.name, file.stem) or path.stem == file.stem]
    same = [file for file in near if file.parent == path.parent] or [file for file in near if file.name == path.name]
    return f"; but there is {(same or near)[0]}: write that, or change data.root" if near else ""


def _rows(index: "pd.Index[int]") -> str:
    return "row " + list_first([str(number) for number in index])
