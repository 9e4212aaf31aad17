"""All that a report is made of, read from tracked runs."""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from src.evaluation.descriptors import PCA
from src.evaluation.optimism_ledger import optimism_ledger
from src.evaluation.side_by_side import Group, SideBySide, side_by_side
from src.evaluation.slices import name_folds
from src.evaluation.two_classes import Binary
from src.evaluation.verdicts import PRIMARY
from src.reporting.descriptions import dataset
from src.reporting.descriptors import DescribedImages, read_described
from src.sweeps.fusion import (
    AXES,
    Fusion,
    finished_cells,
    fuse_sweep,
    key_group,
    leaks_patients,
    published_file,
    read_published,
    read_table,
    told_apart,
)
from src.sweeps.ledger_runs import Ledger
from src.sweeps.sweep_leaderboard import PlannedBoard, leaderboard_of
from src.system.checks import one_of
from src.tracking import FINISHED, KIND, STRESS, VALIDATION, RunRecord, Tracking

log = logging.getLogger(__name__)

EXPLANATIONS = "explanations"
OF_CLASS = "class "
CURVES = ("training_loss", "stopping_loss", "training_accuracy")
"""The stepped metrics of a training that a page shows; they are named CURVE/FIT."""
LACKING = "that did not begin"
"""How a sweep ends the number of its cells that have no run."""
MOST = 24
"""Examples that a page shows, at most; the others are named."""


@dataclass(kw_only=True)
class Split:
    """The folds of some cells, and their audit.

    folds
        `fold, role, cases`: how many cases the models of a fold know as what (`src.data.splits.assign_roles`).
    held_out
        A row per fold: `fold, cases, patients`, and how many cases of each class, `class NAME`.
    names
        What the folds are called where they are the values of a column, such as hospitals.
    findings
        What stands on both sides of a split (`src.data.leaks.find_leaks`).
    facts
        The audit's counts, by name; empty where there was none.
    manifest, left_out, bad
        All samples, what was not read of what lay beside them, and the images that could not be used as they are
        (manifest.csv, left_out.csv, bad_images.csv, as texts); empty where a run holds none.
    judged
        `sample, case, patient, label` of what was predicted out of fold.
    """

    title: str
    cells: list[str]
    held_out: pd.DataFrame
    folds: pd.DataFrame
    names: dict[int, str]
    findings: pd.DataFrame
    facts: dict[str, int]
    manifest: pd.DataFrame
    left_out: pd.DataFrame
    bad: pd.DataFrame
    judged: pd.DataFrame


@dataclass(kw_only=True)
class ReportedExample:
    """A picture (JPEG) of what a cell's models look at in a case."""

    cell: str
    name: str
    content: bytes


@dataclass(kw_only=True)
class StressTest:
    """What came out of perturbing the images of cells (`src.evaluation.robustness.robustness_table`), and its run."""

    title: str
    id: str
    table: pd.DataFrame


@dataclass(kw_only=True)
class ReportMaterial:
    """What a report is made of.

    cells
        The runs of all of them, those without results, too.
    failures
        In a line, by the id of a run without results, why it has none; empty where it left no traceback.
    missing
        Cells that did not finish, or did not even begin, by name.
    together
        The groups side by side, even where there is but one.
    published
        Published tables by model and fold, by their file's name.
    external
        What models do on their own patients and on another cohort (`src.evaluation.external.external_table`), with the
        columns `model` and `cohort`; empty where none was judged so.
    points
        `cell, curve, fit, epoch, value` of the training; empty where nothing was trained.
    beyond
        How many examples there are beyond those that are shown.
    ledgers
        Of each group what the best of its cells claims (`src.evaluation.optimism_ledger`); empty where it has one cell.
    planned
        The leaderboard of a sweep that planned itself; None of any other.
    described
        The different frozen descriptors of the cells, and `projection`, by which they are mapped.
    """

    title: str
    kind: str
    id: str
    status: str
    keys: list[str]
    cells: list[RunRecord]
    failures: dict[str, str]
    missing: list[str]
    command: str
    fusion: Fusion
    together: SideBySide
    published: dict[str, pd.DataFrame]
    splits: list[Split]
    points: pd.DataFrame
    external: pd.DataFrame
    examples: list[ReportedExample]
    beyond: int
    stresses: list[StressTest]
    replicates: int
    reference: str
    primary: str
    ledgers: list[pd.DataFrame]
    planned: PlannedBoard | None
    described: list[DescribedImages]
    projection: str

    @property
    def done(self) -> list[RunRecord]:
        """The cells that have results."""
        return finished_cells(self.cells)


