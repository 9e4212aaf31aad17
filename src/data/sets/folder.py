"""A folder per class."""

import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from src.data.found_files import EXTENSIONS, find_files, is_hidden, is_part
from src.data.manifest import check_manifest, list_first
from src.data.patients import PatientReader
from src.data.reader import LeftOut
from src.data.spellings import unify_spellings


@dataclass(kw_only=True)
class Folder(PatientReader):
    """Images in a folder per class under `root`, at any depth; every image is a case.

    Patients are unknown unless `patients` says who they are. `spellings` is of classes (`benign` and `Benign`), too.
    """

    def manifest(self) -> pd.DataFrame:
        """Return one row per image, classes in alphabetical order."""
        root = Path(self.root)
        classes = _class_folders(root)
        found = find_files(root)
        _check_parts(root, found.files)
        _check_folders(root, classes, found.files, found.left_out)
        samples = pd.Series(found.files, dtype="str")
        labels = unify_spellings(samples.map(_top), "classes", self.spellings, str(root))
        manifest = pd.DataFrame({"sample": samples, "case": samples, "patient": "", "view": "", "label": labels})
        manifest = manifest.assign(label=pd.Categorical(labels, sorted(labels.unique())))
        return self.with_patients(check_manifest(manifest, self.positive))

    def left_out(self) -> list[LeftOut]:
        """Return what lies under the root and is not read."""
        return find_files(self.root).left_out


def _class_folders(root: Path) -> list[str]:
    if not root.is_dir():
        raise ValueError(f"data.root is a folder that holds a folder per class, but there is no folder {root}")
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))
    if not names:
        raise ValueError(f"data.root holds a folder per class, but {root} has no folders in it")
    return names


def _check_folders(root: Path, classes: list[str], samples: list[str], left_out: list[LeftOut]) -> None:
    """Every image lies in the folder of a class, and every such folder holds one."""
    stray = [sample for sample in samples if "/" not in sample]
    if stray:
        raise ValueError(
            f"every image lies in its class's folder, but {len(stray)} lie in {root} itself, first {stray[0]}: "
            "move them, or list all images in a table (data=csv)"
        )
    for name in sorted(set(classes) - set(map(_top, samples))):
        kinds = Counter(each.kind for each in left_out if each.name.startswith(f"{name}/"))
        other = "".join(f", but {kind}: {count}" for kind, count in kinds.most_common())
        raise ValueError(
            f"a class folder holds images ({' '.join(EXTENSIONS)}), but {os.path.join(root, name)} has none{other}: "
            "put some there, or take the folder away"
        )
    deeper = sorted({name for sample in samples for name in PurePosixPath(sample).parts[1:-1][:1]})
    if len(classes) == 1 and deeper:
        raise ValueError(
            f"there are two classes or more, a folder each, but {root} holds one folder, {classes[0]}: if the classes "
            f"are in it ({list_first(deeper)}), take data.root={os.path.join(root, classes[0])}"
        )


def _check_parts(root: Path, samples: list[str]) -> None:
    """Folders of train, test and the like are no classes, and no classes lie below them."""
    tops = sorted({_top(sample) for sample in samples})
    below = _below_parts(samples)
    held = Counter(name for top in {_top(part) for part in below} for name in _names(below, top))
    parts = [top for top in tops if top in below or (is_part(top) and all(map(is_part, tops)))]
    if not parts and sum(count > 1 for count in held.values()) < 2:
        return
    what = f"folders {list_first(parts)}" if parts else f"folders {list_first(tops)} with such folders"
    classes = f", and the classes ({list_first(sorted(held))}) below them" if held else ""
    raise ValueError(
        f"data.root holds a folder per class, but {root} has the parts of a split, {what}{classes}: move what they "
        "hold together by class, or take one part as data.root, or list all images in a table (data=csv), whose parts "
        "protocol=published can hold out; a class that is called so needs a table, too"
    )


def _below_parts(samples: list[str]) -> dict[str, set[str]]:
    """By path, the folders called train, test and the like that hold no images but two folders or more: these."""
    below = defaultdict(set)
    for sample in samples:
        path = PurePosixPath(sample)
        for folder in path.parents:
            if is_part(folder.name):
                name = path.relative_to(folder).parts
                below[folder.as_posix()].add(name[0] if len(name) > 1 else "")
    return {folder: names for folder, names in below.items() if len(names) > 1 and "" not in names}


def _names(below: dict[str, set[str]], top: str) -> set[str]:
    """Return what lies below the parts that lie in a folder at the top, or are it."""
    return {name for part, names in below.items() if _top(part) == top for name in names}


def _top(sample: str) -> str:
    return sample.partition("/")[0]
