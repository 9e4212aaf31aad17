"""The store: in a folder beside plain files, and on S3-compatible storage of this machine beside a folder."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from src.storage.store import Store
from tests.benchmarks.timing import Row, seconds
from tests.support.buckets import BUCKET, storage

COUNT = 1000
RECIPE = {"crop": {"size": 400, "scale": 0.5, "count": 20}, "encoder": {"weights": "drawn"}, "seed": 0}
CONTENTS = [f"{number:032x}" for number in range(COUNT)]
DESCRIPTORS = np.random.default_rng(0).normal(size=(1, 20, 2048)).astype(np.float32)


def write(store: Store) -> None:
    for content in CONTENTS:
        store.write(RECIPE, content, DESCRIPTORS)
    store.finish()


def read(store: Store) -> None:
    for _ in store.each(RECIPE, CONTENTS):
        pass


def in_a_folder() -> Iterator[Row]:
    """Writing, reading and asking for 1000 samples of 20 x 2048 against `np.save`, `np.load` and a look at each."""
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name), Store(Path(name) / "store")
        files = [folder / f"{content}.npy" for content in CONTENTS]
        plainly: list[tuple[str, str, Callable[[], object], Callable[[], object]]] = [
            ("write", "np.save", lambda: write(store), lambda: [np.save(file, DESCRIPTORS) for file in files]),
            ("read", "np.load", lambda: read(store), lambda: [np.load(file) for file in files]),
            ("ask for", "is_file of each", lambda: store.held(RECIPE), lambda: [file.is_file() for file in files]),
        ]
        for what, beside, ours, plain in plainly:
            mine, other = seconds(ours, 5), seconds(plain, 5)
            yield (
                f"{what} {COUNT} samples of 20 x 2048, folder",
                f"{1e3 * mine:.0f} ms",
                f"{beside} {1e3 * other:.0f} ms",
                other / mine,
            )


def on_storage() -> Iterator[Row]:
    """The same on an S3-compatible server of this machine (moto, a process of Python) against a folder."""
    with tempfile.TemporaryDirectory() as name, storage(Path(name)) as server:
        os.environ |= server.environment
        folder, far = Store(Path(name) / "store"), f"s3://{BUCKET}/benchmark"
        machines = (Store(far, Path(name) / f"copies{number}") for number in range(10))
        same = Store(far, Path(name) / "same")
        for what, ours, plain in (
            ("write", lambda: write(Store(far, Path(name) / "same")), lambda: write(folder)),
            ("read elsewhere", lambda: read(next(machines)), lambda: read(folder)),
            ("read again", lambda: read(same), lambda: read(folder)),
            ("ask for", lambda: same.held(RECIPE), lambda: folder.held(RECIPE)),
        ):
            before = server.asked().total()
            mine = seconds(ours, 2)
            requests = (server.asked().total() - before) / 3
            other = seconds(plain, 2)
            yield (
                f"{what} {COUNT} samples of 20 x 2048, storage",
                f"{mine:.2f} s, {requests:.0f} requests",
                f"folder {other:.2f} s",
                other / mine,
            )


PARTS = (in_a_folder, on_storage)
