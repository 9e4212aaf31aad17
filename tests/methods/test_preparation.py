"""What every method does to images first."""

from collections.abc import Iterator

from src.methods.preparation import prefetch


def test_prefetch_keeps_order_and_runs_ahead_by_few() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    stream = prefetch(lambda number: number * 2, items(), 3)
    assert [next(stream) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(taken) <= 5 + 3 + 1
    stream.close()
