"""A folder per class."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from src.data.manifest import Reader, check

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclass(kw_only=True)
class Folder(Reader):
    """Images in a folder per class under `root`, at any depth; every image is a case, patients are unknown."""

    def manifest(self) -> pd.DataFrame:
        """One row per image, classes in alphabetical order."""
        root = Path(self.root)
        classes = _class_folders(root)
        rows = []
        for name in classes:
            samples = [path.relative_to(root).as_posix() for path in images(root / name)]
            if not samples:
                raise ValueError(f"a class folder holds images ({' '.join(EXTENSIONS)}), but {root / name} has none")
            rows += [(sample, sample, "", "", name) for sample in samples]
        manifest = pd.DataFrame(rows, columns=["sample", "case", "patient", "view", "label"])
        return check(manifest.assign(label=pd.Categorical(manifest["label"], classes)), self.positive)


def images(folder: Path) -> list[Path]:
    """The folder's image files, at any depth and sorted; hidden files and folders are left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    return sorted(path for path in found if path.is_file() and not hidden(path.relative_to(folder)))


def hidden(path: Path) -> bool:
    """Whether a file, or a folder that it lies in, is hidden."""
    return any(part.startswith(".") for part in path.parts)


def _class_folders(root: Path) -> list[str]:
    if not root.is_dir():
        raise ValueError(f"data.root is a folder that holds a folder per class, but there is no folder {root}")
    entries = [path for path in root.iterdir() if not path.name.startswith(".")]
    names = sorted(path.name for path in entries if path.is_dir())
    if not names:
        raise ValueError(f"data.root holds a folder per class, but {root} has no folders in it")
    stray = sorted(path.name for path in entries if path.is_file() and path.suffix.lower() in EXTENSIONS)
    if stray:
        raise ValueError(
            f"every image lies in its class's folder, but {len(stray)} lie in {root} itself, first {stray[0]}: "
            "move them, or list all images in a table (data=csv)"
        )
    return names
