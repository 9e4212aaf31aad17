"""Crops that share one map: how much faster than each by itself, and how far their descriptors move."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from src.cell import Cell
from src.classifiers.logistic import Logistic
from src.data.image_file import file_digest
from src.data.sets.folder import Folder
from src.data.splits import KFold
from src.encoders.device import resolve_device
from src.encoders.encoder import Extractor
from src.encoders.modules.window_means import Windows
from src.encoders.network_encoder import Network, NetworkEncoder
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
from tests.benchmarks.drawn_images import tissue, write_images
from tests.benchmarks.timing import Row, in_turns, time_text
from tests.support.encoders import made

SIZES = (400, 650)
"""Those of Rakhlin 2018, Table 1, of BACH's images at half the scale."""
COUNT = 20
AUGMENTATIONS = {"squeezenet": 2, "mobilenet": 2, "vgg": 1, "resnet": 1}
SHARED = Path(__file__).resolve().parents[3] / "shared"


def encoder(name: str, weights: str = "random") -> NetworkEncoder:
    """Return an option of conf/encoder."""
    found = made(name, weights=weights)
    assert isinstance(found, NetworkEncoder)
    return found


def ways(name: str, folder: Path, device: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return calls that extract a folder's images: with one map for both sizes, and every crop of both by itself."""
    augmentations = AUGMENTATIONS[name] if device == "cpu" else 50
    one = Cell(
        data=Folder(root=str(folder)),
        protocol=KFold(folds=2),
        stain=Macenko(),
        augment=StainJitter(count=augmentations),
        crop=Crop(size=SIZES[0], scale=0.5, count=COUNT),
        encoder=encoder(name),
        pool=PowerMean(),
        classifier=Logistic(),
        finetune=FineTuning(),
    )
    network = one.encoder.load(device)
    shared = replace(one.crop, sharing="map", together=list(SIZES))
    exact = [replace(one.crop, size=size) for size in SIZES]
    return (lambda: descriptors(one, [shared], network), lambda: descriptors(one, exact, network))


def descriptors(one: Cell, crops: list[Crop], network: Extractor) -> None:
    """Extract all images into a new store, with each kind of crops."""
    samples = [Sample(name, file_digest(Path(one.data.root) / name)) for name in one.data.manifest()["sample"]]
    with tempfile.TemporaryDirectory() as store:
        for crop in crops:
            each = replace(one, crop=crop)
            recipe = descriptor_recipe(each, "benchmark")
            work = Extraction(cell=each, store=Store(Path(store)), wanted=recipe, batch=COUNT, workers=2)
            for _ in extract_descriptors(work, samples, network):
                pass


def share() -> Iterator[Row]:
    """Extraction of 2048 x 1536 images, crops of 400 and 650 pixels at half the scale: one map against every crop."""
    device = resolve_device("auto", encoder("resnet"))
    for name in AUGMENTATIONS:
        with tempfile.TemporaryDirectory() as folder:
            shared, exact = ways(name, write_images(Path(folder) / "images", 2, 2048, 1536), device)
            fast, slow = in_turns(shared, exact, repeats=2)
            what = f"share a map on {device}, {name}, {COUNT} x {' and '.join(map(str, SIZES))}"
            yield what, time_text(fast), f"exact {time_text(slow)}", slow / fast


def drift() -> Iterator[Row]:
    """How far descriptors move that share a map, of the same windows: with real weights, on real and drawn images."""
    if not (SHARED / "weights").is_dir():
        return
    files = sorted((SHARED / "data" / "histology_sample").glob("*/*.png"))
    real = [image[..., ::-1] for file in files if (image := cv2.imread(str(file))) is not None]
    drawn = [cv2.resize(tissue(2048, 1536, seed), (1024, 768), interpolation=cv2.INTER_CUBIC) for seed in range(4)]
    settings = [("real 350 x 230", halves(real), 200), ("real 350 x 230", halves(real), 224)]
    settings += [("real 700 x 460", real, 224), ("real 700 x 460", real, 400)]
    settings += [("drawn 1024 x 768", drawn, size) for size in SIZES]
    for name in ("squeezenet", "mobilenet"):
        chosen = encoder(name, str(SHARED / "weights"))
        network = chosen.load(resolve_device("auto", chosen))
        for kind, images, size in settings:
            yield f"drift, {name}, {size} of {kind}", *drift_of(network, images, size), None


def halves(images: list[np.ndarray]) -> list[np.ndarray]:
    """Return images at half the scale."""
    return [cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC) for image in images]


def drift_of(network: Network, images: list[np.ndarray], size: int) -> tuple[str, str]:
    """Return in words the medians of descriptors' distance, and of those of images pooled over their crops."""
    windows = Windows(network, [size], network.encoder.label)
    distances, cosines, pooled = [], [], []
    for number, image in enumerate(images):
        ours, own = described(windows, network, image, size, number)
        distances.append(relative(ours, own))
        cosines.append(torch.cosine_similarity(torch.tensor(ours), torch.tensor(own)).numpy())
        pool = PowerMean(p=3)
        pooled.append(relative(pool(ours[None]), pool(own[None])))
    apart, alike, together = (float(np.median(np.concatenate(each))) for each in (distances, cosines, pooled))
    return f"distance {apart:.1%}, cosine {alike:.4f}", f"pooled by p=3: distance {together:.1%}"


def described(
    windows: Windows, network: Network, image: np.ndarray, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the descriptors of the same windows of an image: by one map, and of each crop by itself."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).to(network.device)
    grid = windows.split(windows(pixels[None]), (pixels.shape[1], pixels.shape[2]))[size][0].cpu().numpy()
    rows, columns = Crop(size=size, count=COUNT).cells(grid.shape[:2], seed, "benchmark", 0)
    places = sorted(set(zip(rows.tolist(), columns.tolist(), strict=True)))
    corners = [(row * windows.stride, column * windows.stride) for row, column in places]
    own = [network(pixels[None, :, top : top + size, left : left + size]).cpu() for top, left in corners]
    return np.stack([grid[place] for place in places]), torch.cat(own).numpy()


def relative(ours: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return by row the distance, relative to the norm."""
    return np.linalg.norm(ours - own, axis=1) / np.linalg.norm(own, axis=1)


PARTS = (share, drift)
