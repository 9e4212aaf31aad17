"""Scores of forty cases, some of which are positive, and how functions of scores take them."""

import numpy as np

from src.evaluation.scored_cases import ScoredCases

# fmt: off
SCORES = np.array([
    0.575, 0.672, 0.479, 0.28, 0.417, 0.252, 0.595, 0.898, 0.404, 0.362, 0.728, 0.69, 0.61, 0.268,
    0.564, 0.781, 0.171, 0.416, 0.086, 0.182, 0.093, 0.493, 0.186, 0.664, 0.627, 0.51, 0.038, 0.388,
    0.558, 0.613, 0.137, 0.409, 0.255, 0.303, 0.856, 0.304, 0.563, 0.823, 0.374, 0.536,
])
# fmt: on
POSITIVE = np.array(list("0100010100111010000000011100100001000111")) == "1"


def scored(
    scores: list[float] | np.ndarray,
    positive: list[int] | np.ndarray,
    groups: np.ndarray | None = None,
    repeats: int = 1,
) -> ScoredCases:
    """The same scores in each repeat; every case is of a patient of its own unless `groups` are given."""
    count = len(scores)
    return ScoredCases(
        scores=np.tile(np.asarray(scores, dtype=np.float64), repeats),
        positive=np.tile(np.asarray(positive, dtype=bool), repeats),
        groups=np.tile(np.arange(count) if groups is None else groups, repeats),
        repeats=np.repeat(np.arange(1, repeats + 1), count),
    )
