"""Speed as ratios to something run beside it, in one table: `python -m tests.benchmarks`, or with names of parts."""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from src.classifiers.logistic import Logistic
from src.data.folder import Folder
from src.data.image import digest
from src.data.splits import KFold
from src.data.tissue import draw, slide
from src.encoders.encoder import Encoder
from src.encoders.network import Network
from src.encoders.pool import PowerMean
from src.encoders.timm import Timm
from src.encoders.torchvision import Torchvision
from src.images.augment import StainJitter, jitter, natural_density
from src.images.crop import Crop
from src.images.stain import Macenko, MacenkoReleased
from src.methods.cell import Cell, resolve
from src.methods.extraction import Sample, batches, extract, recipe
from src.store import Store
from tests.benchmarks import transcription

Row = tuple[str, str, str, float]
ENCODERS = {
    "squeezenet": Torchvision(label="SqueezeNet", architecture="squeezenet1_1", weights="random", head=["classifier."]),
    "resnet": Timm(label="ResNet", architecture="resnet50", weights="random"),
}


def seconds(function: Callable[[], object], repeats: int = 7) -> float:
    """Return the median of several calls, after one that does not count."""
    function()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return median(taken)


def tissue(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A drawn H&E image."""
    generator = np.random.default_rng(seed)
    return draw("Benign", slide(generator), width, height, generator)


def same(one: np.ndarray, other: np.ndarray) -> str:
    """How equal two images are."""
    difference = np.abs(one.astype(int) - other.astype(int))
    return f"{(difference == 0).mean():.3%} of values equal, none off by more than {difference.max()}"


def normalise() -> Iterator[Row]:
    """Stain normalisation of a 1024 x 768 image against the paper's formulas in plain NumPy."""
    image = tissue(1024, 768)
    for name, ours, plain in (
        ("macenko", Macenko(), transcription.macenko),
        ("macenko_released", MacenkoReleased(), transcription.macenko_released),
    ):
        fast, slow = seconds(lambda ours=ours: ours(image)), seconds(lambda plain=plain: plain(image), 5)
        note = same(ours(image), plain(image))
        yield (
            f"normalise 1024 x 768, {name}",
            f"{1e3 * fast:.1f} ms",
            f"transcription {1e3 * slow:.0f} ms; {note}",
            slow / fast,
        )


def augment() -> Iterator[Row]:
    """One colour augmentation and 20 crops of a 1024 x 768 image against plain NumPy, per augmentation."""
    image = tissue(1024, 768)
    planes = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    density, factors = natural_density(planes), np.array([0.8, 1.2])
    note = same(jitter(density, factors).permute(1, 2, 0).numpy(), transcription.jitter(image, factors))
    for size in (400, 650):
        crop, jitters = Crop(size=size, scale=0.5, count=20), StainJitter(count=10)

        def cut(crop: Crop = crop, jitters: StainJitter = jitters) -> Iterator[torch.Tensor]:
            for number, augmented in enumerate(jitters(planes, 0, "content")):
                yield from crop(augmented, 0, "content", number)

        def ours(cut: Callable[[], Iterator[torch.Tensor]] = cut) -> None:
            for _ in batches(cut(), 20):
                pass

        def plain(size: int = size) -> None:
            draws = np.random.default_rng(0)
            transcription.crops(transcription.jitter(image, draws.uniform(0.7, 1.3, 2)), size, 20, draws)

        fast, slow = seconds(ours) / 10, seconds(plain, 5)
        yield (
            f"augment and crop 20 x {size}",
            f"{1e3 * fast:.1f} ms",
            f"transcription {1e3 * slow:.0f} ms; {note}",
            slow / fast,
        )


def write_images(folder: Path, count: int, width: int, height: int) -> Path:
    """A folder of drawn images in two classes; drawing is slow, so the same few stand under different bytes."""
    drawn = [tissue(width, height, seed) for seed in range(4)]
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:04d}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = drawn[number % 4].copy()
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
    )


