"""Fixtures of the explanations' tests."""

from tests.threads import one_thread

__all__ = ["one_thread"]
