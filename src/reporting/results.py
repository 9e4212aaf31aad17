"""The sections on figures: what the predictions say."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from src.evaluation.calibration import INTERCEPT, SLOPE, Calibration
from src.evaluation.contingency import FIGURES, two_by_two
from src.evaluation.curves import area_under_curve, training_curves
from src.evaluation.evaluation import Evaluation, evaluate
from src.evaluation.fold_tables import FUSION, mark_correct
from src.evaluation.metrics import label_numbers
from src.evaluation.per_class import class_table
from src.evaluation.predictions import average_by_case, class_names, count_repeats, probability_columns
from src.evaluation.side_by_side import Group
from src.evaluation.text_tables import (
    TextTable,
    describe_decision,
    tabulate_beside,
    tabulate_calibration,
    tabulate_comparison,
    tabulate_external,
    tabulate_folds,
    tabulate_groups,
    tabulate_leaderboard,
    tabulate_ledger,
    tabulate_predictive,
    tabulate_slices,
)
from src.evaluation.two_classes import POSITIVE
from src.evaluation.wording import METRICS, TWO_CLASS, capital, headed, measured, number, ranged, shown, whole
from src.reporting.gathering import ReportMaterial
from src.reporting.sections import Block, Gallery, Heading, Picture, Section, Text
from src.reporting.typesetting import MISSING, counted, typeset
from src.sweeps.sweep_leaderboard import describe_leaderboard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = 24
"""Cells of a group whose figures are drawn, at most: each adds some 0.14 MB to the page."""
OF_COMPARISON = {
    "model": "Cell",
    "metric": "Metric",
    "verdict": "Verdict",
    "difference (95 %)": "Difference (95 %)",
    "p": "p",
    "p adj.": "p, adjusted",
    "could show": "Could be shown",
    "McNemar": "p, McNemar",
}
"""The columns of a comparison that are shown, with their headings on a page."""
OF_CLASSES = [
    "Class",
    "Cases",
    "Patients",
    "Sensitivity, % (95 %)",
    "Precision, % (95 %)",
    "F1, % (95 %)",
    "AUC, one to rest (95 %)",
]
OUTCOMES = {"true_positive": "TP", "false_positive": "FP", "false_negative": "FN", "true_negative": "TN"}
OF_OUTCOMES = dict(zip(FIGURES, ("Sensitivity, %", "Specificity, %", "PPV, %", "NPV, %"), strict=True))
READ_OUTCOMES = [
    "A patient is positive if any case is, and called positive if any case is.",
    "TP, FP, FN, TN: true and false positives, false and true negatives; PPV, NPV: positive and negative predictive "
    "value at the prevalence of these data.",
]
OPTIMISTIC = "image-level folds: patients stand on both sides of a split, so these figures are optimistic"


def estimand_section(material: ReportMaterial) -> Section:
    """Return to what the intervals refer, and what they do not hold, of each group with other folds or patients."""
    said = dict.fromkeys(typeset(line) for group in material.fusion.groups for line in group.evaluation.estimand)
    return Section(id="intervals", title="What the intervals say", blocks=[Text(lines=list(said))])


def fold_section(material: ReportMaterial) -> Section:
    """Return the tables by fold, beside what was published."""
    blocks: list[Block] = []
    for group, named in each_group(material):
        blocks += named
        blocks.append(
            fold_table(
                group.evaluation.table,
                f"Accuracy by {group.evaluation.part}, %{of_group(group)}",
                notes_on(group),
            )
        )
    for path, table in material.published.items():
        name = Path(path).name if Path(path).is_absolute() else path
        blocks.append(fold_table(table, f"Published accuracy by fold, % ({name})", []))
    if len(material.together.published):
        blocks.append(with_sentences(tabulate_beside(material.together, "Published, and ours, %")))
    if len(material.fusion.groups) == 1 and material.together.table["model"].nunique() > 1:
        blocks.append(interval_picture(material))
    return Section(id="folds", title="Accuracy by fold", blocks=blocks)


def fold_table(table: pd.DataFrame, caption: str, notes: list[str]) -> TextTable:
    """Return a table by fold; the best value of each column stands out."""
    return replace(with_headings(tabulate_folds(table, caption), "Model"), notes=notes)


def with_headings(table: TextTable, *headings: str) -> TextTable:
    """Return a table with other headings of its first columns."""
    return replace(table, header=[*headings, *table.header[len(headings) :]])


def with_sentences(table: TextTable) -> TextTable:
    """Return a table whose notes are sentences."""
    return replace(table, notes=[f"{capital(typeset(note))}." for note in table.notes])


def interval_picture(material: ReportMaterial) -> Picture:
    """Return the figure of every model's accuracy with its interval."""
    from src.evaluation.figures import draw_groups

    table = material.together.table
    said = [f"{row['model']} {ranged(row['mean'], row['low'], row['high'])}" for row in table.to_dict("records")]
    caption = "Mean of the folds' accuracies, with 95 % intervals over patients."
    return figure_picture(draw_groups(table), caption, f"Accuracy in percent: {'; '.join(said)}")


