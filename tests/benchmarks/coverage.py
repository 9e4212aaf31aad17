"""How often a 95 % interval holds the truth, by simulation: `python -m tests.benchmarks.coverage`, or named parts.

Patients have one image, or 1 to 5 whose errors are half alike: whether an image is right, or how it scores, hangs on a
normal number half of whose variance the images of a patient share, so that patients are of unequal difficulty.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from src.evaluation.areas import estimate_area
from src.evaluation.proportions import Estimate, estimate_loss, estimate_proportion
from tests.support.simulation import clustered

PATIENTS = (20, 40, 100, 400)
ACCURACIES = (0.6, 0.75, 0.85, 0.95, 0.98, 0.995)
AREAS = (0.7, 0.8, 0.9, 0.97)
ALIKE = 0.5
Simulation = Callable[[np.random.Generator], tuple[Estimate, float]]


def hold(simulate: Simulation, trials: int, *key: float) -> float:
    """Return the share of simulated studies, in percent, whose interval holds the truth; the key seeds them."""
    found = [simulate(np.random.default_rng([trial, *(round(1000 * each) for each in key)])) for trial in range(trials)]
    return 100 * float(np.mean([each.low <= truth <= each.high for each, truth in found]))


def draw_patients(generator: np.random.Generator, patients: int, images: int) -> np.ndarray:
    """Return the patient of each image, of 1 to `images` each."""
    return np.repeat(np.arange(patients), generator.integers(1, images + 1, patients))


def simulate_accuracy(patients: int, images: int, accuracy: float) -> Simulation:
    """Return a study that judges one model, of known accuracy, on patients."""

    def simulate(generator: np.random.Generator) -> tuple[Estimate, float]:
        groups = draw_patients(generator, patients, images)
        right = (clustered(generator, groups, ALIKE) < norm.ppf(accuracy))[None]
        return estimate_proportion(right, np.ones_like(right), groups, np.zeros(right.shape, np.int64)), accuracy

    return simulate


def simulate_recall(patients: int, images: int, accuracies: tuple[float, ...]) -> Simulation:
    """Return a study of the balanced accuracy of classes of unequal size and recall."""

    def simulate(generator: np.random.Generator) -> tuple[Estimate, float]:
        groups, count = draw_patients(generator, patients, images), len(accuracies)
        shares = 2.0 ** -np.arange(count) / (2.0 ** -np.arange(count)).sum()
        labels = np.searchsorted(np.cumsum(shares), (np.arange(patients) + 0.5) / patients)[groups]
        right = (clustered(generator, groups, ALIKE) < norm.ppf(np.array(accuracies))[labels])[None]
        found = estimate_proportion(right, np.ones_like(right), groups, np.zeros(right.shape, np.int64), labels)
        return found, float(np.mean(accuracies))

    return simulate


def simulate_area(patients: int, images: int, area: float, positive: float) -> Simulation:
    """Return a study of scores that are normal in both classes; all images of a patient are of one class."""

    def simulate(generator: np.random.Generator) -> tuple[Estimate, float]:
        groups = draw_patients(generator, patients, images)
        labels = (np.arange(patients) < max(round(positive * patients), 1)).astype(np.int64)[groups]
        scores = clustered(generator, groups, ALIKE) + np.sqrt(2) * norm.ppf(area) * labels
        probabilities = np.stack([-scores, scores], axis=1)[None]
        return estimate_area(probabilities, labels, groups, np.zeros((1, len(groups)), np.int64), [1]), area

    return simulate


def simulate_many_areas(patients: int, images: int, shift: float, classes: int) -> Simulation:
    """Return a study of the mean area of several classes, each of whose scores is higher in its own."""

    def simulate(generator: np.random.Generator) -> tuple[Estimate, float]:
        groups = draw_patients(generator, patients, images)
        labels = (np.arange(patients) % classes)[groups]
        noise = np.stack([clustered(generator, groups, ALIKE) for _ in range(classes)], axis=1)
        scores = noise + shift * (labels[:, None] == np.arange(classes))
        folds = np.zeros((1, len(groups)), np.int64)
        return estimate_area(scores[None], labels, groups, folds, range(classes)), float(norm.cdf(shift / np.sqrt(2)))

    return simulate


def simulate_log_loss(patients: int, images: int, signal: float) -> Simulation:
    """Return a study of the log loss of a class whose log odds are normal, as two classes with normal scores have."""
    odds = signal * norm.ppf((np.arange(100_000) + 0.5) / 100_000) + signal**2 / 2
    truth = float(np.mean(np.log1p(np.exp(-odds))))

    def simulate(generator: np.random.Generator) -> tuple[Estimate, float]:
        groups = draw_patients(generator, patients, images)
        losses = np.log1p(np.exp(-signal * clustered(generator, groups, ALIKE) - signal**2 / 2))[None]
        folds = np.zeros(losses.shape, np.int64)
        return estimate_loss(losses, np.ones(losses.shape, bool), groups, folds), truth

    return simulate


def simulate_learning(repeats: int, patients: int = 100, features: int = 60, count: int = 5) -> Simulation:
    """Return a study of logistic regression by folds, whose truth is the mean accuracy of all models so trained.

    That is over training sets of (count - 1) / count of the patients and over new patients.
    """
    truth = expected_accuracy(patients - patients // count, features)

    def simulate(generator: np.random.Generator) -> tuple[Estimate, float]:
        values, labels = draw_task(generator, patients, features)
        right, folds = np.zeros((repeats, patients), dtype=bool), np.zeros((repeats, patients), np.int64)
        for repeat in range(repeats):
            folds[repeat] = repeat * count + generator.permutation(patients) % count
            for fold in range(repeat * count, (repeat + 1) * count):
                out = folds[repeat] == fold
                right[repeat, out] = (
                    LogisticRegression().fit(values[~out], labels[~out]).predict(values[out]) == labels[out]
                )
        return estimate_proportion(right, np.ones_like(right), np.arange(patients), folds), truth

    return simulate


def draw_task(generator: np.random.Generator, patients: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the descriptors of patients and whether they are positive, of which ten features tell."""
    values = generator.normal(size=(patients, features))
    labels = generator.random(patients) < 1 / (1 + np.exp(-0.6 * values[:, :10].sum(axis=1)))
    return values, labels.astype(np.int64)


