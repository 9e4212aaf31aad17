"""From YAML to objects: the schema of every config group is the dataclass of its operator."""

import copyreg
import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cell import Cell
from src.data.reader import Reader
from src.evaluation.chosen_threshold import parse_rule
from src.evaluation.descriptors import PCA, PROJECTIONS, TSNE
from src.evaluation.recalibration import NONE as AS_IT_IS
from src.evaluation.recalibration import RECALIBRATIONS
from src.evaluation.sample_size import CORRELATION, LIKENESS, POWER
from src.evaluation.two_classes import Binary
from src.executors.executor import Executor
from src.images.perturb import PERTURBATIONS
from src.methods.audit import AUDIT
from src.methods.method import Method
from src.operators import RESERVED, import_ours, import_own, operators
from src.storage.store import flatten_recipe
from src.system.checks import at_least, holds, needs_extra, one_of, suggest_choice
from src.tracking import Tracking
from src.tuning.tuning import Plan

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
FORMATS = ("table", "bach")
STATUSES = ("", "running", "finished", "failed", "killed")
UNRECORDED = ("hydra", "experiment", "search", "tracking", "executor")
"""The groups whose options say nothing of what a cell computes that its values do not say."""
USUAL_INNER_FOLDS = 5
"""Inner folds where something is to be chosen on predictions, and no number is given."""
COPIES = "copies"
"""The folder of the workspace with what was read from a store that is far, or written to it."""
REPLICATES = 1_000_000
"""Replicates at most: an interval's ends do not change beyond, and the values of each are kept until it is computed."""


def check_replicates(replicates: int) -> None:
    """Raise `ValueError` for a number of bootstrap replicates that no interval can be made of, or none needs."""
    holds(f"1 <= replicates <= {REPLICATES}", 1 <= replicates <= REPLICATES, replicates=replicates)


@dataclass(kw_only=True)
class Experiment(Cell):
    """All that `python -m src.run` takes: a cell, the method that predicts it, its evaluation and its tracking."""

    method: Method
    tracking: Tracking
    executor: Executor
    """Where the work of method=frozen is done; it changes no result."""
    binary: Binary = field(default_factory=Binary)
    workspace: str = "mlruns"
    """Where everything is written: runs, descriptors, generated data."""
    store: str = "${workspace}/store"
    """The folder that keeps descriptors and trained networks, or s3://BUCKET/PREFIX (`src.storage.place`)."""
    audit: str = "warn"
    """What becomes of a run with a patient or (nearly) identical images on both sides of a split: warn or fail."""
    replicates: int = 1000
    """Bootstrap replicates behind the 95 % intervals."""
    name: str = ""
    """The run's name; empty: the encoder and the crop size, and whatever else a sweep varies."""
    resume: bool | None = None
    """Whether finished cells are taken over, and a sweep that was cut short is taken up; empty: in sweeps that are an
    `experiment=`."""
    budget: str = ""
    """How long a sweep that plans itself may take (`src.sweeps.planned_sweep`): 30min, 2h."""
    examples: int = 1
    """Cases of each class, right and wrong, of which maps show what the models look at; 0: none."""
    slices: list[str] = field(default_factory=list)
    """Columns of the manifest by whose values the metrics are told apart, beside the views."""
    published: str = ""
    """A CSV of published figures (`src.evaluation.fold_tables.published_results`), shown beside a sweep's."""
    inner_folds: int = 0
    """Inner folds by which the training part of each fold is predicted out of fold, too (`src.methods.inner_folds`):
    what is chosen on predictions is chosen on those; 0: none, or 5 where something has to be chosen."""
    recalibration: str = AS_IT_IS
    """How probabilities are recalibrated (`src.evaluation.recalibration`): none, temperature, platt or isotonic."""
    threshold: str = ""
    """The rule that chooses the threshold of the two-class view (`src.evaluation.chosen_threshold`); empty: none."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        one_of(RECALIBRATIONS, recalibration=self.recalibration)
        parse_rule(self.threshold)
        holds(
            "inner_folds = 0 or inner_folds >= 2",
            self.inner_folds == 0 or self.inner_folds >= 2,
            inner_folds=self.inner_folds,
        )
        one_of(AUDIT, audit=self.audit)
        at_least(0, examples=self.examples)
        check_replicates(self.replicates)
        self.method.use(self.executor)


@dataclass(kw_only=True)
class Tune(Plan, Experiment):
    """What `python -m src.tune` takes: a cell, and how its parameters are chosen."""

    storage: str = ""
    """Where studies are kept: the address of a database, or empty for Optuna's journal in the workspace."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        Experiment.__post_init__(self)
        Plan.__post_init__(self)
        asked = {
            f"recalibration={self.recalibration} is fitted": self.recalibration != AS_IT_IS,
            f"threshold={self.threshold} is chosen": bool(self.threshold),
        }
        told = [what for what, wanted in asked.items() if wanted]
        if told and not self.nested:
            raise ValueError(
                f"{told[0]} without a glance at what is held out, which nested=false has had: leave one of them out"
            )


