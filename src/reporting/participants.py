"""The section on who was studied: from the images that were found to those that are judged, and what is missing."""

from dataclasses import replace

import pandas as pd

from src.evaluation.evaluation import Evaluation
from src.evaluation.text_tables import TextTable
from src.evaluation.wording import MISSING, listed, percent
from src.methods.fold_models import LEFT_OUT
from src.reporting.gathering import ReportMaterial, Split
from src.reporting.results import main_group
from src.reporting.sections import Block, Heading, Section
from src.reporting.typesetting import counted

OF_ANY = "A patient counts in each class that any of its cases has."


def participant_section(material: ReportMaterial) -> Section:
    """Return the flow of images, cases and patients, how frequent the classes are, and what is missing."""
    blocks: list[Block] = []
    evaluation = main_group(material).evaluation
    found = different_data(material.splits)
    for split in found:
        blocks += [Heading(text=split.title)] if len(found) > 1 else []
        which = f": {split.title}" if len(found) > 1 else ""
        tables = [flow_table(split), prevalence_table(split, evaluation), missing_table(split)]
        blocks += [replace(table, caption=table.caption + which) for table in tables]
    return Section(id="patients", title="Patients and images", blocks=blocks)


def different_data(splits: list[Split]) -> list[Split]:
    """Return the first split of each set of images that were found, left out and judged."""
    kept: dict[tuple[object, ...], Split] = {}
    for split in splits:
        kept.setdefault((frozenset(split.judged["sample"]), len(split.manifest), len(split.bad)), split)
    return list(kept.values())


def flow_table(split: Split) -> TextTable:
    """Return what was found, left out and judged, a step a row."""
    rows = []
    if len(split.manifest):
        found = len(split.manifest) + len(split.left_out)
        rows += [["Found", str(found), MISSING, MISSING]] if len(split.left_out) else []
        rows += [left_out_row(f"not read: {kind}", part, "name") for kind, part in kinds(split.left_out, "kind")]
        rows.append(["Labelled", *sizes(split.manifest)])
        rows += [left_out_row(f"bad: {why}", part, "sample") for why, part in kinds(without_bad(split), "reason")]
        rest = never_judged(split)
        rows += [["Learnt from only, never held out", *sizes(rest)]] if len(rest) else []
    rows.append(["Judged out of fold", *sizes(split.judged)])
    notes = [] if len(split.manifest) else ["The run holds no manifest: what was found is not known."]
    notes.append("How many each fold holds out stands under Splits and leak audit.")
    header = ["Step", "Images", "Cases", "Patients"]
    return TextTable(caption="From images to judgement", header=header, rows=rows, notes=notes)


