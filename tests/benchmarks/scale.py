"""Many samples without their images: seconds and memory of each stage as the number of samples grows.

`python -m tests.benchmarks scale` measures every stage at four sizes, each in a process of its own;
`python -m tests.benchmarks.scale STAGE SAMPLES FOLDER` measures one, on what `simulate` left in the folder.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.cell import Cell
from src.data.sets.table import Table
from src.evaluation.two_classes import Binary
from src.methods.method import CellTask
from src.storage.store import Recipe, Store
from src.system.progress import Progress
from src.tracking import CELL, SWEEP, Tracking
from tests.benchmarks.timing import Row, peak
from tests.support.predictions import roles_of

SIZES = (12_500, 25_000, 50_000, 100_000)
REPLICATES = 100
"""Draws of the bootstrap: time is linear in them, memory does not depend on them."""
CLASSES = ["benign", "in situ", "invasive", "normal"]
COLUMNS = ["magnification", "age"]
SHAPE = (1, 4, 64)
FOLDS, SEEDS = 5, (0, 1)
SIGNALS = {"ResNet-400": 1.0, "VGG-400": 1.3}
PROTOCOLS = {"kfold": "patient", "image_kfold": "case"}
COPIES = 100
"""One image of so many is a copy of another one, byte for byte, and as many are nearly one."""


@dataclass
class Simulation:
    """So many samples in a folder: three for two cases (one of which has two views), three cases for a patient."""

    folder: Path
    count: int

    @property
    def reader(self) -> Table:
        """The reader of the table of samples."""
        return Table(path=str(self.folder / "table.csv"), root=str(self.folder / "images"), classes=CLASSES)

    @property
    def cell(self) -> Cell:
        """Operators whose descriptors are stored; nothing is encoded."""
        from src.classifiers.logistic import Logistic
        from src.data.splits import KFold
        from src.encoders.pooling import PowerMean
        from src.encoders.torchvision import Torchvision
        from src.images.augment import NoAugment
        from src.images.crop import Crop
        from src.images.stain import NoStain
        from src.training.parameters import FineTuning

        return Cell(
            data=self.reader,
            protocol=KFold(folds=FOLDS),
            stain=NoStain(),
            augment=NoAugment(),
            crop=Crop(size=32, scale=1.0, count=SHAPE[1]),
            encoder=Torchvision(label="A", architecture="squeezenet1_1", weights="random", head=["classifier."]),
            pool=PowerMean(p=1),
            classifier=Logistic(),
            finetune=FineTuning(),
        )

    @property
    def recipe(self) -> Recipe:
        """The recipe of the stored descriptors."""
        from src.recipes import descriptor_recipe

        return descriptor_recipe(self.cell, self.cell.encoder.digest())

    @property
    def store(self) -> Store:
        """The store of descriptors and of hashes."""
        return Store(self.folder / "store")

    @property
    def tracking(self) -> Tracking:
        """The runs."""
        return Tracking(
            uri=f"sqlite:///{self.folder}/mlflow.db",
            artifacts=f"{self.folder}/artifacts",
            spool=f"{self.folder}/spool",
        )

    def manifest(self) -> pd.DataFrame:
        """The manifest with contents, made without reading a file."""
        table = pd.read_csv(self.folder / "table.csv", dtype=str, keep_default_na=False)
        return table.assign(label=pd.Categorical(table["label"], CLASSES), content=contents(self.count))

    def task(self, manifest: pd.DataFrame | None = None) -> CellTask:
        """What a method is given: all samples, unless others are given."""
        rows = self.manifest() if manifest is None else manifest
        return CellTask(cell=self.cell, manifest=rows, store=self.store)

    def splits(self, protocol: str = "kfold") -> pd.DataFrame:
        """Five folds, by patient or by case."""
        return splits_of(self.count, protocol)


def simulate(folder: Path, count: int) -> Simulation:
    """Leave samples, descriptors, hashes and the runs of a sweep in a folder."""
    made = lay(folder, count)
    track(made)
    return made


def lay(folder: Path, count: int) -> Simulation:
    """Leave samples, descriptors and hashes in a folder."""
    made, rows = Simulation(folder, count), table(count)
    for name in CLASSES:
        (folder / "images" / name).mkdir(parents=True)
    for sample, octets in zip(rows["sample"], files(count), strict=True):
        (folder / "images" / sample).write_bytes(octets)
    rows.to_csv(folder / "table.csv", index=False)
    fill(made)
    return made


def table(count: int) -> pd.DataFrame:
    """The table of samples: every other case has two views; a patient's cases share the class."""
    number = np.arange(count)
    case = number // 3 * 2 + (number % 3 == 2)
    patient = case // 3
    label = np.array(CLASSES)[patient % len(CLASSES)]
    return pd.DataFrame(
        {
            "sample": [f"{name}/{n:06d}.png" for name, n in zip(label, number, strict=True)],
            "case": [f"case {n:06d}" for n in case],
            "patient": [f"patient {n:06d}" for n in patient],
            "view": np.where(number % 3 == 1, "mlo", "cc"),
            "label": label,
            "magnification": np.array(["40X", "100X", "200X", "400X"])[case % 4],
            "age": [f"{decade}0s" for decade in 3 + patient % 5],
        }
    )


