"""What a GPU does with all that can run on one, in eight minutes at most: `python -m tests.benchmarks gpu`.

It needs the checkout and its packages alone: images are drawn, weights come with the installation or are random. Every
part has its share of the time and is ended when that is over. Where there is no GPU the CPU does the same with less, so
that the script itself is known to work.
"""

import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src.cell import Cell
from src.classifiers.lightgbm import LightGBM
from src.encoders.device import resolve_device
from src.encoders.network_encoder import Network, NetworkEncoder
from src.encoders.pooling import PowerMean
from src.images.crop import MAP, Crop
from src.methods.crop_batches import crop_batches, encode_batches
from src.methods.finetune.trained_network import with_head
from src.methods.frozen.frozen import Frozen
from src.recipes import descriptor_recipe
from src.storage.store import Store
from src.training.fitting import Fit, TrainingMaterial
from src.training.parameters import FineTuning
from src.training.torch_settings import compute_exactly
from tests.benchmarks.boosting import problem
from tests.benchmarks.drawn_images import cell, extract_folder, tissue, write_images
from tests.benchmarks.timing import Row, once, time_text
from tests.support.encoders import made

SECONDS = 450.0
"""What all parts may take together; what comes before them, imports and drawn images, takes less than half a minute."""
NO_GPU = not torch.cuda.is_available()
DEVICE = torch.device("cpu" if NO_GPU else "cuda")
TOLERANCE = 1e-4
"""How far, relative to its norm, a descriptor in float32 may be on one device from the same on another."""
WEIGHTS = {"efficientnet_lite0": "imagenet", "resnet": "random", "inception": "random", "vgg": "random"}
"""The encoders that are measured: those of Table 1, and the one whose weights come with the installation."""
TRANSFORMER = "uni"
"""A transformer to measure on a GPU: a CPU would take minutes."""
LEARNING = "resnet18" if NO_GPU else "resnet"
"""The one that is trained, and that encodes all of BACH."""
SIZES = (400, 650)
BATCH = 4 if NO_GPU else Frozen().batch
AUGMENTATIONS, CROPS = 50, 20
BACH = 400
"""Images, of 2048 x 1536."""


class TimeIsUpError(Exception):
    """A part has had its time."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeIsUpError` after so long, as soon as Python is at work again."""

    def end(*_: object) -> None:
        raise TimeIsUpError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def in_time(measure: Callable[[float], Iterator[Row]], seconds: float) -> Iterator[Row]:
    """Yield the rows of a part until its time is over."""
    until = time.perf_counter() + seconds
    rows = measure(seconds)
    while True:
        try:
            with time_limit(until - time.perf_counter()):
                row = next(rows)
        except StopIteration:
            return
        except TimeIsUpError:
            yield f"{measure.__name__}: the rest", "not measured", f"its {seconds:.0f} s were over", None
            return
        except Exception as error:  # the other parts are measured all the same
            traceback.print_exc()
            yield f"{measure.__name__}: the rest", "FAILED", repr(error), None
            return
        yield row


def parts_within(seconds: float = SECONDS) -> Iterator[Callable[[], Iterator[Row]]]:
    """Yield the parts, each with its share of the time that is left."""
    until = time.perf_counter() + seconds
    left = sum(share for _, share in PARTS)
    for measure, share in PARTS:
        yield partial(in_time, measure, (until - time.perf_counter()) * share / left)
        left -= share


def wait() -> None:
    """Wait until the GPU has done all that it was asked for."""
    if not NO_GPU:
        torch.cuda.synchronize(DEVICE)


def rate(call: Callable[[], object], count: int, seconds: float) -> float:
    """Return how many things a second are done by a call that does `count`, measured for so long, after one call."""
    call()
    wait()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        call()
        done += count
    wait()
    return done / (time.perf_counter() - start)


def load(name: str, device: torch.device = DEVICE, **changes: Any) -> Network:
    """Return an encoder on a device."""
    encoder = made(name, weights=WEIGHTS.get(name, "random"), **changes)
    assert isinstance(encoder, NetworkEncoder)
    return encoder.load(resolve_device(str(device), encoder))


def encoders() -> list[str]:
    """Return the encoders to measure, the quickest first."""
    return ["efficientnet_lite0", "resnet18"] if NO_GPU else [*WEIGHTS, TRANSFORMER]


@cache
def images() -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """Return a folder with 20 images of BACH's size (2 where there is no GPU), and what deletes it at the end."""
    folder = tempfile.TemporaryDirectory()
    return write_images(Path(folder.name), 2 if NO_GPU else 20, 2048, 1536), folder


