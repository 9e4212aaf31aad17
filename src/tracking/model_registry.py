"""Models in MLflow: those that runs and sweeps hold, and those that are registered."""

import base64
import difflib
import json
import logging
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

import cv2
import numpy as np
import pandas as pd

from src.data.synthetic import tissue
from src.models.saved import CELLS, packed_cells
from src.system.next_commands import next_command
from src.tracking.run_record import RunRecord
from src.tracking.runs import Tracking
from src.tracking.status import FINISHED
from src.tracking.tags import SWEEP

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

log = logging.getLogger(__name__)

MODEL = "model"
"""The folder of a run's files, and of a registered model's artefacts, that holds what predicts."""


@dataclass
class Located:
    """A model that was found: what to call it, the run or sweep that made it, and the folders of its fitted cells.

    `packed` says that the folders are those of a registered model, which carries its encoders' weights.
    """

    title: str
    run: str
    folders: list[Path]
    packed: bool = False


def locate_model(tracking: Tracking, model: str, place: Path) -> Located:
    """Return the model of a run or sweep (id or name), or a registered one (NAME, NAME@ALIAS, NAME/VERSION).

    What does not lie in files of this machine is fetched into `place`. `ValueError` where there is no such model.
    """
    tracking.bury()
    run = tracking.known(model)  # a run's name may hold / and @, too
    if run is None:
        return fetch_registered(tracking, find_version(tracking, model), place)
    if model == run.name and not tracking.offline and (version := newest_version(tracking, model)):
        log.warning(f"{model} is also the name of a registered model: {model}/{version.version} is that one")
    title = f"{run.name} ({run.id})"
    runs = finished_cells(tracking, run) if run.kind == SWEEP else [run]
    return Located(title, run.id, [folder_of(tracking, each, place) for each in runs])


def find_version(tracking: Tracking, model: str) -> "ModelVersion":
    """Return the registered model of what is no run's name; `ValueError` where there is none."""
    if not tracking.there:
        raise ValueError(f"{tracking.missing(model)}: nothing is tracked there yet")
    name = model.removeprefix("models:/")
    version = version_of(tracking, name) if "@" in name or "/" in name else newest_version(tracking, name)
    if version is None:
        raise ValueError(
            f"{tracking.missing(model)}, nor is a model registered under it{suggest_models(tracking, name)}"
        )
    return version


def runs_of_model(tracking: Tracking, model: str) -> list[RunRecord]:
    """Return the runs of the fitted cells that are a model (of `locate_model`), of a sweep those that finished.

    `ValueError` where there is no such model, or its run is gone.
    """
    run = tracking.known(model)
    if run is None:
        version = find_version(tracking, model)
        run = tracking.by_id(str(version.run_id))
        if run is None:
            made = f"the run {version.run_id} that made the registered model {version.name}/{version.version}"
            raise ValueError(f"{made} is gone, so that it is not known which images its models have not seen")
    runs = [each for each in tracking.children(run.id) if each.finished] if run.kind == SWEEP else [run]
    if not runs:
        raise ValueError(f"sweep {run.name} ({run.id}) has no finished cells")
    return runs


def finished_cells(tracking: Tracking, sweep: RunRecord) -> list[RunRecord]:
    """Return the finished cells of a sweep; `ValueError` where there are none, or they are not one model."""
    runs = [run for run in tracking.children(sweep.id) if run.finished]
    if not runs:
        raise ValueError(f"sweep {sweep.name} ({sweep.id}) has no finished cells")
    if len({(run.splits, run.params.get("training_patients")) for run in runs}) > 1:
        cells = ", ".join(f"{run.name} ({run.id})" for run in runs[:3])
        raise ValueError(
            f"the cells of sweep {sweep.name} learnt from different data or folds, so they are not one model: "
            f"give one of its {len(runs)} runs, such as {cells}"
        )
    return runs


def folder_of(tracking: Tracking, run: RunRecord, place: Path) -> Path:
    """Return the folder of a run's model; `ValueError` where it has none."""
    place = place / run.id
    kept = tracking.spooled.entry(run.id).folder / "artifacts" / MODEL
    if kept.is_dir() and any(kept.iterdir()):  # else it has been sent
        folder = kept
    elif run.artifacts.startswith("file:"):
        folder = Path(url2pathname(urlparse(run.artifacts).path)) / MODEL
    else:
        place.mkdir()
        folder = tracking.download(run, MODEL, place)
    if not folder.is_dir() or not any(folder.iterdir()):
        raise ValueError(f"run {run.name} ({run.id}, {run.status}) has no model; finished runs do")
    return folder


def version_of(tracking: Tracking, name: str) -> "ModelVersion":
    """Return the registered version of NAME@ALIAS or NAME/VERSION; `ValueError` where there is none."""
    from mlflow.exceptions import MlflowException

    stem, _, which = name.partition("@") if "@" in name else name.partition("/")
    client = tracking.client
    try:
        return client.get_model_version_by_alias(stem, which) if "@" in name else client.get_model_version(stem, which)
    except MlflowException as error:
        raise ValueError(
            f"no registered model is {name}: {first_line(error)}{suggest_models(tracking, stem)}"
        ) from None


def resolve_version(tracking: Tracking, model: str) -> str:
    """Return NAME/VERSION of a registered model (NAME, NAME@ALIAS, NAME/VERSION); `ValueError` where there is none."""
    name = model.removeprefix("models:/")
    version = version_of(tracking, name) if "@" in name or "/" in name else newest_version(tracking, name)
    if version is None:
        ours = f"`{next_command('register', 'model=RUN', 'name=NAME')}` makes one"
        raise ValueError(f"no registered model is {name}{suggest_models(tracking, name)}; {ours}")
    return f"{version.name}/{version.version}"


