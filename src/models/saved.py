"""Fitted cells in folders: what is kept to predict new images by, and how it comes back. Nothing is unpickled."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from src.cell import Cell
from src.encoders.device import resolve_device
from src.encoders.encoder import Encoder, Extractor
from src.encoders.network_encoder import NetworkEncoder
from src.encoders.weights import without_pickle
from src.evaluation.chosen_threshold import ThresholdRule, choose_thresholds
from src.evaluation.predictions import class_names, probability_columns
from src.evaluation.recalibration import Recalibration, read_recalibrations, recalibrate
from src.evaluation.two_classes import Binary
from src.executors.executor import Executor
from src.methods.fold_models import parse_model_name
from src.methods.likeness import Known
from src.methods.method import Applied, CellTask, Fitted, Method, Outcome
from src.storage.store import Store
from src.system.files import hash_file, replace_file
from src.system.next_commands import next_command
from src.system.progress import Progress

DESCRIPTION, KNOWN = "model.json", "known"
"""What a model's folder holds beside its fitted models: what they were made of and by, and what they know."""
THRESHOLD_CASES = "threshold.parquet"
"""What a model's threshold was chosen on."""
CELLS = "cells"
"""The artefact of a registered model: a folder per fitted cell, and their encoders' weights."""
WEIGHTS = "weights"
"""Where the weights of encoders lie beside packed cells."""

CHOSEN = ("pool", "finetune")
"""The operators of a cell that a fold may have of its own, where parameters were chosen by fold."""

Build = Callable[[Mapping[str, Any]], Any]
"""Returns the operator that `describe_operator` described."""


@dataclass(frozen=True, kw_only=True)
class ModelThreshold:
    """The threshold of a fitted cell, above which the score of its positive classes calls a case positive.

    `value` is for the mean of its fold models: the mean of the thresholds that `rule` chose in each fold, `folds`.
    `positive` and `reduce` say what the score is (`src.evaluation.two_classes.Binary`). `cases` is what they were
    chosen on, `fold, case, label, p_<class>...`, of which the digest of a case's name is kept: for the mean of several
    cells the rule chooses anew, on the mean of theirs.
    """

    rule: str
    value: float
    folds: Mapping[str, float]
    positive: list[str]
    reduce: str
    cases: pd.DataFrame = field(repr=False, compare=False)

    @classmethod
    def choose(cls, rule: ThresholdRule, cases: pd.DataFrame, binary: Binary) -> "ModelThreshold":
        """Return what a rule chooses on the cases of the folds' training parts (`training_cases`)."""
        chosen = choose_thresholds(rule, cases, binary)
        return cls(
            rule=str(rule),
            value=chosen.mean,
            folds={str(fold): float(value) for fold, value in chosen.folds["threshold"].items()},
            positive=binary.positives(class_names(cases)),
            reduce=binary.reduce,
            cases=cases,
        )

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> "ModelThreshold":
        """Return the threshold that `save` wrote into a folder."""
        return cls(**facts, cases=pd.read_parquet(folder / THRESHOLD_CASES))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what it was chosen on into a folder, without names and patients; return the rest."""
        names = self.cases["case"].map(lambda name: hashlib.sha256(str(name).encode()).hexdigest())
        kept = self.cases[["fold", "label", *probability_columns(self.cases)]].assign(case=names)
        kept.to_parquet(folder / THRESHOLD_CASES, index=False)
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "cases"}

    @property
    def binary(self) -> Binary:
        """The two-class view of the score."""
        return Binary(positive=self.positive, reduce=self.reduce)

    def alike(self, other: "ModelThreshold | None") -> bool:
        """Return whether another threshold was chosen by the same rule, of the same score."""
        return other is not None and all(
            getattr(self, name) == getattr(other, name) for name in ("rule", "positive", "reduce")
        )


@dataclass
class Member:
    """A fitted cell: `weights` is the digest of its encoder's, empty where its models hold all weights.

    `recalibration` maps the probabilities of each fold's models; it is empty where they are as the models give them.
    `threshold` is None where none was chosen.
    """

    name: str
    cell: Cell
    method: Method
    classes: list[str]
    weights: str
    models: Mapping[str, Any]
    known: Mapping[str, Known]
    recalibration: Mapping[int, Recalibration] = field(default_factory=dict)
    threshold: ModelThreshold | None = None

    @cached_property
    def encoder(self) -> Extractor:
        """The encoder, loaded once."""
        return self.cell.encoder.load(resolve_device(self.method.device, self.cell.encoder))

    @property
    def takes_weights(self) -> bool:
        """Whether its encoder's weights come from a file: others are held by its models, drawn, or there are none."""
        return bool(self.weights) and weights_from_file(self.cell.encoder)

    @property
    def views(self) -> list[str]:
        """The views that have models of their own; the empty one where all share them."""
        return sorted({parse_model_name(name)[0] for name in self.models})

    def check(self) -> None:
        """Raise `ValueError` unless the encoder has the weights with which the models were fitted."""
        if not self.weights:
            return
        encoder = self.cell.encoder
        whence = f"weights of {encoder.label} with which model {self.name} was fitted"
        way_out = "give their file, or a folder that holds it, by weights=PATH"
        if not weights_from_file(encoder):
            way_out = "install the versions of the libraries that made them"
        try:
            found = encoder.digest()
        except (ValueError, OSError) as error:
            raise ValueError(f"the {whence} are gone: {error}; {way_out}") from None
        if found != self.weights:
            raise ValueError(f"the {whence} are others than those here ({self.weights}, here {found}): {way_out}")

    def run_on(self, workers: int, device: str, executor: Executor | None = None) -> None:
        """Have its method work with so many threads (0: one per processor), on a device, where given by an executor.

        `ValueError` where it cannot.
        """
        self.method = replace(self.method, workers=workers or os.cpu_count() or 1, device=device)
        if executor is not None:
            self.method.use(executor)
        self.method.check_device(self.cell.encoder)

    def apply(
        self,
        manifest: pd.DataFrame,
        root: Path,
        store: Store,
        progress: Progress,
        cell: Cell | None = None,
        models: Mapping[str, Any] | None = None,
    ) -> Applied:
        """Predict the samples of a manifest without labels, which are relative to `root`.

        By all its models, or those that are given; read as the cell has it, or as another one that differs in nothing
        else.
        """
        cell, models = cell or self.cell, self.models if models is None else models
        policy = "pass" if cell.on_bad_image == "pass" else "skip"  # one bad image must not cost the others
        cell = replace(cell, data=replace(cell.data, root=str(root)), on_bad_image=policy)
        blank = pd.Categorical([None] * len(manifest), self.classes)
        view = "" if self.views == [""] and cell.views == "separate" else manifest["view"]
        rows = manifest.assign(view=view, label=blank, patient="")
        fitted = Fitted(models, self.known, lambda: self.encoder)
        applied = self.method.apply(CellTask(cell=cell, manifest=rows, store=store, progress=progress), fitted)
        if not self.recalibration or applied.predictions.empty:
            return applied
        return replace(applied, predictions=recalibrate(self.recalibration, applied.predictions))


