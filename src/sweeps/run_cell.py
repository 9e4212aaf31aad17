"""What a cell does, whichever command it is of: read what it works on, predict out of fold, evaluate, keep, explain."""

import gc
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.cell import plain_cell
from src.cli.evaluations import cell_summary, show_evaluation, write_evaluation
from src.cli.mistakes import explain_error
from src.cli.progress import TerminalProgress
from src.cli.terminal import say
from src.config import COPIES, Experiment, build, settle_config
from src.encoders.backends import AUTO, TORCH
from src.encoders.device import resolve_device
from src.encoders.network_encoder import NetworkEncoder
from src.executors.local import Local
from src.images.crop import EXACT
from src.sweeps.fusion import threshold_choice
from src.sweeps.resume import POINT, Sweep, current_sweep
from src.system.files import check_writable
from src.system.memory import is_out_of_memory
from src.system.next_commands import after_run, key_of
from src.tracking import INNER_FOLDS, INNER_PREDICTIONS, JOB

BACKENDS = "backends.json"
"""The file of the workspace with the backends that were chosen by measurements."""
RAW_PREDICTIONS = "raw_predictions.parquet"
"""The artefact of a run with its predictions as they were before they were recalibrated."""

if TYPE_CHECKING:
    import pandas as pd

    from src.data.reader import LeftOut
    from src.evaluation.chosen_threshold import ThresholdChoice
    from src.evaluation.evaluation import Evaluation
    from src.methods.inner_folds import Parts
    from src.methods.method import CellTask, Outcome
    from src.methods.preparation import Size
    from src.storage.store import Store
    from src.tracking import TrackedRun
    from src.tuning.tuning import Tuning


def attempt_cell(task: Callable[[DictConfig, Sweep | None], None], config: DictConfig) -> None:
    """Do the task of a cell. In a sweep a cell that fails is reported, and the others go on."""
    from src.storage.store import Store

    sweep = current_sweep()
    try:
        Store(config.store)  # an address that holds keys is refused before it is written anywhere
        check_writable(workspace=str(config.workspace))
        task(settle_backend(settle_config(config)), sweep)
    except Exception as error:
        if sweep is None:
            raise
        # The run is FAILED and holds the traceback; the sweep ends by naming it.
        say(f"failed: {explain_error(error) or repr(error)}")
        del error
        gc.collect()  # what a cell that ran out of memory leaves must not end the next one


def settle_backend(config: DictConfig) -> DictConfig:
    """Return a config with what `encoder.backend=auto` comes to here, by which all that is computed will be known."""
    kind = OmegaConf.get_type(config.encoder)
    if kind is None or not issubclass(kind, NetworkEncoder) or config.encoder.backend != AUTO:
        return config
    from src.encoders.backend_choice import choose_backend

    experiment: Experiment = build(config)
    config = deepcopy(config)
    config.encoder.backend = TORCH
    if computes_by_cpu(experiment):
        assert isinstance(experiment.encoder, NetworkEncoder)
        chosen = choose_backend(experiment.encoder, experiment.crop.size, Path(experiment.workspace) / BACKENDS)
        say(f"encoder: backend=auto is {chosen}")
        config.encoder.backend, config.encoder.precision = chosen.backend, chosen.precision
    return config


def computes_by_cpu(experiment: Experiment) -> bool:
    """Return whether crops are encoded here and by the CPU, each by itself: only so do backends other than torch."""
    method = experiment.method.method_for(experiment.encoder)
    frozen, here = not method.trains, isinstance(method.executor, Local)
    exact = experiment.crop.sharing == EXACT
    return frozen and here and exact and resolve_device(method.device, experiment.encoder) == "cpu"


def position_tags(sweep: Sweep | None) -> dict[str, str]:
    """Return the tags that say which cell of its sweep this is: its number, and its values of what is varied."""
    if sweep is None:
        return {}
    hydra = HydraConfig.get()
    given = [override.lstrip("+") for override in hydra.overrides.task]
    point = sorted(override for override in given if override.split("=")[0] in sweep.keys)
    return {JOB: str(hydra.job.num), POINT: " ".join(point)}