@dataclass(kw_only=True)
class TrackedRuns:
    """What commands on tracked runs take: a sweep or runs, and how they are evaluated."""

    tracking: Tracking
    binary: Binary = field(default_factory=Binary)
    sweep: str = ""
    runs: list[str] = field(default_factory=list)
    output: str = ""
    overwrite: bool = False
    """Whether what is at `output` may be written over."""
    workspace: str = "mlruns"
    replicates: int = 1000

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_replicates(self.replicates)


@dataclass(kw_only=True)
class Fuse(TrackedRuns):
    """What `python -m src.fuse` takes: tracked runs, or published predictions."""

    published: str = ""
    slices: list[str] = field(default_factory=list)
    """Columns of the manifest to tell metrics apart by; empty: those with which the runs were evaluated."""


@dataclass(kw_only=True)
class Compare(TrackedRuns):
    """What `python -m src.compare` takes: tracked runs, a sweep, or an experiment."""

    newest_of: str = ""
    """The name of an experiment: its newest sweep, beside what is published. On the command line also `experiment`."""
    reference: str = ""
    """The run that every other one is compared with; empty: the first."""
    primary: str = "accuracy"
    """The metric on which verdicts hang: accuracy, balanced_accuracy, auc, binary_accuracy, binary_auc, or all."""


@dataclass(kw_only=True)
class Report(TrackedRuns):
    """What `python -m src.report` takes: a sweep, or tracked runs, and the file to write."""

    output: str = "report.html"
    reference: str = ""
    """The cell that every other one is compared with; empty: the first."""
    primary: str = "accuracy"
    """The metric on which verdicts hang, as of `compare`."""
    track: bool = False
    """Whether the page becomes an artefact of the sweep's run, too."""
    files: str = ""
    """A folder that gets the page's tables as CSV and LaTeX, and its figures as SVG; empty: none."""
    slices: list[str] = field(default_factory=list)
    """Columns of the manifest to tell figures apart by, to colour maps by, and to tell from descriptors; empty: those
    with which the runs were evaluated."""
    projection: str = PCA
    """How the images are mapped by their descriptors: pca or tsne."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        one_of(PROJECTIONS, projection=self.projection)
        if self.projection == TSNE and find_spec("openTSNE") is None:
            raise ValueError(needs_extra(f"projection={TSNE}", "openTSNE", "tsne"))


@dataclass(kw_only=True)
class SampleSize:
    """What `python -m src.plan` takes: what is to be known, how well, and of what patients; each a number or a list."""

    accuracy: Any = None
    """Of a difference that of the lesser way."""
    sensitivity: Any = None
    specificity: Any = None
    auc: Any = None
    difference: Any = None
    """Of two ways' accuracies, which is to be shown."""
    width: Any = None
    """Of the 95 % interval, from end to end."""
    prevalence: Any = None
    """The share of patients that are positive."""
    images: Any = 1.0
    """Of a patient, on average."""
    images_deviation: Any = 0.0
    likeness: Any = LIKENESS
    """The intraclass correlation of being right among a patient's images."""
    correlation: Any = CORRELATION
    """Phi, of being right in both ways."""
    luck: Any = 0.0
    """The standard deviation of a fold's accuracy from one training to the next."""
    folds: Any = 10
    repeats: Any = 1
    comparisons: Any = 1
    """Of which this is one, that are corrected together."""
    power: Any = POWER
    workspace: str = "mlruns"