def bach_cell(encoder: NetworkEncoder, size: int) -> Cell:
    """Return the paper's operators on images of BACH's size; the mean pools descriptors below zero, too."""
    one = cell(images()[0], encoder, size, AUGMENTATIONS, CROPS)
    one.pool = PowerMean(p=1)
    return one


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return how far descriptors are from others, relative to their norm, at the most."""
    one, other = one.double().cpu(), other.double().cpu()
    return float(((one - other).norm(dim=1) / other.norm(dim=1)).max())


def verdict(apart: float, tolerance: float = TOLERANCE) -> str:
    """Return in words whether descriptors are equal to a tolerance."""
    return f"off by {apart:.1g}: {'equal' if apart <= tolerance else 'NOT EQUAL'} to {tolerance:g}"


def crops_of(image: np.ndarray, size: int, count: int) -> torch.Tensor:
    """Return random crops of an image (count, 3, size, size)."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    return torch.stack(list(Crop(size=size, scale=1, count=count)(pixels, 0, "benchmark", 0)))


def equality(seconds: float) -> Iterator[Row]:
    """Descriptors of this device against the CPU's in float32 and in double precision; extraction against its loop."""
    crops = crops_of(tissue(640, 480), 224, 4)
    for name in encoders():
        on_cpu = load(name, torch.device("cpu"))
        double = deepcopy(on_cpu.module).double()(on_cpu.prepare(crops).double())
        single, ours = on_cpu(crops), load(name)(crops.to(DEVICE))
        beside = f"the CPU's in double precision; the CPU's in single off by {relative(single, double):.1g}"
        yield f"descriptors of {name} on {DEVICE}", verdict(relative(ours, double)), beside, None
    yield from equal_extraction()


def equal_extraction() -> Iterator[Row]:
    """The whole extraction of an image: twice on this device, and on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_images(Path(folder) / "images", 2, 640, 480)
        encoder = made("efficientnet_lite0")
        one = cell(files, encoder, 128, 3, 5)
        made_by = [stored(one, device, Path(folder) / str(number)) for number, device in enumerate((DEVICE, DEVICE))]
        on_cpu = stored(one, torch.device("cpu"), Path(folder) / "cpu")
        same = "the same bytes" if torch.equal(*made_by) else "OTHER BYTES"
        # A jitter that rounds a pixel otherwise on another device moves a descriptor more than float32 does.
        yield f"extraction on {DEVICE}", verdict(relative(made_by[0], on_cpu), 1e-2), f"the CPU's; again {same}", None


def stored(one: Cell, device: torch.device, store: Path) -> torch.Tensor:
    """Return the descriptors of a cell's images as they are stored, a crop a row."""
    network = one.encoder.load(str(device))
    extract_folder(one, network, store, 4)
    recipe, kept = descriptor_recipe(one, "benchmark"), Store(store)
    found = [kept.read(recipe, content) for content in sorted(kept.held(recipe).samples)]
    return torch.from_numpy(np.concatenate(found).reshape(-1, network.length))


def extraction(seconds: float) -> Iterator[Row]:
    """BACH's images through each encoder, against the bare encoder on crops that lie ready on the device."""
    each = seconds / len(encoders()) / len(SIZES)
    for name in encoders():
        network = load(name)
        for size in SIZES:
            one = bach_cell(network.encoder, size)
            yield beside_bare(one, network, network, (BATCH, size, size), BATCH, each)


def maps(seconds: float) -> Iterator[Row]:
    """The same with one pass for all crops of both sizes (crop.sharing=map)."""
    names = [name for name in encoders() if name != TRANSFORMER]
    for name in names:
        network = load(name)
        one = bach_cell(network.encoder, SIZES[0])
        one.crop = replace(one.crop, sharing=MAP, together=list(SIZES))
        yield beside_bare(one, network, network.maps, (1, 768, 1024), CROPS, seconds / len(names))


def beside_bare(
    one: Cell,
    network: Network,
    bare: Callable[[torch.Tensor], object],
    shape: tuple[int, int, int],
    crops: int,
    seconds: float,
) -> Row:
    """Measure extraction between two measurements of what computes alone, on pixels that lie ready, and are `crops`."""
    ready = torch.randint(0, 256, (shape[0], *shape[1:], 3), dtype=torch.uint8, device=DEVICE).permute(0, 3, 1, 2)
    rates = [rate(lambda: bare(ready), crops, 0.15 * seconds)]
    with tempfile.TemporaryDirectory() as store:
        start = time.perf_counter()
        done = extract_folder(one, network, Path(store), BATCH, seconds=0.5 * seconds)
        ours = done / (time.perf_counter() - start)
    rates.append(rate(lambda: bare(ready), crops, 0.15 * seconds))
    share = ours / np.mean(rates)
    sizes = " and ".join(str(size) for size in one.crop.sizes)
    what = f"{network.encoder.label} on {DEVICE}, {sizes} pixels, crop.sharing={one.crop.sharing}"
    images_per_minute, whole = 60 * ours / CROPS / AUGMENTATIONS, BACH * AUGMENTATIONS * CROPS / ours
    figure = f"{ours:.1f} crops/s, {images_per_minute:.2f} images/min, all of BACH in {time_text(whole)}"
    return what, figure, f"bare {np.mean(rates):.1f} crops/s; {done} crops measured", float(share)


