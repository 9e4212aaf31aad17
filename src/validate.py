"""Does a model hold in another hospital? It is judged on another labelled cohort. `python -m src.validate --help`."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src.cli.command import command, is_given
from src.cli.evaluations import show_figures, write_evaluation
from src.cli.progress import TerminalProgress
from src.cli.terminal import console, print_table, say
from src.config import COPIES, Validate, build, flatten_config, rebuild_operator
from src.data.manifest import is_among
from src.evaluation.text_tables import TextTable, tabulate_comparison, tabulate_external, to_markdown
from src.sweeps.fusion import read_table, recorded_view
from src.sweeps.run_cell import chosen_options
from src.system.addresses import mask_passwords
from src.system.checks import one_of
from src.system.files import replace_file
from src.system.next_commands import list_commands, next_command
from src.tracking import SWEEP, VALIDATED, VALIDATION, RunRecord, Tracking

if TYPE_CHECKING:
    import pandas as pd

    from src.evaluation.chosen_threshold import KeptThreshold
    from src.evaluation.evaluation import Evaluation
    from src.evaluation.two_classes import Binary
    from src.methods.cohort_audit import CohortAudit
    from src.models.prediction import Prediction
    from src.models.saved import Member, ModelThreshold
    from src.storage.store import Store
    from src.tracking import TrackedRun

OWN = ("name", "experiment", "published", "slices", "resume")
"""Params of a model's run that say nothing of a validation, beside those of its data, protocol and tracking."""


@dataclass
class JudgedModel:
    """A model to be judged: what it is called, its run, where tracked, those of its cells, and what predicts."""

    name: str
    run: RunRecord | None
    cells: list[RunRecord]
    members: "list[Member]"

    def learnt_from(self, tracking: Tracking) -> "pd.DataFrame":
        """Return the manifest of what it learnt from, as far as that is tracked; else the digests that it knows."""
        import pandas as pd

        tables = [read_table(tracking, cell, "manifest.csv") for cell in self.cells]
        if not tables:
            known = sorted({each for one in self.members for known in one.known.values() for each in known.contents})
            return pd.DataFrame({"sample": known, "case": known, "patient": "", "label": "", "content": known})
        return pd.concat(tables).drop_duplicates("sample", ignore_index=True)


@dataclass
class Cohort:
    """What models are judged on: its manifest with contents, its slices and the digest of its data."""

    manifest: "pd.DataFrame"
    slices: "pd.DataFrame"
    digest: str

    @property
    def images(self) -> "pd.DataFrame":
        """What is predicted: nothing that a model must not see."""
        return self.manifest[["sample", "case", "view", "content"]]


@dataclass
class Judgement:
    """What came out for a model."""

    model: JudgedModel
    run: str
    predictions: "pd.DataFrame"
    evaluation: "Evaluation"
    table: "pd.DataFrame"
    notes: list[str]


def main(config: DictConfig) -> None:
    """Judge models on a cohort, track and show what came out."""
    options: Validate = build(config)
    from src.storage.store import Store

    store = Store(options.store, Path(options.workspace) / COPIES)
    store.check()
    options.executor.check()
    with tempfile.TemporaryDirectory(prefix="tenfold-") as place:
        models = find_models(options, Path(place))
        binary = options.binary if is_given("binary") else common_view(models)
        cohort = read_cohort(options, models[0].members[0].classes, store)
        audits = [audit_model(options, model, cohort, store) for model in models]
        found = [
            judge_model(options, config, model, cohort, audit, binary, store)
            for model, audit in zip(models, audits, strict=True)
        ]
    show_judgements(options, found, binary)


