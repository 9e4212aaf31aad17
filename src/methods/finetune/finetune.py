"""Fine-tuning: a network with a new head, trained per view, fold and seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from src.cell import Cell
from src.data.splits import assign_roles
from src.encoders.device import resolve_device
from src.encoders.encoder import Encoder
from src.executors.executor import Executor
from src.executors.local import Local
from src.images.crop import MAP
from src.methods.finetune.fits import Learning, adapter_targets, check_transforms, fewest_images, jobs_of
from src.methods.finetune.images_in_memory import Images
from src.methods.finetune.trained_network import Descriptors, FineTuned, Probabilities, predict_rows
from src.methods.fold_models import (
    by_view,
    join_applied,
    join_predictions,
    leave_out,
    model_name,
    models_of,
    predictions_table,
    remaining_samples,
)
from src.methods.frozen.frozen import Frozen
from src.methods.likeness import Known
from src.methods.method import Applied, CellTask, Explanation, Fitted, Method, Outcome
from src.methods.preparation import note_enlarged, samples_of
from src.recipes import fit_recipe
from src.storage.store import recipe_digest
from src.system.checks import at_least

EPOCHS = "trained_epochs"
"""The fact of a run that says how many epochs it trained: none where all its networks were there."""


@dataclass(kw_only=True)
class FineTune(Method):
    """A network with a new head that is trained on the images (`finetune`): one per view, fold and seed.

    Fits follow one another. Each is kept in the store, and so is what a killed one has reached after its last epoch.
    """

    trains: ClassVar[bool] = True
    idle: ClassVar[tuple[str, ...]] = ("augment", "pool", "classifier")
    varied: ClassVar[tuple[str, ...]] = ("finetune",)

    memory: float = 4.0
    """Prepared images that are kept in memory, GiB; those beyond are prepared again for each epoch."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        at_least(0, memory=self.memory)

    def use(self, executor: Executor) -> None:
        """Have an executor do the work: networks are trained by this process only."""
        if not isinstance(executor, Local):
            raise ValueError(
                f"executor={type(executor).__name__.lower()} is for method=frozen; networks are trained with "
                "executor=local, cells of a sweep on machines of their own by hydra/launcher=submitit_slurm"
            )

    def predict(self, task: CellTask, splits: pd.DataFrame) -> Outcome:
        """Predict every held-out sample; an encoder that has nothing to train is used frozen, and the run says so."""
        cell, manifest = task.cell, task.manifest
        if not cell.encoder.trainable:
            outcome = self.frozen().predict(task, splits)
            used = f"{cell.encoder.label} has nothing to train: its descriptors went to the classifier"
            return replace(outcome, notes=[*outcome.notes, used])
        device = self.checked(cell)
        images, bad = self.prepared(task)
        kept = leave_out(manifest, bad)
        part = assign_roles(manifest, splits, cell.training_patients, cell.finetune.validation, cell.seed)
        jobs = [job for view, rows in by_view(cell, kept) for job in jobs_of(cell, view, rows, part)]
        training = Learning(task, images, device, self.workers)
        epochs = training.all(jobs)
        models = {job.name: training.model(job) for job in jobs}
        asked = [(job.name, models[job.name], job.report) for job in jobs]
        answers = list(zip(jobs, self.ask_each(task, images, asked, device), strict=True))
        tables = [predictions_table(job.report, predicted, job.fold, job.seed) for job, (predicted, _) in answers]
        # A network has learnt its own training images by heart: what it is to compare new ones to it has not seen.
        known = {
            job.name: Known.of(job.report, described, [*job.fit["content"], *job.stopping["content"]])
            for job, (_, described) in answers
        }
        facts: dict[str, str | int] = {"recipe": recipe_digest(fit_recipe(cell)), EPOCHS: epochs}
        notes = training.notes() + note_enlarged(cell, samples_of(kept), task.sizes)
        return Outcome(join_predictions(tables), models, part, bad, facts, notes, known)

    def load(self, file: Path, cell: Cell, classes: list[str]) -> Any:
        """Return a network, with its weights."""
        if not cell.encoder.trainable:
            return self.frozen().load(file, cell, classes)
        return FineTuned(file, cell.encoder, cell.finetune, classes)

    def apply(self, task: CellTask, fitted: Fitted) -> Applied:
        """Predict new samples."""
        cell = task.cell
        if not cell.encoder.trainable:
            return self.frozen().apply(task, fitted)
        images = Images(cell, self.memory, self.workers)
        bad = images.prepare(task)
        asked, keys = [], []
        for view, rows in by_view(cell, remaining_samples(task.manifest, bad)):
            for fold, seed, model in models_of(view, fitted.models):
                asked.append((model_name(view, fold, seed), model, rows))
                keys.append((fold, seed))
        parts, nearest = [], []
        answers = self.ask_each(task, images, asked, resolve_device(self.device, cell.encoder)) if asked else iter(())
        for (name, _, rows), key, (predicted, described) in zip(asked, keys, answers, strict=True):
            distances = fitted.known[name](described, rows["content"].tolist())
            parts.append((predictions_table(rows, predicted, *key), rows, distances))
            nearest.append(fitted.known[name].nearest(rows, described))
        return join_applied(parts, bad, nearest)

    def explain(self, task: CellTask, models: dict[str, Any]) -> Iterator[Explanation]:
        """Yield Grad-CAM and integrated gradients."""
        from src.methods.maps import explain_networks

        if not task.cell.encoder.trainable:
            yield from self.frozen().explain(task, models)
            return
        yield from explain_networks(task, models, resolve_device(self.device, task.cell.encoder))

    def prepared(self, task: CellTask) -> tuple[Images, pd.DataFrame]:
        """Return prepared images, and those that are bad; `ValueError` where they cannot be learnt from."""
        check_transforms(task)
        images = Images(task.cell, self.memory, self.workers)
        return images, images.prepare(task)

    def method_for(self, encoder: Encoder) -> Method:
        """Return this method, or that for encoders that cannot be trained."""
        return self if encoder.trainable else self.frozen()

    def frozen(self) -> Frozen:
        """Return the method for encoders that cannot be trained."""
        return Frozen(workers=self.workers, device=self.device)

    def checked(self, cell: Cell) -> str:
        """Return the device; `ValueError` where it cannot train so."""
        if cell.crop.sharing == MAP:
            raise ValueError(
                "crop.sharing=map is for frozen descriptors, and training changes the network with every step: take "
                "method=frozen, or crop.sharing=exact"
            )
        device = resolve_device(self.device, cell.encoder)
        encoder = cell.encoder
        frozen = {name: encoder.added[name] for name in ("backend", "precision") if encoder.trainable}
        if any(getattr(encoder, name) != usual for name, usual in frozen.items()):
            raise ValueError(
                "encoder.backend and encoder.precision are for frozen descriptors: fine-tuning has finetune.precision"
            )
        if cell.finetune.precision == "16-mixed" and device == "cpu":
            raise ValueError("finetune.precision=16-mixed needs a GPU: take 32-true, or bf16-mixed")
        encoder.check_size(cell.crop.size)
        fewest_images(cell, device)
        adapter_targets(cell, device)
        return device

    def ask_each(
        self, task: CellTask, images: Images, asked: list[tuple[str, FineTuned, pd.DataFrame]], device: str
    ) -> Iterator[tuple[Probabilities, Descriptors]]:
        """Yield what each model, of a name, says of its rows, by its stored weights."""
        import torch

        from src.training.torch_settings import compute_exactly

        cell = task.cell
        total = sum(len(rows) for _, _, rows in asked) * cell.crop.count
        orientations = cell.finetune.orientations
        with task.progress.counting("predicting crops", total) as count:
            network, last = None, None
            for _, model, rows in asked:
                alike = last is not None and (model.encoder, model.finetune) == (last.encoder, last.finetune)
                network, last = model.network(device, network if alike else None), model
                with compute_exactly(torch.device(device)):
                    answer = predict_rows(network, images, rows, cell.crop.count, orientations, count)
                yield answer
