"""From YAML to objects: the schema of every config group is the dataclass of its operator."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf

from src.classifiers.knn import Knn
from src.classifiers.lightgbm import LightGBM
from src.classifiers.logistic import Logistic
from src.data.bach import Bach
from src.data.breakhis import BreakHis
from src.data.cbis_ddsm import CbisDdsm
from src.data.demo import Demo
from src.data.demo_mammograms import DemoMammograms
from src.data.folder import Folder
from src.data.manifest import Reader
from src.data.mini_mias import MiniMias
from src.data.splits import Holdout, ImageHoldout, ImageKFold, KFold, Published
from src.data.table import Table
from src.data.tma import Tma
from src.encoders.handcrafted import Handcrafted
from src.encoders.keras import Keras
from src.encoders.pool import PowerMean
from src.encoders.timm import Timm
from src.encoders.torchvision import Torchvision
from src.evaluation.binary import Binary
from src.images.augment import NoAugment, StainJitter
from src.images.crop import Centre, Crop, Whole
from src.images.stain import Macenko, MacenkoReleased, NoStain, Reinhard
from src.methods.audit import AUDIT
from src.methods.cell import Cell, Method
from src.methods.finetune import FineTune
from src.methods.frozen import Frozen
from src.tracking import Tracking
from src.training.finetuning import FineTuning

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
    audit: str = "warn"
    """What becomes of a run with a patient or (nearly) identical images on both sides of a split: warn or fail."""
    replicates: int = 1000
    """Bootstrap replicates behind the 95 % intervals."""
    name: str = ""
    """The run's name; empty: the encoder and the crop size, and whatever else a sweep varies."""
    examples: int = 1
    """Cases of each class, right and wrong, of which maps show what the models look at; 0: none."""
    slices: list[str] = field(default_factory=list)
    """Columns of the manifest by whose values the metrics are told apart, beside the views."""
    published: str = ""
    """A CSV of published figures (`src.evaluation.tables.published_results`), shown beside a sweep's."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        if self.audit not in AUDIT:
            raise ValueError(f"`audit` must be one of {', '.join(AUDIT)}, but got audit={self.audit}")
        if self.examples < 0:
            raise ValueError(f"`examples >= 0` must hold, but got examples={self.examples}")
        if self.replicates < 1:
            raise ValueError(f"`replicates >= 1` must hold, but got replicates={self.replicates}")


@dataclass(kw_only=True)
class Fuse:
    """What `python -m src.fuse` takes: tracked runs, or published predictions."""

    tracking: Tracking
    binary: Binary = field(default_factory=Binary)
    sweep: str = ""
    runs: list[str] = field(default_factory=list)
    published: str = ""
    output: str = ""
    slices: list[str] = field(default_factory=list)
    """Columns of the manifest to tell metrics apart by; empty: those with which the runs were evaluated."""
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
    BreakHis,
    MiniMias,
    Tma,
    CbisDdsm,
    Folder,
    Table,
    Demo,
    DemoMammograms,
    KFold,
    ImageKFold,
    Holdout,
    ImageHoldout,
    Published,
    Frozen,
    FineTune,
    NoStain,
    Macenko,
    MacenkoReleased,
    Reinhard,
    NoAugment,
    StainJitter,
    Crop,
    Whole,
    Centre,
    Timm,
    Torchvision,
    Keras,
    Handcrafted,
    PowerMean,
    LightGBM,
    Logistic,
    Knn,
    FineTuning,
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
