"""One cell, or with -m a sweep: predict every case out of fold, evaluate, track. `python -m src.run --help`."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.config import Experiment, build, flat
from src.edge import command, explain
from src.presentation import say, show, summary, track, write
from src.tracking import CELL

if TYPE_CHECKING:
    import pandas as pd

    from src.evaluation.evaluation import Evaluation
    from src.methods.cell import Outcome
    from src.tracking import TrackedRun


def main(config: DictConfig) -> None:
    """Run one cell. In a sweep a cell that fails is reported, and the others go on."""
    from src.sweep import VARIABLE

    parent = os.environ.get(VARIABLE, "")
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        cell(config, parent)
    except Exception as error:
        if not sweeping:
            raise
        # The run is FAILED and holds the traceback; the sweep ends by naming it.
        say(f"failed: {explain(error) or repr(error)}")


def cell(config: DictConfig, parent: str) -> None:
    """Predict, evaluate and track one cell."""
    from src.sweep import cell_name

    tracking = build(config.tracking)
    # In a sweep `name` is the sweep's.
    name = (config.name if not parent else "") or cell_name(config, HydraConfig.get().runtime.choices, tracking, parent)
    with tracking.run(name, CELL, parent) as run:
        OmegaConf.save(config, run.folder / "config.yaml", resolve=True)
        run.log(params=flat(config) | chosen())
        evaluation, notes = predict(build(config), name, run)
    if parent:
        say(summary(evaluation, name))
    else:
        show(evaluation, name, notes)


def chosen() -> dict[str, str]:
    """Return the option chosen of each group, such as encoder: resnet."""
    choices = HydraConfig.get().runtime.choices
    return {name: option for name, option in choices.items() if "/" not in name and option}


def remarks(experiment: Experiment, outcome: "Outcome") -> list[str]:
    """Return what a reader of the run's figures has to know."""
    notes = []
    if experiment.encoder.untrained:
        fate = "trained from scratch" if experiment.method.trains else "untrained encoder"
        notes.append(f"{fate} (encoder.weights=random)")
    if len(outcome.bad):
        named = [f"{bad.sample} {bad.outcome}" for bad in outcome.bad.head(3).itertuples()]
        notes.append(f"{len(outcome.bad)} bad images (bad_images.csv): {', '.join(named)}")
    return notes + outcome.notes + constant(outcome.predictions)


def data_digest(manifest: "pd.DataFrame") -> str:
    """Return the identity of the data: names, bytes and labels."""
    from src.store import digest

    rows = manifest[["sample", "content", "label"]].astype(str).to_numpy().tolist()
    return digest({sample: [content, label] for sample, content, label in rows})


def constant(predictions: "pd.DataFrame") -> list[str]:
    """Return a note where the models of a fold give every case the same probabilities: they learnt nothing."""
    columns = [name for name in predictions if str(name).startswith("p_")]
    distinct = predictions.groupby("fold")[columns].nunique().max(axis=1)
    held_out = predictions.groupby("fold")["case"].nunique()
    folds = [str(fold) for fold in distinct.index[(distinct == 1) & (held_out > 1)]]
    if not folds:
        return []
    return [
        f"nothing was learnt in folds {', '.join(folds)}: all their cases have the same probabilities (with LightGBM, "
        "too few rows for classifier.min_data_in_leaf; augment=stain_jitter gives more)"
    ]


def audited(
    experiment: Experiment, manifest: "pd.DataFrame", splits: "pd.DataFrame", store: Path, run: "TrackedRun"
) -> list[str]:
    """Look for leaks, record and tell what was found; return the notes on it. With audit=fail a leak ends the run."""
    from src.methods.audit import audit

    found = audit(experiment.data, manifest, splits, store, experiment.method.workers, track)
    found.findings.to_csv(run.folder / "audit.csv", index=False)
    run.log(tags=found.facts)
    for line in found.lines:
        say(f"audit: {line}")
    if experiment.audit == "fail":
        found.refuse()
    return found.notes


def predict(experiment: Experiment, name: str, run: "TrackedRun") -> "tuple[Evaluation, list[str]]":
    """Fill a run: splits, predictions, models, evaluation; return the evaluation and what its reader has to know."""
    from src.evaluation.evaluation import evaluate
    from src.evaluation.slices import slice_facts
    from src.methods.samples import with_contents

    def record(name: str, value: float, step: int) -> None:
        run.log_steps(name, {step: value})

    say(f"{name}: data in {experiment.data.root}")
    manifest = with_contents(experiment.data.manifest(), experiment.data.root, experiment.method.workers, track)
    experiment.binary.positives([str(label) for label in manifest["label"].cat.categories])  # before any work
    facts = slice_facts(manifest, experiment.slices)
    splits = split(experiment, manifest, run)
    store = Path(experiment.store)
    leaks = audited(experiment, manifest, splits, store, run)
    outcome = experiment.method.predict(experiment, manifest, splits, store, track, record)
    predictions = outcome.predictions
    predictions.insert(list(predictions).index("label") + 1, "model", name)
    keep(outcome, [str(label) for label in manifest["label"].cat.categories], run)
    notes = experiment.data.notes(manifest) + leaks + remarks(experiment, outcome)
    evaluation = evaluate(predictions, experiment.binary, experiment.replicates, facts=facts)
    write(evaluation, run.folder, notes)
    run.log(
        metrics=evaluation.metrics, tags=outcome.facts | {"bad_images": len(outcome.bad), "notes": "; ".join(notes)}
    )
    run.log_steps("fold_accuracy", {int(str(k)): v for k, v in evaluation.fold_accuracy.items()})
    explain_examples(experiment, manifest, outcome, run)
    return evaluation, notes


def split(experiment: Experiment, manifest: "pd.DataFrame", run: "TrackedRun") -> "pd.DataFrame":
    """Return the splits, and keep them and the manifest."""
    splits = experiment.protocol.split(manifest)
    table = splits.to_csv(index=False).encode()
    (run.folder / "splits.csv").write_bytes(table)
    manifest.to_csv(run.folder / "manifest.csv", index=False)
    run.log(tags={"splits": hashlib.sha256(table).hexdigest(), "data": data_digest(manifest)})
    return splits


def keep(outcome: "Outcome", classes: list[str], run: "TrackedRun") -> None:
    """Write what a method returned into the run's folder."""
    outcome.roles.to_csv(run.folder / "roles.csv", index=False)
    outcome.predictions.to_parquet(run.folder / "predictions.parquet", index=False)
    if len(outcome.bad):
        outcome.bad.to_csv(run.folder / "bad_images.csv", index=False)
    models = run.folder / "model"
    models.mkdir()
    (models / "classes.json").write_text(json.dumps(classes))
    for stem, model in outcome.models.items():
        model.save(models / stem)


def explain_examples(experiment: Experiment, manifest: "pd.DataFrame", outcome: "Outcome", run: "TrackedRun") -> None:
    """Write what the models look at in a few cases of each class, right and wrong, as pictures."""
    from src.evaluation.explanations import choose, pictures

    if not experiment.examples:
        return
    chosen = choose(outcome.predictions, experiment.examples).merge(manifest[["sample", "content"]], on="sample")
    made = experiment.method.explain(experiment, chosen, dict(outcome.models), Path(experiment.store))
    for name, picture in pictures(chosen, list(track(made, "explaining", len(chosen)))):
        path = run.folder / "explanations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)


if __name__ == "__main__":
    command(main, "config")