def chosen_options() -> dict[str, str]:
    """Return the option chosen of each group, such as encoder: resnet, in the order of `conf/cell.yaml`."""
    choices = reversed(HydraConfig.get().runtime.choices.items())
    return {name: option for name, option in choices if "/" not in name and option}


def idle_overrides(
    experiment: Experiment, typed: Iterable[str], options: Mapping[str, str], varied: Collection[str]
) -> list[str]:
    """Return a line on each override that means nothing to the encoder or the method, by the options of the groups.

    None on what a sweep over encoders or methods (`varied`) may set for others among them.
    """
    encoder, method = experiment.encoder, experiment.method
    groups = method.idle if encoder.trainable or not method.trains else ()
    nothing = {f"encoder.{name}": "encoder" for name in encoder.idle} | dict.fromkeys(groups, "method")
    if not encoder.accelerated:
        nothing["method.device"] = "encoder"
    found = ((each, to) for each in typed for key, to in nothing.items() if f"{key_of(each)}.".startswith(f"{key}."))
    return [f"{each} means nothing to {to}={options[to]}: left aside" for each, to in found if to not in varied]


def tell_idle(experiment: Experiment, sweep: Sweep | None) -> None:
    """Tell which of the overrides that were typed mean nothing here."""
    for line in idle_overrides(
        experiment, HydraConfig.get().overrides.task, chosen_options(), sweep.keys if sweep else ()
    ):
        say(f"options: {line}")


@dataclass(kw_only=True)
class RunProgress(TerminalProgress):
    """Shows progress on the terminal, and keeps curves in a run."""

    run: "TrackedRun"

    def point(self, curve: str, value: float, step: int) -> None:
        """Log a point of a curve."""
        self.run.log_steps(curve, {step: value})


@dataclass
class CellInputs:
    """What a cell works on: manifest, height and width of images by content, splits, what its figures are sliced by
    (`src.evaluation.slices.slice_facts`), digests (of manifest and splits, of the encoder's weights, of what the
    classifier knows besides its parameters), and what lies beside the images and is none."""

    manifest: "pd.DataFrame"
    sizes: "Mapping[str, Size]"
    splits: "pd.DataFrame"
    slices: "pd.DataFrame"
    facts: dict[str, str]
    left_out: "list[LeftOut]"

    @property
    def classes(self) -> list[str]:
        """The classes' names, in the order of the models' probabilities."""
        return [str(label) for label in self.manifest["label"].cat.categories]


def open_store(experiment: Experiment) -> "Store":
    """Return the store of an experiment."""
    from src.storage.store import Store

    return Store(experiment.store, Path(experiment.workspace) / COPIES)


def gather_inputs(experiment: Experiment, tell: Callable[[str], None] = say) -> CellInputs:
    """Return what a cell works on, and tell what it is; this reads every image's bytes, and encodes nothing.

    What is wrong with the table, the folds, the weights or a study is said before the images are read.
    """
    from src.data.patients import describe_estimate
    from src.data.summary import describe_held_out, describe_manifest
    from src.evaluation.slices import slice_facts
    from src.methods.audit import estimate_patients
    from src.methods.image_reading import read_images
    from src.recipes import data_digest, splits_digest

    manifest, left_out = experiment.data.manifest(), experiment.data.left_out()
    for line in describe_manifest(manifest, left_out):
        tell(f"data: {line}")
    store, workers = open_store(experiment), experiment.method.workers
    if experiment.data.estimates_patients:
        manifest, sizes = read_images(experiment.data, manifest, store, workers, TerminalProgress())
        manifest = estimate_patients(experiment.data, manifest, sizes, store)
        tell(f"data: {describe_estimate(manifest)}")
    splits = experiment.protocol.split(manifest)
    for line in [describe_held_out(splits), *experiment.protocol.remarks(manifest)]:
        tell(f"protocol: {line}")
    facts = {"splits": splits_digest(splits), "weights": experiment.encoder.digest()}
    if knowledge := experiment.classifier.digest():
        facts["classifier_digest"] = knowledge
    check_two_classes(experiment, [str(label) for label in manifest["label"].cat.categories])
    slices = slice_facts(manifest, [*experiment.slices, *experiment.protocol.slices])
    if not experiment.data.estimates_patients:
        manifest, sizes = read_images(experiment.data, manifest, store, workers, TerminalProgress())
    return CellInputs(manifest, sizes, splits, slices, {"data": data_digest(manifest)} | facts, left_out)


