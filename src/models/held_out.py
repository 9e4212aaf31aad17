"""The images that a run held out, perturbed, and predicted by those of its models that have not seen them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.cell import Cell, perturbed_cell
from src.data.manifest import case_groups, list_cases, list_first
from src.evaluation.predictions import class_names, probability_columns
from src.evaluation.robustness import UNCHANGED, Setting
from src.images import BadImage
from src.images.perturb import is_grey
from src.images.stain import Image
from src.methods.fold_models import parse_model_name
from src.methods.preparation import samples_of
from src.models.prediction import with_digests
from src.models.saved import Member
from src.recipes import descriptor_recipe
from src.storage.store import Store, recipe_digest
from src.system.progress import Progress
from src.system.random_draws import keyed_generator


@dataclass(kw_only=True)
class HeldOut:
    """A fitted cell, what its run predicted of images that its models had not seen, and these images.

    recorded
        The run's predictions table, of the samples that are asked.
    images
        `sample, case, view, content`, samples being relative to `root`.
    """

    member: Member
    recorded: pd.DataFrame
    images: pd.DataFrame
    root: Path

    def predict(self, setting: Setting, store: Store, count: Callable[[int], None]) -> pd.DataFrame:
        """Return the predictions table of the images under a perturbation, each by the models of its fold.

        Images that cannot be treated so have no rows. `count` is told the number of images, fold by fold.
        """
        cell, said = self.cell(setting), [pd.DataFrame(columns=["sample", "fold", "seed"])]
        for fold, part in self.recorded.groupby("fold"):
            rows = self.images[self.images["sample"].isin(part["sample"])]
            applied = self.member.apply(rows, self.root, store, Progress(), cell, self.models(int(str(fold))))
            said += [applied.predictions] if len(applied.predictions) else []
            count(len(rows))
        columns = probability_columns(self.recorded)
        facts = self.recorded.drop(columns=columns)
        found = pd.concat([table for table in said if len(table)] or said)
        return facts.merge(found.reindex(columns=["sample", "fold", "seed", *columns]), on=["sample", "fold", "seed"])

    def cell(self, setting: Setting) -> Cell:
        """Return the cell as it reads images under a perturbation."""
        return self.member.cell if setting == UNCHANGED else perturbed_cell(self.member.cell, *setting)

    def models(self, fold: int) -> Mapping[str, Any]:
        """Return the models of a fold."""
        return {name: model for name, model in self.member.models.items() if parse_model_name(name)[1] == fold}

    @property
    def work(self) -> int:
        """How many images are predicted under a perturbation, one counting once for each repeat."""
        return len(self.recorded.drop_duplicates(["sample", "fold"]))

    def crops(self, settings: list[Setting], store: Store, planned: set[tuple[str, str]]) -> int:
        """Return how many crops the encoder sees under perturbations, without those that are stored, or `planned`.

        What it counts is planned from then on.
        """
        cell = self.member.cell
        if self.member.method.method_for(cell.encoder).trains:  # every fold's network sees its images, every time
            return len(settings) * self.work * self.seeds * cell.crop.count * cell.finetune.orientations
        each, found = cell.augment.count * cell.crop.count, 0
        for setting in settings:
            recipe = descriptor_recipe(self.cell(setting), self.member.weights)
            held, name = store.held(recipe), recipe_digest(recipe)
            missing = {(name, one.content) for one in samples_of(self.images) if one.content not in held} - planned
            planned |= missing
            found += each * len(missing)
        return found

    def grey(self, count: int) -> bool:
        """Return whether the first `count` images that can be read have no colours."""
        cell = replace(self.member.cell, data=replace(self.member.cell.data, root=str(self.root)))
        return all(map(is_grey, readable_images(cell, self.images["sample"].iloc[:count])))

    @property
    def seeds(self) -> int:
        """How many models of a fold there are."""
        return int(self.recorded["seed"].nunique())

    def deviation(self, unchanged: pd.DataFrame) -> float:
        """Return the largest difference of a probability from the one that the run recorded; infinite where one is
        missing."""
        if len(unchanged) < len(self.recorded):
            return float("inf")
        keys, columns = ["sample", "fold", "seed"], probability_columns(self.recorded)
        both = self.recorded.merge(unchanged, on=keys, suffixes=("", "_now"))
        now = both[[f"{name}_now" for name in columns]].to_numpy(dtype=np.float64)
        return float(np.abs(now - both[columns].to_numpy(dtype=np.float64)).max())


def hold_out(member: Member, recorded: pd.DataFrame, manifest: pd.DataFrame, root: Path, progress: Progress) -> HeldOut:
    """Return the images of a predictions table, read from `root`; `manifest` is the run's, as text.

    Errors: ValueError where an image is missing, or is another one than in the run.
    """
    check_classes(member, recorded)
    wanted = recorded.drop_duplicates("sample").sort_values("sample", ignore_index=True)[["sample", "case", "view"]]
    images, gone = with_digests(wanted, root, member.method.workers, progress)
    if len(gone):
        raise ValueError(
            f"{len(gone)} of {len(wanted)} images of run {member.name} are not in {root}: "
            f"{list_first(gone['sample'].tolist())}; give the folder that holds them by data.root=FOLDER"
        )
    known = manifest.set_index("sample")["content"]
    others = images["sample"][images["content"] != images["sample"].map(known)]
    if len(others):
        raise ValueError(
            f"{len(others)} of {len(wanted)} images in {root} are others than those of run {member.name}: "
            f"{list_first(others.tolist())}; give the folder that holds those by data.root=FOLDER"
        )
    return HeldOut(member=member, recorded=recorded, images=images, root=root)


def readable_images(cell: Cell, samples: Iterable[str]) -> Iterator[Image]:
    """Yield the images of samples that can be read."""
    for sample in samples:
        with suppress(BadImage):
            yield cell.read(sample)


def check_classes(member: Member, recorded: pd.DataFrame) -> None:
    """Raise `ValueError` where a run's model is not the one that made its predictions."""
    if class_names(recorded) != member.classes or recorded.empty:
        raise ValueError(f"model {member.name} has other classes than the predictions of its run: run the cell again")


def choose_cases(recorded: pd.DataFrame, images: int, seed: int = 0) -> set[str]:
    """Return the cases of so many images or a few more (0: all), those of a patient together.

    Patients are drawn by their names, each class giving about its share, so that more images hold the fewer.
    """
    group = case_groups(recorded)
    if not images:
        return set(group.index)
    labels = list_cases(recorded).set_index("case")["label"].groupby(group).first()
    draws = pd.Series([keyed_generator(seed, "stress", str(name)).random() for name in labels.index], labels.index)
    order = draws.groupby(labels).rank(pct=True).sort_values(kind="stable").index
    sizes = recorded.drop_duplicates("sample")["case"].map(group).value_counts()
    before = sizes[order].cumsum().shift(fill_value=0)
    return set(group.index[group.isin(order[before < images])])
