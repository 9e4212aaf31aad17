"""Speed of preparing images: every stage against the plain transcription, and torchstain where it has the stage."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer
from torchstain.torch.normalizers import TorchMacenkoNormalizer

from src.data import image_file as files
from src.images.augment import StainJitter, jitter_stains, natural_density
from src.images.crop import Crop
from src.images.stain import Macenko, MacenkoReleased
from src.methods.crop_batches import crop_batches
from tests.benchmarks.drawn_images import tissue
from tests.benchmarks.timing import Row, elsewhere, in_turns
from tests.support import transcription

REPEATS = 7
BATCH = 20
IMAGE = "from tests.benchmarks import images; image = images.tissue(1024, 768)"
"""Makes the image that is worked on, in a process of its own."""


def same(one: np.ndarray, other: np.ndarray) -> str:
    """How equal two images are."""
    difference = np.abs(one.astype(int) - other.astype(int))
    return f"{(difference == 0).mean():.3%} equal, none off by more than {difference.max()}"


def row(what: str, ours: float, beside: str, other: float, note: str) -> Row:
    """A row of two times in seconds."""
    return what, f"{1e3 * ours:.1f} ms", f"{beside} {1e3 * other:.1f} ms; {note}", other / ours


def read() -> Iterator[Row]:
    """Reading a 2048 x 1536 image, as BACH's, against what anyone would write."""
    pixels = tissue(2048, 1536)
    with tempfile.TemporaryDirectory() as folder:
        for kind, arguments in (("tif", {}), ("png", {"compress_level": 1})):
            path = Path(folder) / f"image.{kind}"
            Image.fromarray(pixels).save(path, **arguments)

            def pillow(path: Path = path) -> np.ndarray:
                return np.array(Image.open(path).convert("RGB"))

            def opencv(path: Path = path) -> np.ndarray:
                return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)

            ours, *others = in_turns(lambda path=path: files.read(path), pillow, opencv, repeats=REPEATS)
            for name, plain, other in zip(("Pillow", "OpenCV"), (pillow, opencv), others, strict=True):
                yield row(f"read 2048 x 1536, {kind}", ours, name, other, same(files.read(path), plain()))


def scale() -> Iterator[Row]:
    """Halving a 2048 x 1536 image against Pillow's cubic interpolation, which averages where it shrinks."""
    pixels, crop = tissue(2048, 1536), Crop(size=400, scale=0.5)

    def pillow() -> np.ndarray:
        return np.asarray(Image.fromarray(pixels).resize((1024, 768), Image.Resampling.BICUBIC))

    ours, other = in_turns(lambda: crop.rescale(pixels), pillow, repeats=REPEATS)
    yield row("scale 2048 x 1536 by 0.5", ours, "Pillow", other, "another interpolation by intent")


Normaliser = Callable[[np.ndarray], np.ndarray]
NORMALISERS: dict[str, Normaliser] = {
    "macenko": Macenko(),
    "macenko_all": Macenko(mask="all", density=0.15),  # torchstain's mask
    "macenko_released": MacenkoReleased(),
}


def others(name: str) -> dict[str, Normaliser]:
    """What stands beside a normaliser: the paper's formulas in plain NumPy, and torchstain's where it has the same."""
    plain: dict[str, Normaliser] = {"transcription": getattr(transcription, name)}
    return plain | (torchstains() if name == "macenko_all" else {})


def torchstains() -> dict[str, Normaliser]:
    """torchstain's Macenko by backend, with our reference stains and maxima."""
    of_numpy, of_torch = NumpyMacenkoNormalizer(), TorchMacenkoNormalizer()
    of_numpy.HERef, of_numpy.maxCRef = transcription.STAINS, transcription.MAXIMA
    of_torch.HERef = torch.tensor(transcription.STAINS, dtype=torch.float32)
    of_torch.maxCRef = torch.tensor(transcription.MAXIMA, dtype=torch.float32)
    options: dict[str, Any] = {"Io": 240, "alpha": 1, "beta": 0.15, "stains": False}

    def by_torch(image: np.ndarray) -> np.ndarray:
        return of_torch.normalize(torch.from_numpy(image).permute(2, 0, 1), **options)[0].numpy()

    by_numpy: Normaliser = lambda image: of_numpy.normalize(image, **options)[0]  # noqa: E731
    return {"torchstain, numpy": by_numpy, "torchstain, torch": by_torch}


