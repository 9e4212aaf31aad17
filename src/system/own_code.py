"""Python files of a user's own, which lie beside the configs that `--config-dir` gives."""

import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType

MODULES: dict[Path, ModuleType] = {}
"""Those that this process has imported, by file."""


def import_files(folder: Path) -> None:
    """Import the Python files of a folder, which may import each other; `ValueError` where one cannot be.

    The folder comes last in Python's path, so that no file of it stands in for a library's.
    """
    sys.path.append(str(folder))
    for file in sorted(folder.glob("*.py")):
        MODULES[file] = import_file(file)


def import_file(file: Path) -> ModuleType:
    """Return the module of a file of Python's path."""
    try:
        module = import_module(file.stem)
    except Exception as error:  # whatever a user's own code may do
        raise ValueError(f"{file} cannot be imported: {locate_error(error, file.parent)}") from error
    other = getattr(module, "__file__", None)
    if other is None or not file.samefile(other):
        raise ValueError(f"{file} has the name of another module, {other or 'one of Python itself'}: rename the file")
    return module


def locate_error(error: Exception, folder: Path) -> str:
    """Return what an error is, and the line of the folder's code that it comes from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == folder]
    file, line = (frames[-1].filename, frames[-1].lineno) if frames else ("", None)
    if isinstance(error, SyntaxError):
        file, line = error.filename or "", error.lineno
    return f"{type(error).__name__}: {error}" + f" ({Path(file).name}, line {line})" * bool(file)


def is_own(file: Path) -> bool:
    """Return whether a file of code is one that was imported here, or lies in a folder of such."""
    return any(own.parent in file.parents for own in MODULES)
