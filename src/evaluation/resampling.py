"""How far a figure would move if folds were drawn, and their models trained, anew.

The models of a fold are trained once: one that was lucky is lucky with all the cases of its fold, which nothing that
looks at patients alone can see. So the unit is the fold of a repeat, with what all its cases together add to the
figure. Patients are within one fold, so that their images count as one; seeds are averaged before, since models of
other seeds that learned from the same patients are no other folds.
"""

import numpy as np
from jaxtyping import Float, Int

LEVEL = 0.05

Rows = Float[np.ndarray, " rows"]


def resampled_error(
    parts: Float[np.ndarray, "cases rows"],
    folds: Int[np.ndarray, " cases"],
    repeats: int = 1,
    ratio: float | Rows = 0.0,
) -> tuple[Rows, int]:
    """Return the standard error (rows) of figures, and its degrees of freedom.

    `parts` is what each case of each repeat adds to the figure of its repeat, and the figure is the mean over repeats:
    `parts.sum(axis=0) / repeats`. `folds` numbers the folds from 0, those of another repeat with other numbers.

    With J folds in all the variance is (1 / J + ratio) x that of a fold's figure, with J - 1 degrees of freedom: the
    corrected resampled t (Nadeau and Bengio 2003, section 3; Bouckaert and Frank 2004, where r repeats of k folds give
    J = k r). `ratio` is that of held-out to training cases, by which the models of overlapping training sets are alike;
    with 0 it is the usual variance of a mean of J folds, which is for one repeat only. What a fold adds because it has
    more or fewer cases does not count. Not a number with fewer than two folds.
    """
    count = int(folds.max()) + 1
    if count < 2:
        return np.full(parts.shape[1], np.nan), 0
    sums = group_sums(parts - parts.mean(axis=0), folds)
    of_a_fold = (count / repeats) ** 2 * (sums**2).sum(axis=0) / (count - 1)
    return np.sqrt((1 / count + ratio) * of_a_fold), count - 1


def group_sums(
    parts: Float[np.ndarray, "cases rows"], groups: Int[np.ndarray, " cases"]
) -> Float[np.ndarray, "groups rows"]:
    """Return the sums over the cases of each group; what cancels out but for rounding is 0."""
    found = np.zeros((int(groups.max()) + 1, parts.shape[1]))
    np.add.at(found, groups, parts)
    found[np.abs(found) < 1e-12] = 0.0
    return found


def student_test(figure: Rows, error: Rows, freedom: int) -> Rows:
    """Return the two-sided p of figures that should be 0; without an error 1 where they are, and 0 where they are not.

    What is not a number stays so.
    """
    from scipy.stats import t

    ratio = np.where(figure == 0, 0.0, np.inf)
    np.divide(np.abs(figure), error, out=ratio, where=error > 0)
    return np.where(np.isnan(figure + error), np.nan, 2 * t.sf(ratio, max(freedom, 1)))


def student_interval(figure: Rows, error: Rows, freedom: int) -> tuple[Rows, Rows]:
    """Return the ends of the 95 % interval of figures: 0 is outside where `student_test` gives less than 0.05."""
    from scipy.stats import t

    half = t.isf(LEVEL / 2, max(freedom, 1)) * error
    return figure - half, figure + half