def find_models(options: Validate, place: Path) -> list[JudgedModel]:
    """Return the models; `ValueError` where one is not there, or they have different classes."""
    models = []
    for number, name in enumerate(options.models):
        folder = place / str(number)
        folder.mkdir()
        models.append(find_model(options, name, folder))
    names = [model.name for model in models]
    for model, typed in zip(models, options.models, strict=True):
        if names.count(model.name) > 1:
            model.name = f"{model.name} {typed[:6]}" if model.run is None else f"{model.name} {model.run.id[:6]}"
    if options.reference:
        one_of([model.name for model in models], reference=options.reference)
        models.sort(key=lambda model: model.name != options.reference)
    first, *others = models
    for model in others:
        if set(model.members[0].classes) != set(first.members[0].classes):
            raise ValueError(
                f"models that are judged together have the same classes, but {first.name} has "
                f"{', '.join(first.members[0].classes)} and {model.name} has {', '.join(model.members[0].classes)}"
            )
    return models


def find_model(options: Validate, name: str, place: Path) -> JudgedModel:
    """Return a model with its fitted cells, which run as the options say."""
    from src.models.saved import load_all_fitted
    from src.tracking.model_registry import finished_cells, locate_model

    located = locate_model(options.tracking, name, place)
    run = options.tracking.by_id(located.run) if located.run else None
    cells = finished_cells(options.tracking, run) if run and run.kind == SWEEP else [run] if run else []
    members = load_all_fitted(located.folders, rebuild_operator, options.weights)
    for member in members:
        member.run_on(options.workers, options.device, options.executor)
        member.cell = replace(member.cell, data=options.data)
        member.check()
    say(f"{located.title}: {sum(len(member.models) for member in members)} fitted models")
    return JudgedModel(run.name if run else located.title, run, cells, members)


def common_view(models: list[JudgedModel]) -> "Binary":
    """Return the two-class view with which the models' own runs were evaluated."""
    from src.evaluation.two_classes import Binary

    cells = [cell for model in models for cell in model.cells]
    return recorded_view(cells) if cells else Binary()


def read_cohort(options: Validate, classes: list[str], store: "Store") -> Cohort:
    """Return the cohort, with the classes of the models, and tell what it is; every image is read once."""
    from src.data.patients import describe_estimate
    from src.data.summary import describe_manifest
    from src.evaluation.slices import slice_facts
    from src.methods.audit import estimate_patients
    from src.methods.image_reading import read_images
    from src.recipes import data_digest

    manifest = options.data.manifest()
    for line in describe_manifest(manifest, options.data.left_out()):
        say(f"cohort: {line}")
    manifest = rename_classes(manifest, classes, options.classes)
    slices = slice_facts(manifest, options.slices)
    workers = options.workers or os.cpu_count() or 1
    manifest, sizes = read_images(options.data, manifest, store, workers, TerminalProgress())
    if options.data.estimates_patients:
        manifest = estimate_patients(options.data, manifest, sizes, store)
        say(f"cohort: {describe_estimate(manifest)}")
    return Cohort(manifest, slices, data_digest(manifest))


def rename_classes(manifest: "pd.DataFrame", classes: list[str], names: Mapping[str, str]) -> "pd.DataFrame":
    """Return the manifest with the model's classes; `ValueError` where they are others.

    `names` says which class of the cohort is which of the model.
    """
    import pandas as pd

    found = [str(name) for name in manifest["label"].cat.categories]
    model = f"the model's are {', '.join(classes)}"
    if wrong := [name for name in names if name not in found]:
        raise ValueError(f"`classes` names classes of the cohort, {', '.join(found)}, but got {wrong[0]}; {model}")
    labels = manifest["label"].astype(str).map(lambda name: names.get(name, name))
    counts = labels[~labels.isin(classes)].value_counts()
    if len(counts):
        listed = ", ".join(f"{name} ({count})" for name, count in counts.items())
        way_out = f"'classes={{{counts.index[0]}: {classes[0]}}}' says that one is called differently"
        raise ValueError(f"the classes of a cohort are the model's, but it has {listed}; {model}: {way_out}")
    return manifest.assign(label=pd.Categorical(labels, classes))


