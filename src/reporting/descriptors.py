"""The section on what frozen descriptors tell besides the class, with maps of the images."""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from src.evaluation.descriptors import PCA, PROJECTIONS, RIGHT, TSNE, WRONG, Told, find_nearest, tell_values
from src.evaluation.fold_tables import mark_correct
from src.evaluation.predictions import average_by_case, number_repeats
from src.evaluation.slices import slice_facts
from src.evaluation.text_tables import TextTable
from src.evaluation.wording import capital, percent, ranged
from src.methods.likeness import ALL, Known
from src.reporting.sections import Block, Gallery, Picture, Section, Text
from src.reporting.typesetting import MISSING, counted, typeset
from src.sweeps.fusion import read_table

if TYPE_CHECKING:
    from src.reporting.gathering import ReportMaterial
    from src.tracking import RunRecord, Tracking

KNOWN = "model/known"
"""The artefact of a run with the descriptors of its images (`src.methods.likeness.Known`)."""
MOST = 24
"""Different descriptors that a page tells of, at most: each takes a second or two."""
DRAWN = 6
"""Of those, the ones whose maps are drawn: each adds some 0.4 MB to the page."""


@dataclass(kw_only=True)
class DescribedImages:
    """Descriptors of a run's images, of unit length.

    cells
        The cells that have the same ones: they differ in their classifier.
    images
        A row per descriptor, as text: `sample, case, patient, label, fold` (of the first repeat; 0 where none holds it
        out), `answer` (right or wrong, out of fold, in most repeats), and the columns that are asked for.
    left
        How many images there are beyond those whose descriptors are kept.
    """

    cells: list[str]
    encoder: str
    stain: str
    view: str
    descriptors: Float[np.ndarray, "image feature"]
    images: pd.DataFrame
    columns: list[str]
    left: int


def read_described(tracking: "Tracking", runs: "list[RunRecord]", columns: Sequence[str] = ()) -> list[DescribedImages]:
    """Return the different frozen descriptors of runs, those of the first cell first.

    `columns` of the manifest are taken along, or where none are given those by which a run's figures are sliced.
    """
    found: dict[str, DescribedImages] = {}
    for run in runs:
        if run.method != "frozen":
            continue
        for path in tracking.files(run, KNOWN):
            content = tracking.artifact(run, path)
            key = hashlib.sha256(content).hexdigest() + run.splits
            if key in found:
                found[key].cells.append(run.name)
            elif len(found) < MOST:
                found[key] = describe_images(tracking, run, Path(path).stem, content, columns or run.slices)
    return list(found.values())


def describe_images(
    tracking: "Tracking", run: "RunRecord", view: str, content: bytes, columns: Sequence[str]
) -> DescribedImages:
    """Return the descriptors of a view of a run, with what is known of its images."""
    with tempfile.TemporaryDirectory(prefix="tenfold-") as folder:
        file = Path(folder) / "known.safetensors"
        file.write_bytes(content)
        known = Known.load(file)
    manifest = read_table(tracking, run, "manifest.csv")
    facts = slice_facts(manifest, [name for name in columns if name not in ("view", "label", "patient")])
    splits = number_repeats(read_table(tracking, run, "splits.csv")).astype({"repeat": int})
    folds = splits[splits["repeat"] == splits["repeat"].min()].set_index("case")["fold"]
    rows = manifest[["sample", "case", "patient", "label", "content"]].merge(facts, on="sample")
    rows = rows.drop_duplicates("content").set_index("content").loc[known.facts["content"]].reset_index(drop=True)
    return DescribedImages(
        cells=[run.name],
        encoder=run.params.get("encoder.label", ""),
        stain=run.params.get("stain", ""),
        view="" if view == ALL else view,
        descriptors=known.descriptors,
        images=rows.assign(
            fold=rows["case"].map(folds).fillna("0"), answer=rows["case"].map(answers(tracking, run)).fillna("")
        ),
        columns=[str(name) for name in facts.columns[1:]],
        left=len(known.others),
    )


def answers(tracking: "Tracking", run: "RunRecord") -> "pd.Series[str]":
    """Return of each case that is held out whether it is right or wrong, in most repeats."""
    cases = average_by_case(tracking.predictions(run))
    right = mark_correct(cases).groupby(cases["case"]).mean() >= 0.5
    return right.map({True: RIGHT, False: WRONG})


