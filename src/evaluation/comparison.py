"""Is one way of learning better than another, on the same cases, patients and folds?

What each case adds to the difference of each metric (`case_contributions`), from which `src.evaluation.verdicts` has
intervals, tests and verdicts. McNemar's test takes images for independent; it is told beside, and decides nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from src.evaluation.metrics import METRICS, Labels, Probabilities, Weights, label_numbers, patient_groups
from src.evaluation.predictions import align_tables, average_by_case, class_names, probability_columns
from src.evaluation.two_classes import Binary
from src.evaluation.verdicts import ALL, PRIMARY, Evidence, add_verdicts
from src.system.checks import one_of

NAMES = ("accuracy", "balanced_accuracy", "auc")
VIEW = ("accuracy", "auc")
"""The metrics of the two-class view of more than two classes."""

Cases = Float[np.ndarray, " cases"]
Groups = Int[np.ndarray, " cases"]


def compare(
    tables: Mapping[str, pd.DataFrame],
    binary: Binary,
    reference: str = "",
    primary: str = PRIMARY,
    ratios: Mapping[str, float] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare each of the predictions tables (by name) with that of `reference`, the first one unless it is named.

    Columns: `model, reference, metric, value, reference_value, difference, low, high, p, p_adjusted, p_mcnemar,
    p_resampled_t, smallest, verdict`, a row per model and metric; values are fractions, of the probabilities averaged
    over views and seeds, and means over repeats. The metrics are `accuracy`, `balanced_accuracy`, `auc`, and where more
    than two classes have a two-class view `binary_accuracy` and `binary_auc`. `low, high` is the 95 % interval of the
    difference, which has 0 outside where `p` is below 0.05; `p_adjusted` is corrected for the rows of `primary` (one of
    the metrics, or `all`), and in rows of other metrics for these. `smallest` is the smallest difference that so many
    patients could have shown (`src.evaluation.verdicts.smallest_shown`); not a number where no possible one.
    `p_resampled_t` is corrected for the overlap of training sets with one repeat, too. A test that cannot be made is
    not a number.

    `ratios` are those of held-out to training cases by name; else the folds are taken to learn from all the others.

    Errors: ValueError for fewer than two tables, an unknown reference or primary metric, or other cases, classes,
    labels, patients or folds.
    """
    same = align_runs(tables)
    names = _reference_first(list(same), reference)
    tasks = list(comparison_tasks(same, binary))
    one_of([*(task.prefix + metric for task in tasks for metric in task.metrics), ALL], primary=primary)
    asked = [(task, metric, name, names[0]) for name in names[1:] for task in tasks for metric in task.metrics]
    return _add_evidence(asked, ratios, primary, seed)


