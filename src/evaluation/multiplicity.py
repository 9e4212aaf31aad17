"""What several tests at once may claim: Holm's correction, and for rows that hang together that of the largest t."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from src.evaluation.resampling import LEVEL

DRAWS = 20_000
CHUNK = 2_000_000
"""Drawn numbers held at once: 16 MB."""

Rows = Float[np.ndarray, " rows"]
Correlation = Float[np.ndarray, "rows rows"]


def holm_correction(p: Rows) -> Rows:
    """Holm's 1979 step-down correction of p-values; what is not a number takes no part."""
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def max_t_correction(p: Rows, correlation: Correlation, freedom: int, seed: int = 0) -> Rows:
    """Return p-values of Student's t corrected for each other: how often the largest of the rows' t would be as large.

    The step-down maxT of Westfall and Young 1993 (algorithm 2.8), the t being drawn as normal numbers of the rows'
    `correlation` (`row_correlation`) over deviations of `freedom` degrees each, drawn apart: rows that say nearly the
    same cost nearly nothing, and what else their deviations have in common only makes the correction stricter than it
    need be. Never below p, and what is not a number takes no part.
    """
    from scipy.stats import t

    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    if not len(order):
        return adjusted
    seen = t.isf(p[order] / 2, freedom)
    counts = np.zeros(len(order))
    for drawn in _draw_t(correlation[np.ix_(order, order)], freedom, seed):
        largest = np.maximum.accumulate(drawn[:, ::-1], axis=1)[:, ::-1]  # of a row and all that are less clear
        counts += (largest >= seen).sum(axis=0)
    adjusted[order] = np.maximum(np.maximum.accumulate((1 + counts) / (1 + DRAWS)), p[order])
    if len(order) == 1:
        adjusted[order] = p[order]
    return adjusted


def largest_t(correlation: Correlation, freedom: int, seed: int = 0) -> float:
    """Return the t that the largest of the rows exceeds in 5 % of draws where nothing differs, as `max_t_correction`
    draws them: what a row by itself must reach to be shown first."""
    from scipy.stats import t

    if len(correlation) < 2:
        return float(t.isf(LEVEL / 2, freedom))
    return float(np.quantile(np.concatenate([each.max(axis=1) for each in _draw_t(correlation, freedom, seed)]), 0.95))


def row_correlation(parts: Float[np.ndarray, "groups rows"]) -> Correlation:
    """Return how the rows hang together, from what independent groups (patients) add to each; a row that does not vary
    hangs together with no other."""
    centred = parts - parts.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    found: Correlation = unit.T @ unit
    np.fill_diagonal(found, 1.0)
    return found


def _draw_t(correlation: Correlation, freedom: int, seed: int) -> Iterator[Float[np.ndarray, "draws rows"]]:
    """Yield the absolute values of correlated t in chunks."""
    values, vectors = np.linalg.eigh(correlation)
    factor = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    generator, rows = np.random.default_rng(seed), len(correlation)
    size = min(DRAWS, max(1, CHUNK // rows))
    for start in range(0, DRAWS, size):
        count = min(size, DRAWS - start)
        normal = generator.normal(size=(count, rows)) @ factor
        yield np.abs(normal) / np.sqrt(generator.chisquare(freedom, size=(count, rows)) / freedom)
