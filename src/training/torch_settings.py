"""What a network is trained in: settings of torch and the process. Imports torch, so import it late."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from src.system.memory import is_out_of_memory
from src.training.parameters import FineTuning


@contextmanager
def compute_exactly(device: torch.device) -> Iterator[list[str]]:
    """Compute the same numbers each time, in full float32; afterwards torch's settings and generators are as before.

    The list that is given fills with the operations, if any, that cannot be had in one order on this device.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic
    filling = deterministic.fill_uninitialized_memory
    devices = [] if device.type == "cpu" else [device.index or 0]
    loose: list[str] = []
    flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.random.fork_rng(devices=devices), flags, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        torch.use_deterministic_algorithms(True, warn_only=True)
        deterministic.fill_uninitialized_memory = False  # costs time, and we read none
        try:
            yield loose
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            deterministic.fill_uninitialized_memory = filling
    for warning in caught:
        text = str(warning.message)
        if "does not have a deterministic implementation" in text:
            loose.append(text.partition(" ")[0])
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


@contextmanager
def fitting_memory(name: str, finetune: FineTuning, device: torch.device) -> Iterator[None]:
    """Say what to do where a batch does not fit the device's memory."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        batch, halved = finetune.batch, finetune.batch // 2
        way_out = (
            f"take finetune.batch={halved} finetune.accumulate={finetune.accumulate * 2}, which trains on as many "
            "images a step"
            if halved
            else "take a smaller crop.size, another encoder, or method.device=cpu"
        )
        raise ValueError(
            f"a batch of {batch} images of {name} does not fit the memory of {device}: {way_out}"
        ) from error
