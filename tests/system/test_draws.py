"""Random draws that are keyed by names."""

from src.system.draws import generator


def test_names_are_told_apart() -> None:
    assert generator("a", "b").random() != generator("ab").random() != generator("a", 0).random()
