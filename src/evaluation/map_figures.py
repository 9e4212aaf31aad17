"""What models look at: which cases are shown, and their figures. Knows tables and arrays, not how maps are made."""

import gc
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float32, UInt8

from src.evaluation.figures import image_of
from src.evaluation.predictions import average_by_case, class_names, number_repeats, probability_columns

if TYPE_CHECKING:
    import matplotlib.figure

COLOURS = "viridis"
OPACITY = 0.55
PANEL = 3.2
"""Inches that a panel is wide."""
QUALITY = 85
"""Of a JPEG: photographs take five times as much as PNG."""


@runtime_checkable
class Explained(Protocol):
    """An image (height, width, 3) and maps of it by name, 0 to 1, not a number where nothing is known.

    `meaning` says what the numbers are, `note` what else a reader has to know.
    """

    sample: str
    image: UInt8[np.ndarray, "height width 3"]
    maps: dict[str, Float32[np.ndarray, "height width"]]
    meaning: str
    note: str


@runtime_checkable
class Alike(Protocol):
    """An image that a model learnt from, with its label, and its distance in multiples of that of unlike ones."""

    sample: str
    label: str
    distance: float
    image: UInt8[np.ndarray, "height width 3"]


def choose_examples(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the samples of `count` right and `count` wrong cases of each class, by the models of the first seed, and
    of the first repeat.

    They are those of the highest probability of the class that is predicted: the most confidently right, and the most
    confidently wrong. By class, the right ones first, then by `rank`, 1 being the most confident.

    `sample, case, view, label, fold, seed, right, rank, of, predicted, confidence, probability`: `label` is
    categorical, its categories are all classes in the order of the columns; `of` is how many such cases there are;
    `confidence` is the case's probability of the predicted class, `probability` that by the sample alone.
    """
    first = predictions[predictions["seed"] == predictions["seed"].iloc[0]]
    first = number_repeats(first)[number_repeats(first)["repeat"] == 1]
    names = class_names(first)
    cases = average_by_case(first)
    values = cases[probability_columns(first)].to_numpy(dtype=np.float64)
    numbers = values.argmax(axis=1)
    cases = cases.assign(
        label=pd.Categorical(cases["label"], names),
        predicted=[names[number] for number in numbers],
        confidence=values.max(axis=1),
        right=cases["label"].to_numpy() == np.array(names)[numbers],
    )
    ascending = [True, False, False, True]
    cases = cases.sort_values(["label", "right", "confidence", "case"], ascending=ascending)
    alike = cases.groupby(["label", "right"], observed=True)["case"]
    cases = cases.assign(rank=alike.cumcount() + 1, of=alike.transform("size"))
    shown = cases.loc[cases["rank"] <= count, ["case", "label", "right", "rank", "of", "predicted", "confidence"]]
    samples = first.sort_values(["view", "sample"]).drop(columns="label")
    rows = shown.merge(samples, on="case", how="left", sort=False)
    own = [row[f"p_{row['predicted']}"] for row in rows.to_dict("records")]
    return rows.assign(probability=own).drop(columns=["patient", "model", *probability_columns(first)])


def draw_pictures(
    examples: pd.DataFrame,
    explanations: Iterable[Explained],
    neighbours: Mapping[str, Sequence[Alike]] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes (JPEG) of a picture of each case of `examples` (from `choose_examples`).

    `explanations` are those of its rows, in their order; they are taken case by case. `neighbours` are the images, by
    sample, that are shown below it as the most alike that its models learnt from.
    """
    following = iter(explanations)
    taken: set[str] = set()
    for _, rows in examples.groupby("case", sort=False):
        figure = draw_maps(rows, [next(following) for _ in range(len(rows))], neighbours or {})
        name = file_name(rows.iloc[0])
        while name in taken:  # HER2+ and HER2- are the same there
            name += "-other"
        taken.add(name)
        yield f"{name}.jpg", image_of(figure, format="jpg", pil_kwargs={"quality": QUALITY})
        del figure
        gc.collect(0)  # a figure's parts refer to each other, and hold the images


def file_name(row: "pd.Series[Any]") -> str:
    """Such as right/Benign-1-b001: the class, the rank, and the case's name as far as a file's name can hold it."""
    stem = re.sub(r"[^\w]+", "-", f"{row['label']}-{row['rank']}-{PurePosixPath(row['case']).stem}")
    return f"{'right' if row['right'] else 'wrong'}/{stem[:80].strip('-')}"


def draw_maps(
    rows: pd.DataFrame, explanations: list[Explained], neighbours: Mapping[str, Sequence[Alike]] = MappingProxyType({})
) -> "matplotlib.figure.Figure":
    """Return the figure of one case: for each of its images (views) a row, with the maps laid over it beside it, and
    below, where there are any, a row of its neighbours."""
    from matplotlib.figure import Figure

    figure = Figure(dpi=100, layout="compressed")
    lines: list[tuple[float, int, Callable[[Any], None]]] = []
    for row, each in zip(rows.to_dict("records"), explanations, strict=True):
        lines.append((side_ratio(each.image), 1 + len(each.maps), partial(draw_row, row=row, explanation=each)))
        if alike := neighbours.get(row["sample"]):
            height = max(side_ratio(one.image) for one in alike)
            lines.append((height, len(alike), partial(draw_neighbours, fold=row["fold"], neighbours=alike)))
    panels, heights = max(count for _, count, _ in lines), [PANEL * height for height, *_ in lines]
    width = PANEL * panels + 0.8
    heading = case_title(rows.iloc[0], int(12 * width))
    figure.set_size_inches(width, 0.2 * (1 + heading.count("\n")) + sum(heights) + 0.4 * len(lines))
    grid = figure.subplots(len(lines), panels, squeeze=False, height_ratios=heights)
    for axes, (*_, draw) in zip(grid, lines, strict=True):
        draw(axes)
    figure.suptitle(heading, x=0.01, ha="left", fontsize=10, weight="bold")
    return figure


def side_ratio(image: Any) -> float:
    """Return the height of an image by its width."""
    return float(image.shape[0] / image.shape[1])


def draw_neighbours(axes: Any, fold: int, neighbours: Sequence[Alike]) -> None:
    """Draw images that the models of a fold learnt from side by side, with their names, labels and distances."""
    for number, (panel, each) in enumerate(zip(axes, neighbours, strict=False)):
        heading = f"nearest of those that fold {fold} learnt from:\n" if number == 0 else ""
        show_image(panel, each.image, f"{heading}{each.label}, distance {each.distance:.2f}\n{each.sample}")
    for panel in axes[len(neighbours) :]:
        panel.set_axis_off()


def draw_row(axes: Any, row: Mapping[Any, Any], explanation: Explained) -> None:
    """Draw an image and its maps side by side, and what their colours mean."""
    view = f"{row['view']}: " if row["view"] else ""
    own = f"{view}{row['predicted']} {row['probability']:.2f} by the model of fold {row['fold']}, seed {row['seed']}"
    show_image(axes[0], explanation.image, f"{own}\n{explanation.note}")
    pale = 0.6 * explanation.image.mean(axis=2) + 0.4 * 255  # so that colours mean the same on black and on white
    for panel, (name, values) in zip(axes[1:], explanation.maps.items(), strict=False):
        show_image(panel, pale, name)
        drawn = panel.imshow(values, cmap=COLOURS, vmin=0, vmax=1, alpha=OPACITY)
    for panel in axes[1 + len(explanation.maps) :]:
        panel.set_axis_off()
    if explanation.maps:
        bar = axes[0].figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.01)
        bar.set_label("\n".join(textwrap.wrap(explanation.meaning, 30)), fontsize=8)
        bar.ax.tick_params(labelsize=8)


def show_image(axes: Any, image: Any, name: str) -> None:
    """Draw an image, in grey if it has two dimensions, with its name above."""
    lines = [line for part in name.split("\n") for line in textwrap.wrap(part, 56)]
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_title("\n".join(lines), fontsize=8)
    axes.set(xticks=[], yticks=[])  # they are not seen, and would be laid out all the same
    axes.set_axis_off()


def case_title(row: "pd.Series[Any]", width: int) -> str:
    """Return the case, its classes, and why it is shown, in lines of `width` letters."""
    kind = "right" if row["right"] else "wrong"
    which = "the most confident" if row["rank"] == 1 else f"number {row['rank']} by confidence"
    classes = f"true {row['label']}, predicted {row['predicted']} with probability {row['confidence']:.2f}"
    text = [row["case"], f"{classes}: {which} of {row['of']} {kind} cases of this class"]
    return "\n".join(line for part in text for line in textwrap.wrap(part, width))