def check_two_classes(experiment: Experiment, classes: list[str]) -> None:
    """Raise `ValueError` where there is no two-class view as it is asked for, or none for a threshold."""
    if experiment.threshold and not experiment.binary.positives(classes):
        raise ValueError(
            f"threshold={experiment.threshold} needs a two-class view, but of {', '.join(classes)} none is named "
            "positive: name those that are by binary.positive=[...]"
        )
    experiment.binary.positives(classes)


def fill_run(
    experiment: Experiment,
    name: str,
    run: "TrackedRun",
    inputs: CellInputs | None = None,
    tuning: "Tuning | None" = None,
) -> "tuple[Evaluation, list[str]]":
    """Fill a run: splits, predictions, models, evaluation; return the evaluation and what its reader has to know.

    With `tuning` the method predicts by parameters that it chooses.
    """
    from src.methods.method import CellTask

    store = open_store(experiment)
    store.check()
    experiment.executor.check()
    experiment.method.check_device(experiment.encoder)
    say(f"{name}: data in {experiment.data.root}")
    inputs = inputs or gather_inputs(experiment)
    manifest, splits = inputs.manifest, inputs.splits
    record_inputs(experiment, inputs, run)
    task = CellTask(
        cell=plain_cell(experiment),
        manifest=manifest,
        store=store,
        progress=RunProgress(run=run),
        sizes=inputs.sizes,
    )
    leaks = audit_cell(experiment, task, splits, run)
    parts = inner_parts(experiment, manifest, splits, tuning)
    outcome = (tuning or experiment.method).predict(task, splits)
    outcome.predictions = with_run_columns(outcome.predictions, name, splits)
    inner = predict_inner(experiment, task, parts, outcome)
    if inner is not None:
        inner = recalibrate_outcome(experiment, outcome, with_run_columns(inner, name, splits), run)
        inner.to_parquet(run.folder / INNER_PREDICTIONS, index=False)
    choice = threshold_choice(experiment.threshold, inner)
    keep_outcome(experiment, name, outcome, inputs.classes, run, choice)
    notes = (
        experiment.data.notes(manifest)
        + experiment.protocol.notes(splits)
        + leaks
        + outcome_remarks(experiment, outcome)
    )
    evaluation = evaluate_outcome(experiment, outcome, inputs.slices, notes, run, choice)
    explain_examples(experiment, task, outcome, run)
    return evaluation, notes


def inner_parts(
    experiment: Experiment, manifest: "pd.DataFrame", splits: "pd.DataFrame", tuning: "Tuning | None"
) -> "Parts":
    """Return the inner splits of the folds' training parts, before any work; none where none are asked for.

    A study that knew what is held out is not honest, whatever is chosen after it.
    """
    from src.methods.inner_folds import split_training_parts

    if not experiment.inner_folds or (tuning is not None and not tuning.plan.nested):
        return {}
    return split_training_parts(experiment.method, plain_cell(experiment), manifest, splits, experiment.inner_folds)


