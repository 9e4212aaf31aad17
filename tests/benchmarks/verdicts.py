"""How often verdicts are wrong, and how many patients they need: `python -m tests.benchmarks.verdicts [NAME...]`.

Two kinds of simulation. In drawn predictions an image is recognised where a normal number, its hardness, is below what
the accuracy makes it. Half of its variance all ways of learning have in common, and half of each share the images of a
patient. `luck` is the deviation of what is added to it for all cases of a fold by each model of that fold, one number
per fold and way of learning. In real learners linear discriminants or trees learn from drawn descriptors, of which the
two see one block in common and one of their own; where these are alike the two are truly equal.

The draws of a test are fewer than those of the program, so that a study of thousands of comparisons takes minutes.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy.optimize import linprog
from scipy.stats import chi2, norm

from src.evaluation import multiplicity, sign_flips
from src.evaluation.comparison import NAMES, case_contributions
from src.evaluation.verdicts import ALL, LEVEL, NOT_SHOWN, PRIMARY, Evidence, add_verdicts
from tests.support.simulation import clustered

DRAWS = 2_000
FEW, MANY = 400, 1000


@dataclass(kw_only=True)
class Study:
    """One simulated study; `images` is that of a patient at most, each from 1 being as likely."""

    patients: int = 60
    images: int = 1
    folds: int = 5
    accuracies: tuple[float, ...] = (0.8, 0.8)
    luck: float = 0.0
    seeds: int = 1
    of_seed: float = 0.0
    """The deviation of what a model's own seed adds, as of `luck`."""


