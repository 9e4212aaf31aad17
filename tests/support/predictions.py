"""Small predictions tables, and who was learnt from and held out in each fold."""

from itertools import product

import numpy as np
import pandas as pd

CLASSES = ["Normal", "Benign", "InSitu", "Invasive"]


def make_predictions(
    model: str = "resnet",
    cases: int = 12,
    folds: int = 3,
    seeds: int = 2,
    views: tuple[str, ...] = ("",),
    classes: tuple[str, ...] = tuple(CLASSES),
    draw: int = 0,
    signal: float = 1.5,
    repeats: int = 1,
) -> pd.DataFrame:
    """Predictions of one model: labels in turn, two cases per patient, probabilities that lean to the label."""
    generator = np.random.default_rng(draw)
    rows = []
    for repeat, case in product(range(repeats), range(cases)):
        label, block = case % len(classes), case // len(classes)
        for view in views:
            for seed in range(seeds):
                logits = generator.normal(size=len(classes)) + signal * (np.arange(len(classes)) == label)
                values = np.exp(logits) / np.exp(logits).sum()
                rows.append(
                    {
                        "repeat": 1 + repeat,
                        "sample": f"{case:04d}{view}.png",
                        "case": f"{case:04d}",
                        "patient": f"p{case // 2:04d}",
                        "view": view,
                        "label": classes[label],
                        "model": model,
                        "fold": 1 + repeat * folds + (block + block // folds * repeat) % folds,
                        "seed": seed,
                        **{f"p_{name}": value for name, value in zip(classes, values, strict=True)},
                    }
                )
    return pd.DataFrame(rows)


def roles_of(splits: pd.DataFrame) -> pd.DataFrame:
    """The roles of cases where every fold learns from all the others."""
    cases = splits.drop_duplicates("case")
    role = {fold: np.where(cases["fold"] == fold, "report", "fit") for fold in sorted(cases["fold"].unique())}
    return pd.concat([cases[["case"]].assign(fold=fold, role=each) for fold, each in role.items()])
