"""Fixtures of the encoders' tests."""

from collections.abc import Callable

import pytest

from src.encoders.encoder import Encoder
from tests.support.encoders import made


@pytest.fixture(scope="session")
def option() -> Callable[..., Encoder]:
    """A function from an option's name, and fields that differ, to the encoder."""
    return made


@pytest.fixture(scope="module", autouse=True)
def small_networks(one_thread: None) -> None:
    """They are faster in one thread."""
