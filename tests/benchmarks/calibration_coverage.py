"""How often the 95 % intervals of calibration and of predictive values hold the truth, as a table in Markdown.

`python -m tests.benchmarks.calibration_coverage [TRIALS]`
"""

import sys
from collections.abc import Iterator

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from src.evaluation.calibration import fit_intercept, fit_slope, why_no_line
from src.evaluation.decision_curve import value_at_prevalence
from src.evaluation.proportions import Estimate
from src.evaluation.scored_cases import ScoredCases
from tests.support.simulation import clustered

PATIENTS, IMAGES = (40, 100, 400), (1, 5)
LOGITS = ((0.0, 1.0), (0.0, 2.0), (-1.5, 1.5))
"""Mean and deviation of the true logits: weak, strong, and few positive cases."""
ACCURACIES = ((0.9, 0.9, 0.05), (0.8, 0.98, 0.2), (0.95, 0.7, 0.01))
"""Sensitivity, specificity and prevalence."""


def patients_of(generator: np.random.Generator, patients: int, images: int) -> np.ndarray:
    """The patient of each of 1 to `images` images that a patient has."""
    return np.repeat(np.arange(patients), generator.integers(1, images + 1, patients))


def calibrated_cases(
    generator: np.random.Generator, patients: int, images: int, mean: float, deviation: float
) -> ScoredCases:
    """Cases whose scores are right; logits, and what becomes of them, are half alike among a patient's images."""
    patient = patients_of(generator, patients, images)
    scores = expit(mean + deviation * clustered(generator, patient, 0.5))
    positive = norm.cdf(clustered(generator, patient, 0.5)) < scores
    return ScoredCases(scores=scores, positive=positive, groups=patient, repeats=np.ones(len(patient), np.int64))


def called_cases(
    generator: np.random.Generator, patients: int, images: int, sensitivity: float, specificity: float
) -> ScoredCases:
    """Cases with scores of 0 and 1, of which two in five patients are ill; errors are half alike within patients."""
    patient = patients_of(generator, patients, images)
    ill = (generator.random(patients) < 0.4)[patient]
    called = norm.cdf(clustered(generator, patient, 0.5)) < np.where(ill, sensitivity, 1 - specificity)
    return ScoredCases(
        scores=called.astype(np.float64), positive=ill, groups=patient, repeats=np.ones(len(patient), np.int64)
    )


def holds(found: Estimate, truth: float) -> bool:
    """Whether an interval holds the truth."""
    return found.low <= truth <= found.high


def line_coverage(patients: int, images: int, mean: float, deviation: float, trials: int) -> tuple[float, float, int]:
    """How often a slope of 1 and an intercept of 0 are held, in percent, and how many trials had no slope."""
    generator = np.random.default_rng([patients, images, int(10 * mean) + 100, int(10 * deviation)])
    slopes, intercepts = [], []
    for _ in range(trials):
        cases = calibrated_cases(generator, patients, images, mean, deviation)
        if not why_no_line(cases, np.arange(len(cases.scores))):
            slopes.append(holds(fit_slope(cases), 1.0))
            intercepts.append(holds(fit_intercept(cases), 0.0))
    return 100 * float(np.mean(slopes)), 100 * float(np.mean(intercepts)), trials - len(slopes)


def value_coverage(
    patients: int, images: int, sensitivity: float, specificity: float, prevalence: float, trials: int
) -> tuple[float, float]:
    """How often predictive values at a prevalence are held, in percent, the positive one first."""
    generator = np.random.default_rng([patients, images, int(1000 * specificity)])
    ill, healthy = prevalence, 1 - prevalence
    truth = sensitivity * ill / (sensitivity * ill + (1 - specificity) * healthy)
    other = specificity * healthy / (specificity * healthy + (1 - sensitivity) * ill)
    held: list[tuple[bool, bool]] = []
    while len(held) < trials:
        cases = called_cases(generator, patients, images, sensitivity, specificity)
        called = cases.scores > 0.5
        positive = value_at_prevalence(cases, called, cases.positive, ill)
        negative = value_at_prevalence(cases, ~called, ~cases.positive, healthy)
        held.append((holds(positive, truth), holds(negative, other)))
    first, second = 100 * np.mean(held, axis=0)
    return float(first), float(second)


def lines(trials: int) -> Iterator[str]:
    """Yield the lines of both tables."""
    yield "| patients | images | logits | slope | intercept | no slope |\n|---|---|---|---:|---:|---:|"
    for patients in PATIENTS:
        for images in IMAGES:
            for mean, deviation in LOGITS:
                slope, intercept, lost = line_coverage(patients, images, mean, deviation, trials)
                row = f"| {patients} | 1 to {images} | {mean} +- {deviation}"
                yield f"{row} | {slope:.1f} | {intercept:.1f} | {lost} |"
    yield "\n| patients | images | sensitivity, specificity, prevalence | PPV | NPV |\n|---|---|---|---:|---:|"
    for patients in PATIENTS:
        for images in IMAGES:
            for setting in ACCURACIES:
                first, second = value_coverage(patients, images, *setting, trials)
                yield f"| {patients} | 1 to {images} | {', '.join(map(str, setting))} | {first:.1f} | {second:.1f} |"


if __name__ == "__main__":
    for line in lines(int(sys.argv[1]) if len(sys.argv) > 1 else 2000):
        print(line, flush=True)
