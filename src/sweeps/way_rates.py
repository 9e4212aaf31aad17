"""What can be tried on some data on this machine, and how long it would take: measured on a few of the images."""

import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from src.cell import plain_cell
from src.cli.evaluations import write_evaluation
from src.config import Experiment
from src.data.manifest import is_among
from src.data.reader import Reader
from src.data.splits import count_rarest
from src.encoders.device import resolve_device
from src.encoders.encoder import Encoder
from src.encoders.weights import without_network
from src.executors.local import Local
from src.images import BadImage
from src.sweeps.run_cell import CellInputs, open_store
from src.sweeps.way_plan import Candidate, Overrides, Source
from src.system.memory import available_memory

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from src.encoders.encoder import Extractor
    from src.images.stain import Image

FLOOR = "handcrafted"
"""The encoder that has learnt from nothing: what a network has to beat."""
WHOLE = "whole"
TILES = (400, 224)
SCALES = (0.5, 1.0)
"""Crops are of the first size, at the first scale, that every image has room for."""
CROPS = 8
"""Crops of an image where each is encoded by itself; with `crop.sharing=map` there are as many as ever."""
SEEN = 8
"""Images by which the rate of an encoder is measured, after two that are not counted."""
ROWS = 500
"""Cases, at most, of which a head learns where its time is measured: for more of them it is taken to grow alike."""
MEMORY = 3
"""Times the size of its weights is what an encoder needs."""
FINE_TUNED = 16
"""Images on which fine-tuning is measured."""
FINE_TUNED_RANK = 3
"""Where a plan takes fine-tuned networks, if its budget bears them: after the first heads of each encoder."""

Compose = Callable[[Overrides], Experiment]
"""Gives the experiment of a cell with some values."""


@dataclass(kw_only=True)
class Panel:
    """What may be tried (`hydra.sweeper` of `experiment=which_way`): options of the groups, the better known first."""

    encoders: list[str] = field(default_factory=list)
    grey: list[str] = field(default_factory=list)
    """Of images without colour these come first."""
    crops: list[str] = field(default_factory=list)
    """Options, or empty: the whole image, and crops of a size that fits."""
    heads: list[str] = field(default_factory=list)
    finetune: list[str] = field(default_factory=list)
    ways: int = 12
    """The most ways that are tried."""
    networks: int = 3
    """The most encoders that are tried, besides the floor."""


