"""The sections on figures: what the predictions say."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from src.evaluation.binary import POSITIVE
from src.evaluation.curves import area, training_curves
from src.evaluation.groups import Group
from src.evaluation.per_class import class_table
from src.evaluation.predictions import average
from src.evaluation.slices import ALL, largest
from src.evaluation.tables import FUSION, best, rounded
from src.presentation import published_rows, remarks, texts, wide
from src.reporting.material import Material
from src.reporting.report import BAD, BEST, GOOD, MUTED, Block, Gallery, Heading, Picture, Section, Table, Text
from src.reporting.words import counted, number, percent, typeset
from src.words import METRICS, capital, headed, measured, p_value, ranged, scale, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERDICTS = {"better": GOOD, "worse": BAD, "not shown": MUTED}
OPTIMISTIC = "image-level folds: patients stand on both sides of a split, so these figures are optimistic"


def by_fold(material: Material) -> Section:
    """Return the tables by fold, beside what was published."""
    blocks: list[Block] = []
    for group, named in each(material):
        blocks += named
        blocks.append(fold_table(group.evaluation.table, f"Accuracy by fold, %{of(group)}", notes_on(group)))
    for path, table in material.published.items():
        name = Path(path).name if Path(path).is_absolute() else path
        blocks.append(fold_table(table, f"Published accuracy by fold, % ({name})", []))
    if len(published := material.together.published):
        header, rows = published_rows(published)
        rows = [[typeset(text) for text in row] for row in rows]
        last = header.count("note")
        blocks.append(Table(caption="Published, and ours, %", header=header, rows=rows, text=2, last=last))
    if len(material.fusion.groups) == 1 and material.together.table["model"].nunique() > 1:
        blocks.append(intervals(material))
    return Section(id="folds", title="Accuracy by fold", blocks=blocks)


def fold_table(table: pd.DataFrame, caption: str, notes: list[str]) -> Table:
    """Return a table by fold; the best value of each column stands out."""
    marks = best(table).to_numpy()
    rows = [
        [str(name), *map(number, values)]
        for name, values in zip(table.index, rounded(table).to_numpy(float), strict=True)
    ]
    tones = {(row, 1 + column): BEST for row, column in zip(*marks.nonzero(), strict=True)}
    return Table(caption=caption, header=["Model", *map(str, table)], rows=rows, tones=tones, notes=notes)


def intervals(material: Material) -> Picture:
    """Return the figure of every model's accuracy with its interval."""
    from src.evaluation.figures import draw_groups

    table = material.together.table
    said = [f"{row['model']} {ranged(row['mean'], row['low'], row['high'])}" for row in table.to_dict("records")]
    caption = "Mean of the folds' accuracies, with 95 % intervals by bootstrap over patients."
    return drawn(draw_groups(table), caption, f"Accuracy in percent: {'; '.join(said)}")


def side_by_side(material: Material) -> Section | None:
    """Return the groups side by side, where there are several; with the learning curve where patients were varied."""
    from src.evaluation.figures import draw_groups, draw_learning_curve

    together = material.together
    if len(material.fusion.groups) < 2:
        return None
    header, rows = wide(together)
    table = Table(
        caption="Accuracy by group, %",
        header=["Model", *header[1:]],
        rows=[[typeset(text) for text in row] for row in rows],
        text=texts(together),
        notes=[typeset(line) for line in remarks(together)],
    )
    blocks: list[Block] = [table]
    if len(together.curve):
        alt = "Accuracy, and where there is a two-class view the AUC, against training patients: values in the table"
        blocks.append(
            drawn(
                draw_learning_curve(together.curve),
                "Whiskers: 95 % intervals by bootstrap over patients.",
                alt,
            )
        )
    else:
        alt = "Accuracy of each model in each group with its 95 % interval: values in the table"
        leaks = together.table["leaks"].any()
        caption = "Whiskers: 95 % intervals by bootstrap over patients."
        caption += " Hollow marks: patients stand on both sides of a split." if leaks else ""
        blocks.append(drawn(draw_groups(together.table), caption, alt))
    return Section(id="groups", title="Side by side", blocks=blocks)


