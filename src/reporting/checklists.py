"""The section with two checklists of reviewers, filled where the runs know the answer and empty where only authors do.

The items' numbers are those of the published lists, their titles are ours.
"""

from collections.abc import Callable, Mapping

from src.evaluation.predictions import count_repeats
from src.evaluation.text_tables import TextTable
from src.evaluation.wording import listed
from src.reporting.gathering import ReportMaterial
from src.reporting.results import main_group
from src.reporting.sections import Section, Text
from src.reporting.typesetting import counted

Answer = Callable[[ReportMaterial], str] | tuple[str, ...]
"""What tells the answer, or the sections that hold it, by their ids."""
Item = tuple[str, str, Answer | None]
"""Its number, what it asks, and its answer; None where only the authors have one."""

TRIPOD = "TRIPOD+AI (Collins et al., BMJ 2024;385:e078378)"
CLAIM = "CLAIM (Mongan, Moy and Kahn, Radiology: Artificial Intelligence 2020;2:e200029)"


def tell_partitions(material: ReportMaterial) -> str:
    """Return how cases are split."""
    folds = [counted(split.held_out["fold"].nunique(), "fold") for split in material.splits]
    repeats = count_repeats(main_group(material).predictions)
    again = f" of {repeats} repeats" if repeats > 1 else ""
    return f"{listed(list(dict.fromkeys(folds)))}{again}; {METHODS_TEXT} and splits.csv of each run"


def tell_disjoint(material: ReportMaterial) -> str:
    """Return whether patients stand on one side of each split."""
    leaking = [split.title for split in material.splits if split.facts.get("audit_patients", 0)]
    known = any((split.judged["patient"] != "").any() for split in material.splits)
    if leaking:
        return f"by image in {listed(leaking)}: patients stand on both sides; Splits and leak audit"
    return "by patient; Splits and leak audit" if known else "by case: patients are unknown"


def tell_seeds(material: ReportMaterial) -> str:
    """Return what models begin with."""
    weights = dict.fromkeys(cell.params.get("encoder.weights", "") for cell in material.done)
    return f"weights {listed([name for name in weights if name])}, with digests; {METHODS_TEXT}" if any(weights) else ""


def tell_fusion(material: ReportMaterial) -> str:
    """Return what is averaged."""
    several = main_group(material).predictions["model"].nunique()
    return f"the mean of {several} cells' probabilities" if several > 1 else "models of folds and seeds are averaged"


def tell_imbalance(material: ReportMaterial) -> str:
    """Return what was done about classes of different frequency."""
    weights = dict.fromkeys(cell.params.get("finetune.class_weights", "") for cell in material.done)
    of_loss = listed([name for name in weights if name])
    return f"class weights of the loss: {of_loss}; prevalence in {PATIENTS}" if of_loss else f"prevalence in {PATIENTS}"


def tell_thresholds(material: ReportMaterial) -> str:
    """Return what a model says, and above what a case is called positive."""
    points = main_group(material).evaluation.set_points
    found = listed([f"{each:.2f}" for each in points["threshold"]]) if len(points) else ""
    return (
        f"class probabilities; called positive above {found}" if found else "class probabilities, the highest is named"
    )


def tell_code(material: ReportMaterial) -> str:
    """Return which code it was."""
    commits = dict.fromkeys(cell.tags.get("git_commit", "")[:12] for cell in material.done)
    known = [each for each in commits if each]
    return f"Tenfold, commit {listed(known)}; versions in How it was made" if known else ""


def tell_tuning(material: ReportMaterial) -> str:
    """Return how parameters were chosen."""
    tuned = [cell.tuned for cell in material.done if cell.tuned]
    return f"{listed(tuned)}; {METHODS_TEXT}" if tuned else f"given, not tuned; {METHODS_TEXT}"


def tell_difference(material: ReportMaterial) -> str:
    """Return in what the data differ that were learnt from and judged."""
    return "see On another cohort" if len(material.external) else "none: every case is judged out of fold"


def tell_recalibration(material: ReportMaterial) -> str:
    """Return how probabilities were recalibrated."""
    ways = dict.fromkeys(cell.params.get("recalibration", "none") for cell in material.done)
    return listed([way for way in ways if way not in ("none", "")])


