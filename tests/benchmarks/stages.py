"""What comes after encoding and learning: pooling, evaluation, figures, tracking; and a whole cell."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from src.cli.evaluations import write_evaluation
from src.encoders.pooling import PowerMean
from src.evaluation.evaluation import evaluate
from src.tracking import CELL, Tracking
from tests.benchmarks.timing import Row, in_turns, once, run, seconds, time_text

CLASSES = ("Benign", "InSitu", "Invasive", "Normal")


def predictions(cases: int, folds: int = 10, seeds: int = 5) -> pd.DataFrame:
    """Return predictions of cases, each of a patient of its own, by a model per fold and seed."""
    draws = np.random.default_rng(0)
    labels = np.arange(cases) % len(CLASSES)
    rows = []
    for seed in range(seeds):
        probabilities = draws.dirichlet(np.ones(len(CLASSES)), cases)
        probabilities[np.arange(cases), labels] += 1
        columns = {f"p_{name}": probabilities[:, number] / 2 for number, name in enumerate(CLASSES)}
        names = [f"{number:06d}" for number in range(cases)]
        facts = {"sample": names, "case": names, "patient": names, "view": "", "label": np.array(CLASSES)[labels]}
        rows.append(
            pd.DataFrame(facts | {"model": "m", "fold": np.arange(cases) // 4 % folds + 1, "seed": seed} | columns)
        )
    return pd.concat(rows, ignore_index=True)


def pool() -> Iterator[Row]:
    """The power mean of an image's 50 x 20 descriptors, against its formula in double precision."""
    descriptors = np.random.default_rng(0).gamma(0.5, size=(50, 20, 2048)).astype(np.float32)
    mean = PowerMean(p=3)

    def formula() -> np.ndarray:
        return (descriptors.astype(np.float64) ** 3).mean(axis=1) ** (1 / 3)

    ours, beside = in_turns(lambda: mean(descriptors), formula)
    error = float(np.abs(mean(descriptors) / formula() - 1).max())
    yield "pool 50 x 20 x 2048, p=3", time_text(ours), f"formula {time_text(beside)}; off by {error:.0e}", beside / ours


def evaluation() -> Iterator[Row]:
    """Metrics with their intervals, and their figures, as the number of cases grows."""
    before: float | None = None
    for cases in (400, 4000):
        table = predictions(cases)
        taken = seconds(lambda table=table: evaluate(table), 3)
        beside = f"400 cases {time_text(before)}" if before else "1000 replicates"
        yield f"evaluate {cases} cases, 10 folds x 5 seeds", time_text(taken), beside, before and taken / before
        before = taken
    with tempfile.TemporaryDirectory() as folder:
        made = evaluate(predictions(400))
        drawn = seconds(lambda: write_evaluation(made, Path(folder), []), 3)
    yield "tables and figures", time_text(drawn), "evaluation of 400 cases", None


def tracking() -> Iterator[Row]:
    """A run in a new database, and one in a database that is there: params, metrics, six artefacts."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        kept = Tracking(uri=f"sqlite:///{root}/mlflow.db", artifacts=f"{root}/artifacts", spool=f"{root}/spool")

        def track() -> None:
            with kept.run("cell", CELL, "", {}) as opened:
                opened.log(params={f"p{number}": number for number in range(100)})
                opened.log(metrics={f"m{number}": number for number in range(40)})
                for number in range(6):
                    (opened.folder / f"{number}.bin").write_bytes(bytes(50_000))

        first, later = once(track), seconds(track, 5)
        yield "track a run", time_text(later), f"the first, which makes the tables, {time_text(first)}", None


def whole() -> Iterator[Row]:
    """The demo's cell from the command line: everything new, and with its descriptors in the store."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = ["data=demo", "encoder=resnet18", "encoder.weights=random"]
        cold = once(lambda: run("run", *overrides, workspace=Path(folder)))
        warm = once(lambda: run("run", *overrides, "classifier.rounds=71", workspace=Path(folder)))
        yield "a cell on the demo", time_text(cold), f"again, descriptors stored: {time_text(warm)}", cold / warm


PARTS = (pool, evaluation, tracking, whole)