def extract_folder(one: Cell, network: Network, store: Path, batch: int) -> None:
    """Extract all images of a cell's folder into a new store."""
    names = one.data.manifest()["sample"]
    samples = [Sample(name, digest(Path(one.data.root) / name)) for name in names]
    wanted, workers = recipe(one, "benchmark"), os.cpu_count() or 1
    for _ in extract(one, samples, network, Store(store), wanted, batch, workers):
        pass


def extraction() -> Iterator[Row]:
    """Extraction of 2048 x 1536 images, as BACH's, against the bare encoder on crops that lie ready."""
    device, size, batch, crops = resolve("auto"), 400, 20, 20
    images = 2 if device == "cpu" else 20
    # The paper has 50 augmentations of an image that is decoded and normalised once; a slow encoder has fewer here.
    for (name, encoder), augmentations in zip(ENCODERS.items(), (10, 2) if device == "cpu" else (50, 50), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            one = cell(write_images(Path(folder) / "images", images, 2048, 1536), encoder, size, augmentations, crops)
            network = encoder.load(device)
            ready = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, device=device)
            total = images * augmentations * crops

            def bare(network: Network = network, ready: torch.Tensor = ready, batches: int = total // batch) -> None:
                for _ in range(batches):
                    network(ready).cpu()

            # In turns, so that a drift of the machine's speed meets both.
            shares, rates = [], []
            for turn in range(4):
                start = time.perf_counter()
                bare()
                middle = time.perf_counter()
                extract_folder(one, network, Path(folder) / f"store{turn}", batch)
                end = time.perf_counter()
                shares.append((middle - start) / (end - middle))
                rates.append(total / (middle - start))
            share, rate = median(shares[1:]), median(rates[1:])
            yield (
                f"extract 2048 x 1536 on {device}, {name}",
                f"{share * rate:.1f} crops/s",
                f"bare encoder {rate:.1f} crops/s",
                share,
            )


MEMORY = """
import re, sys
from pathlib import Path
from tests.benchmarks.__main__ import ENCODERS, cell, extract_folder
folder = Path(sys.argv[1])
encoder = ENCODERS["squeezenet"]
extract_folder(cell(folder / "images", encoder, 200, 2, 4), encoder.load("cpu"), folder / "store", 8)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def memory() -> Iterator[Row]:
    """Peak memory of the extraction of 20 and of 200 images of 1024 x 768."""
    peaks = {}
    for count in (20, 200):
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder) / "images", count, 1024, 768)
            process = subprocess.run([sys.executable, "-c", MEMORY, folder], capture_output=True, text=True, check=True)
            peaks[count] = int(process.stdout) / 1024
    yield "memory, 200 images", f"{peaks[200]:.0f} MiB", f"20 images {peaks[20]:.0f} MiB", peaks[200] / peaks[20]


def start_up() -> Iterator[Row]:
    """`--help` and `--cfg job` against an interpreter that imports pandas."""
    beside = seconds(lambda: subprocess.run([sys.executable, "-c", "import pandas"], check=True), 5)
    for arguments in (["--help"], ["--cfg", "job"]):
        command = [sys.executable, "-m", "src.run", *arguments]
        taken = seconds(lambda command=command: subprocess.run(command, check=True, capture_output=True), 5)
        yield " ".join(["start", *arguments]), f"{taken:.2f} s", f"import pandas {beside:.2f} s", taken / beside


PARTS = {part.__name__: part for part in (normalise, augment, extraction, memory, start_up)}


def main() -> None:
    """Measure the parts that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which parts (all)")
    table = Table("what", "ours", "beside it", "ratio")
    for name in parser.parse_args().parts or PARTS:
        for what, ours, beside, ratio in PARTS[name]():
            table.add_row(what, ours, beside, f"{ratio:.2f}")
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors{gpu}; medians")
    console.print(table)
    console.print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
