"""Fetch a data set: resumed, verified, unpacked safely. `python -m src.download --help`."""

from typing import Any

from omegaconf import DictConfig

from src.config import build
from src.edge import command
from src.presentation import byte_progress, say


def main(config: DictConfig) -> None:
    """Fetch, verify and unpack a data set into its root, and check that it is whole."""
    from src.data.archive import obtain

    reader: Any = build(config.data)
    if not reader.records:
        raise ValueError("this data set cannot be downloaded: it is yours, or made on first use")
    with byte_progress() as progress:
        archives = obtain(reader, progress)
    samples = reader.samples()
    say(f"{len(samples)} images in {reader.root}, from {', '.join(archive.name for archive in archives)}: complete")


if __name__ == "__main__":
    command(main, "download")
