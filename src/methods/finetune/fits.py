"""The fits of fine-tuning: what each learns from, and its training, which is kept in the store."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from src.cell import Cell
from src.data.splits import FIT, REPORT, STOPPING
from src.encoders.network_encoder import RANDOM, NetworkEncoder
from src.methods.finetune.images_in_memory import Images
from src.methods.finetune.trained_network import FineTuned, has_auxiliary, predict_rows, with_head
from src.methods.fold_models import check_classes, model_name, role_mask
from src.methods.method import CellTask
from src.methods.preparation import Sample, prefetch, samples_of, sizes_of
from src.recipes import fit_recipe
from src.storage.store import TRAINING, Recipe, recipe_digest
from src.system.random_draws import keyed_generator
from src.training.parameters import FineTuning

if TYPE_CHECKING:
    from torch import Tensor

    from src.training.fitting import Fit
    from src.training.network import NetworkWithHead
    from src.training.transforms import Pipeline

log = logging.getLogger(__name__)

DECIDING_CROPS = 4
"""Crops of an image that decides when to stop, at most: it is predicted after every epoch."""


@dataclass
class FitJob:
    """A fit: rows of the manifest to learn from, to stop by, and to predict."""

    view: str
    fold: int
    seed: int
    fit: pd.DataFrame
    stopping: pd.DataFrame
    report: pd.DataFrame

    @property
    def name(self) -> str:
        """The model's name."""
        return model_name(self.view, self.fold, self.seed)

    @property
    def labels(self) -> Any:
        """Codes of the labels to learn from."""
        return self.fit["label"].cat.codes.to_numpy(np.int64)

    @property
    def classes(self) -> list[str]:
        """The classes' names."""
        return [str(name) for name in self.fit["label"].cat.categories]


def jobs_of(cell: Cell, view: str, rows: pd.DataFrame, roles: pd.DataFrame) -> Iterator[FitJob]:
    """Yield the fits of a view: those of the folds that hold out rows of it, for each seed.

    Rows to learn from are in the order of their bytes, so that the names of files do not matter.
    """
    for fold in sorted(set(roles["fold"])):
        fit, stopping, report = (rows[role_mask(rows, roles, fold, role)] for role in (FIT, STOPPING, REPORT))
        if report.empty:
            continue
        check_classes(rows, roles, fold, view)
        if cell.finetune.validation and stopping.empty:
            raise ValueError(
                f"fold {fold} has no image{f' of view {view}' if view else ''} to stop by, once those missing or bad "
                "are left out: raise finetune.validation, or 0 trains without early stopping"
            )
        for seed in cell.seeds:
            yield FitJob(view, fold, seed, fit.sort_values(["content", "sample"]), stopping, report)


