"""Is one way of learning better than another, on the same cases, patients and folds?

The verdict hangs on `p_holm`: Holm's correction, over all rows of the table, of `p_bootstrap`, which is the larger of
two. Both look at what each patient adds to the difference (`case_contributions`), so that images of a patient, whose
errors are alike, count as one patient.

- A wild bootstrap over patients with the hypothesis of no difference imposed (Cameron, Gelbach and Miller 2008, with
  Rademacher's weights): the signs of the patients' contributions are drawn anew. Where the two differ by noise alone
  every draw is as likely as what was seen, so that it is exact however few the patients are.
- A t-test whose variance also holds what folds differ by beyond what their patients explain. The models of a fold are
  trained once: one that was lucky is lucky with all the patients of its fold, which no test over patients can see.

McNemar's test takes images for independent; it and the corrected resampled t-test are told beside, and decide nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from src.evaluation.metrics import (
    CHUNK,
    METRICS,
    Labels,
    Probabilities,
    Values,
    Weights,
    bootstrap_weights,
    label_numbers,
    patient_groups,
    percentile_interval,
)
from src.evaluation.predictions import align_tables, average_by_case, class_names, probability_columns
from src.evaluation.two_classes import Binary
from src.system.checks import one_of
from src.system.progress import Progress

BETTER, WORSE, NOT_SHOWN = "better", "worse", "not shown"
LEVEL, POWER = 0.05, 0.8
NAMES = ("accuracy", "balanced_accuracy", "auc")
VIEW = ("accuracy", "auc")
"""The metrics of the two-class view of more than two classes."""
DRAWS = 19_999
"""Draws of signs: with them Holm's correction of a thousand rows can still find something."""
EXACT = 14
"""Up to so many patients that differ all draws of signs are gone through."""

SILENT = Progress()
Cases = Float[np.ndarray, " cases"]
Groups = Int[np.ndarray, " cases"]
Rows = Float[np.ndarray, " rows"]


