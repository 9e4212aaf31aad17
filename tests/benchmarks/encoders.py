"""Encoding: crops per second of each encoder, and of what computes it, against PyTorch as it is."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import torch

from src.encoders.device import resolve_device
from src.encoders.network_encoder import Network, NetworkEncoder
from tests.benchmarks.timing import Row, in_turns
from tests.support.encoders import made

ENCODERS = ("squeezenet", "mobilenet", "resnet", "inception", "vgg")
SIZES = (224, 400)
BATCH = 16


def ways(device: str) -> list[tuple[str, str]]:
    """Return backends and precisions to hold against PyTorch in float32."""
    if device == "cpu":
        return [("torch", "bfloat16"), *([("openvino", "float32")] if find_spec("openvino") else [])]
    return [("torch", "bfloat16"), ("torch", "float16"), ("compile", "float32"), ("compile", "float16")]


def load(name: str, backend: str, precision: str, device: str) -> Network:
    """Return an encoder with random weights."""
    encoder = made(name, weights="random", backend=backend, precision=precision)
    assert isinstance(encoder, NetworkEncoder)
    return encoder.load(device)


def encode() -> Iterator[Row]:
    """Crops of 224 and 400 pixels, by encoder, backend and precision."""
    device = resolve_device("auto", made(ENCODERS[0], weights="random"))
    for name in ENCODERS:
        for size in SIZES:
            ready = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8, device=device)
            networks = {way: load(name, *way, device) for way in [("torch", "float32"), *ways(device)]}
            taken = in_turns(*[call(network, ready) for network in networks.values()], repeats=3)
            plain = networks["torch", "float32"](ready)
            for (backend, precision), network, each in zip(networks, networks.values(), taken, strict=True):
                error = float((network(ready) - plain).norm() / plain.norm())
                beside = f"torch float32 {BATCH / taken[0]:.1f} crops/s; descriptors off by {error:.1g}"
                what = f"encode {name} {size}, {backend} {precision}"
                yield (what, f"{BATCH / each:.1f} crops/s", beside, taken[0] / each)


def call(network: Network, crops: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Return a call that encodes crops and waits for the descriptors."""
    return lambda: network(crops).cpu()


PARTS = (encode,)