def comparison(material: Material) -> Section | None:
    """Return the verdicts on the cells of each group, where it has several."""
    from src.evaluation.comparison import compare

    blocks: list[Block] = []
    for group, named in each(material):
        models = {str(name): rows for name, rows in group.predictions.groupby("model", sort=False)}
        if len(models) < 2:
            continue
        reference = material.reference if material.reference in models else next(iter(models))
        table = compare(models, group.binary, material.replicates, reference=reference)
        blocks += [*named, verdicts(table, f"Each cell against {reference}{of(group)}")]
    if not blocks:
        return None
    said = (
        "Both cells of a row predict the same cases. A verdict hangs on p corrected over the rows of the table (Holm), "
        "which also counts what folds differ by beyond their patients, so that it is stricter than the interval, a "
        'paired bootstrap over patients. Not shown does not mean equal: "could be shown" is the smallest difference '
        "that so many patients could have shown at 80 % power."
    )
    return Section(id="comparison", title="Is one better than another?", blocks=[Text(lines=[said]), *blocks])


def verdicts(table: pd.DataFrame, caption: str) -> Table:
    """Return the table of a comparison (`src.evaluation.comparison.compare`)."""
    header = ["Cell", "Metric", "Verdict", "Difference (95 %)", "p, Holm", "Could be shown"]
    header += ["p, McNemar", "p, resampled t"]
    rows = [compared(row) for row in table.to_dict("records")]
    tones = {(place, 2): VERDICTS.get(row[2], MUTED) for place, row in enumerate(rows)}
    return Table(caption=caption, header=header, rows=rows, text=3, tones=tones)


def compared(row: Mapping[Any, Any]) -> list[str]:
    """Return the texts of a row of a comparison: areas as fractions, all else in points."""
    unit, digits = scale(row["metric"])
    difference = typeset(signed(unit * row["difference"], unit * row["low"], unit * row["high"], digits))
    holm, *tests = (typeset(p_value(row[f"p_{name}"])) for name in ("holm", "mcnemar", "resampled_t"))
    words = [str(row["model"]), headed(row["metric"], "points"), str(row["verdict"])]
    return [*words, difference, holm, number(unit * row["smallest"], digits), *tests]


def errors(material: Material) -> Section:
    """Return ROC and confusion of each group, and the figures at the set points."""
    from src.evaluation.figures import draw_confusion, draw_roc

    blocks: list[Block] = []
    for group, named in each(material):
        evaluation, note = group.evaluation, OPTIMISTIC if group.leaks else ""
        pictures = []
        if evaluation.roc:
            alt = "; ".join(roc_words(group))
            pictures.append(drawn(draw_roc(evaluation, note), f"ROC of {whole(group)}", alt))
        counts = evaluation.confusion
        right = int(counts.to_numpy().diagonal().sum())
        alt = f"Confusion matrix: {right} of {int(counts.to_numpy().sum())} cases right; the table below has the counts"
        pictures.append(drawn(draw_confusion(counts, note), f"Confusion of {whole(group)}", alt))
        blocks += [*named, Gallery(pictures=pictures)]
        if len(evaluation.set_points):
            blocks.append(set_points(group))
        rows = [[str(name), *map(str, values)] for name, values in zip(counts.index, counts.to_numpy(), strict=True)]
        header = ["True class", *(f"predicted {name}" for name in counts)]
        blocks.append(Table(caption=f"Confusion as a table{of(group)}", header=header, rows=rows, folded=True))
    return Section(id="errors", title="ROC and confusion", blocks=blocks)


def roc_words(group: Group) -> Iterator[str]:
    """Yield what a ROC figure says, curve by curve."""
    found = group.evaluation.metrics
    for name, curve in group.evaluation.roc.items():
        two = name == POSITIVE and "binary_auc" in found
        classes = " + ".join(group.evaluation.positive) if name == POSITIVE else name
        area_under = shown(found, "binary_auc") if two else number(area(curve), 3)
        yield f"ROC curve of {classes} against the rest: AUC {area_under}"


