"""Fetch a data set: resumed, verified, unpacked safely. `python -m src.download --help`."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src.cli.command import command
from src.cli.progress import byte_progress
from src.cli.terminal import say
from src.config import build

if TYPE_CHECKING:
    from src.data.reader import Reader


def main(config: DictConfig) -> None:
    """Fetch, verify and unpack a data set into its root, and check that it is whole.

    What cannot be fetched is only checked, and it is said how to get it. So is what has no known MD5 (a direct record)
    if it is whole already: fetching it again could show no more.
    """
    kind: Any = OmegaConf.get_type(config.data)
    if not kind.records and not kind.by_hand:
        raise ValueError("this data set cannot be downloaded: it is yours, or made on first use")
    reader: Any = build(config.data)
    pinned = any(not record.direct for record in reader.records)
    count, problem = (0, "not looked at") if pinned else count_images(reader)
    if problem and not reader.records:
        raise ValueError(f"{reader.by_hand.replace('{root}', reader.root)}\nNot there yet: {problem}")
    source = ""
    if problem:
        archives = fetch_archives(reader)
        source = f", from {archives}"
        count, problem = count_images(reader)
        if problem:
            raise ValueError(
                f"{problem}\nWhat lies in {reader.root} is from {archives} there: delete it to fetch it anew"
            )
    say(f"{count} images in {reader.root}{source}: complete")


def count_images(reader: "Reader") -> tuple[int, str]:
    """Return how many images the data set in its root has, and why it is not whole; empty where it is."""
    try:
        return len(reader.samples()), ""
    except ValueError as error:
        return 0, str(error)


def fetch_archives(reader: "Reader") -> str:
    """Fetch all that can be, and return the names of the archives that it came from."""
    from src.data.archives import obtain_archives

    with byte_progress() as progress:
        archives = obtain_archives(reader, progress)
    return ", ".join(archive.name for archive in archives)


if __name__ == "__main__":
    command(main, "download")
