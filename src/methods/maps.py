"""What the models of each method look at. Where all descriptors that this takes are stored, without torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from src.cell import Cell
from src.classifiers.classifier import Model
from src.images.crop import MAP
from src.maps.windows import RELATIVE, Corner, Map, average_windows, place_grid, place_windows, scale_to_percentile
from src.methods.crop_batches import crop_batches, encode_batches
from src.methods.fold_models import model_name
from src.methods.method import CellTask, Explanation
from src.methods.preparation import Sample, channels_first, prepare_image
from src.recipes import map_recipe
from src.storage.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from src.encoders.encoder import Extractor
    from src.encoders.modules.window_means import Windows
    from src.methods.finetune.trained_network import FineTuned

PROBABILITY = "probability, mean over the windows of a pixel"
SINGLE = "maps: windows one by one, by a model that learnt from pooled ones; they need not average to its answer"
HIDDEN = 49
"""Squares that are hidden one after the other: seven by seven of them, a quarter of the side each."""
LEAST = 0.01
"""The smallest loss of probability that is drawn: less is nothing, and would fill the scale all the same."""

Image = UInt8[np.ndarray, "height width 3"]
Probabilities = Float64[np.ndarray, "crop class"]


@dataclass
class MapExample:
    """A sample's name, its prepared image, its file's digest, its model's name, and the classes to explain.

    The classes are the predicted one, and then the true one if it is another.
    """

    sample: str
    image: Image
    content: str
    model: str
    targets: dict[str, int]

    def explanation(self, maps: dict[str, Map], meaning: str, note: str = "") -> Explanation:
        """Return the image with its maps."""
        return Explanation(self.sample, self.image, maps, meaning=meaning, note=note)


def each_example(task: CellTask) -> Iterator[MapExample]:
    """Yield the examples (`Method.explain`) with their images."""
    cell, examples = task.cell, task.manifest
    classes = [str(name) for name in examples["label"].cat.categories]
    for row in examples.astype({"label": str}).to_dict("records"):
        image, _ = prepare_image(cell, Sample(row["sample"], row["content"]))
        assert image is not None, f"{row['sample']} was predicted, so it can be read"
        model = model_name("" if cell.views == "shared" else row["view"], row["fold"], row["seed"])
        targets = {name: classes.index(name) for name in dict.fromkeys([row["predicted"], row["label"]])}
        yield MapExample(row["sample"], image, row["content"], model, targets)


def explain_networks(task: CellTask, models: Mapping[str, "FineTuned"], device: str) -> Iterator[Explanation]:
    """Yield Grad-CAM and integrated gradients of fine-tuned networks."""
    import torch

    from src.maps.attribution import BATCH, explain_image
    from src.training.torch_settings import compute_exactly

    cell = task.cell
    for example in each_example(task):
        network = models[example.model].network(device)
        with compute_exactly(torch.device(device)):
            # Memory that holds a batch of training holds one of these.
            batch = min(BATCH, cell.finetune.batch)
            maps, note = explain_image(network, channels_first(example.image), cell.crop, example.targets, batch)
        yield example.explanation(maps, RELATIVE, note)


def explain_descriptors(
    task: CellTask, models: Mapping[str, Model], encoder: "Callable[[], Extractor]", batch: int
) -> Iterator[Explanation]:
    """Yield maps of probabilities by models on frozen descriptors: of windows, or lost where the one has parts hidden.

    The crops' descriptors are kept in the store, as other models on them will explain the same images. Those that it
    lacks are encoded by what `encoder` loads, `batch` crops together.
    """
    cell, load = task.cell, cache(encoder)
    size = cell.crop.size
    windows = cache(partial(windows_of, cell, load))
    for example in each_example(task):
        height, width, _ = example.image.shape
        places = place_windows(cell.crop, height, width)
        if len(places) > 1 and cell.crop.sharing == MAP:
            places, descriptors = encode_shared_windows(windows(), example.image, places, size)
        else:
            descriptors = load_windows(cell, task.store, load, example, places, batch)
        probabilities = models[example.model].predict(descriptors)
        if len(places) > 1:
            maps = window_maps(probabilities, places, size, (height, width), example.targets)
            yield example.explanation(maps, PROBABILITY, SINGLE)
        else:
            maps = hidden_maps(probabilities, places[0], size, (height, width), example.targets)
            yield example.explanation(maps, RELATIVE)


def windows_of(cell: Cell, load: "Callable[[], Extractor]") -> "Windows":
    """Return the encoder as it gives the descriptors of windows that share a map."""
    from src.encoders.modules.window_means import Windows

    return Windows(load(), [cell.crop.size], cell.encoder.label)


def encode_shared_windows(
    windows: "Windows", image: Image, places: list[Corner], size: int
) -> tuple[list[Corner], Float32[np.ndarray, "crop feature"]]:
    """Return places, moved to the stride before them, and the descriptors of windows there, which share a map."""
    from src.methods.frozen.shared_maps import WAY_OUT

    stride = windows.stride
    cells = list(dict.fromkeys((top // stride, left // stride) for top, left in places))
    (found,) = encode_batches(windows, [(channels_first(image)[None].to(windows.device), 1)], "image", WAY_OUT)
    grid = windows.split(found, (image.shape[0], image.shape[1]))[size][0]
    aligned = [(row * stride, column * stride) for row, column in cells]
    return aligned, np.stack([grid[cell].numpy() for cell in cells])


def load_windows(
    cell: Cell, store: Store, load: "Callable[[], Extractor]", example: MapExample, places: list[Corner], batch: int
) -> Float32[np.ndarray, "crop feature"]:
    """Return the descriptors of an image's windows by themselves, out of the store, where they are put first."""
    wanted = map_recipe(cell)
    if not store.holds(wanted, example.content):
        store.write(wanted, example.content, encode_windows(load(), example.image, places, cell.crop.size, batch)[None])
    return store.read(wanted, example.content)[0]


