"""Extraction as a share of the bare encoder's rate, beside a plain loop, and its growth with images and workers."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import timm
import torch
from torch.utils.data import DataLoader, Dataset

from src.encoders.device import resolve_device
from src.encoders.timm import Timm
from src.encoders.torchvision import Torchvision
from tests.benchmarks.drawn_images import cell, extract_folder, write_images
from tests.benchmarks.images import BATCH, torchstains
from tests.benchmarks.timing import Row
from tests.support import transcription

ENCODERS = {
    "squeezenet": Torchvision(label="SqueezeNet", architecture="squeezenet1_1", weights="random", head=["classifier."]),
    "mobilenet": Timm(label="MobileNet", architecture="mobilenetv2_100", weights="random"),
    "resnet": Timm(label="ResNet", architecture="resnet50", weights="random"),
}
# The paper has 50 augmentations of an image that is decoded and normalised once; on a CPU, fewer for time's sake.
AUGMENTATIONS = {"squeezenet": 20, "mobilenet": 10, "resnet": 2}
SIZE, CROPS = 400, 20


def extraction() -> Iterator[Row]:
    """Extraction of 2048 x 1536 images, as BACH's, against the bare encoder on crops that lie ready."""
    device = resolve_device("auto", ENCODERS["resnet"])
    images = 2 if device == "cpu" else 20
    for name, encoder in ENCODERS.items():
        augmentations = AUGMENTATIONS[name] if device == "cpu" else 50
        with tempfile.TemporaryDirectory() as folder:
            one = cell(write_images(Path(folder) / "images", images, 2048, 1536), encoder, SIZE, augmentations, CROPS)
            network, total = encoder.load(device), images * augmentations * CROPS
            pixels = torch.randint(0, 256, (BATCH, SIZE, SIZE, 3), dtype=torch.uint8, device=device)
            ready = pixels.permute(0, 3, 1, 2)  # as the encoder takes them fastest
            # In turns, so that a drift of the machine's speed meets both.
            shares, rates = [], []
            for turn in range(4):
                start = time.perf_counter()
                for _ in range(total // BATCH):
                    network(ready).cpu()
                middle = time.perf_counter()
                extract_folder(one, network, Path(folder) / f"store{turn}", BATCH)
                end = time.perf_counter()
                shares.append((middle - start) / (end - middle))
                rates.append(total / (middle - start))
            share, rate = median(shares[1:]), median(rates[1:])
            what = f"extract 2048 x 1536 on {device}, {name}"
            yield what, f"{share * rate:.1f} crops/s", f"bare encoder {rate:.1f} crops/s", share


class PlainCrops(Dataset[torch.Tensor]):
    """A crop an item, as anyone would write it: each reads, normalises and augments its image."""

    def __init__(self, folder: Path, count: int) -> None:
        self.paths = sorted(folder.rglob("*.tif"))
        self.count = count
        self.normalise = torchstains()["torchstain, numpy"]

    def __len__(self) -> int:
        return len(self.paths) * self.count

    def __getitem__(self, number: int) -> torch.Tensor:
        draws = np.random.default_rng(number)
        image = cv2.cvtColor(cv2.imread(str(self.paths[number // self.count])), cv2.COLOR_BGR2RGB)
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
        jittered = transcription.jitter(self.normalise(image).astype(np.uint8), draws.uniform(0.7, 1.3, 2))
        crop = transcription.crops(jittered, SIZE, 1, draws)[0]
        pixels = torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 255
        return (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
            :, None, None
        ]


def plain_loop() -> Iterator[Row]:
    """Extraction of 2048 x 1536 images against a DataLoader of plain crops and timm's model."""
    device, workers = resolve_device("auto", ENCODERS["resnet"]), os.cpu_count() or 1
    for name, architecture in (("mobilenet", "mobilenetv2_100"), ("resnet", "resnet50")):
        with tempfile.TemporaryDirectory() as folder:
            images = write_images(Path(folder) / "images", 2, 2048, 1536)
            one = cell(images, ENCODERS[name], SIZE, 2, CROPS)
            network = ENCODERS[name].load(device)
            model = timm.create_model(architecture, pretrained=False, num_classes=0).eval().to(device)
            extract_folder(one, network, Path(folder) / "warm", BATCH)
            start = time.perf_counter()
            extract_folder(one, network, Path(folder) / "store", BATCH)
            middle = time.perf_counter()
            with torch.inference_mode():
                for pixels in DataLoader(PlainCrops(images, CROPS), batch_size=BATCH, num_workers=workers):
                    model(pixels.to(device)).cpu()
            end = time.perf_counter()
            ours, plain = 4 * CROPS / (middle - start), 2 * CROPS / (end - middle)
            what = f"extract 2048 x 1536 on {device}, {name}"
            yield what, f"{ours:.1f} crops/s", f"DataLoader and timm {plain:.1f} crops/s", ours / plain


GROWTH = """
import json, sys, time
from pathlib import Path
from tests.benchmarks.extraction import ENCODERS, cell, extract_folder
from tests.benchmarks.timing import peak
folder, workers = Path(sys.argv[1]), int(sys.argv[2])
encoder = ENCODERS["squeezenet"]
network = encoder.load("cpu")
start = time.perf_counter()
extract_folder(cell(folder / "images", encoder, 200, 2, 4), network, folder / f"store{workers}", 8, workers)
taken = time.perf_counter() - start
print(json.dumps([taken, peak()]))
"""


def grown(folder: str, workers: int) -> tuple[float, float]:
    """Seconds and peak MiB of a process that extracts a folder's images."""
    command = [sys.executable, "-c", GROWTH, folder, str(workers)]
    seconds, peak = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return seconds, peak


def growth() -> Iterator[Row]:
    """Time and peak memory of the extraction of 20 and of 200 images of 1024 x 768, and of more workers."""
    found = {}
    for count in (20, 200):
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder) / "images", count, 1024, 768)
            for workers in (1, 2, 4) if count == 20 else (2,):
                found[count, workers] = grown(folder, workers)
    (few, few_peak), (many, many_peak) = found[20, 2], found[200, 2]
    yield (
        "time an image, of 200",
        f"{1e3 * many / 200:.0f} ms",
        f"of 20 {1e3 * few / 20:.0f} ms",
        (many / 200) / (few / 20),
    )
    yield "memory, 200 images", f"{many_peak:.0f} MiB", f"20 images {few_peak:.0f} MiB", many_peak / few_peak
    for workers in (2, 4):
        (one, one_peak), (more, more_peak) = found[20, 1], found[20, workers]
        yield f"time, 20 images, {workers} workers", f"{more:.2f} s", f"one worker {one:.2f} s", one / more
        yield (
            f"memory, {workers} workers",
            f"{more_peak:.0f} MiB",
            f"one worker {one_peak:.0f} MiB",
            more_peak / one_peak,
        )


PARTS = (extraction, plain_loop, growth)