class Learning:
    """The fits of a run, one after the other."""

    def __init__(self, task: CellTask, images: Images, device: str, workers: int) -> None:
        self.cell, self.store, self.progress = task.cell, task.store, task.progress
        self.images, self.device, self.workers = images, device, workers
        self.shared = fit_recipe(self.cell)
        self.loose: set[str] = set()
        self.augment = transform_pipeline(self.cell.finetune)
        self.fewest = fewest_images(self.cell, device)
        self.targets = adapter_targets(self.cell, device)

    def all(self, jobs: list[FitJob]) -> int:
        """Train the networks that the store lacks; return how many epochs that took."""
        for job in jobs:
            self.replay(job)
        missing = [job for job in jobs if self.store.fit(self.recipe(job)) is None]
        if not missing:
            return 0
        fits = [self.fit(job) for job in missing]
        epochs = 0
        with self.progress.counting("training images", sum(fit.images() for fit in fits)) as count:
            for job, fit in zip(missing, fits, strict=True):
                epochs += self.train(job, fit, count)
        return epochs

    def recipe(self, job: FitJob) -> Recipe:
        """Return all that determines a fit."""
        rows = {
            role: sorted(part[["content", "label"]].astype(str).to_numpy().tolist())
            for role, part in ((FIT, job.fit), (STOPPING, job.stopping))
        }
        own = {
            "view": job.view,
            "fold": job.fold,
            "seed": job.seed,
            "classes": job.classes,
            "rows": recipe_digest(rows),
        }
        return self.shared | own

    def replay(self, job: FitJob) -> None:
        """Record the curves of a fit that is kept."""
        path = self.store.fit(self.recipe(job))
        if path is None:
            return
        for epoch, point in enumerate(json.loads((path.parent / TRAINING).read_text())["curves"], start=1):
            for curve, value in point.items():
                self.progress.point(f"{curve}/{job.name}", value, epoch)

    def fit(self, job: FitJob) -> "Fit":
        """Return the training of a fit, ready to begin."""
        from src.training.fitting import Fit, TrainingMaterial

        weights = class_weights(self.cell.finetune, job)
        material = TrainingMaterial(
            labels=job.labels,
            views=self.views(job),
            stopping=None if job.stopping.empty else lambda network: self.stopping_loss(network, job, weights),
            weights=weights,
        )
        return Fit(
            finetune=self.cell.finetune,
            material=material,
            key=(job.seed, job.view, job.fold),
            name=job.name,
            folder=self.store.place.folder / recipe_digest(self.recipe(job)),
            record=self.progress.point,
            fewest=self.fewest,
        )

    def train(self, job: FitJob, fit: "Fit", count: Callable[[int], None]) -> int:
        """Train and store one network, and return how many epochs that took; another process may do so meanwhile."""
        import torch

        from src.training.fitting import CHECKPOINT
        from src.training.torch_settings import compute_exactly

        wanted = self.recipe(job)
        folder = self.store.open(wanted)
        with (
            exclusive_training(folder, job.name),
            compute_exactly(torch.device(self.device)) as loose,
            count_up_to(fit.images(), count) as counted,
        ):
            if self.store.fit(wanted) is not None:
                self.replay(job)
                return 0
            trained = fit(self.classifier(job), counted)
            about = {"best_epoch": trained.best_epoch, "curves": trained.points}
            self.store.write_fit(wanted, trained.weights, self.facts(job), about)
            (folder / CHECKPOINT).unlink(missing_ok=True)
        self.loose |= set(loose)
        return trained.trained_epochs

    def classifier(self, job: FitJob) -> "NetworkWithHead":
        """Return the network before its training; crops that are too small for it are refused."""
        finetune = self.cell.finetune
        network = with_drawn_weights(self.cell, job.seed).load(self.device, auxiliary=has_auxiliary(finetune))
        network(next(self.views(job)([0], 1))[None])
        head = int(keyed_generator(job.seed, job.view, job.fold, "head").integers(2**32))
        return with_head(network, finetune, job.classes, head, self.targets)

    def views(self, job: FitJob) -> "Callable[[Iterable[int], int], Iterator[Tensor]]":
        """Return what yields the crops that a fit's images show in an epoch."""
        learnt = samples_of(job.fit)

        def of_epoch(numbers: Iterable[int], epoch: int) -> "Iterator[Tensor]":
            chosen = (learnt[number] for number in numbers)
            ahead = 2 * self.cell.finetune.batch
            return prefetch(lambda sample: self.shown(sample, job.seed, epoch), chosen, self.workers, ahead)

        return of_epoch

    def shown(self, sample: Sample, seed: int, epoch: int) -> "Tensor":
        """Return the crop that an image shows in an epoch; its draws hang on its bytes, the seed and the epoch only."""
        import torch

        image = self.images(sample)
        if self.augment is not None:
            pixels = image.permute(1, 2, 0).clone(memory_format=torch.contiguous_format)  # the image itself is kept
            made = self.augment(pixels.numpy(), seed, sample.content, epoch)
            image = torch.from_numpy(made).permute(2, 0, 1)
        if min(image.shape[1:]) < self.cell.crop.size:
            height, width = image.shape[1:]
            raise ValueError(
                f"finetune.transforms leave {width} x {height} pixels of {sample.name}, too few for "
                f"crop.size={self.cell.crop.size}"
            )
        return next(self.cell.crop(image, seed, sample.content, epoch))

    def stopping_loss(self, network: "NetworkWithHead", job: FitJob, weights: Float64[np.ndarray, " classes"]) -> float:
        """Return the mean loss of the images that decide when to stop, weighed by their classes."""
        count = min(self.cell.crop.count, DECIDING_CROPS)
        predicted, _ = predict_rows(network, self.images, job.stopping, count, 1, lambda _: None)
        codes = job.stopping["label"].cat.codes.to_numpy(np.int64)
        losses = -np.log(np.maximum(predicted[np.arange(len(codes)), codes], 1e-12))
        return float(np.average(losses, weights=weights[codes]))

    def model(self, job: FitJob) -> FineTuned:
        """Return a fit's network, which lies in the store."""
        path = self.store.fit(self.recipe(job))
        assert path is not None, "it was trained before"
        return FineTuned(path, self.cell.encoder, self.cell.finetune, job.classes)

    def facts(self, job: FitJob) -> dict[str, Any]:
        """Return what has to be known to use a fit's weights elsewhere."""
        head = {"hidden": self.cell.finetune.hidden, "dropout": self.cell.finetune.dropout}
        operators = {name: self.shared[name] for name in ("encoder", "crop", "stain")}
        return operators | {"classes": job.classes, "head": head, "view": job.view}

    def notes(self) -> list[str]:
        """Return what a reader of the run's figures has to know."""
        notes = []
        if self.targets:
            from src.training.adapters import list_ends

            where = f"{len(self.targets)} layers of {self.cell.encoder.label} ({list_ends(self.targets)})"
            notes.append(f"adapters of rank {self.cell.finetune.lora_rank} on {where}")
        if self.loose:
            names = ", ".join(sorted(self.loose))
            notes.append(f"not the same to the last bit when trained again on {self.device}: {names}")
        return notes


