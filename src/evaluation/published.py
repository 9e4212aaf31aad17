"""Published predictions, evaluated, and our figures against published ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from src.evaluation.curves import count_confusions
from src.evaluation.evaluation import Evaluation, with_two_classes
from src.evaluation.fold_tables import fusion_row
from src.evaluation.metrics import accuracy_by_fold, measure_cases
from src.evaluation.multiplicity import holm_correction
from src.evaluation.proportions import NORMAL_975
from src.evaluation.resampling import LEVEL
from src.evaluation.side_by_side import ours_in_percent
from src.evaluation.two_classes import Binary, two_class
from src.evaluation.verdicts import BETTER, NOT_SHOWN, WORSE

RELEASED = ["image", "fold", "label", "predicted", "carcinoma_score"]
CLASSES = ["Normal", "Benign", "InSitu", "Invasive"]
POSITIVE = ["InSitu", "Invasive"]
FROM_CLASSES = ["accuracy", "balanced_accuracy", "macro_f1"]  # the metrics that need no probabilities
OF_PUBLISHED = ["model", "metric", "published", "published_std", "note"]


def subtract_published(published: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Return our figures less published ones, from the tables that `src.evaluation.side_by_side` makes.

    Columns: `model, metric, group, published, published_std, ours, difference, low, high, p_holm, verdict, note`, in
    percent and points, a row per published figure and group. The published figure is taken to vary as ours does and
    independently, which is cautious where it is of the same cases: the interval is the square root of 2 wider than that
    of our figure. Verdicts are about ours: `better`, `worse`, `not shown`.
    """
    from scipy.stats import norm

    groups = [str(name) for name in published if name not in OF_PUBLISHED]
    sides = [published[OF_PUBLISHED].assign(group=name, ours=published[name]) for name in groups]
    rows = pd.concat(sides, ignore_index=True).dropna(subset="published", ignore_index=True)
    rows = rows.assign(difference=rows["ours"] - rows["published"], group=rows["group"].replace("ours", ""))
    half = np.array([_half_width(ours, row) for row in rows.to_dict("records")])
    p = np.full(len(rows), np.nan)
    np.divide(rows["difference"].abs().to_numpy(dtype=np.float64), half / NORMAL_975, out=p, where=half > 0)
    adjusted = holm_correction(2 * norm.sf(p))
    sign = np.where(rows["difference"] > 0, BETTER, WORSE)
    table = rows.assign(
        low=rows["difference"] - half,
        high=rows["difference"] + half,
        p_holm=adjusted,
        verdict=np.where(adjusted <= LEVEL, sign, NOT_SHOWN),
    )
    columns = ["model", "metric", "group", "published", "published_std", "ours", "difference", "low", "high", "p_holm"]
    return table[[*columns, "verdict", "note"]]


def _half_width(ours: pd.DataFrame, row: Mapping[Any, Any]) -> float:
    """Half the interval of the difference in points; not a number where our figure has none."""
    found = ours[(ours["model"] == row["model"]) & (ours["group"] == row["group"])]
    figure = ours_in_percent({} if found.empty else found.iloc[0].to_dict(), row["metric"])
    return float(np.sqrt(2) * (figure["high"] - figure["low"]) / 2)


def evaluate_published(published: pd.DataFrame, replicates: int = 1000, seed: int = 0) -> Evaluation:
    """The evaluation of predictions released by Rakhlin et al. 2018: `image, fold, label, predicted, carcinoma_score`.

    They hold no 4-class probabilities: `auc`, `log_loss`, `brier`, `ece` and the reliability are absent.
    """
    missing = [name for name in RELEASED if name not in published.columns]
    if missing:
        raise ValueError(f"published predictions need the columns {RELEASED}, but lack {missing}")
    cases = published.rename(columns={"image": "case"}).assign(patient="").sort_values("case", ignore_index=True)
    binary = Binary(positive=POSITIVE)
    view = two_class(cases, binary.positive, cases["carcinoma_score"].to_numpy(dtype=np.float64))
    certain = {f"p_{name}": (cases["predicted"] == name).astype(np.float64) for name in CLASSES}
    correct = cases["label"] == cases["predicted"]
    result = Evaluation(
        classes=CLASSES,
        metrics=measure_cases(cases.assign(**certain), replicates, seed, FROM_CLASSES),
        table=fusion_row(accuracy_by_fold(correct, cases["fold"])),
        fold_accuracy=accuracy_by_fold(correct, cases["fold"]),
        confusion=count_confusions(cases["label"].tolist(), cases["predicted"].tolist(), CLASSES),
        roc={},
        reliability=None,
        positive=[],
        set_points=pd.DataFrame(),
        missed={},
    )
    return with_two_classes(result, cases, view, binary, replicates, seed)