METHODS_TEXT, PATIENTS = "Methods, for a paper", "Patients and images"
METHODS, FLOW, RESULTS = ("methods",), ("patients",), ("result", "metrics", "errors")
TRIPOD_ITEMS: list[Item] = [
    ("1", "Title: development or evaluation, for whom, of what outcome", None),
    ("2", "Abstract, by its own list", None),
    ("3a", "Health problem, and models that there are", None),
    ("3b", "For whom, when in care, and who is to use it", None),
    ("3c", "Known inequalities in health between groups", None),
    ("4", "Aims", None),
    ("5a", "Sources of data, why these, whom they stand for", None),
    ("5b", "Dates of recruitment and follow-up", None),
    ("6a", "Places: kind, number, location of centres", None),
    ("6b", "Who was eligible", None),
    ("6c", "Treatments, and how they were handled", None),
    ("7", "Preparation and quality checks of data", METHODS),
    ("8a", "Outcome: definition, how and when assessed", None),
    ("8b", "Who assessed an outcome that needs judgement", None),
    ("8c", "Blinding of that assessment", None),
    ("9a", "Choice of predictors", lambda material: "the images alone"),
    ("9b", "Predictors: definition, how and when measured", None),
    ("9c", "Who assessed predictors that need judgement", None),
    ("10", "How the size of the study came about (`python -m src.plan`)", None),
    ("11", "Handling of missing data", FLOW),
    ("12a", "Use of data for development and evaluation", tell_partitions),
    ("12b", "Handling of predictors: scaling, transformation", METHODS),
    ("12c", "Kind of model, building steps, tuning, internal validation", tell_tuning),
    ("12d", "Heterogeneity between clusters such as hospitals", ("slices", "external")),
    ("12e", "Measures of performance, and why these", METHODS),
    ("12f", "Updating, such as recalibration", tell_recalibration),
    ("12g", "How predictions were computed in the evaluation", METHODS),
    ("13", "Imbalance of classes", tell_imbalance),
    ("14", "Fairness, and how it was pursued", None),
    ("15", "Output of the model, and thresholds", tell_thresholds),
    ("16", "Differences between data of development and evaluation", tell_difference),
    ("17", "Ethics approval and consent", None),
    ("18a", "Funding", None),
    ("18b", "Conflicts of interest", None),
    ("18c", "Protocol of the study", None),
    ("18d", "Registration", None),
    ("18e", "Sharing of data", None),
    ("18f", "Sharing of code", tell_code),
    ("19", "Involvement of patients and public", None),
    ("20a", "Flow of participants, with and without the outcome", FLOW),
    ("20b", "Characteristics of participants", None),
    ("20c", "Comparison with the development data", ("external",)),
    ("21", "Participants and outcomes in each analysis", ("patients", "audit")),
    (
        "22",
        "The whole model, so that others can predict",
        lambda material: "model/ of each run; `python -m src.predict`",
    ),
    ("23a", "Performance with intervals, in subgroups, too", (*RESULTS, "slices")),
    ("23b", "Heterogeneity of performance between clusters", ("slices", "external")),
    ("24", "Results of updating", None),
    ("25", "Interpretation, with fairness", None),
    ("26", "Limitations", None),
    ("27a", "Handling of poor input in use", None),
    ("27b", "What users must do and know", None),
    ("27c", "Next steps, and where it may hold", None),
]
CLAIM_ITEMS: list[Item] = [
    ("1", "Title: names the technology", None),
    ("2", "Structured summary", None),
    ("3", "Background and intended role", None),
    ("4", "Aims and hypotheses", None),
    ("5", "Prospective or retrospective", None),
    ("6", "Goal of the study", None),
    ("7", "Sources of data", None),
    ("8", "Eligibility: how, where and when found", None),
    ("9", "Preprocessing of images", METHODS),
    ("10", "Choice of parts of data", FLOW),
    ("11", "Definitions of data elements", None),
    ("12", "De-identification", None),
    ("13", "Missing data", FLOW),
    ("14", "Reference standard: definition", None),
    ("15", "Reference standard: why this one", None),
    ("16", "Who annotated, with which training", None),
    ("17", "Tools of annotation", None),
    ("18", "Variability between and within annotators", None),
    ("19", "How the size of the study came about (`python -m src.plan`)", None),
    ("20", "Partitions, and how cases came into them", tell_partitions),
    ("21", "Level at which partitions are disjoint", tell_disjoint),
    ("22", "Model: inputs, outputs, layers", METHODS),
    ("23", "Software, libraries, versions", tell_code),
    ("24", "What models begin with", tell_seeds),
    ("25", "Training: augmentation, parameters, number of models", METHODS),
    ("26", "Choice of the final model", tell_tuning),
    ("27", "Ensembles", tell_fusion),
    ("28", "Measures of performance", METHODS),
    ("29", "Significance and uncertainty", METHODS),
    ("30", "Robustness and sensitivity", ("stress", "slices")),
    ("31", "Explanation of what models look at", ("examples",)),
    ("32", "Validation on other data", ("external",)),
    ("33", "Flow of participants or cases", FLOW),
    ("34", "Characteristics of patients by partition", None),
    ("35", "Performance on each partition", ("result", "folds")),
    ("36", "Diagnostic accuracy with its precision", RESULTS),
    ("37", "Analysis of failures", lambda material: "misclassified cases in ROC and confusion"),
    ("38", "Limitations, bias, where it may hold", None),
    ("39", "Implications for practice", None),
    ("40", "Registration", None),
    ("41", "Where the protocol can be had", None),
    ("42", "Funding", None),
]


def checklist_section(material: ReportMaterial, titles: Mapping[str, str]) -> Section:
    """Return both checklists; `titles` are those of the page's other sections, by their ids."""
    said = (
        "Filled where the runs know the answer; what is empty only the authors know. Items are named in our words: the "
        "published lists, with their explanations, are what counts. CLAIM's numbers are those of 2020; its update of "
        "2024 numbers some of them otherwise."
    )
    lists = [(TRIPOD, TRIPOD_ITEMS), (CLAIM, CLAIM_ITEMS)]
    tables = [checklist(title, items, material, titles) for title, items in lists]
    return Section(id="checklists", title="Checklists of reviewers", blocks=[Text(lines=[said]), *tables])


def checklist(title: str, items: list[Item], material: ReportMaterial, titles: Mapping[str, str]) -> TextTable:
    """Return a checklist as a table: number, item, and where it is answered."""
    rows = [[number, what, answer_item(answer, material, titles)] for number, what, answer in items]
    caption = f"{title}: {sum(bool(row[-1]) for row in rows)} of {len(items)} filled"
    return TextTable(caption=caption, header=["Item", "What is asked", "Answer"], rows=rows, text=3, folded=True)


def answer_item(answer: Answer | None, material: ReportMaterial, titles: Mapping[str, str]) -> str:
    """Return what an item's answer is; empty where the runs know none, or the page has no section of it."""
    if isinstance(answer, tuple):
        found = [titles[name] for name in answer if name in titles]
        return f"see {listed(found)}" if found else ""
    return answer(material) if answer else ""
