"""The linear layer: against PyTorch's optimiser, and by what it stops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from src.classifiers.linear import LinearProbe, Rows, balanced_accuracy, draw_layer
from src.system.random_draws import keyed_generator
from tests.support.descriptors import problem

QUICK = LinearProbe(steps=400, learning_rate=0.01, batch=16)


def noisy(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that overlap."""
    features, labels = problem(rows=90, seed=seed)
    return features + np.random.default_rng(seed + 10).normal(0, 3, features.shape).astype(np.float32), labels


@pytest.mark.parametrize("weighting", ["none", "balanced"])
def test_it_is_pytorchs_adamw_on_a_linear_layer_as_eva_has_it(weighting: str) -> None:
    features, labels = problem(rows=40)
    labels[labels == 2] = np.arange(len(labels[labels == 2])) % 2  # two of three classes, so that weights differ
    labels[:4] = 2
    probe = replace(QUICK, steps=31, weight_decay=0.3, stop_by="nothing", class_weight=weighting)  # ends in an epoch
    model = probe.fit(features, labels, 3, 2, [5])[0]

    draws = keyed_generator("linear", 5, 2)
    layer = torch.nn.Linear(6, 3)
    first = torch.from_numpy(draw_layer(3, 7, draws))
    with torch.no_grad():
        layer.weight.copy_(first[:, :-1])
        layer.bias.copy_(first[:, -1])
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.01, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimiser)
    counts = np.bincount(labels)
    weights = torch.tensor(40 / 3 / counts, dtype=torch.float32) if weighting == "balanced" else None
    loss = torch.nn.CrossEntropyLoss(weight=weights)
    step = 0
    while step < 31:
        order = draws.permutation(40)
        for start in range(0, 40, 16):
            if step < 31:
                chosen = order[start : start + 16]
                optimiser.zero_grad()
                loss(layer(torch.from_numpy(features[chosen])), torch.from_numpy(labels[chosen])).backward()
                optimiser.step()
                step += 1
        schedule.step()
    expected = torch.softmax(layer(torch.from_numpy(features)), dim=1).detach().numpy()
    np.testing.assert_allclose(model.predict(features), expected, atol=1e-5)


def test_seeds_stop_by_one_part_of_the_patients_after_another() -> None:
    labels, patients = np.arange(60, dtype=np.int64) % 3, np.arange(60) // 6
    parts = QUICK.training_parts(labels, patients, 1)
    assert len(parts) == 5
    assert sorted(np.concatenate([judges for _, judges in parts])) == list(range(60))
    for learnt, judges in parts:
        assert set(labels[judges]) == {0, 1, 2}
        assert not set(patients[learnt]) & set(patients[judges])
    assert len(replace(QUICK, validation=0.5).training_parts(labels, patients, 1)) == 2
    with pytest.raises(ValueError, match="stop_by=training holds patients of each class out .* one patient"):
        QUICK.fit(*problem(), 3, 1, [0], groups=labels)


def test_patients_who_decide_teach_nothing() -> None:
    features, labels = noisy()
    patients = np.arange(90) // 6
    learnt, judges = QUICK.training_parts(labels, patients, 1)[2]
    models = []
    for changed in (0, 50):  # as far from all others as can be, and right and wrong as before
        given = features.copy()
        given[judges] *= 1 + changed
        models.append(QUICK.train(Rows.of(given, labels).chosen(learnt), None, 3, keyed_generator("linear", 2, 1)))
    np.testing.assert_array_equal(*models)


def test_the_first_of_the_best_epochs_is_kept_and_waiting_ends() -> None:
    rows, judges = Rows.of(*noisy()), Rows.of(*noisy(seed=1))
    layers = list(QUICK.epochs(rows, 3, keyed_generator("a")))
    scores = [balanced_accuracy(layer, judges) for layer in layers]
    assert scores[0] < max(scores) < 1
    patient = replace(QUICK, patience=1).train(rows, judges, 3, keyed_generator("a"))
    np.testing.assert_array_equal(patient, layers[int(np.argmax(scores))])
    hasty = replace(QUICK, patience=1 / len(layers)).train(rows, judges, 3, keyed_generator("a"))
    first_drop = next(number for number, score in enumerate(scores[1:], 1) if score <= scores[number - 1])
    np.testing.assert_array_equal(hasty, layers[first_drop - 1])


def test_balanced_accuracy_is_scikit_learns() -> None:
    from sklearn.metrics import balanced_accuracy_score

    layer = draw_layer(4, 7, np.random.default_rng(0))
    rows = Rows.of(*problem(rows=50))
    rows.labels[rows.labels == 2] = 3  # a class that is only predicted
    predicted = (rows.inputs @ layer.T).argmax(axis=1)
    with pytest.warns(UserWarning, match="classes not in y_true"):
        wanted = balanced_accuracy_score(rows.labels, predicted)
    assert balanced_accuracy(layer, rows) == pytest.approx(wanted)


class TestEvasOwnWay:
    PEEKING = replace(QUICK, stop_by="held_out", patience=1.0)

    def test_is_flagged_and_chooses_by_what_is_held_out(self) -> None:
        (note,) = self.PEEKING.check("", "")
        assert note.startswith("optimistic: classifier.stop_by=held_out")
        assert QUICK.check("", "") == []
        features, labels = noisy()
        held_out = noisy(seed=1)
        seer = self.PEEKING.seeing(lambda: held_out)
        (model,) = seer.fit(features, labels, 3, 1, [0])
        layers = list(QUICK.epochs(Rows.of(features, labels), 3, keyed_generator("linear", 0, 1)))
        best = max(balanced_accuracy(layer, Rows.of(*held_out)) for layer in layers)
        found = model.predict(held_out[0]).argmax(axis=1) == held_out[1]
        assert found.mean() == pytest.approx(best)  # classes are equally many
        assert self.PEEKING.held_out is None

    def test_nobody_else_is_shown_what_is_held_out(self) -> None:
        assert QUICK.seeing(noisy) is QUICK

    def test_a_study_would_choose_on_cases_that_were_seen(self) -> None:
        QUICK.check_tunable()
        with pytest.raises(ValueError, match="stop_by=held_out has seen them: take training or nothing"):
            self.PEEKING.check_tunable()