def normalise() -> Iterator[Row]:
    """Stain normalisation of a 1024 x 768 image against the paper's formulas in plain NumPy, and torchstain's."""
    image = tissue(1024, 768)
    for name, ours in NORMALISERS.items():
        beside = others(name)
        with ExitStack() as stack:
            setups = (f"{IMAGE}; run = images.others({name!r})[{other!r}]" for other in beside)
            runs = [stack.enter_context(elsewhere(setup, "run(image)")) for setup in setups]
            fast, *slow = in_turns(lambda ours=ours: ours(image), *runs, repeats=REPEATS, warm=True)
        for (other, run), seconds in zip(beside.items(), slow, strict=True):
            yield row(f"normalise 1024 x 768, {name}", fast, other, seconds, same(ours(image), run(image)))


def planar(image: np.ndarray) -> torch.Tensor:
    """An image as extraction passes it on: (3, height, width), channels side by side."""
    return torch.from_numpy(image).permute(2, 0, 1)


def augment() -> Iterator[Row]:
    """One colour augmentation of a 1024 x 768 image against plain NumPy, one of one and one of fifty."""
    image, factors = tissue(1024, 768), np.array([0.8, 1.2])
    note = same(
        jitter_stains(natural_density(planar(image)), factors).permute(1, 2, 0).numpy(),
        transcription.jitter(image, factors),
    )
    for count in (1, 50):
        jitters = StainJitter(count=count)
        with elsewhere(IMAGE, f"images.transcription.jitter(image, images.np.array({factors.tolist()}))") as plain:
            ours, other = in_turns(lambda j=jitters: list(j(planar(image), 0, "")), plain, repeats=5, warm=True)
        yield row(f"augment 1024 x 768, one of {count}", ours / count, "transcription", other, note)


def cut(image: np.ndarray, jitters: StainJitter, crop: Crop) -> None:
    """Augment an image and cut it into batches."""
    augmented = enumerate(jitters(planar(image), 0, "content"))
    for _ in crop_batches((crop.cut(each, 0, "content", number) for number, each in augmented), BATCH):
        pass


def plainly_cut(image: np.ndarray, size: int, count: int) -> None:
    """One augmentation and its crops, in plain NumPy."""
    draws = np.random.default_rng(0)
    transcription.crops(transcription.jitter(image, draws.uniform(0.7, 1.3, 2)), size, count, draws)


def crop() -> Iterator[Row]:
    """Colour augmentations and their crops of a 1024 x 768 image against plain NumPy, per augmentation.

    The rows differ in crops' size, in their number and in that of augmentations: time should grow as what is written.
    """
    image = tissue(1024, 768)
    for size, count, augmentations in (
        (400, 20, 10),
        (650, 20, 10),
        (224, 20, 10),
        (400, 5, 10),
        (400, 80, 10),
        (400, 20, 50),
    ):
        crop, jitters = Crop(size=size, scale=0.5, count=count), StainJitter(count=augmentations)
        with elsewhere(IMAGE, f"images.plainly_cut(image, {size}, {count})") as plain:
            ours, other = in_turns(
                lambda jitters=jitters, crop=crop: cut(image, jitters, crop), plain, repeats=5, warm=True
            )
        what = f"augment and crop {count} x {size}, one of {augmentations}"
        yield row(what, ours / augmentations, "transcription", other, "crops drawn otherwise")


def crop_on_gpu() -> Iterator[Row]:
    """What `crop` measures, on a GPU against views copied one by one."""
    if not torch.cuda.is_available():
        return
    image = planar(tissue(1024, 768)).cuda()
    for size in (400, 650):
        augmented = next(StainJitter(count=1)(image, 0, "content"))
        pieces = Crop(size=size, scale=0.5, count=20).cut(augmented, 0, "content", 0)
        out = pieces.empty(20)

        def at_once(pieces: Any = pieces, out: torch.Tensor = out) -> None:
            pieces.write(out, 0)
            torch.cuda.synchronize()

        def one_by_one(pieces: Any = pieces, out: torch.Tensor = out, size: int = size) -> None:
            for (top, left, turned, *flips), target in zip(pieces.places, out, strict=True):
                window = pieces.image[:, top : top + size, left : left + size]
                window = window.transpose(1, 2) if turned else window
                target.copy_(window.flip([axis for axis, flip in zip((1, 2), flips, strict=True) if flip]))
            torch.cuda.synchronize()

        ours, other = in_turns(at_once, one_by_one, repeats=20)
        yield row(f"crop 20 x {size} on the GPU", ours, "one by one", other, "the same crops")


PARTS = (read, scale, normalise, augment, crop, crop_on_gpu)
