"""Every operator by the name of its class: the project's, and those of a folder of one's own.

An operator is known because its class derives from what a group of the config holds, and its module is imported: that
happens to every file of `PACKAGES`, and to those that lie in a folder given by `--config-dir`.
"""

from dataclasses import fields, is_dataclass
from inspect import getfile, isabstract
from pathlib import Path

from src.classifiers.classifier import Classifier
from src.data.reader import Reader
from src.data.splits import SplitProtocol
from src.encoders.encoder import Encoder
from src.encoders.pooling import Pool
from src.executors.executor import Executor
from src.images.augment import Augment
from src.images.crop import Crop
from src.images.stain import Stain
from src.methods.method import Method
from src.system.own_code import import_files
from src.system.subclasses import derived_classes, import_modules
from src.training.parameters import FineTuning

KINDS: tuple[type, ...] = (
    Reader,
    SplitProtocol,
    Stain,
    Augment,
    Crop,
    Encoder,
    Pool,
    Classifier,
    FineTuning,
    Method,
    Executor,
)
"""What the groups of the config hold: an operator is one of these, or derives from one."""
PACKAGES = ("data", "data.sets", "images", "encoders", "classifiers", "methods", "executors")
"""Where the project's operators are; their files import what is heavy where they use it."""
RESERVED = {"operator", "module", "revision"}
"""What is kept of an operator beside its parameters."""


def import_ours() -> None:
    """Import the modules of `PACKAGES`."""
    for package in PACKAGES:
        import_modules(f"{__package__}.{package}")


def import_own(folder: Path) -> list[type]:
    """Import the Python files of a folder of one's own, and return the operators that they bring.

    `ValueError` where a file cannot be imported, or what it holds is no whole operator with a name of its own.
    """
    known = operators()
    before = set(derived_classes(*KINDS))
    import_files(folder)
    own = [kind for kind in derived_classes(*KINDS) if kind not in before]
    for kind in own:
        check_own(kind, known)
        known[kind.__name__] = kind
    return list(filter(is_operator, own))


def operators() -> dict[str, type]:
    """Return all operators, by the names of their classes."""
    found: dict[str, type] = {}
    for kind in filter(is_operator, derived_classes(*KINDS)):
        found.setdefault(kind.__name__, kind)
    return found


def is_operator(kind: type) -> bool:
    """Return whether a class is an operator: a dataclass of its own that can be made."""
    return "__dataclass_fields__" in vars(kind) and not isabstract(kind)


def check_own(kind: type, known: dict[str, type]) -> None:
    """Raise `ValueError` for a class of one's own that lacks what operators have, or has another one's name."""
    what = f"{kind.__name__} of {getfile(kind)}"
    if other := known.get(kind.__name__):
        raise ValueError(f"operators have names of their own, but {what} has that of {getfile(other)}: rename it")
    if not is_dataclass(kind) or "__dataclass_fields__" not in vars(kind):
        raise ValueError(f"operators are dataclasses, but {what} is none: put @dataclass(kw_only=True) above it")
    lacking = sorted(getattr(kind, "__abstractmethods__", ()))
    if lacking and not kind.__subclasses__():
        raise ValueError(f"{what} lacks what its kind must have: {', '.join(lacking)}")
    if taken := sorted(RESERVED & {each.name for each in fields(kind)}):
        raise ValueError(f"{what} has a parameter {taken[0]}, which is kept of every operator: give it another name")