def first_line(error: Exception) -> str:
    """Return what an error of MLflow says to people: its first line, without the code, as part of a sentence."""
    return re.sub(r"^[A-Z_]+: ", "", str(error).splitlines()[0]).rstrip(".")


def newest_version(tracking: Tracking, name: str) -> "ModelVersion | None":
    """Return the newest version of a registered model, where there is one."""
    versions = tracking.client.search_model_versions("name = '{}'".format(name.replace("'", "")))
    return max(versions, key=lambda version: int(version.version), default=None)


def suggest_models(tracking: Tracking, name: str) -> str:
    """Return in words which registered models and runs have names like this one; empty where none have."""
    found = [model.name for model in tracking.client.search_registered_models(max_results=1000)]
    found += [run.name for run in tracking.search(status=FINISHED)]
    close = difflib.get_close_matches(name, list(dict.fromkeys(found)), n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def fetch_registered(tracking: Tracking, version: "ModelVersion", place: Path) -> Located:
    """Return a registered model; `ValueError` where it was registered by something else."""
    from mlflow.artifacts import download_artifacts

    title = f"{version.name}/{version.version}"
    point_mlflow(tracking)
    cells = Path(download_artifacts(f"models:/{title}", dst_path=str(place))) / "artifacts" / CELLS
    if not cells.is_dir():
        raise ValueError(f"the registered model {title} is not one of `python -m src.register`, or its files are gone")
    return Located(title, str(version.run_id or ""), packed_cells(cells), packed=True)


def point_mlflow(tracking: Tracking) -> None:
    """Point MLflow itself, which takes no client for models, to where runs are kept."""
    import mlflow

    mlflow.set_tracking_uri(tracking.address)
    mlflow.set_registry_uri(tracking.address)


@dataclass
class Rehearsal:
    """What a packed model was asked, what it answered, and the libraries that it needed, with their versions."""

    question: pd.DataFrame
    answer: pd.DataFrame
    requirements: list[str]


REHEARSAL = """
import importlib.metadata, json, sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder / "code"))
import pandas as pd
from src.served import CELLS, answer_request, fuse_thresholds, load_members

members = load_members(folder / CELLS)
found = answer_request(members, fuse_thresholds(members), pd.read_parquet(folder / "question.parquet"))
found.to_parquet(folder / "answer.parquet")
own = {name for name, module in list(sys.modules.items()) if "." not in name and getattr(module, "__file__", None)}
holders = importlib.metadata.packages_distributions()
needed = sorted({holder for name in own for holder in holders.get(name, [])}, key=str.lower)
pinned = [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in needed]
(folder / "requirements.json").write_text(json.dumps(pinned))
"""


def rehearse_model(cells: Path, question: pd.DataFrame, code: list[Path]) -> Rehearsal:
    """Ask a packed model in a process of its own, which knows nothing of the config; `code` is what goes with it.

    The libraries are all those that it loaded, so that an environment made of them predicts the same.
    """
    with tempfile.TemporaryDirectory(prefix="tenfold-") as place:
        folder = Path(place)
        (folder / CELLS).symlink_to(cells.absolute())
        (folder / "code").mkdir()
        for part in code:
            (folder / "code" / part.name).symlink_to(part)
        question.to_parquet(folder / "question.parquet")
        command = [sys.executable, "-I", "-c", REHEARSAL, str(folder)]
        process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ValueError(f"the packed model does not predict its example ({reason}), so it was not registered")
        requirements = json.loads((folder / "requirements.json").read_text())
        return Rehearsal(question, pd.read_parquet(folder / "answer.parquet"), requirements)


def make_example(side: int, view: str) -> pd.DataFrame:
    """Return what a model is asked as an example: a drawn image of so many pixels a side. No patient's goes along."""
    draws = np.random.default_rng(0)
    pixels = tissue.draw_tissue("Benign", tissue.make_slide(draws), max(side, 64), max(side, 64), draws)
    file = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return pd.DataFrame({"image": [base64.b64encode(file.tobytes()).decode()], "case": ["example"], "view": [view]})


def register_model(
    tracking: Tracking, located: Located, cells: Path, rehearsal: Rehearsal, code: list[Path], name: str, alias: str
) -> str:
    """Log a packed model to the run that made it, register it under an alias, and return the version.

    `code` is the package `src` and what else it needs: files of a user's own.
    `ValueError` where MLflow refuses the name or the alias.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    client = tracking.client
    point_mlflow(tracking)
    mlflow.set_experiment(experiment_id=client.get_run(located.run).info.experiment_id)
    try:
        logged = Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=located.run,
            name=name,
            registered_model_name=name,
            python_model=str(code[0] / "served.py"),
            code_paths=list(map(str, code)),
            artifacts={CELLS: str(cells)},
            signature=make_signature(rehearsal),
            input_example=rehearsal.question,
            pip_requirements=rehearsal.requirements,
        )
        version = str(logged.registered_model_version)
        client.set_registered_model_alias(name, alias, version)
        client.set_model_version_tag(name, version, "made_by", located.title)
    except MlflowException as error:
        raise ValueError(f"MLflow refuses {name}@{alias}: {first_line(error)}") from None
    return version


def make_signature(rehearsal: Rehearsal) -> "ModelSignature":
    """Return what the model takes, `case` and `view` being optional, and what it answers."""
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, Schema

    names = {"image": True, "case": False, "view": False}
    taken = Schema([ColSpec(DataType.string, name, required=required) for name, required in names.items()])
    return ModelSignature(taken, infer_signature(rehearsal.question, rehearsal.answer).outputs)
