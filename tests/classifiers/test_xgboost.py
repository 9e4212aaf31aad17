"""XGBoost, against the library called directly."""

import sys
from pathlib import Path

import numpy as np
import pytest

from src.classifiers.xgboost import XGBoost
from tests.support.descriptors import problem

pytestmark = pytest.mark.extra("xgboost")
QUICK = XGBoost(rounds=10)


def unequal() -> tuple[np.ndarray, np.ndarray]:
    features, labels = problem(rows=120)
    kept = np.concatenate([np.flatnonzero(labels != 2), np.flatnonzero(labels == 2)[:8]])
    return features[kept] + np.random.default_rng(1).normal(0, 2, (len(kept), 6)).astype(np.float32), labels[kept]


@pytest.mark.parametrize("weighting", ["none", "balanced"])
def test_it_is_xgboost_called_directly(weighting: str) -> None:
    from sklearn.utils.class_weight import compute_sample_weight
    from xgboost import XGBClassifier

    features, labels = unequal()
    given = {"learning_rate": 0.1, "max_depth": 4, "subsample": 0.8, "colsample_bytree": 0.3, "n_estimators": 10}
    models = XGBoost(rounds=10, class_weight=weighting).fit(features, labels, 3, 4, [0, 2])
    weights = compute_sample_weight("balanced", labels) if weighting == "balanced" else None
    for seed, model in zip([0, 2], models, strict=True):
        direct = XGBClassifier(**given, random_state=1000 * seed + 4, n_jobs=1).fit(
            features, labels, sample_weight=weights
        )
        np.testing.assert_allclose(model.predict(features), direct.predict_proba(features), rtol=1e-5)


def test_threads_leave_no_trace_and_seeds_differ(tmp_path: Path) -> None:
    for threads in (1, 3):
        for seed, model in enumerate(QUICK.fit(*unequal(), 3, 1, [0, 1], threads)):
            model.save(tmp_path / f"{threads}-{seed}")
    files = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    assert files["1-0"] == files["3-0"] != files["1-1"] == files["3-1"]


def test_a_gpu_that_is_not_there_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert QUICK.check("", "") == []
    with pytest.raises(ValueError, match="finds no GPU here for classifier.device=cuda: take classifier.device=cpu"):
        XGBoost(device="cuda").check("", "")


def test_a_library_that_is_not_there_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ValueError, match="`make xgboost` installs it"):
        QUICK.check("", "")
