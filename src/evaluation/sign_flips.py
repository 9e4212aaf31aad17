"""What patients tell of a difference: its test by turning their signs, and the interval that is that test inverted."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from src.evaluation.resampling import LEVEL

CHUNK = 2_000_000
"""Signs held at once: 16 MB."""
DRAWS = 20_000
"""Draws of signs, what was seen among them."""
EXACT = 14
"""Up to so many patients all draws of signs are gone through."""

Rows = Float[np.ndarray, " rows"]
Signs = Float[np.ndarray, "draws patients"]


def sign_flip_test(
    by_patient: Float[np.ndarray, "patients rows"], shares: Float[np.ndarray, " patients"], seed: int
) -> tuple[Rows, Rows, Rows]:
    """Return the two-sided p (rows) that a sum over patients is 0, and the ends of its 95 % interval.

    Where two ways of learning differ by noise alone, the sign of what a patient adds to their difference could as well
    be the other, so that the test is exact however few the patients are (a wild bootstrap with the hypothesis imposed,
    Cameron, Gelbach and Miller 2008, with Rademacher's weights). The interval holds the differences that the same draws
    do not refuse, a patient adding its share of `shares` (which sum to 1) to each: it holds 0 where p is more than
    0.05, and is unbounded with five patients or fewer. What is not a number stays so.
    """
    # scipy.stats.permutation_test(permutation_type="samples") gives the same p where all signs are gone through, but
    # draws anew for each row, gives no interval, and tells ties by the last bits of a sum.
    blocks = [(signs @ by_patient, signs @ shares) for signs in _signs(len(by_patient), seed)]
    sums, weights = (np.concatenate(each) for each in zip(*blocks, strict=True))
    found = [_invert(column, weights, seen) for column, seen in zip(sums.T, by_patient.sum(axis=0), strict=True)]
    p, low, high = np.array(found).reshape(-1, 3).T
    return p, low, high


def _signs(patients: int, seed: int) -> Iterator[Signs]:
    """Yield the draws in chunks, whose size bounds the memory and changes no draw; the first one turns no sign."""
    if patients <= EXACT:
        yield 1.0 - 2.0 * (np.arange(2**patients)[:, None] >> np.arange(patients) & 1)
        return
    generator, rows = np.random.default_rng([seed, patients]), min(1000, max(1, CHUNK // patients))
    yield np.ones((1, patients))
    for start in range(1, DRAWS, rows):
        yield 2.0 * generator.integers(2, size=(min(rows, DRAWS - start), patients)) - 1.0


def _invert(
    sums: Float[np.ndarray, " draws"], weights: Float[np.ndarray, " draws"], seen: float
) -> tuple[float, float, float]:
    """Return p and interval: a draw is as far as what was seen for true differences from the lesser to the greater of
    (seen - sum) / (1 - weight) and (seen + sum) / (1 + weight)."""
    if np.isnan(seen):
        return seen, seen, seen
    sides = np.stack([_quotient(seen - sums, 1 - weights, seen), _quotient(seen + sums, 1 + weights, seen)])
    low, high = sides.min(axis=0), sides.max(axis=0)
    unbounded = np.abs(weights) > 1 - 1e-9  # no sign is turned, or all are
    low[unbounded], high[unbounded] = -np.inf, np.inf
    kept = len(sums) - int(LEVEL * len(sums) + 1e-9) - 1
    p = ((low <= 0) & (high >= 0)).mean()
    return float(p), float(-np.partition(-low, kept)[kept]), float(np.partition(high, kept)[kept])


def _quotient(
    above: Float[np.ndarray, " draws"], below: Float[np.ndarray, " draws"], seen: float
) -> Float[np.ndarray, " draws"]:
    """Return the quotient, 0 where it is so but for rounding, and `seen` where both parts vanish."""
    found = np.full(len(above), seen)
    np.divide(above, below, out=found, where=below > 1e-9)
    found[np.abs(found) < 1e-12] = 0.0
    return found
