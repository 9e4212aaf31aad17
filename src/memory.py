"""How this process holds memory."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""What glibc's `mallopt` calls them."""
LARGE = 2**30
"""Octets: the activations of a batch are smaller."""


def reuse() -> None:
    """Have memory that was freed used again; by default glibc gives large blocks back, and gets them anew page by page.

    A convolutional network frees and asks for tens of megabytes a layer: on a CPU it spends more than half of its time
    so. Nothing happens where the C library is another one.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(MMAP_THRESHOLD, LARGE)
        library.mallopt(TRIM_THRESHOLD, LARGE)