def set_points(group: Group) -> Table:
    """Return the figures at the thresholds of the two-class view."""
    evaluation = group.evaluation
    rows = [
        [number(point["threshold"], 2), *(percent(point[name]) for name in ("sensitivity", "specificity", "accuracy"))]
        for point in evaluation.set_points.to_dict("records")
    ]
    missed = ", ".join(f"{count} {name}" for name, count in evaluation.missed.items())
    return Table(
        caption=f"Two classes: {' + '.join(evaluation.positive)} against the rest{of(group)}",
        header=["Called positive above", "Sensitivity, %", "Specificity, %", "Accuracy, %"],
        rows=rows,
        notes=[f"Missed at {rows[-1][0]}: {missed}."],
    )


def per_class(material: Material) -> Section:
    """Return each class by itself."""
    blocks: list[Block] = []
    header = ["Class", "Cases", "Patients", "Sensitivity, % (95 %)", "Precision, %", "F1, %", "AUC against the rest"]
    for group, named in each(material):
        rows = [
            [
                str(row["class"]),
                str(row["cases"]),
                str(row["patients"]),
                typeset(measured(row, "recall", 100, 1)),
                percent(row["precision"]),
                percent(row["f1"]),
                number(row["auc"], 3),
            ]
            for row in class_table(average(group.predictions)).to_dict("records")
        ]
        blocks += [*named, Table(caption=f"Each class, {whole(group)}{of(group)}", header=header, rows=rows)]
    return Section(id="classes", title="By class", blocks=blocks)


def slices(material: Material) -> Section | None:
    """Return the metrics of parts of the cases, where something tells cases apart."""
    from src.evaluation.figures import draw_slices

    blocks: list[Block] = []
    for group, named in each(material):
        table = group.evaluation.slices
        if table.empty:
            continue
        alt = "Accuracy of each slice with its 95 % interval: values in the table below"
        picture = drawn(draw_slices(table, OPTIMISTIC if group.leaks else ""), f"Accuracy by slice{of(group)}", alt)
        blocks += [*named, picture, slice_table(table, of(group))]
    return Section(id="slices", title="By slice", blocks=blocks) if blocks else None


def slice_table(table: pd.DataFrame, of_group: str) -> Table:
    """Return the metrics by slice; of a column with many values those with the most cases."""
    rows_shown = largest(table)
    names = [name for name in ("accuracy", "auc", "binary_auc") if name in rows_shown]
    rows = [
        [
            "all cases" if row["column"] == ALL else str(row["column"]),
            str(row["value"]),
            str(row["cases"]),
            str(row["patients"]),
            *(shown(row, name) for name in names),
        ]
        for row in rows_shown.to_dict("records")
    ]
    left = len(table) - len(rows_shown)
    header = ["Slice by", "Value", "Cases", "Patients", *(f"{headed(name)} (95 %)" for name in names)]
    notes = [f"{counted(left, 'slice')} of few cases are in slices.csv."] if left else []
    return Table(caption=f"Figures by slice{of_group}", header=header, rows=rows, text=2, notes=notes)


def calibration(material: Material) -> Section | None:
    """Return the reliability of each group."""
    from src.evaluation.figures import draw_reliability

    blocks: list[Block] = []
    for group, named in each(material):
        evaluation = group.evaluation
        if evaluation.reliability is None:
            continue
        note = OPTIMISTIC if group.leaks else ""
        alt = f"Accuracy against confidence; expected calibration error {shown(evaluation.metrics, 'ece')}"
        figure = draw_reliability(evaluation.reliability, evaluation.metrics, note)
        blocks += [*named, Gallery(pictures=[drawn(figure, f"Reliability of {whole(group)}", alt)])]
    said = (
        "How far the probability of the predicted class can be taken at its word. Cases that are drawn anew are less "
        "well calibrated than the cases themselves, so that the interval of the calibration error may lie above it."
    )
    return Section(id="calibration", title="Calibration", blocks=[Text(lines=[said]), *blocks]) if blocks else None


