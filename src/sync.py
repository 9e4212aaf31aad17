"""Send what a tracking server could not take. `python -m src.sync --help`."""

from omegaconf import DictConfig

from src.cli.command import command
from src.cli.terminal import say
from src.config import Sync, build


def main(config: DictConfig) -> None:
    """Send all that is spooled; what is left is named, and makes it an error."""
    options: Sync = build(config)
    tracking = options.tracking
    if not (kept := tracking.spooled.entries()):
        say(f"nothing is kept in {tracking.spooled.root}")
        return
    if tracking.offline:
        for entry in kept:
            say(f"{entry.found('begun').get('name', 'run')} ({entry.id}): {len(entry.files())} files are kept")
        return
    left = []
    for sent in tracking.deliver():
        rest = f"; left: {sent.left}" if sent.left else ""
        say(f"{sent.name or 'run'} ({sent.run}): {sent.files} files sent{rest}")
        left += [sent.run] if sent.left else []
    if left:
        raise ValueError(f"{len(left)} of {len(kept)} runs could not be sent and are kept in {tracking.spooled.root}")
    say(f"all of {len(kept)} runs sent to {tracking.uri}; nothing is left")


if __name__ == "__main__":
    command(main, "sync")