@dataclass(kw_only=True)
class Workbench:
    """Measures on this machine what the cells of an experiment take; `deadline` is when measuring has to end."""

    compose: Compose
    encoder: Callable[[str], Encoder]
    """Gives the encoder of an option."""
    inputs: CellInputs
    panel: Panel
    deadline: float
    absent: dict[str, str] = field(default_factory=dict)
    """Why encoders of the panel are not to be had."""
    unmeasured: list[str] = field(default_factory=list)
    """Encoders and crops that were not measured any more."""

    @cached_property
    def base(self) -> Experiment:
        """The experiment as it was given."""
        return self.compose({})

    @cached_property
    def workers(self) -> int:
        """Threads."""
        return self.base.method.workers

    @cached_property
    def images(self) -> int:
        """The number of images."""
        return len(self.inputs.manifest)

    @cached_property
    def shortest(self) -> int:
        """The shorter side of the smallest image, in pixels."""
        return min(map(min, self.inputs.sizes.values()), default=0)

    @cached_property
    def overhead(self) -> float:
        """Seconds that a cell takes besides what it learns: its evaluation, and its figures."""
        from src.evaluation.evaluation import evaluate

        began = time.monotonic()
        made = drawn_predictions(self.inputs)
        with TemporaryDirectory(prefix="tenfold-") as folder:
            found = evaluate(made, self.base.binary, self.base.replicates, facts=self.inputs.slices)
            write_evaluation(found, Path(folder), [])
        return time.monotonic() - began

    def facts(self) -> Iterator[str]:
        """Yield what is to be known of data and machine, in words."""
        manifest, sizes = self.inputs.manifest, sorted(set(self.inputs.sizes.values()))
        fewest, _ = count_rarest(manifest)
        ends = [f"{width} x {height}" for height, width in (sizes[0], sizes[-1])] if sizes else ["unknown"]
        colour = "in colour" if self.coloured else "in grey"
        known = "patients" if (manifest["patient"] != "").any() else "images (patients are unknown)"
        yield (
            f"{self.images} images of {' to '.join(dict.fromkeys(ends))} pixels {colour}, "
            f"{len(self.inputs.classes)} classes, the rarest of {fewest} {known}"
        )
        if self.converted:
            yield (
                f"images that are not 8-bit RGB, such as {self.converted}, are turned into it "
                "(data.convert=false refuses them)"
            )
        device = resolve_device(self.base.method.device, self.base.encoder)
        memory = f"{available_memory() / 2**30:.1f} GiB of memory free"
        yield f"{os.cpu_count()} processors, {memory}, {'no GPU' if device == 'cpu' else device}"

    @cached_property
    def coloured(self) -> bool:
        """Whether one of the first images of each class has colours."""
        return any((image != image[..., :1]).any() for _, image in self.first_images(self.base.data))

    @cached_property
    def converted(self) -> str:
        """Return the first image of a class that is turned into 8-bit RGB; empty where none of them is."""
        as_they_are = {sample for sample, _ in self.first_images(replace(self.base.data, convert=False))}
        return next((sample for sample, _ in self.first_images(self.base.data) if sample not in as_they_are), "")

    def first_images(self, data: Reader) -> "Iterator[tuple[str, Image]]":
        """Yield the first image of each class, with its name, as far as it can be had."""
        for sample in self.inputs.manifest.groupby("label", observed=True)["sample"].first():
            with suppress(BadImage):
                yield sample, data.read(sample)

    def candidates(self) -> tuple[list[Candidate], list[Source]]:
        """Return what could be tried, with its time, and the descriptors for it.

        Once the deadline is over no further encoder is measured; the floor and one are in any case.
        """
        found: list[Candidate] = []
        sources: list[Source] = []
        crops = self.crops()
        networks = list(self.networks())
        tasks = [(0, FLOOR, crops[-1])]  # of a whole image: it has no pass that crops could share
        tasks += [(1 + n + c, name, crop) for n, name in enumerate(networks) for c, crop in enumerate(crops)]
        for rank, encoder, crop in sorted(tasks, key=lambda task: task[0]):
            if len(sources) > 1 and time.monotonic() > self.deadline:
                self.unmeasured.append(f"{encoder} {crop['crop']}")
                continue
            bench = SourceBench(bench=self, overrides={"encoder": encoder, **crop})
            sources.append(bench.source)
            found += bench.heads(rank)
        return found + list(self.fine_tuned(networks)), sources

    def crops(self) -> list[Overrides]:
        """Return the crops to try: those that are asked for, or of a size that all images have room for."""
        if self.panel.crops:
            return [{"crop": crop} for crop in self.panel.crops]
        tile = fitting_tile(self.shortest)
        return [each for each in (tile, {"crop": WHOLE}) if each]

    def networks(self) -> Iterator[str]:
        """Yield the encoders to try: the first ones whose weights are here, and fit into memory."""
        taken = 0
        asked = [*([] if self.coloured else self.panel.grey), *self.panel.encoders]
        for name in dict.fromkeys(asked):
            if taken == self.panel.networks:
                break
            if why := self.why_not(name):
                self.absent[name] = why
            else:
                taken += 1
                yield name
        if not taken:
            raise ValueError(
                "no encoder's weights are here, and none is fetched unasked: give encoder=NAME encoder.weights=PATH, "
                "or take the environment of `make run`, which has EfficientNet-Lite's"
            )

    def why_not(self, name: str) -> str:
        """Return why an encoder cannot be tried; empty where it can."""
        try:
            with without_network():
                encoder = self.encoder(name)
                encoder.digest()
                path = encoder.locate() if hasattr(encoder, "locate") else None
        except (ValueError, ImportError) as error:
            return "its weights are not here" if "weights" in str(error) else str(error)
        if path is not None and MEMORY * path.stat().st_size > available_memory():
            return "too large for the memory"
        return ""

    def fine_tuned(self, networks: Sequence[str]) -> Iterator[Candidate]:
        """Yield the networks that could be trained further, each way of `panel.finetune` with the first encoder."""
        for option in self.panel.finetune:
            if not networks or (option == "lora" and importlib.util.find_spec("peft") is None):
                continue
            if time.monotonic() > self.deadline:
                self.unmeasured.append(f"{networks[0]} {option}")
                continue
            overrides = {"encoder": networks[0], "crop": WHOLE, "method": "finetune", "finetune": option}
            experiment = self.compose(overrides)
            per_image = measure_training(self, experiment)
            epochs = sum(phase.epochs for phase in experiment.finetune.stages()) or 1
            one = per_image * epochs * self.images
            yield Candidate(
                name=f"{experiment.encoder.label} {WHOLE} {'fine-tuned' if option == 'adamw' else option}",
                overrides=overrides,
                source="",
                seconds=one * self.fits * self.share + self.overhead,
                learns=one,
                predicts=per_image / 3,  # a forward pass of three: the backward one takes two
                rank=FINE_TUNED_RANK,
            )

    @property
    def folds(self) -> int:
        """The folds that are held out."""
        splits = self.inputs.splits
        return int(splits["fold"][splits["fold"] > 0].nunique())

    @property
    def share(self) -> float:
        """The share of all cases from which the models of a fold learn."""
        return 1 - 1 / max(2, self.folds)

    @property
    def fits(self) -> float:
        """The fits of a cell, those of inner folds on their part of the rows: k folds of (k - 1) / k are k - 1."""
        return self.folds * max(1, self.base.inner_folds) * len(self.base.seeds)