@dataclass(kw_only=True)
class Predict:
    """What `python -m src.predict` takes: a model, images, and where their predictions go."""

    tracking: Tracking
    model: str
    input: str
    output: str
    format: str = "table"
    """What is written: table, or bach, the challenge's submission."""
    overwrite: bool = False
    """Whether files at `output` and `members` may be written over."""
    members: str = ""
    """A CSV that gets what each fold model says of each image; empty: none."""
    weights: str = ""
    """Where the encoder's weights are, a file or a folder, if no longer where they were in the run."""
    store: str = ""
    """A store that gives descriptors and keeps those of these images; empty: none."""
    convert: bool = False
    """Whether images that are not 8-bit RGB are turned into it, also where those of the run were not."""
    bits: int = 0
    """How many bits of 16 are used; 0: as in the run."""
    workers: int = 0
    """Threads that prepare images; 0: one per processor."""
    device: str = "auto"
    executor: Executor
    workspace: str = "mlruns"

    def __post_init__(self) -> None:
        """Check the parameters."""
        one_of(FORMATS, format=self.format)
        holds("bits = 0 or 8 <= bits <= 16", self.bits == 0 or 8 <= self.bits <= 16, bits=self.bits)


def list_models(given: Any) -> list[str]:
    """Return the names of models of which one or a list is given."""
    return [str(each) for each in (given if isinstance(given, list) else [given]) if each not in (None, "")]


def check_models(models: list[str], given: Any) -> None:
    """Raise `ValueError` where there are no models, or one is there twice."""
    if not models or len(set(models)) < len(models):
        raise ValueError(f"`model` is a run, a sweep or a registered model, or several, but got model={given}")


@dataclass(kw_only=True)
class Validate:
    """What `python -m src.validate` takes: a model or several, and the cohort that they are judged on."""

    tracking: Tracking
    data: Reader
    model: Any
    """A run, a sweep or a registered model, or a list of them."""
    binary: Binary = field(default_factory=Binary)
    classes: dict[str, str] = field(default_factory=dict)
    """Which class of the cohort is which of the model, where they are called differently."""
    slices: list[str] = field(default_factory=list)
    """Columns of the cohort's manifest by whose values the metrics are told apart."""
    audit: str = "warn"
    """What becomes of a cohort with patients or (nearly) identical images that the model learnt from: warn or fail."""
    reference: str = ""
    """Of several models the one that every other one is compared with; empty: the first."""
    primary: str = "accuracy"
    """Of several models the metric on which the verdicts hang, or all."""
    weights: str = ""
    """Where the encoder's weights are, a file or a folder, if no longer where they were in the run."""
    replicates: int = 1000
    name: str = ""
    """The run's name; empty: the model's and the cohort's."""
    store: str = "${workspace}/store"
    workers: int = 0
    """Threads that prepare images; 0: one per processor."""
    device: str = "auto"
    executor: Executor
    workspace: str = "mlruns"

    def __post_init__(self) -> None:
        """Check the parameters."""
        one_of(AUDIT, audit=self.audit)
        check_replicates(self.replicates)
        check_models(self.models, self.model)

    @property
    def models(self) -> list[str]:
        """The models."""
        return list_models(self.model)


@dataclass(kw_only=True)
class Serve:
    """What `python -m src.serve` takes: a registered model, and where it listens."""

    tracking: Tracking
    model: str
    host: str = "127.0.0.1"
    port: int = 5001
    workers: int = 1
    """Processes that answer, each with the model in its memory."""
    workspace: str = "mlruns"

    def __post_init__(self) -> None:
        """Check the parameters."""
        holds("1 <= port <= 65535", 1 <= self.port <= 65535, port=self.port)
        at_least(1, workers=self.workers)


