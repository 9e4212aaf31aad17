"""Each class by itself: figures that can be told by hand, or by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from src.evaluation.per_class import class_table

NAMES = ["a", "b", "c"]


def cases(count: int = 60, classes: int = 3) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    table = pd.DataFrame(draw.dirichlet(np.ones(3), count), columns=[f"p_{name}" for name in NAMES])
    numbers = draw.integers(0, classes, count)
    facts = {"case": [f"{n:02d}" for n in range(count)], "patient": [f"p{n // 2}" for n in range(count)], "fold": 1}
    return table.assign(label=[NAMES[number] for number in numbers], **facts)


def test_figures_of_classes_are_scikit_learns() -> None:
    table = cases()
    predicted = np.array(NAMES)[table[["p_a", "p_b", "p_c"]].to_numpy().argmax(axis=1)]
    precision, recall, f1, support = precision_recall_fscore_support(table["label"], predicted, labels=NAMES)
    found = class_table(table)
    assert found["class"].tolist() == NAMES
    assert found["cases"].tolist() == support.tolist()
    np.testing.assert_allclose(found[["precision", "recall", "f1"]], np.stack([precision, recall, f1], axis=1))
    for row in found.to_dict("records"):
        own = (table["label"] == row["class"]).to_numpy()
        assert row["auc"] == pytest.approx(roc_auc_score(own, table[f"p_{row['class']}"]))
        for name in ("recall", "precision", "f1", "auc"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
        assert row["patients"] == table.loc[own, "patient"].nunique()


def test_a_class_without_cases_has_no_figures() -> None:
    last = class_table(cases(classes=2)).iloc[2]
    assert (last["cases"], last["precision"], last["f1"]) == (0, 0, 0)
    assert np.isnan([last[name] for name in ("recall", "recall_low", "auc", "auc_low")]).all()