@contextmanager
def exclusive_training(folder: Path, name: str) -> Iterator[None]:
    """Keep other processes from training the same network meanwhile; wait for one that does."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s is being trained by another process: waiting for it", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def count_up_to(total: int, count: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Count steps towards a total, and add those that turned out not to be needed."""
    done = 0

    def counted(by: int) -> None:
        nonlocal done
        done += by
        count(by)

    yield counted
    count(total - done)


def with_drawn_weights(cell: Cell, seed: int) -> NetworkEncoder:
    """Return the encoder as a fit begins with it: random weights are each seed's own.

    But not under adapters: whoever loads them puts them on the cell's encoder.
    """
    encoder = cell.encoder
    assert isinstance(encoder, NetworkEncoder)
    if not encoder.untrained or cell.finetune.adapts:
        return encoder
    return replace(encoder, seed=int(keyed_generator(encoder.seed, seed, "weights").integers(2**32)))


def transform_pipeline(finetune: FineTuning) -> "Pipeline | None":
    """Return the training transforms, where there are some."""
    if not finetune.transforms:
        return None
    from src.training.transforms import Pipeline

    return Pipeline(finetune.transforms)


def fewest_images(cell: Cell, device: str) -> int:
    """Return how many images a batch must have; `ValueError` where it has fewer."""
    learning = cell.encoder.trainable and any(phase.trainable == "all" for phase in cell.finetune.stages())
    if cell.finetune.batch > 2 or not learning:
        return 1  # no batch has fewer than two, or batch normalisation is left as it is
    import torch

    from src.training.network import find_smallest_batch

    size = cell.crop.size
    blank = torch.zeros((3, size, size), dtype=torch.uint8)
    found = find_smallest_batch(with_drawn_weights(cell, 0).load(device), blank)
    if cell.finetune.batch < found:
        raise ValueError(
            f"batch normalisation has a single value of each channel of one image where {cell.encoder.label} is "
            f"trained on crop.size={size}, but got finetune.batch={cell.finetune.batch}: take finetune.batch=2 or "
            "more, a larger crop.size, or finetune.trainable=head"
        )
    return found


def adapter_targets(cell: Cell, device: str) -> list[str]:
    """Return the names of the layers that get adapters; `ValueError` where they cannot have any."""
    if not cell.finetune.adapts:
        return []
    import torch

    from src.training.adapters import find_targets, import_peft

    import_peft()
    blank = torch.zeros((3, cell.crop.size, cell.crop.size), dtype=torch.uint8)
    unfilled = replace(with_drawn_weights(cell, 0), weights=RANDOM).load(device)
    return find_targets(unfilled, cell.finetune.lora_targets, blank)


def check_transforms(task: CellTask) -> None:
    """Raise `ValueError` where the training transforms cannot be applied to the smallest of the images."""
    cell = task.cell
    if not (transforms := transform_pipeline(cell.finetune)):
        return
    least = cell.crop.size
    scaled = [cell.crop.scaled(*size) for size in sizes_of(task.samples, task.sizes).values()]
    if used := [size for size in scaled if min(size) >= least]:
        transforms.check(*min(used, key=min), least)


def class_weights(finetune: FineTuning, job: FitJob) -> Float64[np.ndarray, " classes"]:
    """Return how much an image of each class counts: 1, or the inverse of the class's share, whose mean is 1."""
    counts = np.bincount(job.labels, minlength=len(job.classes))
    if finetune.class_weights == "none":
        return np.ones(len(counts))
    return np.asarray(len(job.labels) / (len(counts) * counts), np.float64)
