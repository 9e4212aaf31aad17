"""Random draws that are keyed by names."""

from src.system.random_draws import keyed_generator


def test_names_are_told_apart() -> None:
    assert keyed_generator("a", "b").random() != keyed_generator("ab").random() != keyed_generator("a", 0).random()
