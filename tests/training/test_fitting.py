"""Training: the same bytes however it goes, early stopping, phases, and mistakes that say what to do."""

import math
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from src.training.fitting import CHECKPOINT, Trained, learning_rate
from src.training.network import NetworkWithHead, copy_tensors
from src.training.parameters import FineTuning, Phase
from src.training.torch_settings import compute_exactly
from tests.support.networks import LABELS, classifier, fit

TWO_PHASES = [Phase(trainable="head", epochs=2, learning_rate=0.05), Phase(steps=8, learning_rate=0.01)]


def train(folder: Path, finetune: FineTuning, network: NetworkWithHead | None = None, **given: object) -> Trained:
    with compute_exactly(torch.device("cpu")):
        return fit(folder, finetune, **given)(network or classifier(hidden=finetune.hidden), lambda _: None)


def assert_same(one: Trained, other: Trained) -> None:
    assert one.points == other.points
    assert one.weights.keys() == other.weights.keys()
    for name, values in one.weights.items():
        np.testing.assert_array_equal(values, other.weights[name])


class Killed(BaseException):
    """What ends a training from outside."""


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("after", [1, 2, 4], ids="after epoch {}".format)
def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path, optimizer: str, after: int) -> None:
    finetune = FineTuning(phases=TWO_PHASES, batch=2, accumulate=2, hidden=[5], dropout=0.3, optimizer=optimizer)
    whole = train(tmp_path / "whole", finetune)

    def killing(name: str, value: float, epoch: int) -> None:
        if epoch == after:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "parts", finetune, record=killing)
    torch.rand(3)  # whatever else is drawn
    curves: list[tuple[str, int]] = []
    resumed = train(tmp_path / "parts", finetune, record=lambda name, _, epoch: curves.append((name, epoch)))
    assert_same(whole, resumed)
    assert (whole.trained_epochs, resumed.trained_epochs) == (5, 5 - after)
    assert [epoch for name, epoch in curves if name == "training_loss/fold01-seed0"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("after", [2, 4])
def test_the_best_epoch_is_taken_and_survives_a_kill(tmp_path: Path, after: int) -> None:
    """The losses are told: the second epoch is best, so two later the training ends."""
    finetune = FineTuning(epochs=9, validation=0.2, patience=2, learning_rate=0.01, batch=4)
    told, states = [3.0, 1.0, 2.0, 1.5], []

    def run(folder: Path, losses: list[float], killed: int = 0) -> Trained:
        left = list(losses)

        def stopping(network: NetworkWithHead) -> float:
            states.append(copy_tensors(network.eval()))
            return left.pop(0)

        def record(name: str, value: float, epoch: int) -> None:
            if epoch == killed:
                raise Killed

        return train(folder, finetune, stopping=stopping, record=record)

    whole = run(tmp_path / "whole", told)
    assert [point["stopping_loss"] for point in whole.points] == told
    assert whole.best_epoch == 2
    assert states[1].keys() == whole.weights.keys()
    for name, values in states[1].items():
        np.testing.assert_array_equal(values, whole.weights[name])
    with pytest.raises(Killed):
        run(tmp_path / "parts", told, killed=after)
    assert_same(run(tmp_path / "parts", told[after:]), whole)


def test_the_encoder_stays_as_it_was_where_only_the_head_learns(tmp_path: Path) -> None:
    network = classifier()
    before = copy_tensors(network)
    after = train(tmp_path / "head", FineTuning(trainable="head", epochs=2, learning_rate=0.1), network).weights
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert "encoder.normalisation.running_mean" in before
    assert changed == {"head.0.weight", "head.0.bias"}
    every = train(tmp_path / "all", FineTuning(epochs=1, learning_rate=0.1)).weights
    assert all(not np.array_equal(before[name], every[name]) for name in before)


def test_accumulated_batches_are_one_large_batch(tmp_path: Path) -> None:
    """Ten images: the last step has fewer than the others, and its parts differ in size."""

    def run(batch: int, accumulate: int) -> Trained:
        finetune = FineTuning(
            optimizer="sgd", epochs=2, learning_rate=0.1, batch=batch, accumulate=accumulate, class_weights="balanced"
        )
        network = classifier(normalised=False)
        return train(tmp_path / f"{batch}", finetune, network, weights=np.array([0.7, 1.7]))

    large, small = run(8, 1), run(2, 4)
    for name, values in large.weights.items():
        np.testing.assert_allclose(small.weights[name], values, atol=1e-5)
    assert large.points[-1]["training_loss"] == pytest.approx(small.points[-1]["training_loss"], abs=1e-5)


def test_the_first_loss_is_pytorchs(tmp_path: Path) -> None:
    """Weighed by class, smoothed, and with the auxiliary heads' at their weight (seen in the gradient's first step)."""
    from torch.nn.functional import cross_entropy

    from tests.support.networks import shown

    weights = np.array([0.5, 2.0])
    finetune = FineTuning(
        optimizer="sgd", momentum=0.0, weight_decay=0.0, epochs=1, learning_rate=0.1, label_smoothing=0.1, auxiliary=0.3
    )
    made = train(tmp_path, finetune, classifier(auxiliary=True), weights=weights)
    network = classifier(auxiliary=True)
    network.learn("all")
    main, auxiliary = network(network.prepare(torch.stack(list(shown(range(10), 1)))))
    loss, other = (
        cross_entropy(logits, torch.from_numpy(LABELS), torch.tensor(weights).float(), label_smoothing=0.1)
        for logits in (main, auxiliary)
    )
    (loss + 0.3 * other).backward()
    assert made.points[0]["training_loss"] == pytest.approx(loss.item(), abs=1e-5)
    for name, parameter in network.named_parameters():
        expected = (parameter - 0.1 * parameter.grad).detach().numpy()
        np.testing.assert_allclose(made.weights[name], expected, atol=1e-5)


def test_the_learning_rate_rises_and_falls() -> None:
    def rates(**parameters: object) -> list[float]:
        finetune, phase = FineTuning(**parameters), Phase(epochs=10)  # type: ignore[arg-type]
        return [learning_rate(finetune, phase, step, 10) for step in range(10)]

    assert rates(schedule="constant") == [1e-4] * 10
    falling = rates()
    assert falling[0] == 1e-4
    assert falling == sorted(falling, reverse=True)
    assert 0 < falling[-1] < 4e-6
    assert rates(warmup=0.2)[:3] == [0.5e-4, 1e-4, 1e-4]


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_precisions(tmp_path: Path, precision: str) -> None:
    made = train(tmp_path, FineTuning(epochs=1, precision=precision))
    assert {values.dtype for name, values in made.weights.items() if "tracked" not in name} == {np.dtype(np.float32)}
    assert math.isfinite(made.points[0]["training_loss"])


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path) -> None:
    network = classifier(normalised=False)
    with pytest.raises(
        ValueError, match="training of fold01-seed0 .* not finite in epoch 2: try a smaller finetune.learn"
    ):
        train(tmp_path, FineTuning(epochs=3, learning_rate=1e30, optimizer="sgd"), network)


