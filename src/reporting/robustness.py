"""The section on perturbed images: whether models keep their promise in another laboratory."""

from dataclasses import replace

import pandas as pd

from src.evaluation.robustness import explain_robustness, summarise_robustness
from src.evaluation.text_tables import TextTable, tabulate_levels, tabulate_robustness
from src.evaluation.wording import signed
from src.reporting.gathering import ReportMaterial
from src.reporting.results import figure_picture
from src.reporting.sections import Block, Heading, Picture, Section, Text
from src.reporting.typesetting import typeset

SAID = (
    "Images that the models had not seen were perturbed in graded steps before anything else was done to them, and "
    "predicted by the models of their own fold. The perturbations stand for other stains, scanners and archives; they "
    "are not images of another hospital."
)


def robustness_section(material: ReportMaterial) -> Section | None:
    """Return the curves and the tables of the stress tests of the cells, where there are some."""
    blocks: list[Block] = [Text(lines=[SAID])]
    for test in material.stresses:
        blocks += [Heading(text=test.title)] if len(material.stresses) > 1 else []
        blocks += [robustness_picture(test.table), *robustness_tables(test.table)]
    return Section(id="stress", title="Perturbed images", blocks=blocks) if material.stresses else None


def robustness_picture(table: pd.DataFrame) -> Picture:
    """Return the figure of the curves."""
    from src.evaluation.robustness_figure import draw_robustness

    told = [
        f"{row['model']}, {row['perturbation']} {row['worst']:g}: {signed(100 * row['accuracy_difference'], *ends)}"
        for row in summarise_robustness(table).to_dict("records")
        if (ends := (100 * row["accuracy_difference_low"], 100 * row["accuracy_difference_high"]))
    ]
    caption = "Change of accuracy by level, with 95 % bands by patient; dotted: images as they are."
    return figure_picture(draw_robustness(table), caption, typeset(f"Most lost, in points: {'; '.join(told)}"))


def robustness_tables(table: pd.DataFrame) -> list[TextTable]:
    """Return how far each perturbation may go, and all levels."""
    notes = [f"{line}." for line in explain_robustness(table)]
    whole = tabulate_robustness(summarise_robustness(table), "How far images may be perturbed", notes)
    return [whole, replace(tabulate_levels(table, "Every level"), folded=True)]
