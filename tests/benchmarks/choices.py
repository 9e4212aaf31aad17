"""What is chosen by inner folds, held to the truth: the best of runs of noise, and thresholds; real learners.

python -m tests.benchmarks.choices
"""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from src.evaluation.chosen_threshold import ThresholdRule
from src.evaluation.optimism_ledger import best_cell, mean_accuracy, score_cases

LEARNERS = (
    LinearDiscriminantAnalysis(),
    GaussianNB(),
    KNeighborsClassifier(5),
    LogisticRegression(),
)
FOLDS = 5
Arrays = tuple[np.ndarray, np.ndarray]


def folds_of(labels: np.ndarray, seed: int) -> list[Arrays]:
    """Pairs of what is learnt from and what is held out."""
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels[:, None], labels))


def predict_noise(features: np.ndarray, labels: np.ndarray, learner: object, seed: int) -> tuple[pd.DataFrame, ...]:
    """The predictions of a run, and those of its inner folds."""
    outer, inner = [], []
    for fold, (known, held) in enumerate(folds_of(labels, seed), start=1):
        outer.append(
            rows(held, labels, learner.fit(features[known], labels[known]).predict_proba(features[held]), fold)
        )
        for number, (fit, out) in enumerate(folds_of(labels[known], seed), start=1):
            model = learner.fit(features[known[fit]], labels[known[fit]])
            part = rows(known[out], labels, model.predict_proba(features[known[out]]), fold)
            inner.append(part.assign(inner_fold=number))
    return pd.concat(outer, ignore_index=True), pd.concat(inner, ignore_index=True)


def rows(cases: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, fold: int) -> pd.DataFrame:
    """Rows of a predictions table."""
    names = [f"case{number:04d}" for number in cases]
    facts = {"sample": names, "case": names, "patient": names, "view": "", "label": [f"c{labels[n]}" for n in cases]}
    answers = {f"p_c{number}": probabilities[:, number] for number in (0, 1)}
    return pd.DataFrame({**facts, "model": "m", "repeat": 1, "fold": fold, "seed": 0, **answers})


def choose_by_other_folds(tables: dict[str, pd.DataFrame]) -> float:
    """The figure of a run per fold that is best on the other folds, whose models learnt from this one: not honest."""
    found = {name: score_cases(table) for name, table in tables.items()}
    by_fold = pd.DataFrame({name: each.groupby("fold")["right"].mean() for name, each in found.items()})
    chosen = {fold: by_fold.drop(index=[fold]).mean().idxmax() for fold in by_fold.index}
    return 100 * float(np.mean([by_fold.loc[fold, name] for fold, name in chosen.items()]))


def noise_study(seed: int, patients: int = 100, runs: int = 20, width: int = 5) -> dict[str, float]:
    """What the best of runs on features that know nothing claims, and what the ledger says of it."""
    generator = np.random.default_rng(seed)
    labels = np.arange(patients) % 2
    made = {
        f"run{number}": predict_noise(
            generator.normal(size=(patients, width)), labels, LEARNERS[number % len(LEARNERS)], seed
        )
        for number in range(runs)
    }
    tables = {name: outer for name, (outer, _) in made.items()}
    entry = best_cell(tables, {name: inner for name, (_, inner) in made.items()}, replicates=2)
    each = np.mean([mean_accuracy(score_cases(table)) for table in tables.values()])
    return {
        "a run": float(each),
        "claimed": entry.claimed,
        "by the other folds": choose_by_other_folds(tables),
        "by inner folds": entry.honest,
    }


def threshold_study(
    seed: int, patients: int, rule: ThresholdRule, width: int = 10, shift: float = 1.5
) -> dict[str, float]:
    """What is told of a rule's thresholds, and what is true of the fold models at them, and of their mean at theirs.

    Features are normal and differ in their mean by `shift` along one direction; a third of the patients is positive.
    """
    generator = np.random.default_rng(seed)
    labels = (generator.permutation(patients) % 3 == 0).astype(int)
    direction = np.full(width, shift / np.sqrt(width))
    features = generator.normal(size=(patients, width)) + labels[:, None] * direction
    new = generator.normal(size=(4000, width)) + direction
    called, true, thresholds, scores = [], [], [], []
    for known, held in folds_of(labels, seed):
        model = LogisticRegression().fit(features[known], labels[known])
        inner = np.empty(len(known))
        for fit, out in folds_of(labels[known], seed):
            part = LogisticRegression().fit(features[known[fit]], labels[known[fit]])
            inner[out] = part.predict_proba(features[known[out]])[:, 1]
        threshold = rule(labels[known] == 1, inner)
        thresholds.append(threshold)
        called.append(model.predict_proba(features[held])[labels[held] == 1, 1] > threshold)
        scores.append(model.predict_proba(new)[:, 1])
        weights, bias = model.coef_[0], model.intercept_[0]
        logit = np.log(threshold / (1 - threshold))
        true.append(norm.cdf((weights @ direction + bias - logit) / np.linalg.norm(weights)))
    whole = np.mean(scores, axis=0) > np.mean(thresholds)
    return {
        "told": 100 * np.concatenate(called).mean(),
        "true": 100 * np.mean(true),
        "of the mean": 100 * whole.mean(),
        "spread": float(np.ptp(thresholds)),
    }


def average(studies: Iterator[dict[str, float]]) -> pd.DataFrame:
    """The means over studies, and their standard errors."""
    found = pd.DataFrame(list(studies))
    return pd.DataFrame({"mean": found.mean(), "error": found.sem()})


def main() -> None:
    """Print both tables."""
    warnings.simplefilter("ignore")
    print("20 runs of noise, 100 patients, 5 folds, accuracy in %, 60 studies")
    print(average(noise_study(seed) for seed in range(60)).round(2).T.to_string())
    for text, rule in (("sensitivity:0.95", ThresholdRule("sensitivity", 0.95)), ("youden", ThresholdRule("youden"))):
        for patients in (100, 200, 400):
            found = [threshold_study(seed, patients, rule) for seed in range(150)]
            told = average({**each, "told - true": each["told"] - each["true"]} for each in found)
            print(f"{text}, {patients} patients, sensitivity in %, 150 studies")
            print(told.round(2).T.to_string())


if __name__ == "__main__":
    main()