def test_a_batch_that_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = classifier()

    def full(pixels: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(network.encoder, "forward", full)
    with pytest.raises(ValueError, match="batch of 8 images .* take finetune.batch=4 finetune.accumulate=2"):
        train(tmp_path, FineTuning(epochs=1, batch=8), network)
    with pytest.raises(ValueError, match="smaller crop.size"):
        train(tmp_path, FineTuning(epochs=1, batch=1), network)


def test_ctrl_c_ends_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def interrupting(*_: object) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, FineTuning(epochs=2), record=interrupting)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / CHECKPOINT).is_file()
    assert capfd.readouterr() == ("", "")


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="last.ckpt is damaged .* delete it and run again"):
        train(tmp_path, FineTuning(epochs=1))


def test_a_checkpoint_of_another_version_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "epoch": 1}, tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match="last.ckpt is of another version of the training; delete it and run again"):
        train(tmp_path, FineTuning(epochs=2))


def test_nothing_global_is_left_changed_and_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(tmp_path, FineTuning(epochs=2, hidden=[4], dropout=0.5))
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not caught
    assert capfd.readouterr() == ("", "")
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_batches_are_as_even_as_can_be(tmp_path: Path) -> None:
    one = fit(tmp_path, FineTuning(batch=3, phases=[Phase(steps=6)]))
    steps = [len(group) for group in one.steps(np.arange(10))]
    assert sorted(steps) == [2, 2, 3, 3]
    assert one.plans() == [[4, 2]]
    assert one.images() == 10 + sum(steps[:2])
