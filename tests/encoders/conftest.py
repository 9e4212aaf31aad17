"""Fixtures of the encoders' tests."""

from collections.abc import Callable, Iterator

import pytest

from src.encoders.encoder import Encoder
from tests.encoders.options import made


@pytest.fixture(scope="session")
def option() -> Callable[..., Encoder]:
    """A function from an option's name, and fields that differ, to the encoder."""
    return made


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