@dataclass(kw_only=True)
class SourceBench:
    """Measures an encoder with a crop, and the heads on its descriptors."""

    bench: Workbench
    overrides: Overrides

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment of a cell with them."""
        plain = self.bench.compose(self.overrides)
        if self.overrides["crop"] == WHOLE or self.bench.panel.crops:
            return plain
        shared = has_maps(self.extractor, self.bench.shortest)
        self.overrides |= {"crop.sharing": "map"} if shared else {"crop.count": str(CROPS)}
        return self.bench.compose(self.overrides)

    @cached_property
    def extractor(self) -> "Extractor":
        """The encoder, on its device."""
        encoder = self.bench.encoder(self.overrides["encoder"])
        return encoder.load(resolve_device(self.bench.base.method.device, encoder))

    @cached_property
    def name(self) -> str:
        """What it is called: Lite0-400, or Lite0 whole."""
        label, crop = self.experiment.encoder.label, self.experiment.crop
        return f"{label} {WHOLE}" if self.overrides["crop"] == WHOLE else f"{label}-{crop.size}"

    @cached_property
    def source(self) -> Source:
        """What the descriptors take: of a few images whose descriptors are not stored yet, which are then."""
        from src.recipes import descriptor_recipe

        cell, began = plain_cell(self.experiment), time.monotonic()
        wanted = descriptor_recipe(cell, cell.encoder.digest())
        held = open_store(self.experiment).held(wanted)
        known = {*held.samples, *held.notes}
        manifest = self.bench.inputs.manifest
        lacking = manifest[~is_among(manifest["content"], known)].drop_duplicates("content")
        loaded = time.monotonic() - began
        keep = len(lacking) >= SEEN + 2
        per_image = self.measure(spread_rows(lacking if keep else manifest, SEEN + 2), keep)
        return Source(
            name=self.name,
            overrides=self.overrides,
            seconds=len(lacking) * per_image + loaded if len(lacking) else 0.0,
            per_image=per_image,
        )

    def measure(self, rows: "pd.DataFrame", keep: bool) -> float:
        """Return the seconds of an image; what is encoded goes into the store, or where it is there already nowhere."""
        from src.methods.method import CellTask
        from src.recipes import descriptor_recipe
        from src.storage.store import Store

        cell = plain_cell(self.experiment)
        wanted = descriptor_recipe(cell, cell.encoder.digest())
        with TemporaryDirectory(prefix="tenfold-") as folder:
            store = open_store(self.experiment) if keep else Store(folder)
            parts = rows.iloc[:2], rows.iloc[2:] if len(rows) > 2 else rows
            for part in parts:
                task = CellTask(cell=cell, manifest=part, store=store, sizes=self.bench.inputs.sizes)
                began = time.monotonic()
                self.experiment.method.encode(task, wanted, lambda: self.extractor)  # type: ignore[attr-defined]
        return (time.monotonic() - began) / len(part)

    def heads(self, rank: int) -> Iterator[Candidate]:
        """Yield the ways of learning from these descriptors; of the floor the first two heads."""
        for place, head in enumerate(self.bench.panel.heads[: None if rank else 2]):
            own = self.overrides | {"classifier": head} | few_rows(head, self.bench)
            one = self.measure_head(own)
            yield Candidate(
                name=f"{self.name} {head}",
                overrides=own,
                source=self.source.name,
                seconds=one * self.bench.fits + self.bench.overhead,
                learns=self.source.per_image * self.bench.images + one * self.bench.workers,
                predicts=self.source.per_image,
                rank=rank + place + (3 if place and not rank else 0),
            )

    def measure_head(self, overrides: Overrides) -> float:
        """Return the seconds that a fit adds to those of other folds that run beside it, on made-up descriptors."""
        from src.data.splits import assign_roles
        from src.methods.frozen.frozen import Fits

        cell, inputs = plain_cell(self.bench.compose(overrides)), self.bench.inputs
        rows = spread_rows(inputs.manifest, ROWS)
        roles = assign_roles(inputs.manifest, inputs.splits, cell.training_patients, seed=cell.seed)
        folds = sorted(set(inputs.splits["fold"]) - {0})[: self.bench.workers]
        fits = Fits(
            replace(cell, seeds=cell.seeds[:1]), "", rows, made_up_descriptors(rows, self.extractor.length), roles, 1
        )
        began = time.monotonic()
        list(Local().map(fits, [(fold, cell.seeds[:1]) for fold in folds], self.bench.workers))
        return (time.monotonic() - began) / len(folds) * len(inputs.manifest) / len(rows)


def fitting_tile(shortest: int) -> Overrides:
    """Return crops of a size that images with this shorter side have room for; empty where there are none."""
    for size in TILES:
        for scale in SCALES:
            if shortest * scale >= size:
                return {"crop": f"half{size}", **({} if scale == SCALES[0] else {"crop.scale": str(scale)})}
    return {}


def few_rows(head: str, bench: Workbench) -> Overrides:
    """Return what boosted trees need of their leaves where there are few cases: else they could not split."""
    least = max(1, round(bench.images * bench.share / 20))
    return {"classifier.min_data_in_leaf": str(least)} if head == "lightgbm" and least < 20 else {}


def has_maps(extractor: "Extractor", shortest: int) -> bool:
    """Return whether an encoder can have all crops of an image share one pass."""
    import torch

    if not hasattr(extractor, "maps"):
        return False
    try:
        return bool(extractor.maps(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)))
    except ValueError:
        return False


def spread_rows(manifest: "pd.DataFrame", count: int) -> "pd.DataFrame":
    """Return so many rows, evenly spread over the classes and their images."""
    ordered = manifest.sort_values(["label", "sample"], kind="stable")
    if len(ordered) <= count:
        return ordered
    return ordered.iloc[[number * len(ordered) // count for number in range(count)]]


def made_up_descriptors(rows: "pd.DataFrame", length: int) -> "np.ndarray[Any, Any]":
    """Return descriptors (rows, 1, length), float32, that tell classes apart about as well as real ones do."""
    import numpy as np

    generator = np.random.default_rng(0)
    codes = rows["label"].cat.codes.to_numpy()
    centres = generator.normal(size=(codes.max() + 1, length))
    common = generator.normal(size=(len(rows), 20)) @ generator.normal(size=(20, length))  # descriptors hang together
    made = 0.3 * centres[codes] + 0.5 * common + generator.normal(size=(len(rows), length))
    return made[:, None].astype(np.float32)


def drawn_predictions(inputs: CellInputs) -> "pd.DataFrame":
    """Return made-up predictions of all cases and folds, as a run has them."""
    import numpy as np

    from src.data.splits import repeat_of_fold

    columns = inputs.manifest[["sample", "case", "patient", "view", "label"]]
    held = inputs.splits[inputs.splits["fold"] > 0][["case", "fold"]]
    table = columns.merge(held, on="case").assign(model="made up", seed=0)
    table.insert(5, "repeat", table["fold"].map(repeat_of_fold(inputs.splits)))
    drawn = np.random.default_rng(0).dirichlet(np.ones(len(inputs.classes)), len(table))
    return table.assign(**{f"p_{name}": drawn[:, place] for place, name in enumerate(inputs.classes)})


def measure_training(bench: Workbench, experiment: Experiment) -> float:
    """Return the seconds that an image takes in an epoch of fine-tuning, its inner folds left aside.

    Of two trainings on a few images, which differ by one epoch.
    """
    import numpy as np

    from src.methods.method import CellTask
    from src.storage.store import Store
    from src.training.parameters import Phase

    rows = spread_rows(bench.inputs.manifest, FINE_TUNED)
    cases = rows[["case"]].drop_duplicates()
    held = np.arange(len(cases)) % max(2, len(cases) // 2) == 0
    splits = cases.assign(repeat=1, fold=held.astype(np.int64))
    took = []
    for epochs in (1, 3):
        cell = plain_cell(experiment)
        cell.finetune = replace(cell.finetune, phases=[Phase(epochs=epochs)], validation=0.0, patience=0)
        with TemporaryDirectory(prefix="tenfold-") as folder:
            task = CellTask(cell=cell, manifest=rows, store=Store(folder), sizes=bench.inputs.sizes)
            began = time.monotonic()
            experiment.method.predict(task, splits)
            took.append(time.monotonic() - began)
    learnt = int((splits["fold"] == 0).sum())
    return max(took[1] - took[0], 0.1 * took[1]) / (2 * learnt)