def metrics(material: Material) -> Section:
    """Return all metrics with their intervals."""
    blocks: list[Block] = []
    for group, named in each(material):
        found, several = group.evaluation.metrics, len(group.evaluation.classes) > 2
        sides = ["", "binary_"] if several and "binary_accuracy" in found else [""]
        rows = [
            [headed(name), *(shown(found, side + name) for side in sides)]
            for name in METRICS
            if name in found or f"binary_{name}" in found
        ]
        header = ["Metric (95 % interval)", "All classes", "Two classes"][: 1 + len(sides)]
        pooled = "Of all held-out cases together; the accuracy by fold is the mean of the folds' figures."
        caption = f"Metrics of {whole(group)}{of(group)}"
        blocks += [*named, Table(caption=caption, header=header, rows=rows, notes=[pooled])]
    return Section(id="metrics", title="All metrics", blocks=blocks)


def training(material: Material) -> Section | None:
    """Return the curves of the training, where something was trained."""
    from src.evaluation.figures import draw_training

    if material.points.empty:
        return None
    table = training_curves(material.points)
    last = table.sort_values("epoch").groupby(["cell", "curve"], sort=False).tail(1).sort_values(["cell", "curve"])
    rows = [
        [
            str(row["cell"]),
            str(row["curve"]).replace("_", " "),
            str(row["epoch"]),
            typeset(ranged(row["mean"], row["low"], row["high"], 3)),
        ]
        for row in last.to_dict("records")
    ]
    header = ["Cell", "Curve", "Last epoch", "Value there (range of fits)"]
    alt = "Training curves by epoch, the mean of a cell's fits over their range: last values in the table"
    blocks: list[Block] = [
        drawn(draw_training(table), "Training curves", alt),
        Table(caption="Where training ended", header=header, rows=rows, text=2),
    ]
    return Section(id="training", title="Training", blocks=blocks)


def each(material: Material) -> Iterator[tuple[Group, list[Block]]]:
    """Yield the groups, the main one first, and where there are several a heading that names each."""
    first = main_group(material)
    groups = [first, *(group for group in material.fusion.groups if group is not first)]
    for group in groups:
        yield group, [Heading(text=group.title)] if len(groups) > 1 else []


def main_group(material: Material) -> Group:
    """Return the group whose figures are read first: by patient rather than by image, and of the most patients."""
    return min(material.fusion.groups, key=lambda group: (group.leaks, -known(group.patients)))


def known(value: float) -> float:
    """Return a figure, 0 where it is not a number."""
    return value if value == value else 0.0


def main_model(group: Group) -> str:
    """Return the row of a group's table that is read first: the fusion, or its one model."""
    names = group.evaluation.table.index.tolist()
    return FUSION if FUSION in names else str(names[-1])


def whole(group: Group) -> str:
    """Return what a group's figures are of."""
    model = main_model(group)
    count = group.predictions["model"].nunique()
    return f"the fusion of {count} cells" if model == FUSION else model


def of(group: Group) -> str:
    """Return what tells a caption from that of another group."""
    return f": {group.title}" if group.title else ""


def notes_on(group: Group) -> list[str]:
    """Return what a reader of a group's figures has to know."""
    return [f"{capital(OPTIMISTIC)}."] if group.leaks else []


def shown(found: Mapping[Any, Any], name: str) -> str:
    """Return a metric with its interval; accuracies are in percent."""
    return typeset(measured(found, name, *scale(name)))


def drawn(figure: "Figure", caption: str, alt: str) -> Picture:
    """Return a drawn figure as a picture."""
    from src.evaluation.figures import svg

    width, height = figure.get_size_inches() * 96
    return Picture(caption=caption, alt=alt, content=svg(figure), size=(round(width), round(height)))


SECTIONS: list[Callable[[Material], Section | None]] = [
    by_fold,
    side_by_side,
    comparison,
    errors,
    per_class,
    slices,
    calibration,
    metrics,
    training,
]