def draw_predictions(
    study: Study, generator: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Return the probabilities (cases, 2) of each way of learning, mean over seeds, and labels, patients and folds."""
    patient = np.repeat(np.arange(study.patients), generator.integers(1, study.images + 1, study.patients))
    fold = (generator.permutation(study.patients) % study.folds)[patient]
    label = (np.arange(study.patients) % 2)[patient]
    common = clustered(generator, patient, 0.5)
    found = []
    for accuracy in study.accuracies:
        hardness = np.sqrt(0.5) * (common + clustered(generator, patient, 0.5))
        lucky = study.luck * generator.normal(size=study.folds)[fold]
        of_seeds = study.of_seed * generator.normal(size=(study.seeds, study.folds))[:, fold]
        wide = np.sqrt(1 + study.luck**2 + study.of_seed**2 / study.seeds)
        margins = norm.ppf(accuracy) * wide + lucky + of_seeds - hardness
        right = (1 / (1 + np.exp(-margins))).mean(axis=0)
        second = np.where(label == 1, right, 1 - right)
        found.append(np.stack([1 - second, second], axis=1))
    return found, label, patient, fold


def gather_evidence(
    study: Study, generator: np.random.Generator, metrics: tuple[str, ...], every: bool = False
) -> Evidence:
    """Return what a study shows of each way of learning against the first, or of every pair, by pair and metric."""
    ways, label, patient, fold = draw_predictions(study, generator)
    pairs = list(combinations(ways, 2)) if every else [(way, ways[0]) for way in ways[1:]]
    parts = [case_contributions(metric, *pair, label) for pair in pairs for metric in metrics]
    ratio = np.full(len(parts), 1 / max(study.folds - 1, 1))
    return Evidence(parts=np.stack(parts, axis=1), groups=patient, folds=fold, repeats=1, ratio=ratio)


def studies(count: int, make: Callable[[np.random.Generator], Evidence]) -> Iterator[Evidence]:
    """Yield the evidence of studies that are drawn one after the other."""
    sign_flips.DRAWS = multiplicity.DRAWS = DRAWS
    generator = np.random.default_rng(1)
    for _ in range(count):
        yield make(generator)


def share_shown(study: Study, count: int = MANY) -> tuple[float, float]:
    """Return how often a difference of two accuracies is shown, and how often by the corrected resampled t."""
    found = [
        (each.test(0)[0][0] <= LEVEL, each.corrected_test()[0] <= LEVEL)
        for each in studies(count, lambda generator: gather_evidence(study, generator, ("accuracy",)))
    ]
    shown, corrected = np.mean(found, axis=0)
    return float(shown), float(corrected)


def share_of_tables(study: Study, primary: str = PRIMARY, count: int = FEW) -> float:
    """Return in which share of tables, over three metrics, any row is shown."""
    models = [f"m{number}" for number in range(1, len(study.accuracies)) for _ in NAMES]
    table = pd.DataFrame({"model": models, "metric": list(NAMES) * (len(study.accuracies) - 1)})
    table = table.assign(reference="m0", value=0.8, reference_value=0.8, p_mcnemar=np.nan)
    found = [
        (add_verdicts(table, each, primary)["verdict"] != NOT_SHOWN).any()
        for each in studies(count, lambda generator: gather_evidence(study, generator, NAMES))
    ]
    return float(np.mean(found))


def share_of_pairs(study: Study, count: int = FEW) -> tuple[float, float]:
    """Return in which share of leaderboards any pair of ways is shown to differ, and in which the first two are."""
    names = [f"m{number}" for number in range(len(study.accuracies))]
    table = pd.DataFrame(combinations(names, 2), columns=["model", "reference"])
    table = table.assign(metric="accuracy", value=0.8, reference_value=0.8, p_mcnemar=np.nan)
    found = [
        add_verdicts(table, each, ALL)["verdict"].ne(NOT_SHOWN).to_numpy()
        for each in studies(count, lambda generator: gather_evidence(study, generator, ("accuracy",), every=True))
    ]
    return float(np.any(found, axis=1).mean()), float(np.array(found)[:, 0].mean())


@dataclass(kw_only=True)
class Learners:
    """Two real learners on descriptors of two classes: `signal` tells how far apart these are in the block of each."""

    kind: str = "linear"
    signal: tuple[float, float] = (1.0, 1.0)
    patients: int = 175
    images: int = 1
    folds: int = 5
    repeats: int = 10


COMMON, OWN = 10, 10
"""Descriptors that both learners see, and that one of them sees by itself."""
BETWEEN = 1.5
"""How far apart the classes are in the common block."""


def draw_descriptors(study: Learners, generator: np.random.Generator, patients: int) -> tuple[np.ndarray, ...]:
    """Return descriptors (cases, COMMON + 2 OWN), labels and patients; half a patient's variance is its images' own."""
    patient = np.repeat(np.arange(patients), generator.integers(1, study.images + 1, patients))
    label = np.arange(patients) % 2
    widths = [COMMON, OWN, OWN]
    apart = np.repeat(np.array([BETWEEN, *study.signal]) / np.sqrt(widths), widths)
    size = sum(widths)
    of_patient = generator.normal(size=(patients, size))[patient]
    noise = np.sqrt(0.5) * (of_patient + generator.normal(size=(len(patient), size)))
    return noise + (label[patient, None] - 0.5) * apart, label[patient], patient


def learn(kind: str, descriptors: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the probabilities that a learner, taught on descriptors, gives."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.tree import DecisionTreeClassifier

    model = (
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        if kind == "linear"
        else DecisionTreeClassifier(max_depth=4, min_samples_leaf=5, random_state=0)
    )
    return model.fit(descriptors, labels).predict_proba


def blocks() -> tuple[np.ndarray, np.ndarray]:
    """Return the columns that each learner sees."""
    common = np.arange(COMMON)
    return np.append(common, COMMON + np.arange(OWN)), np.append(common, COMMON + OWN + np.arange(OWN))


def folds_of(study: Learners, generator: np.random.Generator, patient: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the fold of each case: patients of each class in turn, in an order that is drawn."""
    order = generator.permutation(study.patients)
    of_patient = np.empty(study.patients, np.int64)
    for each in (0, 1):
        members = order[order % 2 == each]
        of_patient[members] = (np.arange(len(members)) + each) % study.folds
    return of_patient[patient]


def learned_evidence(study: Learners, generator: np.random.Generator) -> Evidence:
    """Return what the second learner shows against the first, in accuracy."""
    descriptors, label, patient = draw_descriptors(study, generator, study.patients)
    parts, folds = [], []
    for repeat in range(study.repeats):
        fold = folds_of(study, generator, patient, label)
        ways = [np.empty((len(label), 2)) for _ in blocks()]
        for number, (columns, way) in product(range(study.folds), zip(blocks(), ways, strict=True)):
            train = fold != number
            model = learn(study.kind, descriptors[train][:, columns], label[train])
            way[~train] = model(descriptors[~train][:, columns])
        parts.append(case_contributions("accuracy", ways[1], ways[0], label))
        folds.append(fold + study.folds * repeat)
    return Evidence(
        parts=np.concatenate(parts)[:, None],
        groups=np.tile(patient, study.repeats),
        folds=np.concatenate(folds),
        repeats=study.repeats,
        ratio=np.array([1 / (study.folds - 1)]),
    )


def share_learned(study: Learners, count: int = FEW) -> tuple[float, float, float]:
    """Return in which share of comparisons the second learner is shown to be better, and worse; and the mean difference
    in points."""
    found = list(studies(count, lambda generator: learned_evidence(study, generator)))
    shown = np.array([np.sign(each.difference[0]) * (each.test(0)[0][0] <= LEVEL) for each in found])
    return float((shown > 0).mean()), float((shown < 0).mean()), 100 * float(np.mean([e.difference for e in found]))


def noise_table() -> Iterator[list[object]]:
    """Yield how often single comparisons show something where nothing differs, in percent."""
    yield ["images", "folds", "luck", *(f"{patients} patients" for patients in (20, 60, 150, 400))]
    for images, folds, luck in product((1, 5), (3, 5, 10), (0.0, 0.3)):
        given = {"images": images, "folds": folds, "luck": luck}
        shares = [share_shown(Study(patients=patients, **given))[0] for patients in (20, 60, 150, 400)]
        yield [images, folds, luck, *(f"{100 * share:.1f}" for share in shares)]


def sweep_table() -> Iterator[list[object]]:
    """Yield how often a table of 20 cells over three metrics shows anything where nothing differs, in percent."""
    yield ["folds", "luck", *(f"{patients} patients, {p}" for patients in (60, 400) for p in ("accuracy", "all"))]
    for folds, luck in product((3, 5, 10), (0.0, 0.3)):
        shares = [
            share_of_tables(Study(patients=n, images=5, folds=folds, luck=luck, accuracies=(0.8,) * 20), primary)
            for n in (60, 400)
            for primary in (PRIMARY, "all")
        ]
        yield [folds, luck, *(f"{100 * share:.1f}" for share in shares)]


def pairs_table() -> Iterator[list[object]]:
    """Yield how often a leaderboard of 12 ways shows anything if nothing differs, and 85 against 75 %, in percent."""
    yield ["folds", "luck", *(f"{n} patients, {what}" for n in (60, 400, 800) for what in ("anything", "10 points"))]
    for folds, luck in product((5, 10), (0.0, 0.3)):
        shares: list[float] = []
        for n in (60, 400, 800):
            equal = Study(patients=n, folds=folds, luck=luck, accuracies=(0.8,) * 12)
            better = Study(patients=n, folds=folds, luck=luck, accuracies=(0.85,) + (0.75,) * 11)
            shares += [share_of_pairs(equal)[0], share_of_pairs(better)[1]]
        yield [folds, luck, *(f"{100 * share:.1f}" for share in shares)]


def power_table() -> Iterator[list[object]]:
    """Yield how often 85 against 75 % is shown, in percent, with an image of each patient."""
    sizes = (150, 200, 250, 300, 350)
    yield ["folds", "luck", *(f"{patients} patients" for patients in sizes)]
    for folds, luck in product((5, 10), (0.0, 0.3)):
        studies = [Study(patients=n, folds=folds, luck=luck, accuracies=(0.75, 0.85)) for n in sizes]
        yield [folds, luck, *(f"{100 * share_shown(each)[0]:.1f}" for each in studies)]


def seed_table() -> Iterator[list[object]]:
    """Yield how often seeds under luck show something where nothing differs, in percent: verdict, resampled t."""
    yield ["seeds", "folds", "verdict", "resampled t"]
    for seeds, folds in product((1, 5, 20), (5, 10)):
        found = share_shown(Study(patients=200, images=3, folds=folds, luck=0.3, seeds=seeds, of_seed=0.2))
        yield [seeds, folds, *(f"{100 * share:.1f}" for share in found)]


TEN = (0.5, 1.7)
"""Signals whose learners recognise 75 and 85 %."""


def learner_table() -> Iterator[list[object]]:
    """Yield how often real learners are told apart, in percent: the better one shown, the worse one, and the points."""
    yield ["learner", "signals", "patients", "folds", "repeats", "better", "worse", "difference"]
    asked = [("linear", (1.0, 1.0), 10, 175), ("linear", (1.0, 1.0), 1, 175), ("tree", (1.0, 1.0), 10, 175)]
    asked += [("linear", TEN, 10, 175), ("linear", TEN, 1, 175)]
    for (kind, signal, repeats, patients), folds in product(asked, (5, 10)):
        study = Learners(kind=kind, signal=signal, patients=patients, folds=folds, repeats=repeats)
        better, worse, points = share_learned(study, FEW if repeats == 1 else FEW // 2)
        row = [f"{100 * better:.1f}", f"{100 * worse:.1f}", f"{points:.1f}"]
        yield [kind, signal, patients, folds, repeats, *row]


def most_power(folds: int, level: float, ratio: float) -> float:
    """Return the power that no test of one repeat exceeds if it is wrong in at most `level` however large the luck.

    A test knows a difference, of variance 1 without luck and more with it, and what folds show of that variance,
    chi-squared. `ratio` is that of the patients to those with whom the z-test, which knows of no luck, has a power of
    0.8. Where to refuse is a linear programme over a grid of both (Neyman and Pearson).
    """
    edges = np.concatenate([[0], np.geomspace(0.02, 2000, 90), [np.inf]])
    ends = np.concatenate([np.linspace(0, 8, 120), np.geomspace(8.1, 300, 50), [np.inf]])
    shown = (norm.ppf(0.975) + norm.ppf(0.8)) * np.sqrt(ratio)

    def chances(variance: float, mean: float = 0.0) -> np.ndarray:
        of_folds = np.diff(chi2.cdf((folds - 1) * edges / variance, folds - 1))
        scale = np.sqrt(variance)
        return np.outer(of_folds, np.diff(norm.cdf(ends, mean, scale) - norm.cdf(-ends, mean, scale))).ravel()

    wrong = np.array([chances(variance) for variance in np.geomspace(1, 300, 40)])
    found = linprog(-chances(1.0, shown), A_ub=wrong, b_ub=np.full(len(wrong), level), bounds=(0, 1), method="highs")
    return float(-found.fun)


def bound_table() -> Iterator[list[object]]:
    """Yield the most power that a test of one repeat can have that is wrong in at most 6 % whatever the luck."""
    ratios = (1.0, 1.2, 1.33, 1.5, 1.6, 1.8)
    yield ["folds", *(f"{ratio} times the z-test's patients" for ratio in ratios)]
    for folds in (3, 5, 10):
        yield [folds, *(f"{most_power(folds, 0.06, ratio):.3f}" for ratio in ratios)]


TABLES = {
    "noise": noise_table,
    "sweeps": sweep_table,
    "pairs": pairs_table,
    "power": power_table,
    "seeds": seed_table,
    "learners": learner_table,
    "bound": bound_table,
}


if __name__ == "__main__":
    for name in sys.argv[1:] or TABLES:
        print(f"\n{name}: {TABLES[name].__doc__}\n")
        for number, row in enumerate(TABLES[name]()):
            print("|", " | ".join(map(str, row)), "|", flush=True)
            if not number:
                print("|", " | ".join("---" for _ in row), "|")