def kinds(table: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of a table by a column's values, those with the most first."""
    if table.empty:
        return []
    parts = [(str(value), part) for value, part in table.groupby(column, sort=True)]
    return sorted(parts, key=lambda pair: -len(pair[1]))


def left_out_row(kind: str, part: pd.DataFrame, name: str) -> list[str]:
    """Return the row of what was left out for one reason, with the first one's name."""
    first = str(part[name].iloc[0])
    return [f"Left out, {kind} ({first}{', ...' * (len(part) > 1)})", str(len(part)), MISSING, MISSING]


def without_bad(split: Split) -> pd.DataFrame:
    """Return the bad images that were left out."""
    return split.bad[split.bad["outcome"] == LEFT_OUT] if len(split.bad) else split.bad


def never_judged(split: Split) -> pd.DataFrame:
    """Return the samples of the manifest that are good and were never held out."""
    bad = set(without_bad(split)["sample"]) if len(split.bad) else set()
    return split.manifest[~split.manifest["case"].isin(split.judged["case"]) & ~split.manifest["sample"].isin(bad)]


def sizes(table: pd.DataFrame) -> list[str]:
    """Return the images, cases and known patients of a table of samples; cases of unknown ones beside them."""
    known = table["patient"] != ""
    unknown = table.loc[~known, "case"].nunique()
    patients = str(table.loc[known, "patient"].nunique()) if known.any() else "unknown"
    more = f" + {counted(unknown, 'case')} of unknown ones" if unknown and known.any() else ""
    return [str(len(table)), str(table["case"].nunique()), patients + more]


def prevalence_table(split: Split, evaluation: Evaluation) -> TextTable:
    """Return how many images, cases and patients each class has, and of several positive ones all together."""
    positive, present = evaluation.positive, set(split.judged["label"])
    classes = [[name] for name in evaluation.classes if name in present]
    several = len(classes) > 2 and len(positive) > 1
    cases, patients = split.judged["case"].nunique(), patients_of(split.judged)
    rows = []
    for names in [*classes, *([positive] if several else [])]:
        part = split.judged[split.judged["label"].isin(names)]
        count, of_patients = part["case"].nunique(), patients_of(part)
        title = f"positive: {' + '.join(names)}" if names == positive and several else names[0]
        rows.append([title, str(len(part)), str(count), percent(count / cases), str(of_patients)])
        rows[-1].append(percent(of_patients / patients))
    header = ["Class", "Images", "Cases", "% of cases", "Patients", "% of patients"]
    notes = [OF_ANY] + (
        ["A case of an unknown patient counts as one."] if (split.judged["patient"] == "").any() else []
    )
    return TextTable(caption="Prevalence among the judged", header=header, rows=rows, notes=notes)


def patients_of(table: pd.DataFrame) -> int:
    """Return the number of patients, a case of an unknown one counting as one."""
    known = table["patient"] != ""
    return int(table.loc[known, "patient"].nunique() + table.loc[~known, "case"].nunique())


def missing_table(split: Split) -> TextTable:
    """Return what is missing, and what became of it."""
    rows = [row for row in missing_rows(split) if row[1] != "0"] or [["Nothing", MISSING, MISSING]]
    header = ["Missing", "Count", "What became of it"]
    return TextTable(caption="Missing data", header=header, rows=rows, last=1)


def missing_rows(split: Split) -> list[list[str]]:
    """Return what may be missing, how often it is, and what becomes of it."""
    left, bad = without_bad(split), len(split.bad)
    unknown = split.judged.loc[split.judged["patient"] == "", "case"].nunique()
    rows = [
        ["Patient of a case", unknown, "counts as a patient of its own: if some share one, intervals are too narrow"],
        ["A view of a case", lacking_views(split.manifest), "the case is judged by the views that it has"],
        ["Image that can be used", len(left), "left out"],
        ["Image that can be normalised", bad - len(left), "used without that"],
    ]
    extra = [name for name in split.manifest if name not in ("sample", "case", "patient", "view", "label", "content")]
    for name in extra:
        cases = split.manifest.drop_duplicates("case")
        rows.append([f"Value of {name}", int((cases[name] == "").sum()), "the case is in no slice by it"])
    return [[str(what), str(count), str(fate)] for what, count, fate in rows]


def lacking_views(manifest: pd.DataFrame) -> int:
    """Return how many cases lack a view that others have."""
    if manifest.empty:
        return 0
    views = manifest.groupby("case")["view"].nunique()
    return int((views < manifest["view"].nunique()).sum())


def describe_data(split: Split) -> str:
    """Return the data of a split in words, for a paper."""
    known = split.judged["patient"] != ""
    patients, unknown = split.judged.loc[known, "patient"].nunique(), split.judged.loc[~known, "case"].nunique()
    whose = listed(
        [counted(patients, "patient")] * bool(patients)
        + [f"{counted(unknown, 'case')} of unknown patients" if patients else "unknown patients"] * bool(unknown)
    )
    counts = split.judged.drop_duplicates("case")["label"].value_counts(sort=False)
    of_classes = listed([f"{name} {count}" for name, count in sorted(counts.items())], 12)
    images, cases, _ = sizes(split.judged)
    what = f"{images} images" if images == cases else f"{images} images of {cases} cases"
    return f"{what} from {whose} ({of_classes})"
