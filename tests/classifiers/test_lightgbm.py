"""LightGBM: its parameters, its bits and its memory, against the library called directly."""

from pathlib import Path

import lightgbm
import numpy as np
import pytest

from src.classifiers.lightgbm import LightGBM
from tests.support.descriptors import problem


def test_lightgbm_has_the_papers_parameters() -> None:
    parameters = LightGBM().parameters(4)
    published = {
        "objective": "multiclass",
        "num_class": 4,
        "learning_rate": 0.1,
        "max_depth": 7,
        "feature_fraction": 0.46,
        "bagging_fraction": 0.69,
        "bagging_freq": 0,
    }
    assert {name: parameters[name] for name in published} == published
    assert LightGBM().rounds == 70
    assert LightGBM().num_leaves == 191  # of which a tree of that depth has 128 at most


def test_no_memory_is_held_for_leaves_beyond_the_depth_and_the_trees_are_the_same() -> None:
    for wanted, leaves in (
        ({}, 128),
        ({"max_depth": -1}, 191),
        ({"num_leaves": 31}, 31),
        ({"max_depth": 2}, 4),
        ({"max_depth": 10**9}, 191),
    ):
        assert LightGBM(**wanted).parameters(3)["num_leaves"] == leaves
    features, labels = problem(rows=300)
    own = LightGBM(rounds=10, max_depth=2)
    parameters = own.parameters(3) | {"num_leaves": 191, "feature_fraction_seed": 1}
    direct = lightgbm.train(parameters, lightgbm.Dataset(features, labels), 10)
    assert max(tree["num_leaves"] for tree in direct.dump_model()["tree_info"]) == 4
    assert grown(own.fit(features, labels, 3, 1, [0])[0].booster) == grown(direct)


def test_lightgbm_is_lightgbm_called_directly() -> None:
    features, labels = problem(rows=200)
    models = LightGBM().fit(features, labels, 3, fold=4, seeds=[0, 2])
    for seed, model in zip([0, 2], models, strict=True):
        parameters = LightGBM().parameters(3) | {"feature_fraction_seed": 1 + 10 * seed + 3}
        direct = lightgbm.train(parameters, lightgbm.Dataset(features, labels), 70)
        np.testing.assert_array_equal(model.predict(features), direct.predict(features))


def test_balanced_classes_weigh_as_lightgbms_own_estimator_has_it() -> None:
    features, labels = problem(rows=200)
    labels[labels == 2] = np.where(np.arange(len(labels[labels == 2])) < 12, 2, 1)
    own = LightGBM(rounds=10, class_weight="balanced")
    model = own.fit(features, labels, 3, 1, [0])[0]
    chosen = {"n_estimators": 10, "num_leaves": 128, "max_depth": 7, "feature_fraction": 0.46, "learning_rate": 0.1}
    fixed = {"feature_fraction_seed": 1, "force_col_wise": True, "num_threads": 1, "verbosity": -1}
    direct = lightgbm.LGBMClassifier(**chosen, **fixed, class_weight="balanced", min_child_weight=1e-3)
    np.testing.assert_allclose(model.predict(features), direct.fit(features, labels).predict_proba(features), rtol=1e-6)
    assert not np.allclose(
        model.predict(features), LightGBM(rounds=10).fit(features, labels, 3, 1, [0])[0].predict(features)
    )


def grown(booster: lightgbm.Booster) -> str:
    """The trees as text: all of a model but the parameters that follow, and the sizes of the trees' own texts."""
    return booster.model_to_string().split("\nparameters:")[0]


def test_the_plain_loop_over_folds_and_seeds_gives_the_same_trees() -> None:
    """LightGBM's own choices of threads and of the order of summation grow what ours grow."""
    draws = np.random.default_rng(0)
    labels = np.arange(400, dtype=np.int64) % 4
    features = np.exp(draws.normal(size=(400, 30)) + 0.5 * draws.normal(size=(4, 30))[labels]).astype(np.float32)
    for fold in (1, 2):
        training = np.arange(400) % 2 == fold - 1
        parts = np.split(features[training], [3, 100])
        models = LightGBM(rounds=20).fit(parts, labels[training], 4, fold, [0, 1], threads=2)
        for seed, model in zip([0, 1], models, strict=True):
            paper = {"objective": "multiclass", "num_class": 4, "num_leaves": 191, "max_depth": 7, "verbosity": -1}
            paper |= {"feature_fraction": 0.46, "feature_fraction_seed": 10 * seed + fold, "force_col_wise": True}
            direct = lightgbm.train(paper, lightgbm.Dataset(features[training], labels[training]), 20)
            assert grown(model.booster) == grown(direct)


def test_threads_leave_no_trace_in_a_model(tmp_path: Path) -> None:
    for threads in (1, 3):
        LightGBM(rounds=5).fit(*problem(), 3, 1, [0], threads)[0].save(tmp_path / f"{threads}")
    one, other = sorted(tmp_path.iterdir())
    assert one.read_bytes() == other.read_bytes()
    assert "[num_iterations: 5]" in one.read_text()


def test_quantised_gradients_grow_other_trees_of_the_same_worth() -> None:
    features, labels = problem(rows=300)
    exact, rough = (LightGBM(rounds=10, quantized=way).fit(features, labels, 3, 1, [0])[0] for way in (False, True))
    unseen, truth = problem(rows=300, seed=1)
    assert not np.array_equal(exact.predict(unseen), rough.predict(unseen))
    assert (rough.predict(unseen).argmax(axis=1) == truth).mean() > 0.95
    again = LightGBM(rounds=10, quantized=True).fit(features, labels, 3, 1, [0, 1], threads=2)[0]
    np.testing.assert_array_equal(again.predict(unseen), rough.predict(unseen))


@pytest.mark.parametrize("device", ["gpu", "cuda"])
def test_a_build_that_lacks_the_device_is_named_before_any_work(device: str) -> None:
    assert LightGBM().check("", "") == []
    with pytest.raises(ValueError, match=f"cannot use classifier.device={device} .*take classifier.device=cpu"):
        LightGBM(device=device).check("", "")


def test_lightgbms_seeds_differ() -> None:
    draws = np.random.default_rng(0)
    features, labels = draws.normal(size=(100, 20)).astype(np.float32), draws.integers(0, 2, 100)
    one, other = LightGBM().fit(features, labels, 2, 1, [0, 1])
    assert not np.array_equal(one.predict(features), other.predict(features))


def test_a_saved_booster_predicts_the_same(tmp_path: Path) -> None:
    features, labels = problem()
    model = LightGBM(min_data_in_leaf=5).fit(features, labels, 3, 1, [0])[0]
    model.save(tmp_path / "model")
    loaded = lightgbm.Booster(model_file=tmp_path / "model.txt")
    np.testing.assert_allclose(loaded.predict(features), model.predict(features), rtol=1e-12)
