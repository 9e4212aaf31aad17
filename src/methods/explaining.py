"""What the models of each method look at. Imports torch, so import it late."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from src.classifiers.classifier import Model
from src.encoders.windows import Windows
from src.explanations.networks import explain_image
from src.explanations.windows import RELATIVE, Corner, Map, assemble, corners, grid, relative
from src.images.crop import MAP
from src.methods.cell import Cell, Explanation
from src.methods.extraction import batches, encode
from src.methods.parts import model_name
from src.methods.samples import Sample, prepare
from src.methods.sharing import WAY_OUT
from src.training.surroundings import exact

if TYPE_CHECKING:
    from src.methods.trained import FineTuned

PROBABILITY = "probability, mean over the windows of a pixel"
HIDDEN = 49
"""Squares that are hidden one after the other: seven by seven of them, a quarter of the side each."""
LEAST = 0.01
"""The smallest loss of probability that is drawn: less is nothing, and would fill the scale all the same."""

Image = UInt8[Tensor, "3 height width"]
Ask = Callable[[Iterable[Tensor]], Float64[np.ndarray, "crop class"]]


@dataclass
class Example:
    """A prepared image, its model's name, and the classes to explain: the predicted one, then the true one if other."""

    image: Image
    model: str
    targets: dict[str, int]
    facts: dict[str, Any]

    def explanation(self, maps: dict[str, Map], meaning: str, note: str = "") -> Explanation:
        """Return the image with its maps."""
        return Explanation(
            **self.facts, image=self.image.permute(1, 2, 0).numpy(), maps=maps, meaning=meaning, note=note
        )


def each_of(cell: Cell, examples: pd.DataFrame) -> Iterator[Example]:
    """Yield the examples (`Method.explain`) with their images."""
    classes = [str(name) for name in examples["label"].cat.categories]
    for row in examples.astype({"label": str}).to_dict("records"):
        image, _ = prepare(cell, Sample(row["sample"], row["content"]))
        assert image is not None, f"{row['sample']} was predicted, so it can be read"
        model = model_name("" if cell.views == "shared" else row["view"], row["fold"], row["seed"])
        targets = {name: classes.index(name) for name in dict.fromkeys([row["predicted"], row["label"]])}
        facts = {name: row[name] for name in ("sample", "label", "predicted", "probability")}
        yield Example(image, model, targets, facts)


def explain_networks(
    cell: Cell, examples: pd.DataFrame, models: Mapping[str, "FineTuned"], device: str
) -> Iterator[Explanation]:
    """Yield Grad-CAM and integrated gradients of fine-tuned networks."""
    for example in each_of(cell, examples):
        network = models[example.model].network(device)
        with exact(torch.device(device)):
            maps, note = explain_image(network, example.image, cell.crop, example.targets)
        yield example.explanation(maps, RELATIVE, note)


def explain_descriptors(
    cell: Cell, examples: pd.DataFrame, models: Mapping[str, Model], network: Any, batch: int
) -> Iterator[Explanation]:
    """Yield maps of probabilities by models on frozen descriptors: of windows, or lost where the one has parts hidden.

    `network` is the encoder's, and encodes `batch` crops together.
    """
    sharing = cell.crop.sharing == MAP
    windows = Windows(network, [cell.crop.size], cell.encoder.label) if sharing else None
    for example in each_of(cell, examples):
        model = models[example.model]

        def ask(crops: Iterable[Tensor], model: Model = model) -> Float64[np.ndarray, "crop class"]:
            return model.predict(torch.cat(list(encode(network, batches(crops, batch)))).numpy())

        image = example.image.to(network.device)
        places = corners(cell.crop, *image.shape[1:])
        if len(places) > 1 and windows:
            maps = shared_maps(image, places, cell.crop.size, windows, model, example.targets)
            yield example.explanation(maps, PROBABILITY)
        elif len(places) > 1:
            yield example.explanation(window_maps(image, places, cell.crop.size, ask, example.targets), PROBABILITY)
        else:
            yield example.explanation(hidden_maps(image, places[0], cell.crop.size, ask, example.targets), RELATIVE)


def window_maps(image: Image, places: list[Corner], size: int, ask: Ask, targets: dict[str, int]) -> dict[str, Map]:
    """Return the probability of each class, the mean over the windows that cover a pixel.

    A window is neither augmented nor turned, and its descriptor is pooled with no other: so an image's own probability
    is not the mean of its map.
    """
    probabilities = ask(image[:, top : top + size, left : left + size] for top, left in places)
    return probability_maps(places, probabilities, size, image.shape[1:], targets)


def shared_maps(
    image: Image, places: list[Corner], size: int, windows: Windows, model: Model, targets: dict[str, int]
) -> dict[str, Map]:
    """Return `window_maps` by descriptors of windows that share a map: `places` move to the stride before them."""
    shape = (image.shape[1], image.shape[2])
    cells = list(dict.fromkeys((top // windows.stride, left // windows.stride) for top, left in places))
    (found,) = encode(windows, [(image[None], 1)], WAY_OUT)
    grid = windows.split(found, shape)[size][0]
    probabilities = model.predict(np.stack([grid[cell].numpy() for cell in cells]))
    aligned = [(row * windows.stride, column * windows.stride) for row, column in cells]
    return probability_maps(aligned, probabilities, size, shape, targets)


def probability_maps(
    places: list[Corner],
    probabilities: Float64[np.ndarray, "window class"],
    size: int,
    shape: Iterable[int],
    targets: dict[str, int],
) -> dict[str, Map]:
    """Return a map of each class's probability out of those of the windows."""
    return {
        f"probability of {name}": spread(places, probabilities[:, target], size, shape)
        for name, target in targets.items()
    }


def hidden_maps(image: Image, place: Corner, size: int, ask: Ask, targets: dict[str, int]) -> dict[str, Map]:
    """Return how much of each class's probability is lost where a square is hidden (Zeiler and Fergus 2014).

    For models that know but one window of an image. The square has the window's mean colour.
    """
    top, left = place
    window = image[:, top : top + size, left : left + size]
    side = max(1, size // 4)
    squares = grid(size, size, side, HIDDEN)
    probabilities = ask(with_hidden(window, squares, side))
    maps = {}
    for name, target in targets.items():
        lost = np.maximum(probabilities[0, target] - probabilities[1:, target], 0)
        values = spread(squares, lost, side, window.shape[1:])
        visible = relative(values) if values.max() >= LEAST else np.zeros_like(values)
        title = f"probability of {name} lost where hidden, {values.max():.2f} at most"
        maps[title] = assemble([place], visible[None], *image.shape[1:])
    return maps


def with_hidden(window: Image, squares: list[Corner], side: int) -> Iterator[Tensor]:
    """Yield a window, and then with one square of it hidden after the other."""
    yield window
    colour = window.float().mean((1, 2), keepdim=True).to(window.dtype)
    for top, left in squares:
        hidden = window.clone()
        hidden[:, top : top + side, left : left + side] = colour
        yield hidden


def spread(places: list[Corner], values: Float64[np.ndarray, " window"], size: int, shape: Iterable[int]) -> Map:
    """Return a map of one value per window."""
    maps = np.broadcast_to(values.astype(np.float32)[:, None, None], (len(values), size, size))
    return assemble(places, maps, *shape)