def gather_report(
    tracking: Tracking,
    sweep: RunRecord | None,
    runs: list[RunRecord],
    keys: Sequence[str] = (),
    replicates: int = 1000,
    binary: Binary | None = None,
    reference: str = "",
    primary: str = PRIMARY,
    slices: Sequence[str] = (),
    projection: str = PCA,
) -> ReportMaterial:
    """Return the material on a sweep's cells, or on runs that are named; `keys` are those that the sweep varied.

    `slices` are columns of the manifest in the place of those by which the runs' figures are told apart.
    `ValueError` where none of them finished, or where they fit in no way.
    """
    title = sweep.name if sweep else " and ".join(run.name for run in runs)
    done = finished_cells(runs)
    if not done:
        raise ValueError(f"{title} has no finished cells to report; `python -m src.report` needs one at least")
    keys = list(keys) or differing_params(runs)
    fusion = fuse_sweep(tracking, done, keys, replicates, binary, slices)
    known = {str(name) for group in fusion.groups for name in group.predictions["model"].unique()}
    if reference:
        one_of(sorted(known), reference=reference)
    examples, beyond = read_examples(tracking, sorted(done, key=leaks_patients))
    return ReportMaterial(
        title=title,
        kind="sweep" if sweep else "runs" if len(runs) > 1 else "run",
        id=(sweep or runs[0]).id,
        status=(sweep or runs[0]).status,
        keys=keys,
        cells=runs,
        failures={run.id: read_failure(tracking, run) for run in runs if not run.finished},
        missing=cells_without_results(sweep, runs),
        command=(sweep or runs[0]).command,
        fusion=fusion,
        together=fusion.together or side_by_side(fusion.groups, read_published(done), replicates),
        published=published_by_fold(done),
        splits=different_splits(tracking, done),
        points=training_points(tracking, done),
        external=external_figures(tracking, done),
        examples=examples,
        beyond=beyond,
        stresses=read_stresses(tracking, done),
        replicates=replicates,
        reference=reference,
        primary=primary,
        described=read_described(tracking, sorted(done, key=leaks_patients), slices),
        projection=projection,
        ledgers=[best_of(tracking, *each, replicates) for each in zip(fusion.groups, fusion.members, strict=True)],
        planned=leaderboard_of(tracking, sweep, done, replicates) if sweep else None,
    )


def best_of(tracking: Tracking, group: Group, runs: Mapping[str, RunRecord], replicates: int) -> pd.DataFrame:
    """Return what the best of a group's cells claims beside what is honest, as a ledger; empty where there is one."""
    tables = {name: group.predictions[group.predictions["model"] == name] for name in runs}
    ledger = Ledger(tracking=tracking, replicates=replicates)
    return optimism_ledger([ledger.best_run(runs, tables)] if len(runs) > 1 else [])


def differing_params(runs: list[RunRecord]) -> list[str]:
    """Return the params that keep runs from being fused, and differ among them."""
    keys = dict.fromkeys(key for run in runs for key in run.params if key_group(key) in AXES)
    return [key for key in keys if len({run.params.get(key) for run in runs}) > 1]


def cells_without_results(sweep: RunRecord | None, runs: list[RunRecord]) -> list[str]:
    """Return the cells without results, and what the sweep says of those that did not begin."""
    named = [f"{run.name} ({run.status})" for run in runs if not run.finished]
    told = sweep.tags.get("failed_cells", "") if sweep else ""
    return named + [part for part in told.split(", ") if part.endswith(LACKING)]


def read_failure(tracking: Tracking, run: RunRecord) -> str:
    """Return the last line of a run's traceback; empty where it left none."""
    try:
        text = tracking.artifact(run, "traceback.txt").decode(errors="replace")
    except ValueError:
        return ""
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "Set the environment"))]
    return lines[-1] if lines else ""


def published_by_fold(runs: list[RunRecord]) -> dict[str, pd.DataFrame]:
    """Return the published tables that the runs name and that are by fold, by the path that the runs give."""
    from src.evaluation.fold_tables import published_table

    named = sorted({run.published for run in runs} - {""})
    files = {path: published_file(path) for path in named}
    return {path: published_table(file) for path, file in files.items() if "metric" not in pd.read_csv(file, nrows=0)}


def different_splits(tracking: Tracking, runs: list[RunRecord]) -> list[Split]:
    """Return the different splits of runs, as the first run of each holds them."""
    parts: dict[str, list[RunRecord]] = {}
    for run in runs:
        parts.setdefault(run.splits, []).append(run)
    return [common_splits(tracking, part) for part in parts.values()]