def audit_model(options: Validate, model: JudgedModel, cohort: Cohort, store: "Store") -> "CohortAudit":
    """Look for what the model has seen before, and tell it. With audit=fail it ends here."""
    from src.methods.audit import stored_hashes
    from src.methods.cohort_audit import audit_cohort

    known = model.learnt_from(options.tracking)
    hashes = stored_hashes(options.data, [*cohort.manifest["content"], *known["content"]], store)
    found = audit_cohort(cohort.manifest, known, hashes)
    for line in found.lines:
        say(f"audit: {model.name}: {line}")
    if options.audit == "fail":
        found.refuse()
    return found


def judge_model(
    options: Validate,
    config: DictConfig,
    model: JudgedModel,
    cohort: Cohort,
    audit: "CohortAudit",
    binary: "Binary",
    store: "Store",
) -> Judgement:
    """Predict the cohort by a model, evaluate and track."""
    from src.evaluation.evaluation import evaluate
    from src.evaluation.external import external_predictions, external_table
    from src.models.prediction import fuse_thresholds, predict_new
    from src.tracking.datasets import describe_dataset

    name = (options.name if len(options.models) == 1 else "") or f"{model.name} on {options.data.title}"
    with options.tracking.run(name, VALIDATION, tags={VALIDATED: model.run.id if model.run else ""}) as run:
        (run.folder / "config.yaml").write_text(mask_passwords(OmegaConf.to_yaml(config, resolve=True)))
        run.log(params=describe_params(config, model, binary, options), tags={"data": cohort.digest} | audit.facts)
        run.log(tags={"splits": f"external {cohort.digest}"})
        run.log_data(describe_dataset(options.data.title, cohort.digest, options.data.root, cohort.manifest))
        root, threshold = Path(options.data.root), fuse_thresholds(model.members)
        prediction = predict_new(model.members, cohort.images, root, TerminalProgress(), store, threshold)
        predictions = external_predictions(prediction.members, cohort.manifest, model.name)
        keep_tables(run, cohort, audit, prediction, predictions)
        notes = validation_notes(options, cohort, audit, prediction)
        choice = kept_threshold(prediction.threshold, binary, model.members[0].classes)
        evaluation = evaluate(predictions, binary, options.replicates, facts=cohort.slices, choice=choice)
        own = model.run.metrics if model.run else {}
        table = external_table(evaluation.metrics, own, len(evaluation.classes)).assign(model=model.name)
        write_evaluation(evaluation, run.folder, notes)
        replace_file(run.folder / "external.csv", table.round(6).to_csv(index=False).encode())
        replace_file(run.folder / "table.md", to_markdown(beside_own(table, options.data.title, notes)).encode())
        run.log(metrics=evaluation.metrics, tags={"notes": "; ".join(notes)})
    return Judgement(model, run.id, predictions, evaluation, table, notes)


def kept_threshold(threshold: "ModelThreshold | None", binary: "Binary", classes: list[str]) -> "KeptThreshold | None":
    """Return the threshold that a model keeps, as it was chosen; None where it has none, or one of another score."""
    from src.evaluation.chosen_threshold import KeptThreshold, parse_rule

    if threshold is None or (threshold.positive, threshold.reduce) != (binary.positives(classes), binary.reduce):
        return None
    rule = parse_rule(threshold.rule)
    return KeptThreshold(rule=rule, value=threshold.value) if rule else None


def describe_params(config: DictConfig, model: JudgedModel, binary: "Binary", options: Validate) -> dict[str, Any]:
    """Return what a validation records: what all cells of the model have in common, and what is its own."""
    shared = model.cells[0].params if model.cells else {}
    same = {
        key: value
        for key, value in shared.items()
        if key not in OWN
        and key.partition(".")[0] not in ("data", "protocol", "binary", "tracking")
        and all(cell.params.get(key) == value for cell in model.cells)
    }
    view = {f"binary.{key}": value for key, value in asdict(binary).items()}
    return same | chosen_options() | flatten_config(config) | view | {"slices": options.slices, "protocol": "external"}