def external_section(material: ReportMaterial) -> Section | None:
    """Return what models do on another cohort beside what they do on patients of their own."""
    tables = [
        tabulate_external(rows, str(cohort), f"On patients of the models' own, and on {cohort}", headed)
        for cohort, rows in ([] if material.external.empty else material.external.groupby("cohort", sort=False))
    ]
    blocks: list[Block] = [
        replace(table, header=list(map(capital, table.header[:3])) + table.header[3:]) for table in tables
    ]
    said = (
        "Each model is judged as it is, the mean of its fold models, on a cohort that it has not learnt from; beside "
        "it the figure of its own patients, each predicted by the models that had not seen them. Intervals are over "
        "patients: they hold for this model and new patients of this cohort, not for another training or hospital."
    )
    made = [Text(lines=[said]), *blocks]
    return Section(id="external", title="On another cohort", blocks=made) if blocks else None


def side_by_side_section(material: ReportMaterial) -> Section | None:
    """Return the groups side by side, where there are several; with the learning curve where patients were varied."""
    from src.evaluation.figures import draw_groups, draw_learning_curve

    together = material.together
    if len(material.fusion.groups) < 2:
        return None
    table = with_headings(tabulate_groups(together, "Accuracy by group, %"), "Model")
    blocks: list[Block] = [with_sentences(table)]
    if len(together.curve):
        alt = "Accuracy, and where there is a two-class view the AUC, against training patients: values in the table"
        blocks.append(
            figure_picture(
                draw_learning_curve(together.curve),
                "Whiskers: 95 % intervals over patients.",
                alt,
            )
        )
    else:
        alt = "Accuracy of each model in each group with its 95 % interval: values in the table"
        leaks = together.table["leaks"].any()
        caption = "Whiskers: 95 % intervals over patients."
        caption += " Hollow marks: patients stand on both sides of a split." if leaks else ""
        blocks.append(figure_picture(draw_groups(together.table), caption, alt))
    return Section(id="groups", title="Side by side", blocks=blocks)


def leaderboard_lines(material: ReportMaterial) -> list[str]:
    """Return what the leaderboard says, of a sweep that planned itself."""
    from src.evaluation.leaderboard import answer

    return [typeset(line) for line in answer(material.planned.board)] if material.planned else []


def leaderboard_section(material: ReportMaterial) -> Section | None:
    """Return the ways of a sweep that planned itself, from the most accurate one down, and what may come next."""
    found = material.planned
    if found is None:
        return None
    table = tabulate_leaderboard(found.board, found.times, "The ways, from the most accurate one down")
    table = replace(table, header=[capital(name) for name in table.header])
    lines = [typeset(line) for line in describe_leaderboard(found)]
    return Section(id="leaderboard", title="Which way?", blocks=[with_sentences(table), Text(lines=lines, listed=True)])


