"""What acting on scores is worth: net benefit over thresholds (Vickers and Elkin 2006), and predictive values.

Net benefit is the share of true positives less that of false positives, these weighed by the odds of the threshold: who
treats above a risk of 10 % takes nine needless treatments for one that was needed.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float

from src.evaluation.metrics import Weights, bootstrap_weights, percentile_interval
from src.evaluation.proportions import Estimate, clustered_wilson
from src.evaluation.scored_cases import Groups, ScoredCases, Truth

THRESHOLDS = np.arange(1, 100) / 100
DRAWN = 1000
"""Draws of patients behind a band, at most."""
Thresholds = Float[np.ndarray, " thresholds"]
Benefits = Float[np.ndarray, "replicates thresholds"]


def decision_curve(
    scored: ScoredCases,
    prevalence: float | None = None,
    thresholds: Thresholds = THRESHOLDS,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the net benefit at each threshold: `threshold, model, model_low, model_high, all, none`.

    `model` is that of treating where the score is above the threshold, with a pointwise 95 % band over patients drawn
    with replacement; `all` and `none` those of treating everybody and nobody. A `prevalence` (0..1) is of those who
    will be treated, where it is not that of these cases. Empty where all cases are of one kind.
    """
    if scored.positive.all() or not scored.positive.any():
        return pd.DataFrame(columns=["threshold", "model", "model_low", "model_high", "all", "none"], dtype=np.float64)
    draws = bootstrap_weights(scored.groups, min(replicates, DRAWN), seed)
    drawn = np.concatenate([net_benefit(scored, thresholds, weights, prevalence) for weights in draws])
    low, high = np.array([percentile_interval(column) for column in drawn.T]).T
    once = np.ones((1, len(scored.scores)))
    everybody = ScoredCases(**(vars(scored) | {"scores": np.full(len(scored.scores), np.inf)}))
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "model": net_benefit(scored, thresholds, once, prevalence)[0],
            "model_low": low,
            "model_high": high,
            "all": net_benefit(everybody, thresholds, once, prevalence)[0],
            "none": 0.0,
        }
    )


def net_benefit(
    scored: ScoredCases, thresholds: Thresholds, weights: Weights, prevalence: float | None = None
) -> Benefits:
    """Return the net benefit of treating where the score is above a threshold; over repeats the mean.

    Not a number where a draw has cases of one kind only, and a prevalence is given.
    """
    found = [_benefit(scored, rows, thresholds, weights[:, rows], prevalence) for rows in scored.each_repeat]
    return np.mean(found, axis=0)


def _benefit(
    scored: ScoredCases, rows: Groups, thresholds: Thresholds, weights: Weights, prevalence: float | None
) -> Benefits:
    treated, positive = scored.scores[rows][:, None] > thresholds, scored.positive[rows][:, None]
    hits, alarms = weights @ (treated & positive).astype(np.float64), weights @ (treated & ~positive).astype(np.float64)
    ill, total = (weights @ positive).astype(np.float64), weights.sum(axis=1, keepdims=True)
    odds = thresholds / (1 - thresholds)
    if prevalence is None:
        return _shares(hits - alarms * odds, total)
    return prevalence * _shares(hits, ill) - (1 - prevalence) * _shares(alarms, total - ill) * odds


def predictive_values(scored: ScoredCases, thresholds: list[float], prevalence: float | None = None) -> pd.DataFrame:
    """Return a row per threshold: `threshold, prevalence, ppv, npv`, the latter two with `_low` and `_high`.

    With no `prevalence` that of the cases, of which predictive values are shares, with clustered Wilson intervals; at a
    given one they follow from sensitivity and specificity (`value_at_prevalence`). Not a number where nobody is called
    so, or all cases are of one kind.
    """
    rows = []
    for threshold in thresholds:
        called = scored.scores > threshold
        if prevalence is None:
            values = [_share(scored, scored.positive, called), _share(scored, ~scored.positive, ~called)]
        else:
            values = [
                value_at_prevalence(
                    scored, called == sign, scored.positive == sign, prevalence if sign else 1 - prevalence
                )
                for sign in (True, False)
            ]
        known = scored.prevalence if prevalence is None else prevalence
        ppv, npv = values
        rows.append({"threshold": threshold, "prevalence": known, **ppv.named("ppv"), **npv.named("npv")})
    return pd.DataFrame(rows)


def value_at_prevalence(scored: ScoredCases, called: Truth, positive: Truth, prevalence: float) -> Estimate:
    """Return the share of positive ones among those that are called so, where `prevalence` (0..1) of all are positive.

    By Bayes from the shares of positive and of negative cases that are called so. The interval is that of their ratio,
    from the clustered Wilson intervals of both by MOVER-R (Donner and Zou 2012), which holds where a share is 0, too.
    """
    hit, alarm = (_share(scored, called, part) for part in (positive, ~positive))
    if not hit.value + alarm.value > 0:
        return Estimate()
    ends = [alarm.value / hit.value if hit.value else np.inf, *reversed(ratio_interval(alarm, hit))]
    value, low, high = (1 / (1 + ratio * (1 - prevalence) / prevalence) for ratio in ends)
    return Estimate(float(value), float(low), float(high))


def ratio_interval(above: Estimate, below: Estimate) -> tuple[float, float]:
    """Return the interval of the ratio of two shares from theirs: MOVER-R, Donner and Zou 2012, equation 9."""
    product = above.value * below.value
    least = above.low * below.high * (2 * above.value - above.low) * (2 * below.value - below.high)
    most = above.high * below.low * (2 * above.value - above.high) * (2 * below.value - below.low)
    low, high = 0.0, np.inf
    if above.low:  # the equation's fraction, expanded so that its denominator cannot be 0
        low = above.low * (2 * above.value - above.low) / (product + np.sqrt(max(product**2 - least, 0.0)))
    if below.low:
        high = (product + np.sqrt(max(product**2 - most, 0.0))) / (below.low * (2 * below.value - below.low))
    return float(low), float(high)


def _share(scored: ScoredCases, positive: Truth, called: Truth) -> Estimate:
    if not called.any():
        return Estimate()
    right, groups = positive[called].astype(np.float64), scored.groups[called]
    return Estimate(float(right.mean()), *clustered_wilson(right, groups))


def _shares(above: Benefits, below: Float[np.ndarray, "replicates 1"]) -> Benefits:
    quotient = np.full(above.shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