def keep_tables(
    run: "TrackedRun", cohort: Cohort, audit: "CohortAudit", prediction: "Prediction", predictions: "pd.DataFrame"
) -> None:
    """Write what was predicted, of what, and what was found."""
    cohort.manifest.to_csv(run.folder / "manifest.csv", index=False)
    audit.findings.to_csv(run.folder / "audit.csv", index=False)
    predictions.to_parquet(run.folder / "predictions.parquet", index=False)
    prediction.members.to_parquet(run.folder / "members.parquet", index=False)
    bad = prediction.table.loc[prediction.table["reason"] != "", ["case", "outcome", "reason"]]
    if len(bad):
        bad.to_csv(run.folder / "bad_images.csv", index=False)


def validation_notes(options: Validate, cohort: Cohort, audit: "CohortAudit", prediction: "Prediction") -> list[str]:
    """Return what a reader of a validation's figures has to know."""
    notes = [
        f"the model as it is, the mean of its fold models, on {options.data.title}, which it has not learnt from: "
        "intervals hold for this model and new patients of this cohort, not for another training or another hospital"
    ]
    unknown = cohort.manifest.loc[cohort.manifest["patient"] == "", "case"].nunique()
    if unknown:
        notes.append(f"the patients of {unknown} cases are unknown and count as one each: intervals may be too narrow")
    absent = [str(name) for name, count in cohort.manifest["label"].value_counts().items() if not count]
    if absent:
        notes.append(f"the cohort has no case of {', '.join(absent)}")
    unlike = int(prediction.table["unlike"].sum())
    if unlike:
        notes.append(
            f"{unlike} of {len(prediction.table)} cases are unlike the images that the model knows (5 % of cases like "
            "them are, too)"
        )
    bad = prediction.table[prediction.table["reason"] != ""]
    if len(bad):
        notes.append(f"{len(bad)} cases with bad images (bad_images.csv), first {bad['reason'].iloc[0]}")
    return [*notes, *options.data.notes(cohort.manifest), *audit.notes]


def beside_own(table: "pd.DataFrame", cohort: str, notes: list[str]) -> TextTable:
    """Return what a model does on its own held-out patients and on a cohort."""
    made = tabulate_external(table, cohort, f"on patients of its own, and on {cohort}")
    return replace(made, notes=notes)


def show_judgements(options: Validate, found: list[Judgement], binary: "Binary") -> None:
    """Print what came out, of several models how they compare, and what may come next."""
    import pandas as pd

    terminal = console()
    together = pd.concat([each.table for each in found], ignore_index=True)
    print_table(beside_own(together, options.data.title, []))
    for each in found:
        if len(found) > 1:
            terminal.print(f"\n{each.model.name}", style="bold")
        for note in [*each.notes, *each.evaluation.notes]:
            terminal.print(f"note: {note}", style="yellow")
        show_figures(each.evaluation)
    if len(found) > 1:
        print_table(compare_models(options, found, binary))
    runs = ",".join(each.run for each in found)
    title = f"{', '.join(each.model.name for each in found)} on {options.data.title} is run {runs.replace(',', ', ')}"
    say(list_commands(title, {"as one page": next_command("report", f"runs=[{runs}]", "output=FILE.html")}))


def compare_models(options: Validate, found: list[Judgement], binary: "Binary") -> TextTable:
    """Return how models compare on the cohort: patients are the clusters, and there are no folds."""
    from src.evaluation.comparison import compare
    from src.evaluation.verdicts import explain_verdicts

    common = set.intersection(*(set(each.predictions["case"]) for each in found))
    left = len(set().union(*(each.predictions["case"] for each in found)) - common)
    tables = {each.model.name: each.predictions[is_among(each.predictions["case"], common)] for each in found}
    table = compare(tables, binary, primary=options.primary)
    notes = [
        f"of these models, as they are, on new patients of {options.data.title}: nothing is said of other trainings",
        *([f"{left} cases are left out, as not all models predict them"] if left else []),
        *explain_verdicts(table, options.primary),
    ]
    return tabulate_comparison(table, f"each against {found[0].model.name}, on {options.data.title}", notes=notes)


if __name__ == "__main__":
    command(main, "validate")
