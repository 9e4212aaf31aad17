"""What is typed behind a command, in the grammar that Hydra takes."""

import math
import os.path
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig

from src.config import CONF
from src.system.next_commands import quoted_value

VALUED = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")
"""The options that take the next argument."""
CONFIG_DIR = ("--config-dir", "-cd")
SWEEP, SHOW = {"--multirun", "-m"}, {"--cfg", "-c"}
KEY = re.compile(r"[+~]{0,2}[\w./@$-]+")
"""What stands before the = of an override."""
PLAIN = "letters, digits, blanks and /.:+-_@%*?$|"
"""The signs of which text needs no quotes in Hydra's grammar."""


def order_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command's arguments as Hydra takes them, options first; `ValueError` for one that means nothing.

    Text with signs that Hydra's grammar does not know is quoted, and `~` is the home.
    """
    options, overrides = split_arguments(arguments)
    check_blanks(overrides)
    check_once(overrides)
    sweeping = bool(SWEEP & set(options)) or "hydra.mode=MULTIRUN" in overrides
    return [*options, *(spell_override(overrides, place, sweeping) for place in range(len(overrides)))]


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options of a command, with their values, and its overrides."""
    options: list[str] = []
    overrides: list[str] = []
    before = ""
    for argument in arguments:
        (options if argument.startswith("-") or before in VALUED else overrides).append(argument)
        before = argument
    return options, overrides


def spell_override(overrides: Sequence[str], place: int, sweeping: bool) -> str:
    """Return an override as Hydra takes it; `ValueError`, with how to type it, where the meaning is not plain."""
    override = overrides[place]
    parsed = parse_override(override)
    key, equals, value = override.partition("=")
    if parsed and (sweeping or not parsed.is_sweep_override() or not Path(value).exists()):
        return override
    if not equals or not KEY.fullmatch(key):
        raise ValueError(f"`{override}` is no KEY=VALUE; an argument with blanks in it has quotes around it: 'KEY=A B'")
    if is_structured(value) or (sweeping and "," in value):
        raise ValueError(not_understood(key, value))
    return f"{key}={quoted_value(os.path.expanduser(value))}"


def check_blanks(overrides: Sequence[str]) -> None:
    """Raise `ValueError`, with the whole, for an override that the shell has parted at its blanks."""
    starts = [place for place in range(len(overrides)) if not place or begins_override(overrides, place)]
    for start, end in pairwise([*starts, len(overrides)]):
        parts = overrides[start:end]
        if len(parts) > 1:
            whole = re.sub(r" *([=,]) *", r"\1", " ".join(parts))
            how = "put quotes around it" if " " in whole else "leave them out"
            raise ValueError(
                f"KEY=VALUE is one argument, but blanks part `{' '.join(parts)}` into {len(parts)}: "
                f"{how}: {shlex.quote(whole)}"
            )


def begins_override(arguments: Sequence[str], place: int) -> bool:
    """Return whether an override begins with an argument, which else is the rest of the one before it."""
    key, equals, _ = arguments[place].partition("=")
    bound = bool(equals) or any(each.startswith("=") for each in arguments[place + 1 : place + 2])
    return arguments[place].startswith("~") or (bound and KEY.fullmatch(key) is not None)


def check_once(overrides: Sequence[str]) -> None:
    """Raise `ValueError` for a key that is given twice: of its values one would be left aside unsaid."""
    given: dict[str, str] = {}
    for override in overrides:
        key = override.partition("=")[0].lstrip("+")
        if key in given:
            raise ValueError(f"a key is given once, but {key} twice: `{given[key]}` and `{override}`: take one away")
        given[key] = override


def parse_override(override: str) -> Override | None:
    """Return what Hydra takes an override for; None where it is none."""
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def is_structured(value: str) -> bool:
    """Return whether a value begins as no plain text does: a list, a dictionary, quotes, a call of a Hydra function."""
    call = re.match(r"(\w+)\(", value)
    return value.startswith(("[", "{", "'", '"', "=")) or bool(call and call[1] in create_functions().functions)


def not_understood(key: str, value: str) -> str:
    """Return how to type a value that is not understood: as one text, and with others in a list or with -m."""
    one, listed, swept = (shlex.quote(f"{key}={form}") for form in (f'"{value}"', '["A (1)",B]', '"A (1)",B'))
    if value.endswith(",") and not is_structured(value):
        forms = f"after a comma comes another value, without a blank: {shlex.quote(f'{key}={value}VALUE')}"
    elif value.startswith(("[", "{")):
        forms = f"a list is [A,B] and a dictionary {{KEY: VALUE}}, with quotes within those of the shell: {listed}"
    else:
        forms = f"one text of other signs has quotes within those of the shell: {one}; several, with -m: {swept}"
    return f"`{key}={value}` is not understood: text without quotes is of {PLAIN}; {forms}"


def last_of_each(overrides: Iterable[str], params: Mapping[str, Any] | None) -> dict[str, Override]:
    """Return the override of each key: the command line's before those that an experiment sweeps."""
    given = [f"{key}={value}" for key, value in (params or {}).items()]
    parsed = OverridesParser.create().parse_overrides([*given, *overrides])
    return {override.get_key_element().lstrip("+"): override for override in parsed}


def values_of(override: Override) -> list[str]:
    """Return the overrides of the cells of a sweep that one stands for: several where it varies a key."""
    if not override.is_discrete_sweep():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def find_config_dir(arguments: Sequence[str]) -> Path | None:
    """Return the folder of configs that is given beside ours; None where none is."""
    options = split_arguments(arguments)[0]
    for option, value in reversed(list(pairwise([*options, ""]))):  # of several, Hydra takes the last
        name, equals, joined = option.partition("=")
        if name in CONFIG_DIR:
            return Path(os.path.abspath(joined if equals else value))
    return None


def list_options(group: str, arguments: Sequence[str]) -> list[str]:
    """Return the names of a group's options, ours and those of the folder that is given beside them, in order."""
    folders = filter(None, (CONF, find_config_dir(arguments)))
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def asks_config(arguments: Sequence[str]) -> bool:
    """Return whether a command is asked for its config."""
    return any(argument in SHOW or argument.startswith("--cfg=") for argument in split_arguments(arguments)[0])


def config_to_show(arguments: Sequence[str], config_name: str, folder: Path) -> tuple[DictConfig, list[str], int]:
    """Return the config that a command is asked for, of a sweep the first cell's; the arguments for it; all cells."""
    options, overrides = split_arguments(arguments)
    own = find_config_dir(arguments)
    searched = [f"hydra.searchpath=[{quoted_value(f'file://{own}')}]"] if own else []
    with initialize_config_dir(str(folder), version_base="1.3"):
        cells = 1
        if SWEEP & set(options):
            single = [
                each for each in overrides if not OverridesParser.create().parse_override(each).is_sweep_override()
            ]
            params = compose(config_name, [*single, *searched], return_hydra_config=True).hydra.sweeper.params
            varied = [values_of(each) for each in last_of_each(overrides, params).values()]
            overrides, cells = [values[0] for values in varied], math.prod(map(len, varied))
        config = compose(config_name, [*overrides, *searched])
    return config, [*(option for option in options if option not in SWEEP), *overrides], cells