def common_splits(tracking: Tracking, runs: list[RunRecord]) -> Split:
    """Return the splits that runs have in common."""
    first = runs[0]
    names, predictions = [dataset(first), first.protocol], tracking.predictions(first)
    facts = told_apart(tracking, [first])
    return Split(
        title=" ".join(filter(None, names)) or "folds",
        cells=[run.name for run in runs],
        held_out=held_out(predictions),
        folds=known_as(tracking, first),
        names={} if facts is None else name_folds(predictions, facts),
        findings=table_or_none(tracking, first, "audit.csv"),
        facts=first.audit,
        manifest=table_or_none(tracking, first, "manifest.csv"),
        left_out=table_or_none(tracking, first, "left_out.csv"),
        bad=table_or_none(tracking, first, "bad_images.csv"),
        judged=predictions[["sample", "case", "patient", "label"]].drop_duplicates("sample"),
    )


def held_out(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return cases, patients and cases of each class by fold, a case of an unknown patient counting as one."""
    from src.evaluation.metrics import patient_groups
    from src.evaluation.predictions import average_by_case, class_names

    cases = average_by_case(predictions)
    by_fold = cases.assign(group=patient_groups(cases)).groupby("fold")
    counts = pd.crosstab(cases["fold"], cases["label"]).reindex(columns=class_names(cases), fill_value=0)
    table = pd.DataFrame({"cases": by_fold.size(), "patients": by_fold["group"].nunique()})
    return table.join(counts.add_prefix(OF_CLASS)).reset_index()


def known_as(tracking: Tracking, run: RunRecord) -> pd.DataFrame:
    """Return `fold, role, cases` of a run; empty where it says nothing of roles."""
    roles = table_or_none(tracking, run, "roles.csv")
    if roles.empty:
        return pd.DataFrame(columns=["fold", "role", "cases"])
    return roles.astype({"fold": int}).groupby(["fold", "role"])["case"].nunique().rename("cases").reset_index()


def table_or_none(tracking: Tracking, run: RunRecord, name: str) -> pd.DataFrame:
    """Return a table that a run holds, as text; an empty one where it holds none."""
    try:
        return read_table(tracking, run, name)
    except ValueError:
        return pd.DataFrame()


def external_figures(tracking: Tracking, runs: list[RunRecord]) -> pd.DataFrame:
    """Return what the models of validations do on patients of their own and on the cohort."""
    judged = [run for run in runs if run.kind == VALIDATION]
    tables = [read_table(tracking, run, "external.csv").assign(cohort=", ".join(run.data_names)) for run in judged]
    if not tables:
        return pd.DataFrame()
    figures = [name for name in map(str, tables[0]) if name.startswith(("internal", "external", "difference"))]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(**{name: pd.to_numeric(table[name]) for name in figures})


def training_points(tracking: Tracking, runs: list[RunRecord]) -> pd.DataFrame:
    """Return the curves of the training of runs, which are stepped by epoch."""
    rows = []
    for run in runs:
        named = [(curve, name) for curve in CURVES for name in sorted(run.metrics) if name.startswith(f"{curve}/")]
        for curve, name in named:
            fit = name.removeprefix(f"{curve}/")
            rows += [(run.name, curve, fit, step, value) for step, value in tracking.curve(run, name)]
    return pd.DataFrame(rows, columns=["cell", "curve", "fit", "epoch", "value"])


def read_stresses(tracking: Tracking, runs: list[RunRecord]) -> list[StressTest]:
    """Return the finished stress tests of runs, as they were made; of several on the same runs the newest."""
    asked = {run.id for run in runs}
    found = [test for test in tracking.search({KIND: STRESS}, FINISHED) if asked & set(test.stressed)]
    newest = {frozenset(test.stressed): test for test in found}
    return [
        StressTest(
            title=test.name, id=test.id, table=pd.read_csv(io.BytesIO(tracking.artifact(test, "robustness.csv")))
        )
        for test in found
        if newest[frozenset(test.stressed)] is test
    ]


def read_examples(tracking: Tracking, runs: list[RunRecord]) -> tuple[list[ReportedExample], int]:
    """Return as many examples of each run as fit on a page, and how many there are beyond them."""
    listed = {run.id: example_paths(tracking, run) for run in runs}
    share = max(1, MOST // max(1, sum(map(bool, listed.values()))))
    shown = [(run, path) for run in runs for path in spread_evenly(listed[run.id], share)][:MOST]
    examples = [
        ReportedExample(cell=run.name, name=path.partition("/")[2], content=tracking.artifact(run, path))
        for run, path in shown
    ]
    return examples, sum(map(len, listed.values())) - len(examples)


def example_paths(tracking: Tracking, run: RunRecord) -> list[str]:
    """Return the paths of a run's examples: the right ones by class, then the wrong ones."""
    return [path for path in tracking.files(run, EXPLANATIONS) if path.endswith(".jpg")]


def spread_evenly(paths: list[str], count: int) -> list[str]:
    """Return so many of the paths, evenly spread over them."""
    return [paths[number * len(paths) // count] for number in range(count)] if len(paths) > count else paths
