"""From the material to the page's content: what was done, what came out, and the sections."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

from src.evaluation import wording
from src.evaluation.fold_tables import FUSION, SPREAD, of_one_view
from src.evaluation.metrics import patient_groups
from src.evaluation.predictions import average_by_case, class_names, count_repeats
from src.evaluation.side_by_side import Group
from src.evaluation.wording import capital, ends, listed, percent, scale, titled, unit_of
from src.reporting import checklists, descriptions, provenance, results
from src.reporting.descriptors import descriptor_section
from src.reporting.gathering import LACKING, ReportMaterial
from src.reporting.methods import describe_methods, method_section, param_values
from src.reporting.participants import participant_section
from src.reporting.results import leaderboard_lines, main_group, main_model
from src.reporting.robustness import robustness_section
from src.reporting.sections import Fact, Part, ReportPage, Section
from src.reporting.typesetting import MISSING, counted, number, typeset
from src.tracking import FINISHED, RunRecord

KINDS = {"sweep": "Sweep", "run": "Run", "runs": "Runs"}
PARTS = {
    "What came out": [
        "leaderboard",
        "patients",
        "intervals",
        "folds",
        "groups",
        "comparison",
        "errors",
        "thresholds",
        "classes",
        "metrics",
    ],
    "How far it holds": ["slices", "sites", "descriptors", "external", "calibration", "use", "stress", "examples"],
    "How it was done": ["methods", "training", "audit", "notes", "checklists", "made"],
}
"""The parts of a page, with the sections of each in their order; one that is not named stands at the second's end."""
SECTIONS = [
    participant_section,
    *results.SECTIONS,
    robustness_section,
    descriptor_section,
    method_section,
    *provenance.SECTIONS,
]


def compose_page(material: ReportMaterial) -> ReportPage:
    """Return the page's content."""
    group = main_group(material)
    made = [section for make in SECTIONS if (section := make(material)) is not None]
    titles = {"result": "Main result"} | {section.id: section.title for section in made}
    return ReportPage(
        title=material.title,
        kind=KINDS[material.kind],
        done=describe_design(material, group),
        result=describe_result(material, group),
        facts=headline_facts(material, group),
        warnings=page_warnings(material),
        parts=order_sections([*made, checklists.checklist_section(material, titles)]),
    )


def order_sections(sections: list[Section]) -> list[Part]:
    """Return the sections in the order of a page, by its parts."""
    places = {name: (part, place) for part, names in enumerate(PARTS.values()) for place, name in enumerate(names)}
    last = (1, len(sections))
    found = sorted(sections, key=lambda section: places.get(section.id, last))
    parts = [
        Part(title=title, sections=[each for each in found if places.get(each.id, last)[0] == number])
        for number, title in enumerate(PARTS)
    ]
    return [part for part in parts if part.sections]


def describe_design(material: ReportMaterial, group: Group) -> list[str]:
    """Return what was done, in two sentences."""
    cases = average_by_case(group.predictions)
    patients = int(patient_groups(cases).max()) + 1
    names = class_names(cases)
    data_sets = list(filter(None, dict.fromkeys(map(descriptions.dataset, material.done))))
    folds = [counted(split.held_out["fold"].nunique(), "fold") for split in material.splits]
    repeats = count_repeats(cases)
    protocols = listed(list(dict.fromkeys(param_values(material, "protocol"))))
    unknown = " (unknown ones counted as one each)" if (cases["patient"] == "").any() else ""
    held = f"{counted(cases['case'].nunique(), 'case')} of {counted(patients, 'patient')}{unknown}"
    of_classes = f"{counted(len(names), 'class', 'classes')} ({listed(names, 12)})"
    data = f"Judged on {held} of the data set {listed(data_sets) or 'unknown'}, {of_classes}."
    protocol = f"{protocols or 'unknown'}, {' or '.join(dict.fromkeys(folds))}"
    protocol += f" of {repeats} repeats" if repeats > 1 else ""
    if not material.external.empty:
        return [f"{data} None of them was learnt from.", describe_methods(material)]
    data += f" Every case is predicted by models that did not see it: protocol {protocol}."
    return [data, describe_methods(material)]


def describe_result(material: ReportMaterial, group: Group) -> list[str]:
    """Return the main result, in sentences."""
    model = main_model(group)
    row = row_beside(material, group, model)
    name = f"The fusion of {counted(group.predictions['model'].nunique(), 'cell')}" if model == FUSION else model
    where = f" ({group.title})" if group.title else ""
    folds = group.evaluation.fold_accuracy.size
    name_of_most, share = group.evaluation.commonest
    accuracy, low, high = wording.figures(group.evaluation.metrics, "accuracy", 100)
    lines = [
        f"{name}{where} is right in {number(accuracy)} % of the cases (95 % interval {ends(low, high)}; mean of "
        f"{counted(folds, 'fold')} {number(row['mean'])} %). "
        f"Always naming the most frequent class, {name_of_most}, would be right in {percent(share)} %."
    ]
    if model == FUSION and material.planned is None:  # a leaderboard has its own best way, by all cases at once
        lines.append(best_cell(group))
    return leaderboard_lines(material) + lines + gap_lines(material, group, model)


