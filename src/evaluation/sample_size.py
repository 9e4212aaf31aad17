"""How many patients a study needs, before it: for the width of an interval, or for a difference to be shown.

The answers are those of the project's own intervals and tests: what is planned here is what `run` and `compare` then
give, on average. Images of a patient are alike, so that so many of them count for fewer: by the design effect.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from src.evaluation.areas import area_ends
from src.evaluation.proportions import NORMAL_975, student_975, wilson_interval
from src.evaluation.resampling import LEVEL

MOST = 10_000_000
"""Patients beyond which no study is planned."""
LIKENESS, CORRELATION, POWER = 0.5, 0.4, 0.8
"""What is taken where nothing else is known: how alike a patient's images are, and two ways' answers; the power."""
QUANTILES = (np.arange(1000) + 0.5) / 1000
"""At which the deviation that folds happen to show is taken: the power is a mean over them."""


def design_effect(images: float, likeness: float, deviation: float = 0.0) -> float:
    """Return by how much the cases of patients vary a mean more than as many of different patients (Kish 1965).

    Of `images` of a patient on average, with a standard `deviation` of their number (Eldridge, Ashby and Kerry 2006),
    whose outcomes have the intraclass correlation `likeness`.
    """
    return 1 + ((1 + (deviation / images) ** 2) * images - 1) * likeness


def proportion_interval(
    proportion: float, patients: int, images: float = 1.0, design: float = 1.0
) -> tuple[float, float]:
    """Return the 95 % interval that a proportion of so many patients' cases would have (`src.evaluation.proportions`).

    Not in it: what that of independent cases is wider by where three or fewer are right, or wrong.
    """
    few = student_975(patients * images - 1) / student_975(patients - 1)
    low, high = wilson_interval(np.array([proportion]), np.array([patients * images / design * few**2]))
    return float(low[0]), float(high[0])


def auc_interval(
    auc: float, prevalence: float, patients: int, images: float = 1.0, design: float = 1.0
) -> tuple[float, float]:
    """Return the 95 % interval that an area under the ROC curve would have (`src.evaluation.areas`).

    Its variance is taken to be that of Hanley and McNeil's model (1982), times the design effect. Of the cases the
    share `prevalence` is positive; with fewer than two patients of a class it is 0 to 1.
    """
    if min(prevalence, 1 - prevalence) * patients < 2:
        return 0.0, 1.0
    positives, negatives = (share * patients * images for share in (prevalence, 1 - prevalence))
    few = student_975(patients - 2) / student_975(patients * images - 2)
    return area_ends(auc, design * (NORMAL_975 * few) ** 2, positives, negatives)


def correlation_limits(difference: float, accuracy: float) -> tuple[float, float]:
    """Return between what the correlation (phi) lies of being right in two ways, of `accuracy` and of so much more."""
    better = accuracy + difference
    spread = np.sqrt(accuracy * (1 - accuracy) * better * (1 - better))
    both = max(0.0, accuracy + better - 1), min(accuracy, better)
    low, high = (float((each - accuracy * better) / spread) for each in both)
    return low, high


def difference_variance(difference: float, accuracy: float, correlation: float) -> float:
    """Return the variance over cases of whether one way is right less whether another is.

    The other's accuracy is `accuracy`, the one's greater by `difference`, and `correlation` (phi) that of being right.

    Errors: ValueError for a correlation that two such accuracies cannot have.
    """
    low, high = correlation_limits(difference, accuracy)
    if not low - 1e-9 <= correlation <= high + 1e-9:
        raise ValueError(
            f"of ways with accuracies of {accuracy:g} and {accuracy + difference:g} being right has a correlation of "
            f"{low:.2f} to {high:.2f}, but got correlation={correlation:g}"
        )
    own, other = (share * (1 - share) for share in (accuracy + difference, accuracy))
    return float(own + other - 2 * correlation * np.sqrt(own * other))


def fold_variance(variance: float, luck: float, folds: int, repeats: int) -> float:
    """Return the variance that a difference has by the test over folds of `compare`, on average (`resampled_error`).

    `variance` is that over patients, `luck` that of a fold's difference from one training to the next. Of one repeat it
    is their sum, as it is. Of several it is the variance of J = repeats x K differences by fold, in which the patients
    of all repeats are the same ones, times 1 / J + 1 / (K - 1) (Nadeau and Bengio 2003).
    """
    count = folds * repeats
    if repeats == 1:
        return variance + luck / count
    return (1 / count + 1 / (folds - 1)) * (count / (count - 1) * (folds - 1) * variance + luck)


def difference_power(
    difference: float,
    variance: float,
    patients: int,
    folds: int = 1,
    repeats: int = 1,
    luck: float = 0.0,
    comparisons: int = 1,
) -> float:
    """Return the probability that `compare` shows a difference in a row of its primary metric, or a larger one.

    Of so many `comparisons` that are corrected together: by Bonferroni's inequality. `compare` has the largest of all
    statistics in the place of it, which asks for less the more the rows hang together: then the power is higher.

    `variance` is that of what a patient adds to it, `luck` that of a fold's difference from one training to the next.
    Both tests have to show it (`src.evaluation.verdicts`): that over patients, which turns their signs, and with
    several folds Student's over these.
    """
    from scipy.stats import chi2, norm, t

    deviation = np.sqrt(variance / patients + luck / (folds * repeats))
    level = LEVEL / (2 * comparisons)
    asked = np.array([norm.isf(level) * np.sqrt((variance + difference**2) / patients)])
    if folds > 1:
        freedom = folds * repeats - 1
        seen = fold_variance(variance / patients, luck, folds, repeats) * chi2.ppf(QUANTILES, freedom) / freedom
        asked = np.maximum(asked, t.isf(level, freedom) * np.sqrt(seen))
    reached = norm.sf((asked - difference) / deviation) + norm.cdf((-asked - difference) / deviation)
    return float(reached.mean())


def patients_for_power(difference: float, variance: float, power: float, folds: int = 1, **rest: Any) -> int:
    """Return the fewest patients that show a difference with this power; `rest` is that of `difference_power`."""
    return fewest(
        lambda patients: difference_power(difference, variance, patients, folds, **rest) >= power, max(2, folds)
    )


def fewest(enough: Callable[[int], bool], least: int = 2) -> int:
    """Return the smallest number from `least` on that is enough, as all larger ones are.

    Errors: ValueError where even ten millions are not.
    """
    high = least
    while not enough(high):
        if high > MOST:
            raise ValueError(f"not even {MOST:,} patients are enough")
        least, high = high + 1, 2 * high
    while least < high:
        middle = (least + high) // 2
        least, high = (least, middle) if enough(middle) else (middle + 1, high)
    return high
