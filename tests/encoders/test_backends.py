"""What computes descriptors: every backend gives what PyTorch gives, but for roundings, and is told from it."""

import importlib.machinery
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src.encoders import backends
from src.encoders.backends import BACKENDS
from src.encoders.encoder import Encoder
from src.encoders.network_encoder import Network
from tests.support.encoders import NETWORKS, crops, untrained

OPENVINO = pytest.mark.extra("openvino")
WAYS: list[Any] = [
    pytest.param("openvino", precision, tolerance, marks=OPENVINO)
    for precision, tolerance in (("float32", 1e-5), ("bfloat16", 0.05))
]
WAYS += [("torch", "bfloat16", 0.05), ("torch", "float16", 0.01)]
WAYS += [pytest.param("compile", "float32", 1e-5, marks=pytest.mark.slow)]


def load(option: Callable[..., Encoder], name: str, **changes: Any) -> Network:
    return option(name, weights="random", **changes).load()


def error(descriptors: torch.Tensor, expected: torch.Tensor) -> float:
    """How far descriptors are from others, relative to the largest."""
    return float((descriptors - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("backend", "precision", "tolerance"), WAYS)
def test_descriptors_are_those_of_pytorch_but_for_roundings(
    option: Callable[..., Encoder], backend: str, precision: str, tolerance: float
) -> None:
    batch = crops()
    network = load(option, "squeezenet", backend=backend, precision=precision)
    descriptors = network(batch)
    assert descriptors.dtype == torch.float32
    assert not descriptors.requires_grad
    kept = descriptors.clone()
    order = [2, 0, 1]
    assert torch.equal(network(batch[order]), descriptors[order])
    assert torch.equal(descriptors, kept)  # the next batch's are not written over them
    assert error(descriptors, load(option, "squeezenet")(batch)) < tolerance


@OPENVINO
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_openvino_computes_every_network(option: Callable[..., Encoder], name: str) -> None:
    network = untrained(option, name).load()
    other = untrained(option, name)
    other.backend = "openvino"
    assert error(other.load()(crops()), network(crops())) < 1e-5


@OPENVINO
def test_a_batch_of_another_size_is_computed_too(option: Callable[..., Encoder]) -> None:
    network = load(option, "squeezenet", backend="openvino")
    assert error(network(crops(1)), network(crops(3))[:1]) < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": "tensorrt"}, f"`backend` must be one of {', '.join(BACKENDS)}, but got backend=tensorrt"),
        ({"precision": "int8"}, "`precision` must be one of float32, bfloat16, float16"),
        pytest.param(
            {"backend": "openvino", "precision": "float16"}, "computes in float32 or bfloat16", marks=OPENVINO
        ),
    ],
)
def test_mistakes_are_told_before_any_work(
    option: Callable[..., Encoder], changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        option("squeezenet", **changes)


def test_openvino_is_told_to_be_installed_where_it_is_not(
    option: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [importlib.machinery.PathFinder])
    with pytest.raises(ValueError, match="needs OpenVINO, which is not here: `make openvino`"):
        option("squeezenet", weights="random", backend="openvino")


@OPENVINO
def test_openvino_tells_nobody_that_it_is_used() -> None:
    script = "import sys; from src.encoders.backends import import_openvino as i; i(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not [name for name in run.stdout.split() if name.startswith("openvino_telemetry.")]


@pytest.mark.slow
def test_a_compiler_is_told_to_be_installed_where_there_is_none(tmp_path: Path) -> None:
    script = """
import torch
from src.encoders.backends import Torch
try:
    Torch(torch.nn.Conv2d(3, 4, 3).eval(), True, "float32", torch.device("cpu"))(torch.zeros(1, 3, 9, 9))
except ValueError as error:
    print(error)
"""
    for changed in ({"CXX": "/bin/false"}, {"PATH": str(tmp_path)}):
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)} | changed
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert "encoder.backend=compile needs a C and C++ compiler that works, such as gcc and g++" in run.stdout


@pytest.mark.slow
def test_every_shape_is_compiled_or_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import FailOnRecompileLimitHit

    monkeypatch.setattr(backends, "SHAPES", 2)
    for _ in range(2):  # a second network has as many, though it shares the first one's code
        compiled = backends.Torch(torch.nn.Conv2d(3, 4, 3).eval(), True, "float32", torch.device("cpu"))
        for size in (8, 9):
            compiled(torch.zeros(1, 3, size, size))
        with pytest.raises(FailOnRecompileLimitHit):
            compiled(torch.zeros(1, 3, 10, 10))
