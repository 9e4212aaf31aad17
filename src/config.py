"""From YAML to objects: the schema of every config group is the dataclass of its operator."""

import difflib
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from src.classifiers.knn import Knn
from src.classifiers.lightgbm import LightGBM
from src.classifiers.logistic import Logistic
from src.data.bach import Bach
from src.data.demo import Demo
from src.data.folder import Folder
from src.data.manifest import Reader
from src.data.splits import Holdout, ImageKFold, KFold, Published
from src.data.table import Table
from src.encoders.keras import Keras
from src.encoders.pool import PowerMean
from src.encoders.timm import Timm
from src.encoders.torchvision import Torchvision
from src.evaluation.binary import Binary
from src.images.augment import NoAugment, StainJitter
from src.images.crop import Crop
from src.images.stain import Macenko, MacenkoReleased, NoStain, Reinhard
from src.methods.cell import Cell, Method
from src.methods.frozen import Frozen
from src.tracking import Tracking

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"


@dataclass(kw_only=True)
class Experiment(Cell):
    """All that `python -m src.run` takes: a cell, the method that predicts it, its evaluation and its tracking."""

    method: Method
    tracking: Tracking
    binary: Binary = field(default_factory=Binary)
    workspace: str = "mlruns"
    """Where everything is written: runs, descriptors, generated data."""
    store: str = "${workspace}/store"
    replicates: int = 1000
    """Bootstrap replicates behind the 95 % intervals."""
    name: str = ""
    """The run's name; empty: the encoder and the crop size, and whatever else a sweep varies."""


@dataclass(kw_only=True)
class Fuse:
    """What `python -m src.fuse` takes: tracked runs, or published predictions."""

    tracking: Tracking
    binary: Binary = field(default_factory=Binary)
    sweep: str = ""
    runs: list[str] = field(default_factory=list)
    published: str = ""
    output: str = ""
    workspace: str = "mlruns"
    replicates: int = 1000


@dataclass(kw_only=True)
class Download:
    """What `python -m src.download` takes: a data set, and the workspace that it goes to unless it has a root."""

    data: Reader
    workspace: str = "mlruns"


SCHEMAS = [
    Experiment,
    Fuse,
    Download,
    Bach,
    Folder,
    Table,
    Demo,
    KFold,
    ImageKFold,
    Holdout,
    Published,
    Frozen,
    NoStain,
    Macenko,
    MacenkoReleased,
    Reinhard,
    NoAugment,
    StainJitter,
    Crop,
    Timm,
    Torchvision,
    Keras,
    PowerMean,
    LightGBM,
    Logistic,
    Knn,
    Tracking,
]


def register() -> None:
    """Make every schema known to Hydra under its name: a config file opens with `/schema/NAME@_here_`."""
    for schema in SCHEMAS:
        ConfigStore.instance().store(group="schema", name=schema.__name__, node=schema)


register()


def build(config: DictConfig) -> Any:
    """Return the object of a composed config: the one step from YAML to objects."""
    return OmegaConf.to_object(config)


def flat(config: DictConfig) -> dict[str, Any]:
    """Return a config's values by dotted key, interpolations resolved."""
    values: dict[str, Any] = {}

    def collect(node: Any, prefix: str) -> None:
        for key in node:
            value = node[key]
            if isinstance(value, DictConfig):
                collect(value, f"{prefix}{key}.")
            else:
                values[f"{prefix}{key}"] = OmegaConf.to_container(value) if isinstance(value, ListConfig) else value

    collect(config, "")
    return values


def command(task: Callable[[DictConfig], None], name: str) -> None:
    """Run a command: compose `conf/NAME.yaml` with the overrides on the command line, and call the task."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us whole
    signal.signal(signal.SIGTERM, interrupt)

    def inside(config: DictConfig) -> None:
        with edge():
            task(config)

    with edge():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(inside)()


def interrupt(*_: object) -> None:
    """Turn a request to end into what Ctrl-C does, so that runs are closed."""
    raise KeyboardInterrupt


@contextmanager
def edge() -> Iterator[None]:
    """The edge of a command: a user's mistake becomes one message, without a traceback; ours are raised."""
    try:
        yield
    except Exception as error:
        message = explain(error)
        if not message:
            raise
        sys.exit(f"error: {message}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def explain(error: BaseException) -> str:
    """Return what to tell the user of an error; empty where it is our own mistake."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        deeper = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        lines = dict.fromkeys([str(error), str(deeper), choices(deeper)])
        return "\n".join(line for line in lines if line)
    if isinstance(error, OSError) and error.filename is None and error.errno is None:
        return ""
    if isinstance(error, OSError):
        return (
            f"{error.strerror}: {error.filename or 'while writing'} (nothing half-written was left; run again to go on)"
        )
    if isinstance(root := cause(error), sqlite3.OperationalError):
        return f"the tracking database cannot be used: {root}; free space, or choose another workspace=FOLDER"
    frames = traceback.extract_tb(error.__traceback__)
    raised_here = bool(frames) and Path(frames[-1].filename).is_relative_to(ROOT / "src")
    return str(error) if isinstance(error, ValueError) and raised_here else ""


def cause(error: BaseException) -> BaseException:
    """Return the error with which a chain of errors began."""
    while earlier := error.__cause__ or error.__context__:
        error = earlier
    return error


def choices(error: BaseException) -> str:
    """Return what could stand where a config's key is wrong or missing; empty where that is not the error."""
    if isinstance(error, MissingMandatoryValue):
        return f"give it on the command line: {error.full_key}=..."
    if not isinstance(error, ConfigKeyError | ConfigAttributeError) or not isinstance(error.parent_node, DictConfig):
        return ""
    keys = [str(key) for key in error.parent_node]
    close = difflib.get_close_matches(str(error.key), keys, n=1)
    return f"its keys are {', '.join(keys)}" + (f"; did you mean {close[0]}?" if close else "")