def row_beside(material: ReportMaterial, group: Group, model: str) -> dict[Hashable, Any]:
    """Return the row of a model and group among those side by side."""
    table = material.together.table
    return table[(table["group"] == group.title) & (table["model"] == model)].to_dict("records")[0]


def best_cell(group: Group) -> str:
    """Return which single cell has the highest accuracy, and that it was picked."""
    names = group.evaluation.table.index.tolist()
    single = [name for name in names if name not in (FUSION, SPREAD) and not of_one_view(str(name), names)]
    means = group.evaluation.table.loc[single, "mean"]
    return (
        f"The best single cell is {means.idxmax()} with {number(float(means.max()))} %; as the best of {len(single)}, "
        "picked after the fact, it looks better than it is."
    )


def gap_lines(material: ReportMaterial, group: Group, model: str) -> list[str]:
    """Return by how much image-level folds look better."""
    gaps = material.together.gaps
    if gaps.empty:
        return []
    rows = gaps[gaps["model"] == model]
    for name in group.axes:
        rows = rows[rows[name if name in rows else "other"] == group.axes[name]]
    lines = []
    for row in rows.to_dict("records"):
        gap, interval = wording.number(row["gap"], sign="+"), ends(row["low"], row["high"], sign="+")
        figures = typeset(f"{gap} points (95 % interval {interval})")
        lines.append(
            f"Under {row['leaking']}, where patients stand on both sides of a split, this figure differs by {figures}."
        )
    return lines


def headline_facts(material: ReportMaterial, group: Group) -> list[Fact]:
    """Return the figures that are read first."""
    found = group.evaluation.metrics
    several = len(group.evaluation.classes) > 2
    shown = [headline_fact(found, "accuracy", titled("accuracy"))]
    most, share = group.evaluation.commonest
    shown.append(Fact(label="Always the most frequent class", value=f"{percent(share)} %", detail=most))
    shown.append(headline_fact(found, "balanced_accuracy", titled("balanced_accuracy")))
    auc = "binary_auc" if "binary_auc" in found else "auc"
    area = headline_fact(found, auc, titled(auc if several else "auc"))
    positive = " + ".join(group.evaluation.positive)
    shown.append(replace(area, detail="; ".join(filter(None, [area.detail, positive and f"positive: {positive}"]))))
    shown.append(headline_fact(found, "ece", "calibration error"))
    if material.kind != "run":
        total = len(material.cells) + sum(name.endswith(LACKING) for name in material.missing)
        detail = f"of {total}" if len(material.done) == total else f"of {total}: see the warning"
        shown.append(Fact(label="Finished cells", value=str(len(material.done)), detail=detail))
    return [each for each in shown if each.value != MISSING]


def headline_fact(found: Mapping[str, float], name: str, label: str) -> Fact:
    """Return a metric as a figure that is read first."""
    unit, digits = scale(name)
    value, low, high = wording.figures(found, name, unit)
    text = number(value, digits)
    shown = text if text == MISSING else f"{text} {unit_of(name)}".strip()
    return Fact(label=capital(label), value=shown, detail=ends(low, high, digits, level=True))


def page_warnings(material: ReportMaterial) -> list[str]:
    """Return what a reader has to know before any figure."""
    lines = [f"Without results: {listed(material.missing, 12)}."] if material.missing else []
    if material.kind == "sweep" and material.status != FINISHED:
        lines.append(f"The sweep itself is {material.status}: cells may be missing.")
    lines += [f"The cells of {title} could not be fused: {why}" for title, why in material.fusion.failed.items()]
    lines += [leak_warning(group) for group in material.fusion.groups if group.leaks]
    lines += [f"{note}." for note in group_warnings(material)]
    return lines + untrained_warning(material.done)


def group_warnings(material: ReportMaterial) -> list[str]:
    """Return what has to be known of the figures of groups; what holds for several is said once."""
    found: dict[str, list[str]] = {}
    for group in material.fusion.groups:
        for note in group.evaluation.notes:
            found.setdefault(note, []).append(group.title)
    every = len(material.fusion.groups)
    return [capital(note) if len(titles) == every else f"{listed(titles)}: {note}" for note, titles in found.items()]


def leak_warning(group: Group) -> str:
    """Return the warning on a group with patients on both sides of a split."""
    return f"{group.title or 'These folds'}: patients stand on both sides of a split, so that figures are optimistic."


def untrained_warning(cells: list[RunRecord]) -> list[str]:
    """Return the warning on encoders that know nothing."""
    names = [cell.name for cell in cells if "untrained encoder" in cell.notes]
    which = "all cells" if len(names) == len(cells) > 1 else listed(names)
    return [f"Untrained encoders, which show nothing about images: {which}."] if names else []
