"""How this process holds memory."""

import ctypes
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""What glibc's `mallopt` calls them."""
LARGE = 2**30
"""Octets: the activations of a batch are smaller."""

NO_MEMORY = (
    "can't allocate memory",  # PyTorch's allocator on the CPU
    "unable to find an engine to execute this computation",  # cuDNN: https://github.com/pytorch/pytorch/issues/108645
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""What PyTorch's libraries say, in errors of no type of their own, where there is not enough memory."""


class OutOfMemory(ValueError):  # noqa: N818
    """Not even the smallest part of some work fits into memory. The message says what to take instead."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, Python's or PyTorch's on a GPU or on the CPU, says that there is not enough memory."""
    torch = type(error).__name__ == "OutOfMemoryError" or any(said in str(error) for said in NO_MEMORY)
    return isinstance(error, MemoryError | OutOfMemory) or (isinstance(error, RuntimeError) and torch)


def reuse_freed() -> None:
    """Have memory that was freed used again; by default glibc gives large blocks back, and gets them anew page by page.

    A convolutional network frees and asks for tens of megabytes a layer: on a CPU it spends more than half of its time
    so. Nothing happens where the C library is another one.
    """
    set_option = _function("mallopt")
    # Versions before 2.35 take no more than 32 MiB; where none is taken, the other would do harm alone.
    if set_option and (set_option(MMAP_THRESHOLD, LARGE) or set_option(MMAP_THRESHOLD, 2**25)):
        set_option(TRIM_THRESHOLD, LARGE)


def release_freed() -> None:
    """Give freed memory back to the system, however small its pieces are: for the end of work that held much.

    What comes after may be of other sizes and find no use for them. Nothing happens where the C library is another one.
    """
    if trim := _function("malloc_trim"):
        trim(0)


def available_memory() -> float:
    """Return the octets that could be held besides what is held now; where the system does not tell, all it has."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    if found:
        return 1024.0 * int(found[1])
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return float("inf")


def _function(name: str) -> Callable[..., int] | None:
    """Return a function of glibc, None where the C library is another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