def precisions(seconds: float) -> Iterator[Row]:
    """The bare encoder in other precisions, with larger batches, and with the colours of pixels apart."""
    each = seconds / len(encoders()) / 6
    for name in encoders():
        crops = crops_of(tissue(640, 480), 224, BATCH).to(DEVICE)
        plain = load(name)
        beside = rate(partial(plain, crops), BATCH, each)
        for precision in ("bfloat16", *(() if NO_GPU else ("float16",))):
            narrow = load(name, precision=precision)
            found = rate(partial(narrow, crops), BATCH, each)
            note = f"float32 {beside:.1f} crops/s; descriptors off by {relative(narrow(crops), plain(crops)):.1g}"
            yield f"{name} 224, {precision}", f"{found:.1f} crops/s", note, found / beside
        if not NO_GPU:
            many = crops.repeat(8, 1, 1, 1)
            found = rate(partial(plain, many), len(many), each)
            yield f"{name} 224, batch {len(many)}", f"{found:.1f} crops/s", f"{BATCH}: {beside:.1f}", found / beside
        yield layouts(name, plain, plain.prepare(crops), each)


def layouts(name: str, network: Network, pixels: torch.Tensor, seconds: float) -> Row:
    """Measure a network on pixels whose channels lie side by side, as ours do, and on others."""
    apart = load(name)
    apart.module.to(memory_format=torch.contiguous_format)
    ours = rate(partial(network._forward, pixels), len(pixels), seconds)
    found = rate(partial(apart._forward, pixels.contiguous()), len(pixels), seconds)
    return f"{name} 224, channels side by side", f"{ours:.1f} crops/s", f"apart {found:.1f} crops/s", ours / found


def training(seconds: float) -> Iterator[Row]:
    """Images a second of fine-tuning by precision, against full float32."""
    beside = None
    for precision in ("32-true", "bf16-mixed", *(() if NO_GPU else ("16-mixed",))):
        images_each_second, loss, loose = train(precision)
        note = f"32-true {beside or images_each_second:.1f} images/s; loss {loss:.3f}"
        note += f"; in no fixed order: {', '.join(loose)}" if loose else ""
        yield (
            f"fine-tune {LEARNING} 224 on {DEVICE}, {precision}",
            f"{images_each_second:.1f} images/s",
            note,
            images_each_second / (beside or images_each_second),
        )
        beside = beside or images_each_second


def train(precision: str) -> tuple[float, float, list[str]]:
    """Return the images a second of a training after its first two steps, its loss, and what has no fixed order."""
    batch, steps = (4, 4) if NO_GPU else (32, 30)
    shown = crops_of(tissue(640, 480), 224, 8)
    marks: list[tuple[float, int]] = []

    def moved(count: int) -> None:
        if len(marks) in (1, steps - 1):  # elsewhere the GPU is not waited for, as in a run
            wait()
        marks.append((time.perf_counter(), count))

    finetune = FineTuning(epochs=1, batch=batch, precision=precision)
    with tempfile.TemporaryDirectory() as folder, compute_exactly(DEVICE) as loose:
        material = TrainingMaterial(
            labels=np.arange(batch * steps) % 2,
            views=lambda numbers, _: (shown[number % len(shown)] for number in numbers),
            stopping=None,
            weights=np.ones(2),
        )
        fit = Fit(
            finetune=finetune,
            material=material,
            key=(0,),
            name="benchmark",
            folder=Path(folder),
            record=lambda *_: None,
        )
        trained = fit(with_head(load(LEARNING), finetune, ["a", "b"], 0), moved)
    counted = sum(count for _, count in marks[2:])
    return counted / (marks[-1][0] - marks[1][0]), trained.points[-1]["training_loss"], sorted(set(loose))


