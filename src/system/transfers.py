"""Copies between the processor's memory and a GPU's, which wait for nothing else that the GPU was asked to do."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def send(tensor: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Return a tensor on a device; itself where it is there already.

    To a GPU it is copied from locked pages: from others a copy waits until all that was asked for before it is done.
    """
    if device.type == "cuda" and tensor.is_cpu:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def fetch(tensor: "torch.Tensor") -> "Callable[[], torch.Tensor]":
    """Return what gives a tensor on the CPU: from a GPU it is under way at once, and the call waits for it alone.

    A plain `tensor.cpu()` would wait for all that is asked for by the time of the call.
    """
    if not tensor.is_cuda:
        return tensor.cpu
    import torch

    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copy.copy_(tensor, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(tensor.device))

    def wait() -> "torch.Tensor":
        arrived.synchronize()
        return copy

    return wait
