"""Fixtures of the encoders' tests."""

from collections.abc import Callable

import pytest

from src.encoders.encoder import Encoder
from tests.encoders.options import made
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def option() -> Callable[..., Encoder]:
    """A function from an option's name, and fields that differ, to the encoder."""
    return made
