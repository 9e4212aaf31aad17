"""Fixtures of the training's tests."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def small_networks(one_thread: None) -> None:
    """They are faster in one thread."""
