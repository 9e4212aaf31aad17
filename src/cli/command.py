"""The edge of a command, where what the user types comes in."""

import atexit
import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import ChoiceSweep
from omegaconf import DictConfig, OmegaConf

from src.cli.arguments import (
    SWEEP,
    asks_config,
    config_to_show,
    find_config_dir,
    list_options,
    order_arguments,
    parse_override,
    split_arguments,
)
from src.cli.mistakes import tell_mistakes
from src.config import CONF, refuse_unknown, settle_config, take_own
from src.data.found_files import printable_name
from src.system import memory
from src.system.addresses import mask_passwords
from src.system.files import check_folder
from src.system.interrupts import heed_signals
from src.system.next_commands import HERE, key_of

WORKSPACE, LOCAL = "mlruns", "local"
"""Where things are, and the option of `tracking`, unless a command is told otherwise."""
ALLOCATIONS = 200_000
"""Objects after which Python looks for cycles: at its 700, a fifth of the time of imports goes into looking."""


def command(task: Callable[[DictConfig], None], name: str, sweeps: bool = False) -> None:
    """Run a command: compose `conf/NAME.yaml` with the overrides on the command line, and call the task.

    With `sweeps` the command takes -m.
    """
    memory.reuse_freed()
    # OpenMP's threads spin while they wait: beside other work they take the processors that they wait for. It is read
    # as PyTorch is imported, and handed on to whatever this process starts.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    gc.set_threshold(ALLOCATIONS, *gc.get_threshold()[1:])
    atexit.register(leave_quickly)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us whole
    heed_signals()
    messages = logging.StreamHandler()
    messages.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("src").addHandler(messages)
    logging.getLogger("src").setLevel(logging.INFO)

    def inside(config: DictConfig) -> None:
        with tell_mistakes():
            adopt_places(config, HydraConfig.get())
            refuse_unknown(config)
            check_folder(workspace=str(config.workspace))
            task(config)

    with tell_mistakes():
        check_text(sys.argv[1:])
        sys.argv[1:] = order_arguments(sys.argv[1:])
        if own := find_config_dir(sys.argv[1:]):
            take_own(own)
        check_options(sys.argv[1:])
        if not sweeps and SWEEP & set(split_arguments(sys.argv[1:])[0]):
            raise ValueError(f"-m makes sweeps, which `python -m src.{name}` has none of: give all values in one list")
        if asks_config(sys.argv[1:]):
            show_one(name)
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(inside)()


def adopt_places(config: DictConfig, hydra: Any) -> None:
    """Take over for the commands that are named to the user what this one was told of where things are."""
    choice, workspace = str(hydra.runtime.choices.get("tracking", LOCAL)), str(config.workspace)
    typed = [mask_passwords(each) for each in hydra.overrides.task]
    tracking = [f"tracking={choice}"] if choice != LOCAL else []
    tracking += [each for each in typed if key_of(each).startswith("tracking.")]
    root = [each for each in typed if key_of(each) == "data.root"]
    HERE.tell(folder_options(hydra), workspace if workspace != WORKSPACE else "", tracking, root)


def folder_options(hydra: Any) -> list[str]:
    """Return the options that name the folders of configs that were given beside ours."""
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return [option for folder in folders for option in ("--config-dir", folder)]


def show_one(name: str) -> None:
    """Let `--cfg` show a config that is right, with what follows from it, and of a sweep's cells the first."""
    config, sys.argv[1:], cells = config_to_show(sys.argv[1:], name, CONF)
    refuse_unknown(config)
    if cells > 1:
        print(f"# the first of {cells} cells")
    options = split_arguments(sys.argv[1:])[0]
    if {"job", "--cfg=job"} & set(options) and not any(option.startswith(("-p", "--package")) for option in options):
        print(OmegaConf.to_yaml(settle_config(config), resolve="--resolve" in options), end="")
        sys.exit()


def is_given(key: str) -> bool:
    """Return whether a key, or one below it, is given on the command line."""
    keys = (override.lstrip("+~").split("=")[0] for override in HydraConfig.get().overrides.task)
    return any(each == key or each.startswith(f"{key}.") for each in keys)


def given_values(key: str, node: Any) -> dict[str, Any]:
    """Return the fields of the object at a key that are given on the command line; all where it is given as a whole."""
    names = [each.name for each in fields(node)]
    single = [name for name in names if is_given(f"{key}.{name}")]
    return {name: getattr(node, name) for name in single or names if is_given(key)}


def leave_quickly() -> None:
    """Spare the end of a command the search for cycles in all that was imported, which takes more than a second."""
    if "torch" not in sys.modules:  # its libraries report what is not collected as leaks
        gc.freeze()


def check_text(arguments: Sequence[str]) -> None:
    """Raise `ValueError` for an argument with octets that are no text: neither a config nor a run could keep it."""
    for argument in arguments:
        if printable_name(argument) != argument:
            raise ValueError(f"arguments are UTF-8, but one is {printable_name(argument)}: rename the file or folder")


def check_options(arguments: Sequence[str]) -> None:
    """Raise `ValueError` for an option of a group that is no name, of which Hydra does not say of which group it is."""
    for override in filter(None, map(parse_override, split_arguments(arguments)[1])):
        group, value = override.get_key_element(), override.value()
        given = value.list if isinstance(value, ChoiceSweep) else [] if override.is_delete() else [value]
        wrong = [(each, why) for each in given if (why := no_option(group, each))]
        if wrong and (options := list_options(group, arguments)):
            typed = override.input_line if len(given) == 1 else f"{group}={wrong[0][0]}"
            raise ValueError(f"`{group}` is one of {', '.join(options)}, but got {typed}: {wrong[0][1]}")


def no_option(group: str, value: object) -> str:
    """Return why what was typed cannot be the name of an option of a group, and what to type; empty where it can."""
    if isinstance(value, bool | int | float):
        key = f"{group}.KEY={value}"
        return f"a number is the value of a key of the option, {key}; --help {group}=OPTION shows the keys"
    if isinstance(value, list):
        return f"a group has one option, {group}=A, or with -m a cell for each, {group}=A,B"
    empty = value is None or not str(value).strip("'\"")
    return "a group has one option; leave it out for the usual one" if empty else ""