def compare_pairs(
    tables: Mapping[str, pd.DataFrame],
    binary: Binary,
    ratios: Mapping[str, float] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the accuracy of each of the predictions tables (by name) with that of each that comes after it.

    The columns are those of `compare`, a row per pair; p and verdicts are corrected for all pairs, so that any of them
    may be looked at, those with whichever table turns out to be the best, too (Tukey's question).

    Errors: ValueError as of `compare`.
    """
    same = align_runs(tables)
    task = next(comparison_tasks(same, binary))
    asked = [(task, PRIMARY, name, other) for name, other in combinations(same, 2)]
    return _add_evidence(asked, ratios, ALL, seed)


Asked = tuple["Task", str, str, str]
"""A task, a metric of it, and the two tables that are compared, the reference last."""


def _add_evidence(asked: Sequence[Asked], ratios: Mapping[str, float] | None, primary: str, seed: int) -> pd.DataFrame:
    """Return the table of what is asked."""
    first = asked[0][0]
    known, usual = ratios or {}, held_out_ratio(first)
    evidence = Evidence(
        parts=np.stack([difference_parts(*each) for each in asked], axis=1),
        groups=first.groups,
        folds=first.folds,
        repeats=first.repeats,
        ratio=np.array([max(known.get(name, usual) for name in each[2:]) for each in asked]),
    )
    return add_verdicts(pd.DataFrame([_row(*each) for each in asked]), evidence, primary, seed)


def align_runs(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables with their classes in one order.

    ValueError where they cannot be compared, saying who differs.
    """
    if len(tables) < 2:
        raise ValueError(f"a comparison needs two runs or more, but got {len(tables)}: {', '.join(tables) or 'none'}")
    named = {name: table.assign(model=name + " / " + table["model"].astype(str)) for name, table in tables.items()}
    try:
        together = align_tables(named)
    except ValueError as error:
        raise ValueError(
            f"the runs cannot be compared: {error}; give runs of the same data, protocol and protocol.seed"
        ) from error
    ends = np.cumsum([len(table) for table in tables.values()])
    return {
        name: together.iloc[end - len(table) : end]
        for (name, table), end in zip(tables.items(), ends.tolist(), strict=True)
    }


@dataclass(kw_only=True)
class Task:
    """What all tables are asked, case by case of each repeat: the classes, or their two-class view.

    The names of metrics begin with `prefix`; there are `cases` different ones; `of_repeat` (repeats, cases) is 1 where
    a case is one of the repeat, else 0; `mean` are probabilities averaged over seeds, by table.
    """

    prefix: str
    metrics: Sequence[str]
    labels: Labels
    cases: int
    groups: Groups
    folds: Groups
    of_repeat: Weights
    mean: dict[str, Probabilities]

    @property
    def repeats(self) -> int:
        """How often splits were drawn."""
        return len(self.of_repeat)


def comparison_tasks(tables: Mapping[str, pd.DataFrame], binary: Binary) -> Iterator[Task]:
    """The task of tables that are aligned, and if more than two classes have a two-class view also that of the view."""
    means = {name: average_by_case(table) for name, table in tables.items()}
    yield _task("", NAMES, means)
    cases = next(iter(means.values()))
    if len(class_names(cases)) > 2 and binary.positives(class_names(cases)):
        yield _task("binary_", VIEW, {name: _view(binary, each) for name, each in means.items()})


def difference_parts(task: Task, metric: str, name: str, reference: str) -> Cases:
    """Return what each case adds to the difference of its repeat."""
    found = np.empty(len(task.labels))
    for rows in task.of_repeat > 0:
        ours, theirs = (task.mean[each][rows] for each in (name, reference))
        found[rows] = case_contributions(metric, ours, theirs, task.labels[rows])
    return found


def case_contributions(metric: str, ours: Probabilities, theirs: Probabilities, labels: Labels) -> Cases:
    """Return what each case adds to the difference of a metric, ours less theirs: the sum is the difference.

    To exchange our prediction and theirs of some cases is to turn the signs of what these cases add. That of the AUC,
    too, if ranks are exchanged (Bandos, Rockette and Gur 2005): the difference is then linear in the signs, and a case
    adds the difference of its places among the cases of the other class as both of us rank them.
    """
    present = np.bincount(labels, minlength=ours.shape[1])
    if metric == "auc":
        wanted = [1] if ours.shape[1] == 2 else range(ours.shape[1])
        parts = [_places(ours[:, k], theirs[:, k], labels == k) for k in wanted if 0 < present[k] < len(labels)]
        return np.mean(parts, axis=0) if parts else np.full(len(labels), np.nan)
    gain = (ours.argmax(axis=1) == labels).astype(np.float64) - (theirs.argmax(axis=1) == labels)
    weight = np.full(len(labels), len(labels)) if metric == "accuracy" else (present > 0).sum() * present[labels]
    return gain / weight


def mcnemar_test(ours: Bool[np.ndarray, " cases"], theirs: Bool[np.ndarray, " cases"]) -> float:
    """The p of McNemar's exact test (1947), from whether each case is right: 1 where no case tells them apart."""
    from scipy.stats import binomtest

    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if only_ours + only_theirs == 0:
        return 1.0
    return float(binomtest(only_ours, only_ours + only_theirs, 0.5).pvalue)


def held_out_ratio(task: Task) -> float:
    """Return the mean over folds of the ratio of held-out cases to all others; not a number where there is one fold.

    A case that no repeat holds out is not known here.
    """
    held = np.bincount(task.folds)
    return float((held / np.maximum(task.cases - held, 1)).mean()) if len(held) > 1 else float("nan")


def _reference_first(names: list[str], reference: str) -> list[str]:
    if reference:
        one_of(names, reference=reference)
    first = reference or names[0]
    return [first, *(name for name in names if name != first)]


def _view(binary: Binary, cases: pd.DataFrame) -> pd.DataFrame:
    view = binary(cases)
    assert view is not None
    return view


def _task(prefix: str, metrics: Sequence[str], means: dict[str, pd.DataFrame]) -> Task:
    cases = next(iter(means.values()))
    return Task(
        prefix=prefix,
        metrics=metrics,
        labels=label_numbers(cases),
        cases=cases["case"].nunique(),
        groups=patient_groups(cases),
        folds=np.unique(cases["fold"].to_numpy(), return_inverse=True)[1].astype(np.int64),
        of_repeat=np.stack([cases["repeat"] == each for each in np.unique(cases["repeat"])]).astype(np.float64),
        mean={name: each[probability_columns(each)].to_numpy(dtype=np.float64) for name, each in means.items()},
    )


def _row(task: Task, metric: str, name: str, reference: str) -> dict[str, Any]:
    """Return what a row says beside its verdict."""
    values = [METRICS[metric](task.mean[each], task.labels, task.of_repeat).mean() for each in (name, reference)]
    right, wrong = (task.mean[each].argmax(axis=1) == task.labels for each in (name, reference))
    once = metric == "accuracy" and task.repeats == 1
    return {
        "model": name,
        "reference": reference,
        "metric": task.prefix + metric,
        "value": float(values[0]),
        "reference_value": float(values[1]),
        "p_mcnemar": mcnemar_test(right, wrong) if once else float("nan"),
    }


def _places(ours: Cases, theirs: Cases, positive: Bool[np.ndarray, " cases"]) -> Cases:
    """Return what each case adds to the difference of the area under the ROC curve."""
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(ours), rankdata(theirs)])
    found = np.zeros(len(positive))
    for these, others, sign in ((positive, ~positive, 1.0), (~positive, positive, -1.0)):
        pool = np.sort(ranks[:, others].ravel())
        place = np.searchsorted(pool, ranks[:, these]) + np.searchsorted(pool, ranks[:, these], side="right")
        found[these] = sign * (place[0] - place[1]) / (2 * len(pool) * these.sum())
    return found