def save_fitted(
    folder: Path,
    name: str,
    cell: Cell,
    method: Method,
    outcome: Outcome,
    classes: list[str],
    threshold: ModelThreshold | None = None,
) -> None:
    """Write into a folder all that prediction needs but the weights of an encoder that was not trained."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, model in outcome.models.items():
        model.save(folder / stem)
    for stem, known in outcome.known.items():
        (folder / KNOWN).mkdir(exist_ok=True)
        known.save(folder / KNOWN / f"{stem}.safetensors")
    parts = {each.name: getattr(cell, each.name) for each in fields(Cell)}
    cells = [cell, *outcome.chosen.values()]
    description = {
        "name": name,
        "classes": classes,
        "weights": "" if all(holds_all_weights(each, method) for each in cells) else cell.encoder.digest(),
        "method": describe_operator(method),
        "cell": {key: describe_operator(part) if is_dataclass(part) else part for key, part in parts.items()},
        "files": {"models": sorted(outcome.models), "known": sorted(outcome.known)},
        "chosen": {
            fold: {key: describe_operator(getattr(own, key)) for key in CHOSEN} for fold, own in outcome.chosen.items()
        },
        "recalibration": dict(outcome.recalibration),
    }
    if threshold is not None:
        description["threshold"] = threshold.save(folder)
    replace_file(folder / DESCRIPTION, (json.dumps(description, indent=2) + "\n").encode())


def describe_operator(operator: Any) -> dict[str, Any]:
    """Return an operator's name, its module if that is not the project's, its revision if any, and its parameters."""
    kind = type(operator)
    own = {} if kind.__module__.startswith(f"{__name__.partition('.')[0]}.") else {"module": kind.__module__}
    return {"operator": kind.__name__, **own, "revision": getattr(operator, "revision", None)} | asdict(operator)


def holds_all_weights(cell: Cell, method: Method) -> bool:
    """Return whether fitted models hold all weights: those of a trained encoder do, adapters do not."""
    return method.trains and cell.encoder.trainable and not cell.finetune.adapts


def weights_from_file(encoder: Encoder) -> TypeGuard[NetworkEncoder]:
    """Return whether an encoder's weights are read from a file: those of others are drawn, or there are none."""
    return isinstance(encoder, NetworkEncoder) and not encoder.untrained