def files(count: int) -> Iterator[bytes]:
    """The bytes of each image: they are no image, and never decoded."""
    return (f"image {number - (number % COPIES == COPIES - 1)}".encode() for number in range(count))


def contents(count: int) -> list[str]:
    """The digest of each image's bytes."""
    return [hashlib.blake2b(octets, digest_size=16).hexdigest() for octets in files(count)]


def splits_of(count: int, protocol: str) -> pd.DataFrame:
    """Rows `case, fold`."""
    rows = table(count).drop_duplicates("case")
    unit = pd.factorize(rows[PROTOCOLS[protocol]])[0]
    return pd.DataFrame({"case": rows["case"], "repeat": 1, "fold": unit % FOLDS + 1}).reset_index(drop=True)


def fill(made: Simulation) -> None:
    """Store a descriptor of each sample, which tells of its class, and a perceptual hash."""
    from src.recipes import hash_recipe

    write_descriptors(made, made.store)
    generator, octets = np.random.default_rng(1), np.empty((0, 8, 32), np.uint8)
    wanted = hash_recipe(made.reader)
    for number, content in enumerate(contents(made.count)):
        if number % 1000 == 0:
            octets = generator.integers(0, 256, (1000, 8, 32), np.uint8)
        if number % COPIES == COPIES // 2:  # saved again: a few bits differ
            octets[number % 1000] = octets[number % 1000 - 1] ^ np.uint8(1)
        made.store.write(wanted, content, octets[None, number % 1000].astype(np.float32))


def write_descriptors(made: Simulation, store: Store) -> None:
    """Store a descriptor of each sample."""
    generator, wanted = np.random.default_rng(0), made.recipe
    codes = np.arange(made.count) // 3 * 2 // 3 % len(CLASSES)
    for content, code in zip(contents(made.count), codes, strict=True):
        descriptor = generator.random(SHAPE, np.float32)
        descriptor[..., code] += 0.2
        store.write(wanted, content, descriptor)


def predictions(count: int, protocol: str, signal: float, draw: int) -> pd.DataFrame:
    """Predictions of every sample, a row per seed."""
    rows = table(count)[["sample", "case", "patient", "view", "label"]]
    fold = rows["case"].map(splits_of(count, protocol).set_index("case")["fold"])
    truth = signal * np.eye(len(CLASSES))[pd.Categorical(rows["label"], CLASSES).codes]
    tables = []
    for seed in SEEDS:
        values = np.exp(truth + np.random.default_rng([draw, seed]).normal(size=truth.shape))
        values /= values.sum(axis=1, keepdims=True)
        columns = {f"p_{name}": values[:, number] for number, name in enumerate(CLASSES)}
        tables.append(rows.assign(model="m", fold=fold, seed=seed, **columns))
    return pd.concat(tables, ignore_index=True)


def track(made: Simulation) -> None:
    """Leave a sweep of two models and two protocols, one of which leaks, with all that its cells would leave."""
    tracking = made.tracking
    sweep = tracking.create("scale", SWEEP, tags={"sweep_keys": "encoder protocol"})
    for protocol in PROTOCOLS:
        for draw, (name, signal) in enumerate(SIGNALS.items()):
            tags = {"data": "d", "splits": protocol, "audit_patients": str(int(protocol != "kfold"))}
            with tracking.run(f"{name} protocol={protocol}", CELL, sweep, tags) as run:
                predictions(made.count, protocol, signal, draw).to_parquet(run.folder / "predictions.parquet")
                made.manifest().to_csv(run.folder / "manifest.csv", index=False)
                roles_of(made.splits(protocol)).to_csv(run.folder / "roles.csv", index=False)
                params = {"data": "csv", "method": "frozen", "encoder": name, "encoder.label": name}
                run.log(params | {"protocol": protocol, "slices": COLUMNS, "seeds": list(SEEDS)})
    tracking.end(sweep, "FINISHED")