def encode_windows(
    network: "Extractor", image: Image, places: list[Corner], size: int, batch: int
) -> Float32[np.ndarray, "crop feature"]:
    """Return the descriptors of an image's windows; a single one is followed by itself with parts hidden."""
    tensor = channels_first(image).to(network.device)
    windows: Iterable[Tensor] = (tensor[:, top : top + size, left : left + size] for top, left in places)
    crops = windows if len(places) > 1 else with_hidden(next(iter(windows)))
    return np.concatenate([each.numpy() for each in encode_batches(network, crop_batches(crops, batch))])


def window_maps(
    probabilities: Probabilities, places: list[Corner], size: int, shape: tuple[int, int], targets: dict[str, int]
) -> dict[str, Map]:
    """Return the probability of each class, the mean over the windows that cover a pixel, given those of the windows.

    A window is neither augmented nor turned, and its descriptor is pooled with no other: so an image's own probability
    is not the mean of its map.
    """
    return {
        f"probability of {name}": spread_values(places, probabilities[:, target], size, shape)
        for name, target in targets.items()
    }


def hidden_maps(
    probabilities: Probabilities, place: Corner, size: int, shape: tuple[int, int], targets: dict[str, int]
) -> dict[str, Map]:
    """Return how much of each class's probability is lost where a square is hidden (Zeiler and Fergus 2014).

    For models that know but one window of an image: the probabilities are those of `with_hidden`.
    """
    side = hidden_side(size)
    maps = {}
    for name, target in targets.items():
        lost = np.maximum(probabilities[0, target] - probabilities[1:, target], 0)
        values = spread_values(place_grid(size, size, side, HIDDEN), lost, side, (size, size))
        visible = scale_to_percentile(values) if values.max() >= LEAST else np.zeros_like(values)
        title = f"probability of {name} lost where hidden, {values.max():.2f} at most"
        maps[title] = average_windows([place], visible[None], *shape)
    return maps


def hidden_side(size: int) -> int:
    """Return how many pixels the side of a hidden square has."""
    return max(1, size // 4)


def with_hidden(window: "Tensor") -> "Iterator[Tensor]":
    """Yield a window (3, size, size), and then with one square of it hidden after the other, in its mean colour."""
    yield window
    side = hidden_side(window.shape[1])
    colour = window.float().mean((1, 2), keepdim=True).to(window.dtype)
    for top, left in place_grid(window.shape[1], window.shape[2], side, HIDDEN):
        hidden = window.clone()
        hidden[:, top : top + side, left : left + side] = colour
        yield hidden


def spread_values(
    places: list[Corner], values: Float64[np.ndarray, " window"], size: int, shape: tuple[int, int]
) -> Map:
    """Return a map of one value per window."""
    maps = np.broadcast_to(values.astype(np.float32)[:, None, None], (len(values), size, size))
    return average_windows(places, maps, *shape)