def comparison_section(material: ReportMaterial) -> Section | None:
    """Return the verdicts on the cells of each group, where it has several."""
    from src.evaluation.comparison import compare
    from src.evaluation.verdicts import explain_verdicts

    blocks: list[Block] = []
    for (group, named), ledger in zip(each_group(material), material.ledgers, strict=True):
        parts = group_predictions(group)
        if len(parts) < 2:
            continue
        reference = material.reference if material.reference in parts else next(iter(parts))
        table = compare(parts, group.binary, reference, material.primary)
        two = table["metric"].str.startswith(TWO_CLASS).any()
        notes = [f"{capital(typeset(line))}." for line in explain_verdicts(table, material.primary)]
        notes += [two_class_sentence(group.evaluation)] if two else []
        blocks += [*named, verdict_table(table, f"Each cell against {reference}{of_group(group)}", notes)]
        blocks += best_cell_blocks(ledger, of_group(group))
    if not blocks:
        return None
    said = "Both cells of a row predict the same cases."
    return Section(id="comparison", title="Is one better than another?", blocks=[Text(lines=[said]), *blocks])


def best_cell_blocks(ledger: pd.DataFrame, of_what: str) -> Iterator[Block]:
    """Yield what the best cell claims beside cells that were chosen by inner folds, or why that cannot be told."""
    table = tabulate_ledger(ledger, f"What choosing the best cell adds: accuracy, %{of_what}")
    if table.rows:
        yield replace(table, header=[capital(name) for name in table.header])
    for row in ledger[ledger["honest"].isna()].to_dict("records"):
        yield Text(lines=[f"The best cell, {row['model']}, {row['note']}"])


def two_class_sentence(evaluation: Evaluation) -> str:
    """Return what the two-class figures hold against what."""
    return f"Two classes: {evaluation.view}."


def verdict_table(table: pd.DataFrame, caption: str, notes: list[str]) -> TextTable:
    """Return the table of a comparison (`src.evaluation.comparison.compare`)."""
    return tabulate_comparison(table, caption, partial(headed, percent="points"), notes).select(OF_COMPARISON)


def error_section(material: ReportMaterial) -> Section:
    """Return ROC and confusion of each group and of its cells, the figures at the set points, and what went wrong."""
    blocks: list[Block] = []
    for group, named in each_group(material):
        counts = group.evaluation.confusion
        blocks += [*named, Gallery(pictures=roc_pictures(group.evaluation, group_title(group), group.leaks))]
        if len(group.evaluation.set_points):
            blocks.append(set_point_table({group_title(group): group.evaluation}, of_group(group)))
            blocks.append(outcome_table(group))
        rows = [
            [str(name), *map(whole, values)] for name, values in zip(counts.index, counts.to_numpy(float), strict=True)
        ]
        header = ["True class", *(f"predicted {name}" for name in counts)]
        blocks.append(
            TextTable(caption=f"Confusion as a table{of_group(group)}", header=header, rows=rows, folded=True)
        )
        blocks += [misclassified_table(group), *cell_blocks(group, material.replicates)]
    return Section(id="errors", title="ROC and confusion", blocks=blocks)


def outcome_table(group: Group) -> TextTable:
    """Return the two-by-two tables at the set points, and at the folds' own where they were chosen."""
    view, chosen = group.binary(average_by_case(group.predictions)), group.evaluation.chosen
    assert view is not None
    rows = []
    for point in group.evaluation.set_points.to_dict("records"):
        own = chosen is not None and bool(point.get("rule"))
        above = chosen.of_cases(view) if chosen is not None and own else point["threshold"]
        told = f"{chosen.rule}" if chosen is not None and own else number(point["threshold"], 2)
        for row in two_by_two(view, above).to_dict("records"):
            counts = [whole(row[name]) for name in OUTCOMES]
            rows.append([str(row["unit"]), told, *counts, *(measured(row, name, 100, 1) for name in FIGURES)])
    header = ["By", "Positive above", *OUTCOMES.values(), *OF_OUTCOMES.values()]
    notes = READ_OUTCOMES + (["Counts are means over repeats."] if count_repeats(group.predictions) > 1 else [])
    caption = f"Two-by-two tables: {group.evaluation.view}{of_group(group)}"
    return TextTable(caption=caption, header=header, rows=rows, notes=notes)