def folder(made: Simulation) -> None:
    """Read a folder per class, and list new images."""
    from src.data.new_images import list_images
    from src.data.sets.folder import Folder

    assert len(Folder(root=str(made.folder / "images")).manifest()) == made.count
    assert len(list_images(made.folder / "images").images) == made.count


def manifest(made: Simulation) -> None:
    """Read the table, and every file's bytes."""
    from src.methods.image_reading import read_images
    from src.recipes import data_digest
    from src.tracking.datasets import describe_dataset

    found, _ = read_images(made.reader, made.reader.manifest(), made.store, 2, Progress())
    describe_dataset("scale", data_digest(found), made.reader.root, found)


def splits(made: Simulation) -> None:
    """Split by every protocol; tell roles, with a stopping part and so many training patients."""
    from src.data.splits import Holdout, ImageKFold, KFold, Published, assign_roles
    from src.recipes import splits_digest

    rows = made.manifest()
    for protocol in (KFold(folds=FOLDS), ImageKFold(folds=FOLDS), Holdout()):
        found = protocol.split(rows)
        splits_digest(found)
        assign_roles(rows, found, stopping=0.2)
        assign_roles(rows, found, patients=made.count // 15)
    path = made.folder / "folds.csv"
    made.splits().to_csv(path, index=False)
    Published(path=str(path)).split(rows)


def write(made: Simulation) -> None:
    """Store the descriptors, in a store of their own."""
    with tempfile.TemporaryDirectory(dir=made.folder) as place:
        write_descriptors(made, Store(Path(place)))


def listing(made: Simulation) -> None:
    """List the store, and ask it for every sample."""
    from src.methods.frozen.frozen import Frozen
    from src.store import list_recipes

    list(list_recipes(made.store))
    encoded, bad = Frozen(workers=2).encode(made.task(), made.recipe)
    assert encoded == 0
    assert bad.empty


def frozen(made: Simulation) -> None:
    """Pool, learn and predict by stored descriptors."""
    from src.methods.frozen.frozen import Frozen

    outcome = Frozen(workers=2).predict(made.task(), made.splits())
    assert len(outcome.predictions) == made.count


def prediction(made: Simulation) -> None:
    """Predict new images, in blocks, by what was learnt from a few; their distances to known ones."""
    from src.methods.frozen.frozen import Frozen
    from src.methods.likeness import distance_by_case
    from src.methods.method import Fitted
    from src.models.prediction import BLOCK

    method, rows, folds = Frozen(workers=2), made.manifest(), made.splits()
    few = rows.head(WARM)
    known = folds[folds["case"].isin(few["case"])]
    outcome = method.predict(made.task(few), known)
    fitted = Fitted(outcome.models, outcome.known, unasked)
    blocks = (rows.iloc[start : start + BLOCK] for start in range(0, len(rows), BLOCK))
    answers = [method.apply(made.task(block), fitted) for block in blocks]
    assert sum(len(answer.predictions) for answer in answers) == FOLDS * made.count
    distance_by_case(pd.concat([answer.distances for answer in answers]).assign(model="one"))


def unasked() -> Any:
    """No encoder is needed."""
    raise AssertionError


def audit(made: Simulation) -> None:
    """Look for patients, copies and near-copies on both sides of a split."""
    from src.methods.audit import audit_splits

    for protocol in PROTOCOLS:
        found = audit_splits(made.task(), made.splits(protocol))
        assert found.facts["audit_not_compared"] == 0


def evaluation(made: Simulation) -> None:
    """Evaluate a run, by slices and classes, too; draw and write it; choose examples."""
    from src.cli.evaluations import write_evaluation
    from src.evaluation.evaluation import evaluate
    from src.evaluation.map_figures import choose_examples
    from src.evaluation.per_class import class_table
    from src.evaluation.predictions import average_by_case
    from src.evaluation.slices import slice_facts

    found = predictions(made.count, "kfold", 1.0, 0)
    binary = Binary(positive=CLASSES[1:3])
    write_evaluation(
        evaluate(found, binary, REPLICATES, facts=slice_facts(made.manifest(), COLUMNS)), made.folder / "evaluation", []
    )
    choose_examples(found, 1)
    class_table(average_by_case(found))


def fusion(made: Simulation) -> None:
    """Fuse the cells of a sweep, by protocol, and write both side by side."""
    from src.cli.evaluations import write_groups
    from src.sweeps.fusion import fuse_sweep

    found = fuse_sweep(made.tracking, cells(made), ["encoder", "protocol"], REPLICATES)
    assert len(found.groups) == 2
    write_groups(found.groups, found.together, made.folder / "fusion")


def cells(made: Simulation) -> list[Any]:
    """The cells of the sweep."""
    return made.tracking.children(made.tracking.find("scale", SWEEP).id)


def comparison(made: Simulation) -> None:
    """Compare the cells of a sweep, with the optimism ledger."""
    from src.cli.verdicts import write_comparison
    from src.compare import of_sweep
    from src.config import Compare

    options = Compare(tracking=made.tracking, sweep="scale", replicates=REPLICATES)
    found = of_sweep(options, None)
    assert all(part.ledger["claimed"].notna().sum() >= 2 for part in found.parts)
    write_comparison(found, made.folder / "comparison")


def report(made: Simulation) -> None:
    """Write the page on a sweep."""
    from src.reporting.composition import compose_page
    from src.reporting.gathering import gather_report
    from src.reporting.page import render_page

    sweep = made.tracking.find("scale", SWEEP)
    render_page(compose_page(gather_report(made.tracking, sweep, cells(made), ["encoder", "protocol"], REPLICATES)))


Stage = Callable[[Simulation], None]
STAGES: dict[str, Stage] = {
    stage.__name__: stage
    for stage in (
        folder,
        manifest,
        splits,
        write,
        listing,
        frozen,
        prediction,
        audit,
        evaluation,
        fusion,
        comparison,
        report,
    )
}
WARM = 600
"""Samples of a first time that does not count: imports, and what is made once."""


def measured(stage: str, made: Simulation) -> dict[str, float]:
    """Seconds by the clock and of the processor, and MiB at the peak, of a stage in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.scale", stage, str(made.count), str(made.folder)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = subprocess.run(command, env=os.environ | one, capture_output=True, text=True, check=False)
    if process.returncode:
        raise RuntimeError(f"{stage} of {made.count} samples failed: {process.stderr[-4000:]}")
    found: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return found


def main(stage: str, count: str, place: str) -> None:
    """Measure one stage here, and print what it took."""
    with tempfile.TemporaryDirectory() as warm:
        STAGES[stage](simulate(Path(warm), WARM))
    before, start, worked = peak(), time.perf_counter(), time.process_time()
    STAGES[stage](Simulation(Path(place), int(count)))
    took = {"seconds": time.perf_counter() - start, "processor": time.process_time() - worked}
    print(json.dumps(took | {"memory": peak(), "before": before}))


def slope(sizes: Iterable[int], seconds: Iterable[float]) -> float:
    """The exponent of growth: 1 is linear, 2 quadratic."""
    return float(np.polyfit(np.log(list(sizes)), np.log(list(seconds)), 1)[0])


def growth(sizes: tuple[int, ...] = SIZES, stages: Iterable[str] = tuple(STAGES)) -> dict[str, list[dict[str, float]]]:
    """What each stage took at each size."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in stages}
    for count in sizes:
        with tempfile.TemporaryDirectory(prefix="tenfold-") as place:
            made = simulate(Path(place), count)
            for name, rows in found.items():
                rows.append(measured(name, made))
    return found


def scale(sizes: tuple[int, ...] = SIZES, stages: Iterable[str] = tuple(STAGES)) -> Iterator[Row]:
    """Each stage at the largest size, beside it the smaller ones; the ratio is to half as many: 2 is linear."""
    for name, rows in growth(sizes, stages).items():
        ours, half = rows[-1], rows[-2]
        exponent = slope(sizes, [row["processor"] for row in rows])
        every = ", ".join(f"{row['processor']:.1f} s {row['memory']:.0f} MiB" for row in rows[:-1])
        yield (
            f"{name}, {sizes[-1]:,} samples",
            f"{ours['processor']:.1f} s, {ours['memory']:.0f} MiB (grows by exponent {exponent:.2f})",
            f"{', '.join(f'{size:,}' for size in sizes[:-1])}: {every}",
            ours["processor"] / max(half["processor"], math.ulp(1.0)),
        )


PARTS = (scale,)

if __name__ == "__main__":
    main(*sys.argv[1:])