@dataclass(kw_only=True)
class Register:
    """What `python -m src.register` takes: a model, and the name and alias under which it is registered."""

    tracking: Tracking
    model: str
    name: str
    alias: str = "champion"
    weights: str = ""
    """Where the encoder's weights are, a file or a folder, if no longer where they were in the run."""
    workspace: str = "mlruns"

    def __post_init__(self) -> None:
        """Check name and alias before any work, by MLflow's rules."""
        if not self.name or set(self.name) & set("/:.%\"'@"):
            raise ValueError(f"`name` is text without / : . % @ and quotes, but got name={self.name}")
        if not re.fullmatch(r"[\w-]+", self.alias, re.ASCII) or re.fullmatch(r"v\d+|latest", self.alias, re.IGNORECASE):
            raise ValueError(
                "`alias` is of letters, digits, - and _, and neither latest nor a version's such as v1, "
                f"but got alias={self.alias}"
            )


@dataclass(kw_only=True)
class Runs:
    """What `python -m src.runs` takes: which of the tracked runs it lists."""

    tracking: Tracking
    sweep: str = ""
    """The name or id of a sweep, whose cells are listed; empty: sweeps, and the runs that are of none."""
    name: str = ""
    """A part of the names of runs."""
    dataset: str = ""
    """A part of the names of their data sets."""
    status: str = ""
    limit: int = 20
    """The most that are listed, the newest first; 0: all."""
    workspace: str = "mlruns"

    def __post_init__(self) -> None:
        """Check the parameters."""
        one_of(STATUSES, status=self.status.lower())
        at_least(0, limit=self.limit)


@dataclass(kw_only=True)
class Sync:
    """What `python -m src.sync` takes: where to send what is spooled."""

    tracking: Tracking
    workspace: str = "mlruns"


@dataclass(kw_only=True)
class Download:
    """What `python -m src.download` takes: a data set, and the workspace that it goes to unless it has a root."""

    data: Reader
    workspace: str = "mlruns"


@dataclass(kw_only=True)
class StressLevels:
    """The levels of each perturbation of `python -m src.stress` (`src.images.perturb`)."""

    stain: list[float] = field(default_factory=lambda: [0.7, 0.85, 1.15, 1.3])
    """Factors of haematoxylin, by whose inverse eosin changes."""
    scanner: list[float] = field(default_factory=lambda: [0.7, 0.85, 1.15, 1.3])
    """Exponents of red, by whose inverse blue changes."""
    blur: list[float] = field(default_factory=lambda: [0.5, 1.0, 2.0, 4.0])
    """Standard deviations of a Gaussian, pixels of the image as it is read."""
    jpeg: list[float] = field(default_factory=lambda: [80.0, 50.0, 30.0, 10.0])
    """Qualities."""
    brightness: list[float] = field(default_factory=lambda: [0.6, 0.8, 1.2, 1.4])
    contrast: list[float] = field(default_factory=lambda: [0.5, 0.75, 1.25, 1.5])
    rotation: list[float] = field(default_factory=lambda: [15.0, 45.0, 90.0])
    """Degrees, counterclockwise."""
    scale: list[float] = field(default_factory=lambda: [0.7, 0.85, 1.15, 1.3])
    """Magnifications about the centre; the image keeps its size."""


@dataclass(kw_only=True)
class DataPlace:
    """Where the images of runs are by now."""

    root: str = ""
    """The folder; empty: where they were in the run."""


