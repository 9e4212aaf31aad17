"""How many patients a study needs, before it: for the width of an interval, or for a difference to be shown.

The answers are those of the project's own intervals and tests: what is planned here is what `run` and `compare` then
give. Images of a patient are alike, so that a patient counts for `independent_cases` of them: `worth` in what follows.
"""

from collections.abc import Callable

import numpy as np

from src.evaluation.proportions import wilson_interval
from src.evaluation.resampling import LEVEL

MOST = 10_000_000
"""Patients beyond which no study is planned."""


def independent_cases(images: float, likeness: float, deviation: float = 0.0) -> float:
    """Return for how many independent cases a patient counts: the images by the design effect (Kish 1965).

    Of `images` of a patient on average, with a standard `deviation` of their number (Eldridge, Ashby and Kerry 2006),
    whose outcomes have the intraclass correlation `likeness`.
    """
    return images / (1 + ((1 + (deviation / images) ** 2) * images - 1) * likeness)


def proportion_interval(proportion: float, patients: int, worth: float = 1.0) -> tuple[float, float]:
    """Return the 95 % interval that a proportion of so many patients' cases would have."""
    low, high = wilson_interval(np.array([proportion]), np.array([patients * worth], np.float64))
    return float(low[0]), float(high[0])


def auc_interval(auc: float, prevalence: float, patients: int, worth: float = 1.0) -> tuple[float, float]:
    """Return the 95 % interval, on the scale of the logit, that an area under the ROC curve would have.

    Of the cases the share `prevalence` is positive; where they count for less than one of a class it is 0 to 1.
    """
    from scipy.special import expit, logit, ndtri

    positives, negatives = (share * patients * worth for share in (prevalence, 1 - prevalence))
    if min(positives, negatives) < 1:
        return 0.0, 1.0
    half = ndtri(1 - LEVEL / 2) * auc_error(auc, positives, negatives) / (auc * (1 - auc))
    return float(expit(logit(auc) - half)), float(expit(logit(auc) + half))


def auc_error(auc: float, positives: float, negatives: float) -> float:
    """Return the standard error of an area under the ROC curve of so many independent cases.

    It is that of Hanley and McNeil 1982, equation 2, with their exponential model of the scores.
    """
    of_positives, of_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    parts = auc * (1 - auc), (positives - 1) * (of_positives - auc**2), (negatives - 1) * (of_negatives - auc**2)
    return float(np.sqrt(sum(parts) / (positives * negatives)))


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
    if not low <= correlation <= high:
        raise ValueError(
            f"of ways with accuracies of {accuracy:g} and {accuracy + difference:g} being right has a correlation of "
            f"{low:.2f} to {high:.2f}, but got correlation={correlation:g}"
        )
    own, other = (share * (1 - share) for share in (accuracy + difference, accuracy))
    return float(own + other - 2 * correlation * np.sqrt(own * other))


def tested_variance(variance: float, luck: float, folds: int, repeats: int) -> float:
    """Return the variance that the test of `compare` takes a difference to have, on average.

    `variance` is that over patients, `luck` that of a fold's difference from one training to the next. With one repeat
    it is that of the mean of K differences by fold. With more it is the corrected resampled t (Nadeau and Bengio 2003)
    of J = repeats x K of them: their variance, in which the patients of all repeats are the same ones, times
    1 / J + 1 / (K - 1). A single fold (one test set) is tested over patients.
    """
    if folds == 1:
        return variance
    if repeats == 1:
        return variance + luck / folds
    count = folds * repeats
    return (1 / count + 1 / (folds - 1)) * (count / (count - 1) * (folds - 1) * variance + luck)


def difference_power(
    difference: float, variance: float, patients: int, folds: int = 1, repeats: int = 1, luck: float = 0.0
) -> float:
    """Return the probability that `compare` shows a difference in the one row of its table.

    `variance` is that of what a patient adds to it, `luck` that of a fold's difference from one training to the next.
    """
    from scipy.stats import nct, t

    freedom = patients - 1 if folds == 1 else folds * repeats - 1
    true = variance / patients + luck / (folds * repeats)
    tested = tested_variance(variance / patients, luck, folds, repeats)
    asked, shift = t.ppf(1 - LEVEL / 2, freedom) * np.sqrt(tested / true), difference / np.sqrt(true)
    return float(nct.sf(asked, freedom, shift) + nct.cdf(-asked, freedom, shift))


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