def predict_inner(
    experiment: Experiment, task: "CellTask", parts: "Parts", outcome: "Outcome"
) -> "pd.DataFrame | None":
    """Return the predictions of the folds' training parts, where they are asked for; the outcome notes what to know."""
    from src.methods.inner_folds import InnerFolds

    if not parts:
        return None
    inner = InnerFolds(
        method=experiment.method, parts=parts, work=Path(experiment.workspace) / "inner", chosen=outcome.chosen
    )
    table = inner.predict(task)
    outcome.notes += inner.notes(task.cell, experiment.inner_folds)
    outcome.facts[INNER_FOLDS] = experiment.inner_folds
    return table


def with_run_columns(predictions: "pd.DataFrame", name: str, splits: "pd.DataFrame") -> "pd.DataFrame":
    """Return the predictions of a method with the name of the model, and the repeat that a fold belongs to."""
    from src.data.splits import repeat_of_fold

    table = predictions.copy()
    table.insert(list(table).index("label") + 1, "model", name)
    table.insert(list(table).index("fold"), "repeat", table["fold"].map(repeat_of_fold(splits)))
    return table


def recalibrate_outcome(
    experiment: Experiment, outcome: "Outcome", inner: "pd.DataFrame", run: "TrackedRun"
) -> "pd.DataFrame":
    """Recalibrate an outcome by its inner predictions, and return these recalibrated, too; keep the raw ones.

    Where nothing is asked for, all stays as it is.
    """
    from src.evaluation import recalibration

    kind, raw = experiment.recalibration, outcome.predictions
    if kind == recalibration.NONE:
        return inner
    raw.to_parquet(run.folder / RAW_PREDICTIONS, index=False)
    maps = recalibration.fit_recalibrations(kind, inner)
    outcome.predictions = recalibration.recalibrate(maps, raw)
    outcome.recalibration = recalibration.describe_recalibrations(kind, maps)
    before, after = (
        recalibration.measure_probabilities(table, experiment.binary) for table in (raw, outcome.predictions)
    )
    run.log(metrics={f"raw_{name}": value for name, value in before.items()})
    told = f"recalibration={kind} of {raw['model'].iloc[0]}, before and after"
    outcome.notes.append(f"{told}: {recalibration.describe_change(before, after)}")
    return recalibration.recalibrate(maps, inner)


def audit_cell(experiment: Experiment, task: "CellTask", splits: "pd.DataFrame", run: "TrackedRun") -> list[str]:
    """Look for leaks, record and tell what was found; return the notes on it. With audit=fail a leak ends the run."""
    from src.methods.audit import audit_splits

    found = audit_splits(task, splits)
    found.findings.to_csv(run.folder / "audit.csv", index=False)
    run.log(tags=found.facts)
    for line in found.lines:
        say(f"audit: {line}")
    if experiment.audit == "fail":
        found.refuse()
    return found.notes


def record_inputs(experiment: Experiment, inputs: CellInputs, run: "TrackedRun") -> None:
    """Write and log what a run learns from, and what was left out of it."""
    import pandas as pd

    from src.tracking.datasets import describe_dataset

    inputs.splits.to_csv(run.folder / "splits.csv", index=False)
    inputs.manifest.to_csv(run.folder / "manifest.csv", index=False)
    if inputs.left_out:
        left_out = pd.DataFrame([asdict(each) for each in inputs.left_out])
        left_out.to_csv(run.folder / "left_out.csv", index=False)
    run.log(tags=inputs.facts)
    data = experiment.data
    run.log_data(describe_dataset(data.title, inputs.facts["data"], data.root, inputs.manifest))


def evaluate_outcome(
    experiment: Experiment,
    outcome: "Outcome",
    slices: "pd.DataFrame",
    notes: list[str],
    run: "TrackedRun",
    choice: "ThresholdChoice | None",
) -> "Evaluation":
    """Evaluate, write and log what came out."""
    from src.evaluation.evaluation import evaluate

    evaluation = evaluate(outcome.predictions, experiment.binary, experiment.replicates, facts=slices, choice=choice)
    write_evaluation(evaluation, run.folder, notes)
    tags = outcome.facts | {"bad_images": len(outcome.bad), "notes": "; ".join(notes)}
    run.log(metrics=evaluation.metrics, tags=tags)
    run.log_steps("fold_accuracy", {int(str(k)): v for k, v in evaluation.fold_accuracy.items()})
    return evaluation