def load_fitted(folder: Path, build: Build, weights: str = "") -> Member:
    """Return the fitted cell of a folder; `weights` is where its encoder's are, if no longer where they were.

    `ValueError` where a file is damaged, or an operator has changed since.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ValueError(f"{folder} holds no {DESCRIPTION}, so that it is no whole model: run the cell again")
    description = json.loads(path.read_text())
    parts = {key: build(part) if describes_operator(part) else part for key, part in description["cell"].items()}
    cell, method = Cell(**parts), build(description["method"])
    chosen = {int(fold): {key: build(part) for key, part in own.items()} for fold, own in description["chosen"].items()}
    cell = agreed_cell(description["name"], cell, list(chosen.values()))
    given = weights or packed_weights(folder, description)
    if given and description["weights"] and weights_from_file(cell.encoder):
        cell = replace(cell, encoder=replace(cell.encoder, weights=given))
    check_files(folder, description)
    files = sorted(file for file in folder.iterdir() if re.search(r"fold\d+-seed\d+$", file.stem))
    cells = {file.stem: replace(cell, **chosen.get(parse_model_name(file.stem)[1], {})) for file in files}
    models = {file.stem: method.load(file, cells[file.stem], description["classes"]) for file in files}
    known = {file.stem: Known.load(file) for file in sorted((folder / KNOWN).glob("*.safetensors"))}
    threshold = ModelThreshold.load(folder, description["threshold"]) if "threshold" in description else None
    maps = read_recalibrations(description["recalibration"]) if description.get("recalibration") else {}
    classes, digest = description["classes"], description["weights"]
    return Member(description["name"], cell, method, classes, digest, models, known, maps, threshold)


def check_files(folder: Path, description: Mapping[str, Any]) -> None:
    """Raise `ValueError` where a file of a model is not there: the others would predict without a word."""
    listed = description["files"]
    there = {path.stem for path in folder.iterdir()}, {path.stem for path in (folder / KNOWN).glob("*.safetensors")}
    missing = sorted({*listed["models"]} - there[0]) + sorted({*listed["known"]} - there[1])
    if "threshold" in description and not (folder / THRESHOLD_CASES).is_file():
        missing.append(THRESHOLD_CASES)
    if missing:
        raise ValueError(
            f"model {description['name']} in {folder} is not whole: {', '.join(missing[:3])} "
            f"{'is' if len(missing) == 1 else 'are'} missing; if its run was not sent to the end, "
            f"`{next_command('sync')}` sends the rest"
        )


def agreed_cell(name: str, cell: Cell, chosen: list[dict[str, Any]]) -> Cell:
    """Return a cell with what was chosen for all its folds; `ValueError` where images are not prepared the same."""
    if not chosen:
        return cell
    pooling = {f"pool.{each.name}": [getattr(own["pool"], each.name) for own in chosen] for each in fields(cell.pool)}
    orienting = {"finetune.orientations": [own["finetune"].orientations for own in chosen]}
    for key, ways in (pooling | orienting).items():
        different = dict.fromkeys(map(str, sorted(ways)))
        if len(different) > 1:
            raise ValueError(
                f"the folds of model {name} were tuned to different {key} ({', '.join(different)}), so that they "
                f"cannot predict together: tune without search.{key}"
            )
    return replace(cell, **chosen[0])


def load_all_fitted(folders: list[Path], build: Build, weights: str = "") -> list[Member]:
    """Return the fitted cells of folders; those of the same name are told apart by numbers."""
    members = [load_fitted(folder, build, weights) for folder in folders]
    if weights and not any(member.takes_weights for member in members):
        raise ValueError(f"weights={weights}, but the model's encoder takes no file of weights: leave weights= out")
    names = [member.name for member in members]
    for number, member in enumerate(members):
        if names.count(member.name) > 1:
            member.name = f"{member.name} ({names[: number + 1].count(member.name)})"
    return members


def describes_operator(part: Any) -> bool:
    """Return whether a part of a description is an operator's."""
    return isinstance(part, dict) and "operator" in part


def packed_weights(folder: Path, description: Mapping[str, Any]) -> str:
    """Return the path of an encoder's weights that were packed with a model; empty where they were not."""
    return str(folder / description["packed"]) if "packed" in description else ""


def pack_fitted(folders: list[Path], build: Build, target: Path, weights: str = "") -> None:
    """Copy fitted cells into a folder of their own each, with the weights of their encoders beside them.

    `ValueError` where weights are gone, or not those of the fit.
    """
    for number, folder in enumerate(folders):
        member = load_fitted(folder, build, weights)
        member.check()
        place = target / f"{number:03d}"
        shutil.copytree(folder, place)
        encoder = member.cell.encoder
        file = encoder.locate() if member.weights and isinstance(encoder, NetworkEncoder) else None
        if file is None:  # its models hold all weights, or it draws them, or has none
            continue
        kept = without_pickle(file, target / WEIGHTS / member.weights)
        description = json.loads((place / DESCRIPTION).read_text())
        description |= {"packed": f"../{kept.relative_to(target)}", "weights": hash_file(kept)}
        replace_file(place / DESCRIPTION, (json.dumps(description, indent=2) + "\n").encode())


def packed_cells(target: Path) -> list[Path]:
    """Return the folders of the cells that `pack_fitted` put into a folder."""
    return sorted(path.parent for path in target.glob(f"*/{DESCRIPTION}"))
