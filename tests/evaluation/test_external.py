"""A model on another cohort."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from src.evaluation.evaluation import evaluate
from src.evaluation.external import external_predictions, external_table, subtract_independent

Make = Callable[..., pd.DataFrame]


def test_a_model_is_the_mean_of_its_fold_models(make: Make) -> None:
    parts = [make(cases=24, seeds=2, draw=fold).assign(fold=fold) for fold in (1, 2, 3)]
    each = pd.concat(parts, ignore_index=True)
    manifest = parts[0].drop_duplicates("sample")[["sample", "case", "patient", "view", "label"]]
    table = external_predictions(each.drop(columns=["patient", "label"]), manifest, "m")
    assert table["sample"].tolist() == sorted(manifest["sample"])
    names = [name for name in table if name.startswith("p_")]
    np.testing.assert_allclose(table[names], each.groupby("sample")[names].mean())
    assert table[["model", "repeat", "fold", "seed"]].drop_duplicates().to_numpy().tolist() == [["m", 1, 1, 0]]
    assert evaluate(table, replicates=5).metrics["accuracy"] > 0.5


def test_newcombes_differences_of_independent_proportions() -> None:
    # Newcombe 1998, Table II, method 10: 56/70 - 48/80 and 9/10 - 3/10, from the Wilson intervals of each.
    wilson = {
        "56/70": (0.8, 0.6917, 0.8769), "48/80": (0.6, 0.4904, 0.7004),
        "9/10": (0.9, 0.5958, 0.9821), "3/10": (0.3, 0.1078, 0.6032),
    }  # fmt: skip
    for one, other, expected in (("56/70", "48/80", (0.0524, 0.3339)), ("9/10", "3/10", (0.1705, 0.8090))):
        difference = subtract_independent(wilson[one], wilson[other])
        assert difference[0] == pytest.approx(wilson[one][0] - wilson[other][0])
        assert difference[1:] == pytest.approx(expected, abs=2e-4)


def test_what_is_not_known_of_the_model_is_not_a_number() -> None:
    external = {"accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9, "binary_auc": 0.9}
    table = external_table(external, {}, 2)
    assert table["metric"].tolist() == ["accuracy"]
    assert table[["external", "external_low"]].to_numpy().tolist() == [[0.8, 0.7]]
    assert table[["internal", "difference", "difference_low"]].isna().all(axis=None)
    assert external_table(external, {}, 3)["metric"].tolist() == ["accuracy", "binary_auc"]
