"""Our figures against published ones."""

import numpy as np
import pandas as pd
import pytest

from src.evaluation.comparison import BETTER, NOT_SHOWN, WORSE
from src.evaluation.published import against
from src.evaluation.side_by_side import beside


def ours() -> pd.DataFrame:
    """Two models of a sweep, the intervals of whose accuracies are of 4 points to either side."""
    rows = {"model": ["a", "b", "Model fusion"], "group": "", "mean": [80.0, 70.0, 85.0]}
    table = pd.DataFrame(rows | {"std": 1.0, "auc": 0.9, "auc_low": 0.88, "auc_high": 0.92, "sensitivity": 0.8})
    return table.assign(low=table["mean"] - 4, high=table["mean"] + 4)


def test_verdicts_are_about_ours() -> None:
    rows = [("a", "accuracy", 81), ("b", "accuracy", 81), ("Model fusion", "accuracy", 60), ("nobody", "accuracy", 80)]
    rows += [("a", "auc", 98), ("a", "sensitivity", 99)]
    published = pd.DataFrame(rows, columns=["model", "metric", "value"]).assign(std=np.nan, note="")
    found = against(beside(published.astype({"value": float}), ours()), ours())
    assert found["verdict"].tolist() == [NOT_SHOWN, WORSE, BETTER, NOT_SHOWN, WORSE, NOT_SHOWN]
    assert found["difference"].tolist()[:3] == [-1, -11, 25]
    assert found["high"][0] == pytest.approx(-1 + 4 * np.sqrt(2))
    assert found["low"][4] == pytest.approx(-8 - 2 * np.sqrt(2))
    assert found.loc[[3, 5], ["low", "high", "p_holm"]].isna().all(axis=None)
