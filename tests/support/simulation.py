"""Predictions of two ways of learning whose true accuracies are known, with errors that a patient's images share."""

import numpy as np
import pandas as pd
from scipy.stats import norm


def pair(
    generator: np.random.Generator,
    patients: int = 60,
    images: int = 3,
    classes: int = 2,
    folds: int = 5,
    accuracies: tuple[float, ...] = (0.8, 0.8),
    alike: float = 0.5,
    paired: float = 0.5,
    luck: float = 0.0,
) -> dict[str, pd.DataFrame]:
    """The tables `one`, `two` and so on: 1 to 2 `images` - 1 of each patient, all of one class and one fold.

    Whether an image is recognised hangs on a normal number: a share `paired` of it is common to all ways, and a share
    `alike` of all of it to the images of a patient. `luck` is the deviation of what each fold's models add to it.
    """
    count = generator.integers(1, 2 * images, patients)
    patient = np.repeat(np.arange(patients), count)
    label, fold = (np.arange(patients) % classes)[patient], (generator.permutation(patients) % folds)[patient]
    common = clustered(generator, patient, alike)
    tables = {}
    for name, accuracy in zip(("one", "two", "three", "four")[: len(accuracies)], accuracies, strict=True):
        own = clustered(generator, patient, alike)
        lucky = luck * generator.normal(size=folds)[fold]
        hardness = np.sqrt(paired) * common + np.sqrt(1 - paired) * own - lucky
        right = hardness < norm.ppf(accuracy) * np.sqrt(1 + luck**2)
        tables[name] = table(generator, patient, label, fold, right, classes)
    return tables


def clustered(generator: np.random.Generator, patient: np.ndarray, alike: float) -> np.ndarray:
    """Standard normal numbers, a share `alike` of whose variance a patient's images have in common."""
    of_patient = generator.normal(size=patient.max() + 1)[patient]
    return np.sqrt(alike) * of_patient + np.sqrt(1 - alike) * generator.normal(size=len(patient))


def table(
    generator: np.random.Generator, patient: np.ndarray, label: np.ndarray, fold: np.ndarray, right: np.ndarray, k: int
) -> pd.DataFrame:
    """A predictions table whose most probable class is the label where `right`, else one of the others."""
    wrong = (label + generator.integers(1, k, len(label))) % k
    top = np.where(right, label, wrong)
    values = generator.dirichlet(np.ones(k), len(label)) + 1.0 * np.eye(k)[top]
    names = [f"case {number:05d}" for number in range(len(label))]
    facts = {
        "sample": names,
        "case": names,
        "patient": [f"patient {number}" for number in patient],
        "view": "",
        "label": [f"c{number}" for number in label],
        "model": "m",
        "fold": fold + 1,
        "seed": 0,
    }
    probabilities = {f"p_c{number}": values[:, number] / 2 for number in range(k)}
    return pd.DataFrame(facts | probabilities)
