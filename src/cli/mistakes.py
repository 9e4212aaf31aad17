"""A mistake of a user's, told as one message: what is wrong, what was found, what to do."""

import errno
import os
import re
import shlex
import sqlite3
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

import hydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from src.cli.arguments import list_options
from src.config import ROOT, no_key
from src.system import memory
from src.system.checks import suggest_choice
from src.system.own_code import is_own

LIST, DICTIONARY = "a list, of one or of several: [A] or [A,B]", "a dictionary: {KEY: VALUE}"
WANTED = {
    "could not be converted to Integer": "a whole number",
    "could not be converted to Float": "a number, such as 0.5 or 1e-3",
    "is not a valid bool": "true or false",
    "is not a ListConfig": LIST,
    "Cannot merge DictConfig with ListConfig": "",
    "is not a subclass of": "",
    "to Dict[": DICTIONARY,
    "type hint 'typing.Dict": DICTIONARY,
    "to string": "one text, which needs quotes within those of the shell where it has brackets",
    "is not Optional": "a value, which null is not",
}
"""By what OmegaConf says of a value of the wrong type, what should stand there; empty: as the type says."""
SINGLE: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
"""What stands in a list of such."""
WAYS_OUT = {
    (errno.ENOSPC, errno.EDQUOT): "free space: descriptors made so far are kept for the next run",
    (errno.EACCES, errno.EPERM): "ask for the right to it, or take a copy of your own",
    (errno.EROFS,): "its disk is for reading only: take another place",
}
"""What to do where a file cannot be read or written, by the number of the error."""
HYDRA = Path(hydra.__file__).parent


@contextmanager
def tell_mistakes() -> Iterator[None]:
    """The edge of a command: a user's mistake becomes one message, without a traceback; ours are raised."""
    try:
        yield
    except BrokenPipeError:
        end_unread()
    except Exception as error:
        message = explain_error(error)
        if not message:
            raise
        sys.exit(f"error: {message}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def end_unread() -> NoReturn:
    """End where nobody reads any more what is printed, as behind `| head`: without a word, as other tools do."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is printed at the end
    sys.exit(1)


def explain_error(error: BaseException) -> str:
    """Return what to tell the user of an error; empty where it is our own mistake."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return explain_composing(error)
    if isinstance(error, OSError) and error.filename is None and error.errno is None:
        return ""
    if isinstance(error, OSError):
        way_out = next((f"; {words}" for numbers, words in WAYS_OUT.items() if error.errno in numbers), "")
        return f"{error.strerror}: {error.filename or 'while writing'}{way_out}"
    if memory.is_out_of_memory(error):
        return f"out of memory: {str(error).splitlines()[0] if str(error) else 'too much is held at once'}"
    if isinstance(root := find_cause(error), sqlite3.OperationalError):
        way_out = "; free space, or choose another workspace=FOLDER" if "full" in str(root) else ""
        return f"a database cannot be used: {root}{way_out}"
    frames = traceback.extract_tb(error.__traceback__)
    raised_in = Path(frames[-1].filename) if frames else Path()
    # joblib raises the error of one of our folds anew, without the frames that it came from; Hydra's are on options.
    ours = raised_in.is_relative_to(ROOT / "src") or raised_in.parent.name == "joblib" or HYDRA in raised_in.parents
    if isinstance(error, ValueError) and is_own(raised_in):
        return f"{error} ({raised_in.name}, line {frames[-1].lineno})"
    return str(error) if isinstance(error, ValueError) and ours else ""


def find_cause(error: BaseException) -> BaseException:
    """Return the error with which a chain of errors began, as a traceback would show it."""
    while earlier := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = earlier
    return error


def explain_composing(error: Exception) -> str:
    """Return what to tell of an error of Hydra or OmegaConf: what is wrong where, and what could stand there."""
    deeper = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    typed = str(error).removeprefix("Error merging override ")
    if isinstance(deeper, MissingMandatoryValue):
        return explain_missing(str(deeper.full_key))
    parent = getattr(deeper, "parent_node", None)
    if isinstance(deeper, ConfigKeyError | ConfigAttributeError) and isinstance(parent, DictConfig):
        return no_key(whole_key(error, str(deeper.full_key)), parent)
    if isinstance(error, MissingConfigException) and error.options:
        group = str(re.findall(r"options in '(.*)':", str(error))[-1])
        option = str(error.missing_cfg_file).removeprefix(f"{group}/")
        near = suggest_choice(option, error.options)
        return f"Could not find '{group}/{option}'; the options of {group} are {', '.join(error.options)}{near}"
    if several := re.match(r"Ambiguous value for argument '([^=]*)=(.*)'$", str(error), re.MULTILINE):
        return several_values(*several.groups())
    if other := re.match(r"Could not override '(.*)'\. No match in the defaults list", str(error)):
        return f"this command has no group {other[1]}: --help lists those that it has"
    if sign := next((sign for sign in WANTED if sign in str(deeper)), ""):
        where = whole_key(error, str(getattr(deeper, "full_key", "")))
        return f"{typed}: {where} is {WANTED[sign] or as_typed(deeper)}"
    if deeper is not error:
        return f"{typed}: {str(deeper).splitlines()[0]}"
    return "\n".join(line for line in str(error).splitlines() if not line.strip().startswith("object_type="))


def whole_key(error: Exception, key: str) -> str:
    """Return a key with that of the override before it where an error of OmegaConf leaves it out."""
    found = re.match(r"(?:Error merging override [+~]*([^=]*)=|Could not override '(.*?)'\.)", str(error))
    typed = (found[1] or found[2]) if found else ""
    pairs = zip(key.partition("[")[0].split("."), typed.split("."), strict=False)
    if not key or not typed or all(one == other for one, other in pairs):
        return key or typed or "it"
    return f"{typed}[{key}]" if key.isdigit() else f"{typed}.{key}"


def as_typed(error: Exception) -> str:
    """Return what should stand where an error of OmegaConf found a value of another shape, by the type of the place."""
    kind, child = (getattr(error, name, None) for name in ("ref_type", "child_node"))
    if "is not a subclass" in str(error):  # the place itself has a type, or is an item of a list
        kind = next(iter(get_args(kind)), None) or OmegaConf.get_type(child)
    if kind is not None and is_dataclass(kind):
        keys = [each.name for each in fields(kind)]
        return f"a dictionary of {', '.join(keys)}: {{{keys[0]}: VALUE}}"
    return SINGLE.get(kind, DICTIONARY if get_origin(kind) is dict else LIST)


def several_values(key: str, value: str) -> str:
    """Return what several values may be meant for."""
    text = shlex.quote(f'{key}="{value}"')
    return (
        f"`{key}={value}` is several values: {key}=[{value}] is a list of them, -m makes a sweep (of run and tune), "
        f"{text} is one text"
    )


def explain_missing(key: str) -> str:
    """Return how to give a value that is missing; of a group with its options."""
    options = ", ".join(list_options(key, sys.argv[1:]))
    return f"{key} is missing: give it on the command line: {key}=...{f', one of {options}' if options else ''}"
