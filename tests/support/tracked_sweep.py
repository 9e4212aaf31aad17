"""A sweep as its cells would leave it, made up in a second: two protocols, two models, all that a report can show."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from src.tracking import CELL, SWEEP, Tracking
from tests.support.predictions import roles_of

CASES = 48
CLASSES = ["benign", "<b>malignant"]
INJECTED = "<script>alert('page')</script>"
NAME = f"a sweep {INJECTED}"
MODELS = {"AlexNet-8": 0.4, f"VGG-8 {INJECTED}": 1.2}
FOLDS = {"image_kfold": np.arange(CASES) % 3 + 1, "kfold": np.arange(CASES) // 2 % 3 + 1}
PUBLISHED = "model,f1,f2,f3,mean,std\nAlexNet-8,80.0,81.0,82.0,81.0,0.8\nModel fusion,90.0,91.0,92.0,91.0,0.8\n"


def manifest() -> pd.DataFrame:
    """Two cases a patient, of one class; in turn left and right."""
    rows = [
        (f"{n}.png", f"{n:02d}", f"p{n // 2}", "", CLASSES[n // 2 % 2], ["left", "right"][n % 2]) for n in range(CASES)
    ]
    return pd.DataFrame(rows, columns=["sample", "case", "patient", "view", "label", "side"])


def predictions(folds: np.ndarray, signal: float, draw: int) -> pd.DataFrame:
    """Predictions with so much of a signal, by noise of their own."""
    table = manifest().drop(columns="side").assign(model="m", fold=folds, seed=0)
    toward = np.where(table["label"] == CLASSES[1], 1, -1)
    score = 2 * np.random.default_rng(draw).normal(size=CASES) + 2 * signal * toward
    return table.assign(**{f"p_{CLASSES[0]}": 1 / (1 + np.exp(score)), f"p_{CLASSES[1]}": 1 / (1 + np.exp(-score))})


def findings(protocol: str) -> pd.DataFrame:
    """What the audit of image-level folds finds."""
    columns = ["kind", "first", "second", "fold_first", "fold_second", "distance", "patient_first", "patient_second"]
    found = [("patient", "0.png", "1.png", 1, 2, "", "p0", "p0")] * 24 if protocol == "image_kfold" else []
    return pd.DataFrame(found, columns=columns)


def photograph(width: int = 1600) -> bytes:
    """A large picture."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (width // 8, width // 4, 3), np.uint8)
    Image.fromarray(noise).resize((width, width // 2)).save(file, "JPEG", quality=95)
    return file.getvalue()


def cell(tracking: Tracking, parent: str, model: str, protocol: str, published: Path) -> str:
    """Leave what a cell leaves, and return its id."""
    folds = FOLDS[protocol]
    signal = MODELS[model] + (0.5 if protocol == "image_kfold" else 0)
    with tracking.run(f"{model} protocol={protocol}", CELL, parent) as run:
        predictions(folds, signal, len(model)).to_parquet(run.folder / "predictions.parquet")
        manifest().to_csv(run.folder / "manifest.csv", index=False)
        roles_of(manifest().assign(fold=folds)).to_csv(run.folder / "roles.csv", index=False)
        findings(protocol).to_csv(run.folder / "audit.csv", index=False)
        for side in ("right", "wrong"):
            path = run.folder / "explanations" / side / "benign-1-00.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(photograph())
        params = {"data": "demo", "method": "finetune", "protocol": protocol, "encoder.label": model, "crop": "whole"}
        params |= {
            "crop.size": 64,
            "slices": ["side"],
            "published": str(published),
            "tracking.uri": "http://me:secret@server",
        }
        tags = {"splits": protocol, "notes": f"made up; of {INJECTED}", "version.torch": "2.0", "python": "3.11"}
        tags |= {"audit_patients": 24 if protocol == "image_kfold" else 0, "audit_identical": 0}
        tags |= {"command": "python -m src.run -m tracking.uri=http://me:secret@server"}
        run.log(params=params, tags=tags)
        for curve in ("training_loss", "stopping_loss"):
            for fit in ("fold01-seed0", "fold02-seed0"):
                run.log_steps(f"{curve}/{fit}", {epoch: len(fit + curve) / epoch for epoch in range(1, 6)})
    return run.id


def leave(folder: Path) -> tuple[Tracking, str]:
    """Leave a sweep of five cells, of which one failed and one more did not begin; return it."""
    tracking = Tracking(uri=f"sqlite:///{folder}/mlflow.db", artifacts=f"{folder}/artifacts")
    published = folder / "published.csv"
    published.write_text(PUBLISHED)
    parent = tracking.create(NAME, SWEEP, tags={"sweep_keys": "encoder protocol"})
    for model in MODELS:
        for protocol in FOLDS:
            cell(tracking, parent, model, protocol, published)
    fail(tracking, parent)
    with tracking.open(parent) as run:
        run.log(tags={"failed_cells": "broken, 1 that did not begin"})
    return tracking, parent


def fail(tracking: Tracking, parent: str) -> None:
    """Leave a cell that failed."""
    try:
        with tracking.run("broken", CELL, parent):
            raise ValueError("no memory left for <i>this</i>")
    except ValueError:
        pass
