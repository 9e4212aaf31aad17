"""What patients and folds tell of a table of differences: intervals, tests, their correction, and verdicts in words.

A verdict hangs on the larger p of two tests, and its interval holds all that either of them holds, so that it has 0
outside where p is below 0.05.

- By fold: Student's t over the sums of folds (`src.evaluation.resampling`). The models of a fold are trained once: one
  that was lucky is lucky with all the patients of its fold, which no test over patients can see, and which a variance
  over patients, however it is widened, forgets. With repeats it is the corrected resampled t over all their folds.
- By patient: the signs of what they add are turned (`src.evaluation.sign_flips`), which is exact however few they are.
  With one fold it stands alone, and luck cannot be told from a difference.

One metric is primary. Its rows are corrected for each other (`src.evaluation.multiplicity`). The others are corrected
for each other, too, and are shown only where the primary one of their model is: where nothing differs the whole table
is wrong as seldom as one of its rows.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from src.evaluation.multiplicity import largest_t, max_t_correction, row_correlation
from src.evaluation.resampling import LEVEL, group_sums, resampled_error, student_interval, student_test
from src.evaluation.sign_flips import sign_flip_test
from src.evaluation.wording import titled

BETTER, WORSE, NOT_SHOWN = "better", "worse", "not shown"
POWER = 0.8
PRIMARY, ALL = "accuracy", "all"
"""The metric on which a comparison hangs unless another is declared; and what makes it hang on all of them."""
COLUMNS = ["model", "reference", "metric", "value", "reference_value", "difference", "low", "high", "p", "p_adjusted"]
COLUMNS += ["p_mcnemar", "p_resampled_t", "smallest", "verdict"]

Groups = Int[np.ndarray, " cases"]
Rows = Float[np.ndarray, " rows"]
Family = Bool[np.ndarray, " rows"]


@dataclass(kw_only=True)
class Evidence:
    """What each case of each repeat adds to the difference of each row, and which cases hang together."""

    parts: Float[np.ndarray, "cases rows"]
    """Their sum over the cases of a repeat is its difference, and the mean over repeats that of the row."""
    groups: Groups
    """The patient of each case."""
    folds: Groups
    repeats: int
    ratio: Rows
    """That of held-out to training cases."""

    def select(self, rows: Family) -> "Evidence":
        """Return that of some rows."""
        return replace(self, parts=self.parts[:, rows], ratio=self.ratio[rows])

    @property
    def difference(self) -> Rows:
        """The difference of each row."""
        found: Rows = self.parts.sum(axis=0) / self.repeats
        return found

    @property
    def by_patient(self) -> Float[np.ndarray, "patients rows"]:
        """What each patient adds to the difference."""
        return group_sums(self.parts, self.groups) / self.repeats

    @property
    def has_folds(self) -> bool:
        """Whether there are several, so that their luck can be seen."""
        return bool(self.folds.max() > 0)

    def error(self) -> tuple[Rows, int]:
        """Return the standard error of the differences and its degrees of freedom; with one fold that of patients."""
        if not self.has_folds:
            return self.error_of_patients()
        return resampled_error(self.parts, self.folds, self.repeats, self.ratio if self.repeats > 1 else 0.0)

    def error_of_patients(self) -> tuple[Rows, int]:
        """Return what the error would be were patients independent (Liang and Zeger 1986)."""
        return resampled_error(self.parts, self.groups, self.repeats)

    def test(self, seed: int) -> tuple[Rows, Rows, Rows]:
        """Return the p of each row, and the ends of its 95 % interval."""
        shares = np.bincount(self.groups) / len(self.groups)
        p, low, high = sign_flip_test(self.by_patient, shares, seed)
        if self.has_folds:
            error, freedom = self.error()
            ends = student_interval(self.difference, error, freedom)
            p = np.maximum(p, student_test(self.difference, error, freedom))
            low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
        return p, np.maximum(low, -1.0), np.minimum(high, 1.0)

    def corrected_test(self) -> Rows:
        """Return the p of the corrected resampled t, with one repeat, too; not a number with one fold."""
        return student_test(self.difference, *resampled_error(self.parts, self.folds, self.repeats, self.ratio))


def add_verdicts(table: pd.DataFrame, evidence: Evidence, primary: str, seed: int = 0) -> pd.DataFrame:
    """Return the `COLUMNS` of a table of differences (`model, metric, value, ...`, a row each) with their verdicts."""
    p, low, high = evidence.test(seed)
    first = np.ones(len(table), bool) if primary == ALL else (table["metric"] == primary).to_numpy(dtype=bool)
    adjusted, smallest = np.full(len(table), np.nan), np.full(len(table), np.nan)
    for family in (first & ~np.isnan(p), ~first & ~np.isnan(p)):
        if family.any():
            adjusted[family], smallest[family] = correct_family(evidence.select(family), p[family], seed)
    if primary != ALL:
        of_primary = table["model"].map(dict(zip(table["model"][first], adjusted[first], strict=True)))
        adjusted = np.maximum(adjusted, of_primary.to_numpy(dtype=np.float64))
    room = np.maximum(table["reference_value"], 1 - table["reference_value"])
    sign = np.where(evidence.difference > 0, BETTER, WORSE)
    tests = {"p": p, "p_adjusted": adjusted, "p_resampled_t": evidence.corrected_test()}
    found = table.assign(difference=evidence.difference, low=low, high=high, **tests)
    found["smallest"] = np.where(smallest <= room, smallest, np.nan)
    found["verdict"] = np.where(adjusted <= LEVEL, sign, NOT_SHOWN)
    return found[COLUMNS]


def explain_verdicts(table: pd.DataFrame, primary: str) -> list[str]:
    """Return how a comparison is read."""
    lines = [
        "better, worse: p adj. is 0.05 or less; p is the larger one of a test over folds, where there are several, "
        "which holds the luck of each fold's models, and of one over patients; the 95 % interval is of all "
        "that neither refuses",
        "p adj. is corrected over all rows"
        if primary == ALL
        else f"verdicts hang on {titled(primary)}, corrected over its rows; other metrics are corrected over theirs "
        f"and shown only where {titled(primary)} is (primary=METRIC names another, primary=all corrects every row)",
        "accuracies are in % and points, areas fractions",
    ]
    if (table["verdict"] == NOT_SHOWN).any():
        lines.append(
            "not shown is not equal: so many patients show a true difference of the size under `could show` in 4 of 5 "
            "studies (-: none that is possible)"
        )
    return lines


def correct_family(evidence: Evidence, p: Rows, seed: int) -> tuple[Rows, Rows]:
    """Return the p of rows that can all be told, corrected for each other, and the smallest differences they show."""
    error, freedom = evidence.error()
    by_patient = evidence.by_patient
    correlation = row_correlation(by_patient)
    least = evidence.repeats / len(evidence.parts)
    smallest = smallest_shown(
        np.maximum(error, evidence.error_of_patients()[0]),
        max(freedom, 1),
        largest_t(correlation, max(freedom, 1), seed),
        len(by_patient),
        least,
    )
    return max_t_correction(p, correlation, max(freedom, 1), seed), smallest


def smallest_shown(error: Rows, freedom: int, asked: float, patients: int, least: float) -> Rows:
    """Return the smallest true difference that would have been shown with a power of 80 %, by a t of at least `asked`.

    The minimum detectable effect of Bloom 1995, of which the t is not central: what is asked of it hangs on the
    deviation that the folds happen to show, over which the power is a mean. Nor is it below what the fewest patients
    make that could reach this level if they all changed to one side (k of them with 2^(1-k) <= p), each by `least`. Not
    a number where there are fewer patients than that, or nothing differs.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, norm, t

    fewest = int(np.ceil(1 - np.log2(2 * t.sf(asked, freedom))))
    if patients < fewest:
        return np.full(len(error), np.nan)
    deviations = np.sqrt(chi2.ppf((np.arange(1000) + 0.5) / 1000, freedom) / freedom)
    reached = brentq(lambda mean: norm.sf(asked * deviations - mean).mean() - POWER, 0.0, asked * deviations.max() + 5)
    return np.where(error > 0, np.maximum(reached * error, fewest * least), np.nan)