@dataclass(kw_only=True)
class Stress:
    """What `python -m src.stress` takes: models, and what is done to the images that they have not seen."""

    tracking: Tracking
    model: Any
    """A run, a sweep, whose cells are meant, or a registered model; or a list of such."""
    perturbations: list[str] = field(default_factory=lambda: list(PERTURBATIONS))
    levels: StressLevels = field(default_factory=StressLevels)
    images: int = 100
    """About how many are taken, patient by patient, of those that all the models held out; 0: all."""
    data: DataPlace = field(default_factory=DataPlace)
    output: str = ""
    """A folder that gets the tables and the figure, too; empty: none."""
    overwrite: bool = False
    """Whether what is at `output` may be written over."""
    name: str = ""
    """The name of the run that keeps the results; empty: `stress of` the model's."""
    weights: str = ""
    """Where the encoder's weights are, a file or a folder, if no longer where they were in the run."""
    store: str = "${workspace}/store"
    """The store that gives and keeps descriptors, so that what was cut short, and the next model, go on with them."""
    workers: int = 0
    """Threads that prepare images; 0: one per processor."""
    device: str = "auto"
    executor: Executor
    replicates: int = 1000
    workspace: str = "mlruns"

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_replicates(self.replicates)
        at_least(0, images=self.images, workers=self.workers)
        check_models(self.models, self.model)
        if not self.perturbations or len(set(self.perturbations)) < len(self.perturbations):
            raise ValueError(f"`perturbations` are different names, but got perturbations={self.perturbations}")
        for name in self.perturbations:
            one_of(PERTURBATIONS, perturbations=name)
            PERTURBATIONS[name].check(name, getattr(self.levels, name))

    @property
    def models(self) -> list[str]:
        """The models."""
        return list_models(self.model)


COMMANDS = (
    Experiment,
    Tune,
    Fuse,
    Compare,
    Runs,
    Sync,
    Report,
    SampleSize,
    Predict,
    Validate,
    Stress,
    Register,
    Serve,
    Download,
)


def register_schemas(schemas: Iterable[type]) -> None:
    """Make schemas known to Hydra under their names: a config file opens with `/schema/NAME@_here_`.

    Hydra copies what it loads from whenever it looks at a group, for `--help` 250 times: the one store that there is
    stands for its copies.
    """
    copyreg.pickle(ConfigStore, lambda _: (ConfigStore.instance, ()))
    for schema in schemas:
        ConfigStore.instance().store(group="schema", name=schema.__name__, node=schema_node(schema))


def schema_node(schema: type) -> DictConfig:
    """Return a schema as a config, which takes any key where a parameter is said to be `open`."""
    node: DictConfig = OmegaConf.structured(schema)
    for each in fields(schema):
        if each.metadata.get("open"):
            OmegaConf.set_struct(node[each.name], False)
    return node


def take_own(folder: Path) -> None:
    """Take over what lies in a folder of one's own: operators, and options of the groups, which Hydra finds.

    `ValueError` where an option or an operator there has the name of another one.
    """
    for option in sorted(CONF.rglob("*.yaml")):
        if (own := folder / option.relative_to(CONF)).is_file() and not own.samefile(option):
            raise ValueError(f"options have names of their own, but {own} has that of {option}: rename it")
    register_schemas(import_own(folder))


import_ours()
register_schemas([*COMMANDS, Tracking, *operators().values()])


def build(config: DictConfig) -> Any:
    """Return the object of a composed config: the one step from YAML to objects."""
    refuse_unknown(config)
    return OmegaConf.to_object(config)


