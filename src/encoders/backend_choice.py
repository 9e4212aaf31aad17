"""What computes an encoder's descriptors fastest on this machine's processors: `encoder.backend=auto`, measured."""

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from src.encoders.backends import FLOAT32, OPENVINO, TORCH, make_runner
from src.encoders.network_encoder import NetworkEncoder
from src.system.files import replace_file

if TYPE_CHECKING:
    from torch import Tensor

    from src.encoders.backends import Forward

log = logging.getLogger(__name__)

SECONDS = 10.0
"""What a measurement may take, beside the one call that may not be cut short."""
CROPS = 4
"""Crops that are computed together."""
WORTH = 1.05
"""How many times as fast as PyTorch another way has to be: descriptors that are stored already are PyTorch's."""
NARROW = "bfloat16"
ROUNDING = 2.0**-9
"""How far bfloat16 is off in a single number: where less is tolerated it is not tried."""
TURNS = 5
"""Calls of each way that are timed, if there is time for them: the quickest tells what it takes without other work."""
Way = tuple[str, str]
"""A backend and a precision."""


@dataclass
class Choice:
    """The backend and precision that were chosen, and the crops that each way computed in a second."""

    backend: str
    precision: str
    rates: dict[str, float]

    def __str__(self) -> str:
        """Return the choice in words."""
        rates = ", ".join(f"{name} {rate:.3g} crops/s" for name, rate in self.rates.items())
        return f"{self.backend} in {self.precision} ({rates})"


def choose_backend(encoder: NetworkEncoder, size: int, kept: Path) -> Choice:
    """Return what computes crops of `size` pixels fastest on the CPU, of all that give the same descriptors.

    Descriptors are the same where they are off by `encoder.tolerance` at most, relative to their norm, from PyTorch's
    in the encoder's precision. Measured once: `kept` is a file with what was chosen on each machine.
    Errors: as `encoder.load`.
    """
    from filelock import FileLock

    kept.parent.mkdir(parents=True, exist_ok=True)
    key = f"{describe_machine()}: {describe_encoder(encoder, size)}"
    with FileLock(kept.with_suffix(".lock")):  # cells that run beside each other measure once, and not each other
        found = json.loads(kept.read_text()) if kept.exists() else {}
        if key not in found:
            found[key] = asdict(measure_backends(encoder, size))
            replace_file(kept, (json.dumps(found, indent=2) + "\n").encode())
        return Choice(**found[key])


def describe_machine() -> str:
    """Return what of this machine decides which way is fastest: processors, threads, and versions."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    processor = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    parts = [f"torch {torch.__version__}", *([f"openvino {found}"] if (found := openvino_version()) else [])]
    return f"{processor}, {os.cpu_count()} processors, {torch.get_num_threads()} threads, {', '.join(parts)}"


def describe_encoder(encoder: NetworkEncoder, size: int) -> str:
    """Return what of an encoder decides which way is fastest: whatever its weights are, and whatever it is called."""
    idle = ("label", "known", "weights", "seed", "backend")
    values = {name: value for name, value in asdict(encoder).items() if name not in idle}
    return json.dumps({"operator": type(encoder).__name__, "crops": size, **values}, sort_keys=True, default=str)


def openvino_version() -> str:
    """Return OpenVINO's version; empty where it is not installed."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return ""


def measure_backends(encoder: NetworkEncoder, size: int, seconds: float = SECONDS) -> Choice:
    """Return what computes crops fastest, measured for so long after the network is loaded."""
    import torch

    network = replace(encoder, backend=TORCH).load("cpu")
    until = time.perf_counter() + seconds
    pixels = network.prepare(draw_crops(size))
    plain: Way = (TORCH, encoder.precision)
    ways: dict[Way, Forward] = {plain: make_runner(network.module, *plain, torch.device("cpu"))}
    begun = time.perf_counter()
    expected = ways[plain](pixels)
    first = time.perf_counter() - begun
    for way in other_ways(encoder):
        if time.perf_counter() + (1 + len(ways)) * first > until:
            break
        runner = make_runner(network.module, *way, torch.device("cpu"))
        if is_the_same(runner, pixels, expected, encoder.tolerance, " ".join(way)):
            ways[way] = runner
    taken = time_in_turns({way: partial(runner, pixels) for way, runner in ways.items()}, until)
    best = min(taken, key=lambda way: taken[way])
    chosen = best if taken[best] * WORTH < taken[plain] else plain
    return Choice(*chosen, {" ".join(way): CROPS / each for way, each in taken.items()})


def other_ways(encoder: NetworkEncoder) -> Iterator[Way]:
    """Yield the ways beside PyTorch in the encoder's precision, the likeliest first."""
    backends = [OPENVINO] if openvino_version() and encoder.precision != "float16" else []
    yield from ((backend, encoder.precision) for backend in backends)
    if encoder.precision == FLOAT32 and encoder.tolerance >= ROUNDING:
        yield from ((backend, NARROW) for backend in (*backends, TORCH))


def draw_crops(size: int) -> "Tensor":
    """Return crops (n, 3, size, size), uint8, that are smooth as images are: in noise roundings would cancel out."""
    import torch
    from torch.nn.functional import interpolate

    coarse = torch.rand((CROPS, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    return (255 * interpolate(coarse, (size, size), mode="bilinear")).to(torch.uint8)


def is_the_same(run: "Forward", pixels: "Tensor", expected: "Tensor", tolerance: float, name: str) -> bool:
    """Return whether descriptors are what is expected, to a tolerance; a way that fails here is said and left out."""
    try:
        found = run(pixels)
    except (RuntimeError, NotImplementedError) as error:  # a layer that it does not know
        log.warning("encoder.backend=auto does without %s, which fails here: %s", name, str(error).partition("\n")[0])
        return False
    apart = (found.double() - expected.double()).norm(dim=1) / expected.double().norm(dim=1)
    return bool((apart <= tolerance).all())


def time_in_turns(calls: dict[Way, Callable[[], object]], until: float) -> dict[Way, float]:
    """Return the least seconds of each call, in turns: once at least, and again where there is time for a turn."""
    taken = {way: once(call) for way, call in calls.items()}
    for _ in range(TURNS - 1):
        if time.perf_counter() + sum(taken.values()) > until:
            break
        for way, call in calls.items():
            taken[way] = min(taken[way], once(call))
    return taken


def once(call: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
