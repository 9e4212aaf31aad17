"""How this process holds memory."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""What glibc's `mallopt` calls them."""
LARGE = 2**30
"""Octets: the activations of a batch are smaller."""


class OutOfMemory(ValueError):  # noqa: N818
    """Not even the smallest part of some work fits into memory. The message says what to take instead."""


def reuse() -> None:
    """Have memory that was freed used again; by default glibc gives large blocks back, and gets them anew page by page.

    A convolutional network frees and asks for tens of megabytes a layer: on a CPU it spends more than half of its time
    so. Nothing happens where the C library is another one.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        # Versions before 2.35 take no more than 32 MiB; where none is taken, the other would do harm alone.
        if library.mallopt(MMAP_THRESHOLD, LARGE) or library.mallopt(MMAP_THRESHOLD, 2**25):
            library.mallopt(TRIM_THRESHOLD, LARGE)


def release() -> None:
    """Give freed memory back to the system, however small its pieces are: for the end of work that held much.

    What comes after may be of other sizes and find no use for them. Nothing happens where the C library is another one.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
