from src.system.natural_order import natural_order


def test_numbers_in_names_count_as_numbers() -> None:
    assert sorted(["", "400X", "b", "40X", "100X", "a2", "a10"], key=natural_order) == [
        "40X", "100X", "400X", "a2", "a10", "b", "",
    ]  # fmt: skip