def boosting(seconds: float) -> Iterator[Row]:
    """Boosted trees of LightGBM and XGBoost on the CPU and by their builds for GPUs."""
    rows = 1_000 if NO_GPU else 10_000
    features, labels = problem(rows)
    by_cpu = once(lambda: LightGBM(rounds=10).fit(features, labels, 4, 1, [0]))
    yield f"LightGBM, {rows} x {features.shape[1]}, 10 rounds", time_text(by_cpu), "the CPU, one thread", None
    for device in ("cuda", "gpu"):
        try:
            LightGBM(device=device).check("", "")
        except ValueError as error:
            yield f"LightGBM, device={device}", "not here", str(error).partition(":")[0], None
            continue
        found = once(lambda: LightGBM(rounds=10, device=device).fit(features, labels, 4, 1, [0]))  # noqa: B023
        yield f"LightGBM, device={device}", time_text(found), f"the CPU {time_text(by_cpu)}", by_cpu / found
    yield from boost_by_xgboost(features, labels)


def boost_by_xgboost(features: np.ndarray, labels: np.ndarray) -> Iterator[Row]:
    """XGBoost's trees, which its wheel grows on GPUs."""
    if find_spec("xgboost") is None:
        yield "XGBoost", "not here", "`make xgboost` installs it", None
        return
    import xgboost

    def boost(device: str) -> np.ndarray:
        parameters = {"objective": "multi:softprob", "num_class": 4, "max_depth": 7, "device": device, "nthread": 1}
        data = xgboost.QuantileDMatrix(features, labels)
        found: np.ndarray = xgboost.train(parameters, data, 10).predict(data)
        return found

    by_cpu = once(lambda: boost("cpu"))
    yield f"XGBoost, {len(features)} x {features.shape[1]}, 10 rounds", time_text(by_cpu), "the CPU, one thread", None
    if not NO_GPU:
        boost("cuda")
        found = once(lambda: boost("cuda"))
        apart = float(np.abs(boost("cuda") - boost("cpu")).mean())
        note = f"the CPU {time_text(by_cpu)}; probabilities differ by {apart:.1g}"
        yield "XGBoost, device=cuda", time_text(found), note, by_cpu / found


class Narrow:
    """An encoder that notes the batches it encodes, and where there is no GPU lacks memory for more than three."""

    def __init__(self, network: Network) -> None:
        self.network, self.length, self.device = network, network.length, network.device
        self.batches: list[int] = []

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        if NO_GPU and len(crops) > 3:
            raise torch.OutOfMemoryError("feigned: there is no GPU")
        found = self.network(crops)
        self.batches.append(len(crops))
        return found


def memory(seconds: float) -> Iterator[Row]:
    """Batches that do not fit the memory, which is limited for it: they are halved, and nothing is lost."""
    network, size, batch = load(LEARNING), 224 if NO_GPU else 400, 8 if NO_GPU else 256
    crops = crops_of(tissue(1024, 768), size, batch).to(DEVICE)
    expected = torch.cat([network(part).cpu() for part in crops.split(4)])
    narrow = Narrow(network)
    with limited_memory(partial(network, crops[: batch // 8])):
        found = torch.cat(list(encode_batches(narrow, crop_batches(crops, batch))))
    largest = f"batches of {max(narrow.batches)} instead of {batch}"
    if max(narrow.batches) == batch:
        largest += ": NOTHING WAS HALVED"
    limit = "the memory is that of an eighth of the batch, and half more"
    how = "feigned, as there is no GPU" if NO_GPU else limit
    yield f"out of memory on {DEVICE}", f"{largest}; {verdict(relative(found, expected))}", how, None


@contextmanager
def limited_memory(call: Callable[[], object]) -> Iterator[None]:
    """Have no more of the GPU's memory than half more than a call takes."""
    if NO_GPU:
        yield
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(DEVICE)
    call()
    room = 1.5 * torch.cuda.max_memory_reserved(DEVICE) / torch.cuda.get_device_properties(DEVICE).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(room, DEVICE)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, DEVICE)


def bach(seconds: float) -> Iterator[Row]:
    """All of BACH, from as many of 20 images as the time allows: read, normalised, augmented, cropped and encoded."""
    network = load(LEARNING)
    one = bach_cell(network.encoder, SIZES[0])
    one.crop = replace(one.crop, sharing=MAP, together=list(SIZES))
    with tempfile.TemporaryDirectory() as store:
        start = time.perf_counter()
        done = extract_folder(one, network, Path(store), BATCH, seconds=0.8 * seconds)
        taken = (time.perf_counter() - start) / done * BACH * AUGMENTATIONS * CROPS
    beside = f"from {done / AUGMENTATIONS / CROPS:.2f} images of 2048 x 1536; both sizes, by one map"
    yield f"all of BACH, {network.encoder.label} on {DEVICE}", time_text(taken), beside, None


PARTS = (
    (equality, 40),
    (memory, 15),
    (training, 60),
    (boosting, 50),
    (precisions, 60),
    (extraction, 120),
    (maps, 60),
    (bach, 40),
)
"""What is measured, and its share of the time."""
