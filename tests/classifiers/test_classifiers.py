"""One conformance suite for every classifier, and what is each one's own."""

from pathlib import Path

import lightgbm
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from src.classifiers.classifier import Classifier
from src.classifiers.knn import Knn
from src.classifiers.lightgbm import LightGBM
from src.classifiers.logistic import Logistic
from src.classifiers.tuned import Tuned
from src.encoders.handcrafted import Handcrafted
from tests.support.descriptors import problem

CHOSEN = Tuned(study="given", folder=str(Path(__file__).parent))
ALL = [LightGBM(rounds=10, min_data_in_leaf=5), Logistic(), Knn(), CHOSEN]


@pytest.mark.parametrize("classifier", ALL, ids=lambda classifier: type(classifier).__name__)
@pytest.mark.parametrize("classes", [2, 3])
class TestConformance:
    def test_gives_a_model_per_seed(self, classifier: Classifier, classes: int) -> None:
        features, labels = problem(classes)
        assert len(classifier.fit(features, labels, classes, 1, [0, 1, 4])) == 3

    def test_parts_and_threads_change_no_bit(self, classifier: Classifier, classes: int) -> None:
        features, labels = problem(classes)
        parts = [features[:7], features[7:8], features[8:]]
        whole = classifier.fit(features, labels, classes, 1, [0, 1, 4])
        for threads in (1, 3, 7):
            for one, other in zip(classifier.fit(parts, labels, classes, 1, [0, 1, 4], threads), whole, strict=True):
                np.testing.assert_array_equal(one.predict(features), other.predict(features))

    def test_learns(self, classifier: Classifier, classes: int) -> None:
        model = classifier.fit(*problem(classes), classes, 1, [0])[0]
        features, labels = problem(classes, seed=1)
        assert (model.predict(features).argmax(axis=1) == labels).mean() > 0.9

    def test_probabilities_are_some(self, classifier: Classifier, classes: int) -> None:
        predicted = classifier.fit(*problem(classes), classes, 1, [0])[0].predict(problem(classes, seed=1)[0])
        assert predicted.shape == (60, classes)
        assert predicted.min() >= 0
        np.testing.assert_allclose(predicted.sum(axis=1), 1)

    def test_same_data_same_bytes(self, classifier: Classifier, classes: int) -> None:
        test = problem(classes, seed=1)[0]
        one, other = (classifier.fit(*problem(classes), classes, 2, [3])[0].predict(test) for _ in range(2))
        np.testing.assert_array_equal(one, other)

    def test_a_class_that_training_lacks_has_no_chance(self, classifier: Classifier, classes: int) -> None:
        predicted = classifier.fit(*problem(classes), classes + 1, 1, [0])[0].predict(problem(classes)[0])
        assert predicted.shape[1] == classes + 1
        assert predicted[:, classes].max() < 0.01

    def test_is_saved_without_a_pickle(self, classifier: Classifier, classes: int, tmp_path: Path) -> None:
        classifier.fit(*problem(classes), classes, 1, [0])[0].save(tmp_path / "fold01-seed0")
        (file,) = tmp_path.iterdir()
        assert file.suffix in {".txt", ".safetensors"}
        assert b"pickle" not in file.read_bytes()

    def test_comes_back_from_its_file(self, classifier: Classifier, classes: int, tmp_path: Path) -> None:
        model = classifier.fit(*problem(classes), classes, 1, [0])[0]
        model.save(tmp_path / "fold01-seed0")
        (file,) = tmp_path.iterdir()
        test = problem(classes, seed=1)[0]
        np.testing.assert_allclose(classifier.load(file).predict(test), model.predict(test), rtol=1e-12)
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(ValueError, match="fold01-seed0.* is damaged"):
            classifier.load(file)


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


def test_logistic_is_scikit_learns_on_standardised_descriptors(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for classes in (2, 3):
        features, labels = problem(classes)
        features[:, 0] = 1  # a constant descriptor
        model = Logistic(c=0.1).fit(features, labels, classes, 1, [0])[0]
        direct = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(features, labels)
        np.testing.assert_allclose(model.predict(features), direct.predict_proba(features), atol=1e-5)
    model.save(tmp_path / "model")
    assert load_file(tmp_path / "model.safetensors")["coefficients"].shape == (3, 6)


@given(
    base=st.floats(2**-20, 2**20, width=32),
    sign=st.sampled_from([-1, 1]),
    steps=st.lists(st.integers(-20, 20), min_size=60, max_size=60),
    later=st.floats(-1e6, 1e6, width=32),
)
@settings(max_examples=25, deadline=None)
def test_a_column_that_varies_by_rounding_only_says_nothing(
    base: float, sign: int, steps: list[int], later: float
) -> None:
    features, labels = problem()
    unseen = problem(seed=1)[0]
    # What rounding leaves of a number: so many of the steps between float32's numbers.
    column = sign * (np.float32(base) + np.spacing(np.float32(base)) * np.array(steps, np.float32))
    wide, wide_unseen = np.column_stack([features, column]), np.insert(unseen, 6, np.float32(later), axis=1)
    without, with_it = (Logistic().fit(rows, labels, 3, 1, [0])[0] for rows in (features, wide))
    np.testing.assert_allclose(with_it.predict(wide_unseen), without.predict(unseen), atol=1e-6)


def test_dark_and_light_noise_is_told_apart_though_a_column_varies_by_rounding() -> None:
    """The smallest gradients are one and the same in all images but one, and cancelling sums round them differently."""
    draws = np.random.default_rng(1)
    images = [mean + draws.integers(-5, 6, (64, 64, 1)) for mean in (80, 120) for _ in range(10)]
    crops = torch.from_numpy(np.stack(images).astype(np.uint8)).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
    descriptors, labels = Handcrafted(label="").load()(crops).numpy(), np.arange(20, dtype=np.int64) // 10
    for fold in range(5):
        held_out = np.arange(20) % 5 == fold
        model = Logistic().fit(descriptors[~held_out], labels[~held_out], 2, fold + 1, [0])[0]
        assert model.predict(descriptors[held_out])[np.arange(4), labels[held_out]].min() > 0.9


def test_more_neighbours_than_descriptors_are_refused() -> None:
    with pytest.raises(ValueError, match="classifier.neighbours=5 is more than the 3 descriptors"):
        Knn().fit(*problem(3, rows=3), 3, 1, [0])


@pytest.mark.parametrize(
    ("classifier", "wrong"),
    [
        (LightGBM, {"rounds": 0}),
        (LightGBM, {"learning_rate": 0.0}),
        (LightGBM, {"feature_fraction": 0.0}),
        (LightGBM, {"max_bin": 1}),
        (LightGBM, {"device": "tpu"}),
        (LightGBM, {"device": "gpu", "quantized": True}),
        (LightGBM, {"min_data_in_leaf": -1}),
        (Logistic, {"c": 0.0}),
        (Knn, {"neighbours": 0}),
        (Knn, {"metric": "hamming"}),
    ],
)
def test_parameters_check_themselves(classifier: type[Classifier], wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="but got"):
        classifier(**wrong)