def keep_outcome(
    experiment: Experiment,
    name: str,
    outcome: "Outcome",
    classes: list[str],
    run: "TrackedRun",
    choice: "ThresholdChoice | None",
) -> None:
    """Write what a method returned, and the threshold of its models, into the run's folder."""
    from src.models.saved import ModelThreshold, save_fitted

    threshold = None
    if choice is not None:
        threshold = ModelThreshold.choose(choice.rule, choice.cases(outcome.predictions), experiment.binary)
    outcome.predictions.to_parquet(run.folder / "predictions.parquet", index=False)
    outcome.roles.to_csv(run.folder / "roles.csv", index=False)
    if len(outcome.bad):
        outcome.bad.to_csv(run.folder / "bad_images.csv", index=False)
    save_fitted(run.folder / "model", name, experiment, experiment.method, outcome, classes, threshold)


def outcome_remarks(experiment: Experiment, outcome: "Outcome") -> list[str]:
    """Return what a reader of the run's figures has to know."""
    notes = []
    if experiment.encoder.untrained:
        fate = "trained from scratch" if experiment.method.trains else "untrained encoder"
        notes.append(f"{fate} (encoder.weights=random)")
    if len(outcome.bad):
        named = [f"{bad.sample} {bad.outcome}" for bad in outcome.bad.head(3).itertuples()]
        notes.append(f"{len(outcome.bad)} bad images (bad_images.csv): {', '.join(named)}")
    return notes + outcome.notes + constant_note(outcome.predictions)


def constant_note(predictions: "pd.DataFrame") -> list[str]:
    """Return a note where the models of a fold give every case the same probabilities: they learnt nothing."""
    from src.evaluation.predictions import probability_columns

    distinct = predictions.groupby("fold")[probability_columns(predictions)].nunique().max(axis=1)
    held_out = predictions.groupby("fold")["case"].nunique()
    folds = [str(fold) for fold in distinct.index[(distinct == 1) & (held_out > 1)]]
    if not folds:
        return []
    return [
        f"nothing was learnt in folds {', '.join(folds)}: all their cases have the same probabilities (with LightGBM, "
        "too few rows for classifier.min_data_in_leaf; augment=stain_jitter gives more; with method=finetune, too "
        "large a finetune.learning_rate)"
    ]


def tell_outcome(evaluation: "Evaluation", name: str, notes: list[str], run: str, sweep: Sweep | None) -> None:
    """Tell what came out, and what may come next: of a cell of a sweep only the first, in one line."""
    if sweep:
        say(cell_summary(evaluation, name))
    else:
        show_evaluation(evaluation, name, notes)
        say(after_run(name, run))


def explain_examples(experiment: Experiment, task: "CellTask", outcome: "Outcome", run: "TrackedRun") -> None:
    """Write what the models look at in a few cases of each class, right and wrong, as pictures.

    Where there is not enough memory for them, the run has its results all the same.
    """
    from src.evaluation.map_figures import choose_examples, draw_pictures
    from src.methods.neighbours import find_neighbours

    if not experiment.examples:
        return
    chosen = choose_examples(outcome.predictions, experiment.examples).merge(
        task.manifest[["sample", "content"]], on="sample"
    )
    made = experiment.method.explain(replace(task, manifest=chosen), dict(outcome.models))
    try:
        explained = list(task.progress.track(made, "explaining", len(chosen)))
        for name, picture in draw_pictures(chosen, explained, find_neighbours(task, outcome, chosen)):
            path = run.folder / "explanations" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        say(f"no pictures of examples (examples=0 asks for none): {explain_error(error)}")