def expected_accuracy(patients: int, features: int, models: int = 400, judged: int = 4000) -> float:
    """Return the mean accuracy of models of so many patients each, on new ones."""
    generator = np.random.default_rng(0)
    values, labels = draw_task(generator, judged, features)
    fitted = (LogisticRegression().fit(*draw_task(generator, patients, features)) for _ in range(models))
    return float(np.mean([(model.predict(values) == labels).mean() for model in fitted]))


def rows_of_accuracies(trials: int) -> Iterator[list[str]]:
    """Yield the coverage of accuracies."""
    yield ["accuracy", *map(str, ACCURACIES)]
    for images, patients in product((1, 5), PATIENTS):
        cells = (hold(simulate_accuracy(patients, images, each), trials, patients, images, each) for each in ACCURACIES)
        yield [f"{patients} patients, {counted(images)}", *(f"{cell:.1f}" for cell in cells)]


def rows_of_recalls(trials: int) -> Iterator[list[str]]:
    """Yield the coverage of balanced accuracies."""
    tasks = ((0.9, 0.7), (0.95, 0.95), (0.9, 0.7, 0.6), (0.98, 0.9, 0.95))
    yield ["balanced accuracy of recalls", *(" ".join(map(str, task)) for task in tasks)]
    for images, patients in product((1, 5), PATIENTS):
        cells = (hold(simulate_recall(patients, images, task), trials, patients, images, *task) for task in tasks)
        yield [f"{patients} patients, {counted(images)}", *(f"{cell:.1f}" for cell in cells)]


def rows_of_areas(trials: int) -> Iterator[list[str]]:
    """Yield the coverage of areas, of two classes and the mean of four."""
    yield ["AUC", *map(str, AREAS)]
    for positive, images, patients in product((0.5, 0.2), (1, 5), PATIENTS):
        key = (patients, images, positive)
        cells = (hold(simulate_area(patients, images, each, positive), trials, *key, each) for each in AREAS)
        yield [f"{patients} patients, {counted(images)}, {positive:.0%} positive", *(f"{cell:.1f}" for cell in cells)]
    shifts = [np.sqrt(2) * norm.ppf(area) for area in AREAS]
    for images, patients in product((1, 5), PATIENTS):
        many = (patients, images)
        cells = (hold(simulate_many_areas(*many, each, 4), trials, *many, each) for each in shifts)
        yield [f"{patients} patients, {counted(images)}, mean of 4 classes", *(f"{cell:.1f}" for cell in cells)]


def rows_of_losses(trials: int) -> Iterator[list[str]]:
    """Yield the coverage of log losses."""
    signals = (1.0, 2.0, 3.0)
    yield ["log loss, AUC", *(f"{norm.cdf(signal / np.sqrt(2)):.2f}" for signal in signals)]
    for images, patients in product((1, 5), PATIENTS):
        cells = (hold(simulate_log_loss(patients, images, each), trials, patients, images, each) for each in signals)
        yield [f"{patients} patients, {counted(images)}", *(f"{cell:.1f}" for cell in cells)]


def rows_of_learning(trials: int) -> Iterator[list[str]]:
    """Yield the coverage of the accuracy of models trained anew on 4 of 5 parts of the patients."""
    yield ["100 patients, logistic regression on 60 features, 5 folds", "1 repeat", "10 repeats"]
    cells = (hold(simulate_learning(repeats), trials, repeats) for repeats in (1, 10))
    yield ["accuracy of such models", *(f"{cell:.1f}" for cell in cells)]


def counted(images: int) -> str:
    """Return how many images patients have."""
    return "1 image" if images == 1 else f"1 to {images} images"


PARTS: dict[str, Callable[[int], Iterator[list[str]]]] = {
    "accuracies": rows_of_accuracies,
    "recalls": rows_of_recalls,
    "areas": rows_of_areas,
    "losses": rows_of_losses,
    "learning": rows_of_learning,
}


def main() -> None:
    """Print the parts that are named, or all, of so many studies a cell: `... coverage 2000 accuracies areas`."""
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    names = [argument for argument in sys.argv[1:] if not argument.isdigit()] or list(PARTS)
    for name in names:
        for place, row in enumerate(PARTS[name](numbers[0] if numbers else 1000)):
            print(f"| {' | '.join(row)} |", flush=True)
            if not place:
                print(f"| --- |{' ---: |' * (len(row) - 1)}", flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
