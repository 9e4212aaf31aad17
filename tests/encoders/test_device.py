"""Where networks run: what is asked for, or one message on why not."""

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from src.encoders.device import resolve_device
from src.encoders.encoder import Encoder
from src.encoders.handcrafted import Handcrafted
from src.encoders.torchvision import Torchvision
from src.methods.frozen.frozen import Frozen
from tests.support.cells import cell

NETWORK = Torchvision(label="A", architecture="alexnet", weights="random")
OLD = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update it. "


def old_driver() -> bool:
    """What PyTorch answers, and says, on a machine with a GPU and an old driver."""
    warnings.warn(f"{OLD}(Triggered internally at CUDAFunctions.cpp:119.)", stacklevel=1)
    return False


def test_an_old_driver_is_told_once_and_the_cpu_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", old_driver)
    assert resolve_device("auto", NETWORK) == "cpu"
    assert caplog.messages == [f"the GPU cannot be used, so that the CPU is: {OLD.strip()}"]
    with pytest.raises(ValueError, match=r"^device=cuda:7, but .*\(.*driver on your system is too old.*=cpu"):
        resolve_device("cuda:7", NETWORK)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"cuda:9, but PyTorch finds no such GPU.*method\.device=cpu \(of src\.predict dev",
    ):
        resolve_device("cuda:9", NETWORK)
    for unknown in ("gpu", "mps", "meta"):
        with pytest.raises(ValueError, match=f"must be auto, cpu, cuda or cuda:N, but got device={unknown}"):
            resolve_device(unknown, NETWORK)
    assert resolve_device("cpu", NETWORK) == "cpu"


def test_a_gpu_is_taken_by_what_runs_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto", NETWORK) == "cuda"
    for encoder in unaccelerated():
        assert resolve_device("auto", encoder) == resolve_device("cuda", encoder) == "cpu"


def unaccelerated() -> Iterator[Encoder]:
    yield Handcrafted(label="H")
    if find_spec("openvino"):
        yield Torchvision(label="A", architecture="alexnet", weights="random", backend="openvino")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_draw_takes_is_refused(seed: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"`0 <= seed < 2\*\*32` must hold, but got seed={seed}"):
        cell(tmp_path, seed=seed)


def test_a_device_that_this_machine_lacks_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=r"device=cuda, but PyTorch finds no such GPU here.*method\.device=cpu"):
        Frozen(device="cuda").check_device(NETWORK)
    Frozen(device="cuda").check_device(Handcrafted(label="H"))
    for device in ("auto", "cpu"):
        Frozen(device=device).check_device(NETWORK)