def compare(
    tables: Mapping[str, pd.DataFrame],
    binary: Binary,
    replicates: int = 1000,
    seed: int = 0,
    reference: str = "",
    ratios: Mapping[str, float] | None = None,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Compare each of the predictions tables (by name) with that of `reference`, the first one unless it is named.

    Columns: `model, reference, metric, value, reference_value, difference, low, high, p_mcnemar, p_resampled_t,
    p_bootstrap, p_holm, smallest, verdict`, a row per model and metric; values are fractions, of the probabilities
    averaged over views and seeds. The metrics are `accuracy`, `balanced_accuracy`, `auc`, and where more than two
    classes have a two-class view `binary_accuracy` and `binary_auc`. `low, high` is the 95 % interval of the difference
    by a paired bootstrap over patients. `smallest` is the smallest difference that so many patients could have shown
    (`smallest_shown`); not a number where no possible one. A test that cannot be made is not a number.

    `ratios` are those of held-out to training cases by name; else the folds are taken to learn from all the others.

    Errors: ValueError for fewer than two tables, an unknown reference, or other cases, classes, labels, patients or
    folds.
    """
    same = align_runs(tables)
    names = _reference_first(list(same), reference)
    found, rows, parts = held_out_ratio(same), [], []
    for task in comparison_tasks(same, binary):
        drawn = _drawn(task, replicates, seed, progress)
        for name in names[1:]:
            ratio = max((ratios or {}).get(each, found) for each in (name, names[0]))
            for metric in task.metrics:
                rows.append(_row(task, metric, name, names[0], drawn, ratio))
                parts.append(case_contributions(metric, task.mean[name], task.mean[names[0]], task.labels))
    order = [names[1:].index(row["model"]) for row in rows]
    table = add_verdicts(pd.DataFrame(rows), np.stack(parts, axis=1), task.groups, task.folds, seed)
    return table.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


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
    """What all tables are asked, case by case: the classes, or their two-class view (names then begin with `prefix`).

    `mean` are probabilities averaged over seeds by table, `seeds` those of each seed.
    """

    prefix: str
    metrics: Sequence[str]
    labels: Labels
    groups: Groups
    folds: Groups
    mean: dict[str, Probabilities]
    seeds: dict[str, dict[int, Probabilities]]


def comparison_tasks(tables: Mapping[str, pd.DataFrame], binary: Binary) -> Iterator[Task]:
    """The task of tables that are aligned, and if more than two classes have a two-class view also that of the view."""
    means = {name: average_by_case(table) for name, table in tables.items()}
    seeds = {
        name: {int(str(seed)): average_by_case(rows) for seed, rows in table.groupby("seed")}
        for name, table in tables.items()
    }
    yield _task("", NAMES, means, seeds)
    cases = next(iter(means.values()))
    if len(class_names(cases)) > 2 and binary.positives(class_names(cases)):
        views = {name: _view(binary, each) for name, each in means.items()}
        of_seeds = {name: {seed: _view(binary, each) for seed, each in found.items()} for name, found in seeds.items()}
        yield _task("binary_", VIEW, views, of_seeds)


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


def add_verdicts(
    table: pd.DataFrame, parts: Float[np.ndarray, "cases rows"], groups: Groups, folds: Groups, seed: int
) -> pd.DataFrame:
    """Return the table with its last columns, from what each case adds to the difference of each row."""
    spread = Spread.of(parts, groups, folds)
    difference = table["difference"].to_numpy(dtype=np.float64)
    p = np.maximum(sign_flip_test(_sums(parts, groups), seed), spread.test(difference))
    tests = max(1, int((~np.isnan(p)).sum()))
    counted = ~table["metric"].str.endswith("auc").to_numpy(dtype=bool)
    smallest = smallest_shown(spread, np.where(counted, 1 / len(parts), 0.0), tests)
    room = np.maximum(table["reference_value"], 1 - table["reference_value"])
    adjusted = holm_correction(p)
    return table.assign(
        p_bootstrap=p,
        p_holm=adjusted,
        smallest=np.where(smallest <= room, smallest, np.nan),
        verdict=np.where(adjusted <= LEVEL, np.where(difference > 0, BETTER, WORSE), NOT_SHOWN),
    )


def sign_flip_test(by_patient: Float[np.ndarray, "patients rows"], seed: int) -> Rows:
    """Return the two-sided p of a sum over patients, each of whose signs could as well be the other.

    All signs are gone through where at most 14 patients differ from 0, else 19999 draws of them, which with what was
    seen are 20000. What is not a number stays so.
    """
    # scipy.stats.permutation_test(permutation_type="samples") gives the same p where all signs are gone through, but
    # draws anew for each row: 60 rows of 400 patients take it 6 s, and this 0.1 s. Its own draws give other p (by up to
    # 0.015), and it tells ties by the last bits of a sum.
    unknown = np.isnan(by_patient).any(axis=0)
    known = np.where(unknown, 0.0, by_patient)
    seen = np.abs(known.sum(axis=0))
    p = (1 + _as_far(known, seen, _drawn_signs(len(known), seed))) / (1 + DRAWS)
    for row in range(known.shape[1]):
        differ = known[known[:, row] != 0, row]
        if len(differ) <= EXACT:
            every = 2 * (np.arange(2 ** len(differ))[:, None] >> np.arange(len(differ)) & 1) - 1.0
            p[row] = _as_far(differ[:, None], seen[[row]], [every])[0] / len(every)
    p[unknown] = np.nan
    return p


@dataclass(kw_only=True)
class Spread:
    """The variance of each row's difference: that of independent patients (Liang and Zeger 1986) and, where folds
    differ by more than that, the excess, which comes from their models."""

    patients: int
    folds: int
    variance: Rows
    between: Rows
    """The variance if folds alone were independent; 0 where there is one."""

    @classmethod
    def of(cls, parts: Float[np.ndarray, "cases rows"], groups: Groups, folds: Groups) -> "Spread":
        """Return the spread of the sums over cases."""
        by_patient, by_fold = _sums(parts, groups), _sums(parts - parts.mean(axis=0), folds)
        return cls(
            patients=len(by_patient),
            folds=len(by_fold),
            variance=_scaled(by_patient - by_patient.mean(axis=0)),
            between=_scaled(by_fold) if len(by_fold) > 1 else np.zeros(parts.shape[1]),
        )

    def error(self, between: Float[np.ndarray, "..."]) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
        """The standard error where the folds' variance is `between`, and its degrees of freedom (Satterthwaite 1946),
        the excess having one less than there are folds."""
        excess = np.maximum(between - self.variance, 0.0)
        total = self.variance + excess
        below = self.variance**2 / max(self.patients - 1, 1) + excess**2 / max(self.folds - 1, 1)
        freedom = np.full(total.shape, float(max(self.patients - 1, 1)))
        np.divide(total**2, below, out=freedom, where=below > 0)
        return np.sqrt(total), freedom

    def test(self, difference: Rows) -> Rows:
        """Return the two-sided p of Student's t: 0 where the error is 0 and the difference is not, 1 where both are."""
        from scipy.stats import t

        error, freedom = self.error(self.between)
        ratio = np.where(difference == 0, 0.0, np.inf)
        np.divide(np.abs(difference), error, out=ratio, where=error > 0)
        return np.where(np.isnan(difference), np.nan, 2 * t.sf(ratio, freedom))


def smallest_shown(spread: Spread, least: Rows, tests: int) -> Rows:
    """The smallest true difference that would have been shown with a power of 80 %, the table having `tests` rows.

    With one fold it is (t(1 - 0.05 / 2 tests) + z(0.8)) x standard error, the minimum detectable effect of Bloom 1995
    at the level of the first step of Holm's correction. With more the power is its mean over what the folds' variance,
    chi-squared, could have turned out to be. Nor is it below what the fewest patients make that could reach this level
    if they all changed to one side (k of them with 2^(1-k) <= 0.05 / tests), each by `least`. Not a number where there
    are fewer patients than that, or nothing differs.
    """
    from scipy.stats import chi2, t

    fewest = int(np.ceil(1 + np.log2(tests / LEVEL)))
    if spread.patients < fewest:
        return np.full(len(least), np.nan)
    freedom = max(spread.folds - 1, 1)
    chance = chi2.ppf((np.arange(100) + 0.5) / 100, freedom) / freedom if spread.folds > 1 else np.zeros(1)
    deviation = spread.error(spread.between)[0]
    error, freedoms = spread.error(chance[:, None] * deviation**2)
    asked = t.ppf(1 - LEVEL / (2 * tests), freedoms) * error
    found = np.maximum([_detectable(*row) for row in zip(asked.T, deviation, strict=True)], fewest * least)
    return np.where(found > 0, found, np.nan)


def holm_correction(p: Rows) -> Rows:
    """Holm's 1979 step-down correction of p-values; what is not a number takes no part."""
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def mcnemar_test(ours: Bool[np.ndarray, " cases"], theirs: Bool[np.ndarray, " cases"]) -> float:
    """The p of McNemar's exact test (1947), from whether each case is right: 1 where no case tells them apart."""
    from scipy.stats import binomtest

    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if only_ours + only_theirs == 0:
        return 1.0
    return float(binomtest(only_ours, only_ours + only_theirs, 0.5).pvalue)


def resampled_t(differences: Float[np.ndarray, "folds seeds"], ratio: float) -> float:
    """Return the p of the corrected resampled t-test (Nadeau and Bengio 2003) of differences by fold and seed.

    t = mean / sqrt((1 / J + ratio) variance) with J - 1 degrees of freedom, J being the number of differences and
    `ratio` that of held-out to training cases. Not a number with fewer than two folds, or where all differences are one
    that is not 0.
    """
    from scipy.stats import t

    known = differences[~np.isnan(differences)]
    folds = (~np.isnan(differences)).any(axis=1).sum()
    if folds < 2:
        return float("nan")
    mean, variance = known.mean(), known.var(ddof=1)
    if np.isclose(variance, 0.0, atol=1e-24):
        return 1.0 if np.isclose(mean, 0.0) else float("nan")
    return float(2 * t.sf(abs(mean) / np.sqrt((1 / len(known) + ratio) * variance), len(known) - 1))


def held_out_ratio(tables: Mapping[str, pd.DataFrame]) -> float:
    """Return the mean over folds of the ratio of held-out cases to all others; not a number where there is one fold."""
    folds = next(iter(tables.values())).drop_duplicates("case").groupby("fold").size()
    return float((folds / (folds.sum() - folds)).mean()) if len(folds) > 1 else float("nan")


def _reference_first(names: list[str], reference: str) -> list[str]:
    if reference:
        one_of(names, reference=reference)
    first = reference or names[0]
    return [first, *(name for name in names if name != first)]


def _view(binary: Binary, cases: pd.DataFrame) -> pd.DataFrame:
    view = binary(cases)
    assert view is not None
    return view


def _task(
    prefix: str, metrics: Sequence[str], means: dict[str, pd.DataFrame], seeds: dict[str, dict[int, pd.DataFrame]]
) -> Task:
    cases = next(iter(means.values()))
    return Task(
        prefix=prefix,
        metrics=metrics,
        labels=label_numbers(cases),
        groups=patient_groups(cases),
        folds=np.unique(cases["fold"].to_numpy(), return_inverse=True)[1].astype(np.int64),
        mean={name: _values(each) for name, each in means.items()},
        seeds={name: {seed: _values(each) for seed, each in found.items()} for name, found in seeds.items()},
    )


def _values(cases: pd.DataFrame) -> Probabilities:
    return cases[probability_columns(cases)].to_numpy(dtype=np.float64)


def _drawn(task: Task, replicates: int, seed: int, progress: Progress) -> dict[tuple[str, str], Values]:
    """Return each table's metrics at the same draws of patients, by the names of the table and the metric."""
    names = list(task.mean)
    work = ((weights, name) for weights in bootstrap_weights(task.groups, replicates, seed) for name in names)
    found: dict[tuple[str, str], list[Values]] = {(name, metric): [] for name in names for metric in task.metrics}
    for weights, name in progress.track(work, "bootstrap", replicates * len(names), lambda item: len(item[0])):
        for metric in task.metrics:
            found[name, metric].append(METRICS[metric](task.mean[name], task.labels, weights))
    return {key: np.concatenate(values) for key, values in found.items()}


def _row(
    task: Task, metric: str, name: str, reference: str, drawn: Mapping[tuple[str, str], Values], ratio: float
) -> dict[str, Any]:
    """Return a row without its verdict."""
    once: Weights = np.ones((1, len(task.labels)))
    value, other = (float(METRICS[metric](task.mean[each], task.labels, once)[0]) for each in (name, reference))
    low, high = percentile_interval(drawn[name, metric] - drawn[reference, metric])
    right, wrong = (task.mean[each].argmax(axis=1) == task.labels for each in (name, reference))
    return {
        "model": name,
        "reference": reference,
        "metric": task.prefix + metric,
        "value": value,
        "reference_value": other,
        "difference": value - other,
        "low": low,
        "high": high,
        "p_mcnemar": mcnemar_test(right, wrong) if metric == "accuracy" else float("nan"),
        "p_resampled_t": resampled_t(_by_fold(task, metric, name, reference), ratio),
    }


def _by_fold(task: Task, metric: str, name: str, reference: str) -> Float[np.ndarray, "folds seeds"]:
    """Return the difference of each fold and seed; of tables of different seeds that of each fold, over all seeds."""
    ours, theirs = task.seeds[name], task.seeds[reference]
    seeds = [(ours[seed], theirs[seed]) for seed in ours] if list(ours) == list(theirs) else []
    folds = np.eye(int(task.folds.max()) + 1)[task.folds].T
    pairs = seeds or [(task.mean[name], task.mean[reference])]
    measured = [[METRICS[metric](each, task.labels, folds) for each in pair] for pair in pairs]
    return np.stack([one - other for one, other in measured], axis=1)


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


def _sums(parts: Float[np.ndarray, "cases rows"], groups: Groups) -> Float[np.ndarray, "groups rows"]:
    """Return the sums over the cases of each group."""
    found = np.zeros((int(groups.max()) + 1, parts.shape[1]))
    np.add.at(found, groups, parts)
    found[np.abs(found) < 1e-12] = 0.0  # what cancels out but for rounding
    return found


def _scaled(centred: Float[np.ndarray, "groups rows"]) -> Rows:
    """Return the variance of the sum of what independent groups add."""
    variance: Rows = len(centred) / max(len(centred) - 1, 1) * (centred**2).sum(axis=0)
    return variance


def _detectable(asked: Float[np.ndarray, " draws"], deviation: float) -> float:
    """Return the mean of a normal number that is above `asked` with a probability of 80 % on average.

    0 without deviation.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if not deviation > 0:
        return deviation
    found = brentq(lambda mean: norm.sf(asked, mean, deviation).mean() - POWER, 0.0, asked.max() + deviation)
    return float(found)


def _drawn_signs(patients: int, seed: int) -> Iterator[Float[np.ndarray, "draws patients"]]:
    """Yield the draws in chunks, whose size bounds the memory and changes no draw."""
    generator, rows = np.random.default_rng([seed, patients]), min(1000, max(1, CHUNK // patients))
    for start in range(0, DRAWS, rows):
        yield 2.0 * generator.integers(2, size=(min(rows, DRAWS - start), patients)) - 1.0


def _as_far(
    by_patient: Float[np.ndarray, "patients rows"], seen: Rows, signs: Iterable[Float[np.ndarray, "draws patients"]]
) -> Rows:
    """Return how many draws of signs are as far from 0 as what was seen, or farther, but for rounding."""
    wanted = seen * (1 - 1e-9) - 1e-14
    counts = [(np.abs(each @ by_patient) >= wanted).sum(axis=0) for each in signs]
    return np.stack(counts).sum(axis=0).astype(np.float64)
