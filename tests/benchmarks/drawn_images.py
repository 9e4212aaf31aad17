"""Drawn images in a folder, and the extraction of their descriptors as the paper has it: what several parts measure.

Needs the checkout and its packages alone.
"""

import os
import time
from pathlib import Path

import cv2
import numpy as np

from src.cell import Cell
from src.classifiers.logistic import Logistic
from src.data.image_file import file_digest
from src.data.sets.folder import Folder
from src.data.splits import KFold
from src.data.synthetic.tissue import draw_tissue, make_slide
from src.encoders.encoder import Encoder, Extractor
from src.encoders.pooling import PowerMean
from src.images.augment import StainJitter
from src.images.crop import Crop
from src.images.stain import Macenko
from src.methods.frozen.extraction import Extraction
from src.methods.frozen.extraction_work import extract_descriptors
from src.methods.preparation import Sample
from src.recipes import descriptor_recipe
from src.storage.store import Store
from src.training.parameters import FineTuning


def tissue(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A drawn H&E image."""
    generator = np.random.default_rng(seed)
    return draw_tissue("Benign", make_slide(generator), width, height, generator)


def write_images(folder: Path, count: int, width: int, height: int) -> Path:
    """A folder of drawn images in two classes; drawing is slow, so the same few stand under different bytes."""
    drawn = [tissue(width, height, seed) for seed in range(min(4, count))]
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:04d}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = drawn[number % len(drawn)].copy()
        image[0, 0] = number % 256, number // 256, 0
        cv2.imwrite(str(path), image, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    return folder


def cell(folder: Path, encoder: Encoder, size: int, augmentations: int, crops: int) -> Cell:
    """The paper's operators around an encoder."""
    return Cell(
        data=Folder(root=str(folder)),
        protocol=KFold(folds=2),
        stain=Macenko(),
        augment=StainJitter(count=augmentations),
        crop=Crop(size=size, scale=0.5, count=crops),
        encoder=encoder,
        pool=PowerMean(),
        classifier=Logistic(),
        finetune=FineTuning(),
    )


def extract_folder(
    one: Cell,
    network: Extractor,
    store: Path,
    batch: int,
    workers: int = os.cpu_count() or 1,
    seconds: float = float("inf"),
) -> int:
    """Extract the images of a cell's folder into a new store, for so long; return the number of crops."""
    names = one.data.manifest()["sample"]
    samples = [Sample(name, file_digest(Path(one.data.root) / name)) for name in names]
    recipe = descriptor_recipe(one, "benchmark")
    work = Extraction(cell=one, store=Store(store), wanted=recipe, batch=batch, workers=workers)
    until, done = time.perf_counter() + seconds, 0
    for crops in extract_descriptors(work, samples, network):
        done += crops
        if time.perf_counter() > until:
            break
    return done