def compose_command(name: str, overrides: Iterable[str]) -> Any:
    """Return what a command takes, outside of Hydra's own: of `conf/NAME.yaml` with overrides."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build(compose(name, list(overrides)))


def refuse_unknown(config: DictConfig | ListConfig, prefix: str = "") -> None:
    """Raise `ValueError` for what OmegaConf lets in and the schema does not have.

    That is a key that is given with a `+`, and a list or a dictionary in a list of numbers or texts.
    """
    for key in range(len(config)) if isinstance(config, ListConfig) else list(config):
        if f"{prefix}{key}" == "hydra":  # Hydra's own nodes are not closed
            continue
        if isinstance(config, DictConfig) and key not in keys_of(config):
            raise ValueError(no_key(f"{prefix}{key}", config))
        if OmegaConf.is_missing(config, key) or OmegaConf.is_interpolation(config, key):
            continue
        if isinstance(node := config[key], DictConfig | ListConfig):
            if isinstance(config, ListConfig) and config._metadata.element_type in (int, float, str, bool):
                raise ValueError(f"`{prefix.removesuffix('.')}` is a list of single values, but {node} is among them")
            refuse_unknown(node, f"{prefix}{key}.")


def keys_of(config: DictConfig) -> set[str]:
    """Return the keys that a node may have: those of its schema; of a dictionary those that it has."""
    schema = OmegaConf.get_type(config)
    return {each.name for each in fields(schema)} if is_dataclass(schema) else set(config)


def no_key(key: str, parent: DictConfig) -> str:
    """Return what to tell of a key that its node has not: those that it has, and the one that is nearest."""
    node, _, name = key.rpartition(".")
    known = sorted(keys_of(parent))
    near = suggest_choice(name, known if node else [*known, "hydra/launcher"])
    more = "" if is_dataclass(OmegaConf.get_type(parent)) else f"; +{key}=... adds one"
    return f"there is no {key}; the keys of {node or 'this command'} are {', '.join(known)}{more}{near}"


def rebuild_operator(description: Mapping[str, Any]) -> Any:
    """Return the operator that `src.models.saved.describe_operator` described; `ValueError` where it has changed."""
    name, revision = description["operator"], description.get("revision")
    schema = operators().get(name)
    if schema is None and (module := description.get("module")):
        raise ValueError(
            f"the model was made by {name} of {module}.py, which is not here: give the folder that holds it by "
            "--config-dir FOLDER"
        )
    here = getattr(schema, "revision", None)
    if schema is None or here != revision:
        found = "there is none" if schema is None else f"here is revision {here}"
        raise ValueError(
            f"the model was made by {name} of revision {revision}, but {found}: use the version that made it"
        )
    values = {key: value for key, value in description.items() if key not in RESERVED}
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))


def settle_config(config: DictConfig) -> DictConfig:
    """Return a config with what follows from other parameters: of the encoder as its object has it, and inner folds
    where something is to be chosen by them."""
    following = getattr(OmegaConf.get_type(config.encoder), "following", ()) if "encoder" in config else ()
    chooses = bool(config.get("threshold")) or config.get("recalibration", AS_IT_IS) != AS_IT_IS
    needs_folds = chooses and not config.get("inner_folds")
    if not following and not needs_folds:
        return config
    config = deepcopy(config)
    if following:
        encoder = build(config.encoder)
        for name in following:
            config.encoder[name] = getattr(encoder, name)
    if needs_folds:
        config.inner_folds = USUAL_INNER_FOLDS
    return config


@cache
def compose_defaults(options: tuple[str, ...]) -> dict[str, str]:
    """Return what a cell's params are with these options (`GROUP=OPTION`) and nothing else given; empty where none is
    known, as of an option of one's own."""
    inside = GlobalHydra.instance().is_initialized()  # in a command, which then knows options of one's own, too
    try:
        with nullcontext() if inside else initialize_config_dir(str(CONF), version_base="1.3"):
            values = OmegaConf.to_container(settle_config(compose("config", list(options))), resolve=True)
    except (HydraException, OmegaConfBaseException, ValueError):
        return {}
    return {key: str(value) for key, value in flatten_recipe(cast("dict[str, Any]", values)).items()}


def default_params(params: Mapping[str, str]) -> dict[str, str]:
    """Return the params, as texts, that a run would have had by its options alone."""
    groups = {path.name for path in CONF.iterdir() if path.is_dir()} - {*UNRECORDED}
    options = {name: params[name] for name in sorted(groups) if name in params}
    return compose_defaults(tuple(f"{name}={option}" for name, option in options.items())) | options


def flatten_config(config: DictConfig) -> dict[str, Any]:
    """Return a config's values by dotted key, interpolations resolved, and what follows from them."""
    values = OmegaConf.to_container(settle_config(config), resolve=True, throw_on_missing=True)
    return flatten_recipe(cast("dict[str, Any]", values))