def descriptor_section(material: "ReportMaterial") -> Section | None:
    """Return what the descriptors of frozen cells tell of class, patient, site and fold, and the maps of the images."""
    described = material.described
    if not described:
        return None
    said = (
        "What descriptors tell of an image besides its class flatters a split that does not keep it together: where "
        "patients can be told, folds by image are optimistic; where a site can be told, the site may be learnt. "
        "Class and columns: balanced accuracy of a linear classifier, out of fold by patient; by chance: with values "
        "exchanged between patients of a class. Nearest: how many images have as the nearest one of their class one "
        "of the same patient, or fold; by chance: if it were drawn. Where patients are not known, folds by image have "
        "what chance gives, and folds that keep patients together have more, where these can be told."
    )
    blocks: list[Block] = [Text(lines=[said]), told_table(described)]
    first, *others = described[:DRAWN]
    blocks.append(map_picture(first, material.projection))
    if others:
        pictures = [map_picture(each, material.projection) for each in others]
        blocks.append(Gallery(pictures=pictures, folded=f"Maps of {counted(len(others), 'other cell')}"))
    return Section(id="descriptors", title="What the descriptors tell", blocks=blocks)


def told_table(described: list[DescribedImages]) -> TextTable:
    """Return what the descriptors tell, a row for each; what none of them tells anything of is left out."""
    columns = list(dict.fromkeys(name for each in described for name in each.columns))
    told = [tell_all(each, columns) for each in described]
    titles = [name for name in told[0] if any(row[name].images for row in told)]
    views = any(each.view for each in described)
    header = ["Cell", "Encoder", "Stain", *(["View"] if views else [])]
    rows = [
        [
            each.cells[0] + (f" and {len(each.cells) - 1} more" if len(each.cells) > 1 else ""),
            each.encoder,
            each.stain,
            *([each.view] if views else []),
            *(text for name in titles for text in told_words(row[name])),
        ]
        for each, row in zip(described, told, strict=True)
    ]
    left = max(each.left for each in described)
    notes = [f"{counted(left, 'more image')} of a run are not among those whose descriptors it keeps."] if left else []
    return TextTable(
        caption="What can be told from the descriptors, %",
        header=header + [text for name in titles for text in (f"{name} (95 %)", "by chance")],
        rows=rows,
        text=len(header),
        notes=notes,
    )


def tell_all(each: DescribedImages, columns: list[str]) -> dict[str, Told]:
    """Return how well class and columns are told, and how often the nearest image is of the same patient, or fold."""
    found = {"Class": tell_values(each.descriptors, each.images, "label")}
    for name in columns:
        known = name in each.columns
        found[capital(name)] = tell_values(each.descriptors, each.images, name) if known else Told()
    for name in ("patient", "fold"):
        found[f"Nearest: same {name}"] = find_nearest(each.descriptors, each.images, name)
    return found


def told_words(told: Told) -> tuple[str, str]:
    """Return a share with its interval, and what chance gives."""
    if not told.images:
        return MISSING, MISSING
    value, low, high = (100 * end for end in told.estimate)
    return typeset(ranged(value, low, high)), percent(told.chance)


def map_picture(each: DescribedImages, projection: str) -> Picture:
    """Return the map of images by their descriptors, coloured by what is known of them."""
    from src.evaluation.descriptor_figure import draw_descriptor_map
    from src.reporting.results import figure_picture

    images = each.images.rename(columns={"label": "class"})
    names = ["class", "answer", "patient", *each.columns, "fold"]
    shown = [name for name in names if images[name].nunique() > 1]
    figure = draw_descriptor_map(PROJECTIONS[projection](each.descriptors), images, shown)
    how = {PCA: "principal components", TSNE: "t-SNE"}[projection]
    view = f", {each.view}" if each.view else ""
    of_what = f"{each.cells[0]}{view}: {counted(len(images), 'image')} by their descriptors ({how})"
    alt = f"Map of {counted(len(images), 'image')} coloured by {', '.join(shown)}: figures in the table above"
    return figure_picture(figure, of_what, alt)