def roc_pictures(evaluation: Evaluation, name: str, leaks: bool) -> list[Picture]:
    """Return the figures of ROC, where there is one, and confusion."""
    from src.evaluation.figures import draw_confusion, draw_roc

    note, counts = OPTIMISTIC if leaks else "", evaluation.confusion
    found = []
    if evaluation.roc:
        alt = "; ".join(roc_words(evaluation))
        found.append(figure_picture(draw_roc(evaluation, note), f"ROC of {name}", alt))
    values = counts.to_numpy(dtype=float)
    right, total = whole(float(values.trace())), whole(float(values.sum()))
    alt = f"Confusion matrix of {name}: {right} of {total} cases right"
    return [*found, figure_picture(draw_confusion(counts, note), f"Confusion of {name}", alt)]


def cell_blocks(group: Group, replicates: int) -> list[Block]:
    """Return the figures of each cell of a group that has several, and those at their set points."""
    parts = group_predictions(group)
    if len(parts) < 2:
        return []
    found = {name: evaluate(rows, group.binary, replicates, choice=group.choice) for name, rows in parts.items()}
    shown = [picture for name in list(found)[:DRAWN] for picture in roc_pictures(found[name], name, group.leaks)]
    which = f"each of {len(found)}" if len(found) <= DRAWN else f"the first {DRAWN} of {len(found)}"
    blocks: list[Block] = [Gallery(pictures=shown, folded=f"ROC and confusion of {which} cells{of_group(group)}")]
    points = {name: each for name, each in found.items() if len(each.set_points)}
    return [*blocks, set_point_table(points, f", by cell{of_group(group)}")] if points else blocks


def group_predictions(group: Group) -> dict[str, pd.DataFrame]:
    """Return the predictions of a group by cell."""
    return {str(name): rows for name, rows in group.predictions.groupby("model", sort=False)}


def misclassified_table(group: Group) -> TextTable:
    """Return all cases whose most probable class is not their own, the most confident ones first."""
    cases = mistaken_cases(group.predictions)
    parts = group_predictions(group)
    wrong = (
        pd.concat([mistaken_cases(rows)["case"] for rows in parts.values()]).value_counts() if len(parts) > 1 else None
    )
    rows, repeats = [], count_repeats(group.predictions)
    for row in cases.to_dict("records"):
        known = [str(row["case"]), str(row["patient"]) or MISSING, str(row["label"]), str(row["predicted"])]
        rows.append([*known, str(row["fold"]), number(row["confidence"], 2), number(row["own"], 2)])
        rows[-1] += [f"{row['wrong']} of {repeats}"] if repeats > 1 else []
        rows[-1] += [] if wrong is None else [f"{wrong.get(row['case'], 0)} of {len(parts)}"]
    header = ["Case", "Patient", "True", "Predicted", "Fold", "Probability of it", "of the true class"]
    header += ["Repeats that err"] if repeats > 1 else []
    header += [] if wrong is None else ["Cells that err"]
    total = group.predictions["case"].nunique()
    caption = f"Misclassified by {group_title(group)}: {len(rows)} of {counted(total, 'case')}{of_group(group)}"
    return TextTable(caption=caption, header=header, rows=rows, text=4, folded=True)


def mistaken_cases(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the cases that are wrong: `case, patient, label, fold, predicted, confidence, own, wrong`, by confidence.

    Of several repeats a case has the row of the one in which it is most confidently wrong; `wrong` counts them.
    """
    cases, names = average_by_case(predictions), class_names(predictions)
    values = cases[probability_columns(cases)].to_numpy(dtype=float)
    found = cases.assign(
        predicted=[names[number] for number in values.argmax(axis=1)],
        confidence=values.max(axis=1),
        own=values[range(len(cases)), label_numbers(cases)],
    )
    found = found[~mark_correct(cases)].sort_values(["confidence", "case"], ascending=[False, True])
    return found.assign(wrong=found.groupby("case")["case"].transform("size")).drop_duplicates("case")


def roc_words(evaluation: Evaluation) -> Iterator[str]:
    """Yield what a ROC figure says, curve by curve."""
    found = evaluation.metrics
    for name, curve in evaluation.roc.items():
        two = name == POSITIVE and "binary_auc" in found
        against = evaluation.view if name == POSITIVE else f"{name} against the rest"
        area = shown(found, "binary_auc") if two else number(area_under_curve(curve), 3)
        yield f"ROC curve of {against}: AUC {typeset(area)}"


def set_point_table(evaluations: Mapping[str, Evaluation], of_what: str) -> TextTable:
    """Return the figures at the thresholds of the two-class view of one evaluation, or of several by name."""
    several, rows, notes = len(evaluations) > 1, [], []
    for name, evaluation in evaluations.items():
        for point in evaluation.set_points.to_dict("records"):
            figures = [measured(point, each, 100, 1) for each in ("sensitivity", "specificity", "accuracy")]
            above = number(point["threshold"], 2) + (f" ({point['rule']})" if point.get("rule") else "")
            rows.append([*([name] if several else []), above, *figures])
        missed = ", ".join(f"{whole(count)} {each}" for each, count in evaluation.missed.items())
        notes += [] if several else [f"Missed at {rows[-1][0]}: {missed}.", *threshold_sentences(evaluation)]
    names = ("Sensitivity", "Specificity", "Accuracy")
    header = ["Called positive above", *(f"{name}, % (95 %)" for name in names)]
    view = next(iter(evaluations.values())).view
    return TextTable(
        caption=f"Two classes: {view}{of_what}",
        header=["Cell", *header] if several else header,
        rows=rows,
        notes=notes,
        folded=several,
    )


def threshold_sentences(evaluation: Evaluation) -> list[str]:
    """Return how the threshold that is not fixed was chosen, where there is one."""
    chosen = evaluation.chosen
    if chosen is None:
        return []
    found = " to ".join(number(end, 2) for end in chosen.ends)
    return [
        f"{chosen.rule}: each fold's threshold, {found}, was chosen on inner predictions of its training part; the "
        "figures are of the cases that it holds out."
    ]


def class_section(material: ReportMaterial) -> Section:
    """Return each class by itself, of the whole and of each cell."""
    blocks: list[Block] = []
    for group, named in each_group(material):
        rows = class_rows(group.predictions)
        blocks += [
            *named,
            TextTable(caption=f"Each class, {group_title(group)}{of_group(group)}", header=OF_CLASSES, rows=rows),
        ]
        parts = group_predictions(group)
        if len(parts) > 1:
            rows = [[name, *row] for name, part in parts.items() for row in class_rows(part)]
            caption = f"Each class, by cell{of_group(group)}"
            whole = TextTable(caption=caption, header=["Cell", *OF_CLASSES], rows=rows, text=2, folded=True)
            # The patients are those of the table above, and there is no room for them.
            blocks.append(whole.select({name: name for name in whole.header if name != "Patients"}))
    return Section(id="classes", title="By class", blocks=blocks)


def class_rows(predictions: pd.DataFrame) -> list[list[str]]:
    """Return the texts of `src.evaluation.per_class.class_table`."""
    return [
        [
            str(row["class"]),
            str(row["cases"]),
            str(row["patients"]),
            measured(row, "recall", 100, 1),
            measured(row, "precision", 100, 1),
            measured(row, "f1", 100, 1),
            measured(row, "auc"),
        ]
        for row in class_table(average_by_case(predictions)).to_dict("records")
    ]


def slice_section(material: ReportMaterial) -> Section | None:
    """Return the metrics of parts of the cases, where something tells cases apart."""
    from src.evaluation.figures import draw_slices

    blocks: list[Block] = []
    for group, named in each_group(material):
        table = group.evaluation.slices
        if table.empty:
            continue
        alt = "Accuracy of each slice with its 95 % interval: values in the table below"
        picture = figure_picture(
            draw_slices(table, OPTIMISTIC if group.leaks else ""), f"Accuracy by slice{of_group(group)}", alt
        )
        blocks += [*named, picture, slice_table(table, of_group(group), group.evaluation)]
    return Section(id="slices", title="By slice", blocks=blocks) if blocks else None


def slice_table(table: pd.DataFrame, of_group: str, evaluation: Evaluation) -> TextTable:
    """Return the metrics by slice; of a column with many values those with the most cases."""
    made = tabulate_slices(table, shown, lambda name: f"{headed(name)} (95 %)")
    left = len(table) - len(made.rows)
    notes = [f"{counted(left, 'slice')} of few cases are in slices.csv."] if left else []
    notes += [two_class_sentence(evaluation)] if "binary_auc" in table else []
    made = replace(made, header=[*made.header[:-1], capital(made.header[-1])])
    made = with_headings(made, "Slice by", "Value", "Cases", "Patients")
    return replace(made, caption=f"Figures by slice{of_group}", notes=notes)


def calibration_section(material: ReportMaterial) -> Section | None:
    """Return how far scores can be taken at their word, and what acting on them is worth, of each group."""
    from src.evaluation.figures import draw_reliability

    blocks: list[Block] = []
    for group, named in each_group(material):
        evaluation = group.evaluation
        if evaluation.reliability is None:
            continue
        note = OPTIMISTIC if group.leaks else ""
        alt = f"Accuracy against confidence; expected calibration error {typeset(shown(evaluation.metrics, 'ece'))}"
        figure = draw_reliability(evaluation.reliability, evaluation.metrics, note)
        pictures = [figure_picture(figure, f"Reliability of {group_title(group)}", alt), *use_pictures(group)]
        blocks += [*named, Gallery(pictures=pictures), *use_tables(group)]
    said = (
        "How far the probability of the predicted class can be taken at its word. Cases that are drawn anew are less "
        "well calibrated than the cases themselves, so that the interval of the calibration error may lie above it. "
        "Slope and intercept are those of a logistic regression of the outcome on the logit of the score, patients "
        "being clusters: 1 and 0 where scores are right; a slope below 1 says that they are too extreme, an intercept "
        "below 0 that they are too high."
    )
    return Section(id="calibration", title="Calibration", blocks=[Text(lines=[said]), *blocks]) if blocks else None


def use_pictures(group: Group) -> list[Picture]:
    """Return the figures of calibration, and of net benefit."""
    from src.evaluation.figures import draw_use

    evaluation = group.evaluation
    said = {name: line_words(name, each) for name, each in evaluation.calibration.items()}
    two = said.pop(POSITIVE, "")
    texts = {
        "calibration": ("Calibration", f"Smoothed share of positive cases against the score; {two}"),
        "calibration_classes": ("Calibration by class", f"Smoothed shares of classes; {'; '.join(said.values())}"),
        "decision": ("Decision curve", f"Net benefit: {describe_decision(evaluation.decision)}"),
    }
    return [
        figure_picture(figure, f"{texts[name][0]} of {group_title(group)}", typeset(texts[name][1]))
        for name, figure in draw_use(evaluation, OPTIMISTIC if group.leaks else "").items()
    ]


def line_words(name: str, calibration: Calibration) -> str:
    """Return intercept and slope in words, or why there are none."""
    found = calibration.figures
    figures = f"intercept {measured(found, INTERCEPT, digits=2)}, slope {measured(found, SLOPE, digits=2)}"
    return f"{name}: {calibration.reason or figures}"


def use_tables(group: Group) -> list[Block]:
    """Return the figures of calibration, the predictive values, and where acting on scores is worth more."""
    evaluation, where = group.evaluation, of_group(group)
    named = {evaluation.view if name == POSITIVE else name: each for name, each in evaluation.calibration.items()}
    table = with_headings(tabulate_calibration(named, f"Calibration{where}"), "Scores of")
    blocks: list[Block] = [with_sentences(table)] if named else []
    if len(evaluation.predictive):
        caption = f"Predictive values: {evaluation.view}{where}"
        values = with_headings(tabulate_predictive(evaluation.predictive, caption), "Called positive above")
        blocks.append(with_sentences(replace(values, notes=[describe_decision(evaluation.decision)])))
    return blocks


def metric_section(material: ReportMaterial) -> Section:
    """Return all metrics with their intervals."""
    blocks: list[Block] = []
    for group, named in each_group(material):
        found, several = group.evaluation.metrics, len(group.evaluation.classes) > 2
        sides = ["", "binary_"] if several and "binary_accuracy" in found else [""]
        rows = [
            [headed(name), *(shown(found, side + name) for side in sides)]
            for name in METRICS
            if name in found or f"binary_{name}" in found
        ]
        header = ["Metric (95 % interval)", "All classes", "Two classes"][: 1 + len(sides)]
        pooled = "Of all held-out cases together; the accuracy by fold is the mean of the folds' figures."
        notes = [pooled, *([two_class_sentence(group.evaluation)] if len(sides) > 1 else [])]
        caption = f"Metrics of {group_title(group)}{of_group(group)}"
        blocks += [*named, TextTable(caption=caption, header=header, rows=rows, notes=notes)]
    return Section(id="metrics", title="All metrics", blocks=blocks)


def training_section(material: ReportMaterial) -> Section | None:
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
            ranged(row["mean"], row["low"], row["high"], 3),
        ]
        for row in last.to_dict("records")
    ]
    header = ["Cell", "Curve", "Last epoch", "Value there (range of fits)"]
    alt = "Training curves by epoch, the mean of a cell's fits over their range: last values in the table"
    blocks: list[Block] = [
        figure_picture(draw_training(table), "Training curves", alt),
        TextTable(caption="Where training ended", header=header, rows=rows, text=2),
    ]
    return Section(id="training", title="Training", blocks=blocks)


def each_group(material: ReportMaterial) -> Iterator[tuple[Group, list[Block]]]:
    """Yield the groups, the main one first, and where there are several a heading that names each."""
    first = main_group(material)
    groups = [first, *(group for group in material.fusion.groups if group is not first)]
    for group in groups:
        yield group, [Heading(text=group.title)] if len(groups) > 1 else []


def main_group(material: ReportMaterial) -> Group:
    """Return the group whose figures are read first: by patient rather than by image, and of the most patients."""
    return min(material.fusion.groups, key=lambda group: (group.leaks, -zero_if_unknown(group.patients)))


def zero_if_unknown(value: float) -> float:
    """Return a figure, 0 where it is not a number."""
    return value if value == value else 0.0


def main_model(group: Group) -> str:
    """Return the row of a group's table that is read first: the fusion, or its one model."""
    names = group.evaluation.table.index.tolist()
    return FUSION if FUSION in names else str(names[-1])


def group_title(group: Group) -> str:
    """Return what a group's figures are of."""
    model = main_model(group)
    count = group.predictions["model"].nunique()
    return f"the fusion of {count} cells" if model == FUSION else model


def of_group(group: Group) -> str:
    """Return what tells a caption from that of another group."""
    return f": {group.title}" if group.title else ""


def notes_on(group: Group) -> list[str]:
    """Return what a reader of a group's figures has to know."""
    return [f"{capital(OPTIMISTIC)}."] if group.leaks else []


def figure_picture(figure: "Figure", caption: str, alt: str) -> Picture:
    """Return a drawn figure as a picture."""
    from src.evaluation.figures import to_svg

    width, height = figure.get_size_inches() * 96
    return Picture(caption=caption, alt=alt, content=to_svg(figure), size=(round(width), round(height)))


SECTIONS: list[Callable[[ReportMaterial], Section | None]] = [
    leaderboard_section,
    external_section,
    estimand_section,
    fold_section,
    side_by_side_section,
    comparison_section,
    error_section,
    class_section,
    slice_section,
    calibration_section,
    metric_section,
    training_section,
]
