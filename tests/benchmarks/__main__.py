"""Speed and memory as ratios to something run beside it, in one table: `python -m tests.benchmarks`, or named parts."""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from src.system import memory
from tests.benchmarks.timing import Row

PARTS = {
    "images": "reading, scaling, normalising, augmenting and cropping an image",
    "encoders": "encoding by each encoder, backend and precision",
    "extraction": "extraction beside the bare encoder and beside a plain loop; its growth",
    "gpu": "all that can run on a GPU, in eight minutes (--seconds); on the CPU the same with less",
    "maps": "crops that share a map beside crops by themselves",
    "boosting": "binning, boosting and predicting; all folds and seeds beside the plain loop",
    "stages": "pooling, evaluation, figures, tracking, a whole cell",
    "start_up": "start of a command, a cell whose descriptors are stored, one more cell of a sweep",
    "store": "descriptors in a folder and on S3-compatible storage",
    "cluster": "a run by a Ray cluster beside the same by threads",
    "scale": "100,000 samples, stage by stage",
    "costs": "what whole studies take on this machine, computed from its rates",
}
"""A module each, whose `PARTS` yield rows, or whose `parts_within` gives such as take so many seconds together."""


def rows(parts: list[str], seconds: dict[str, float]) -> Iterator[Row]:
    """Yield the rows of parts, and say each one as it comes; `seconds` are for those that have an end."""
    for name in parts:
        module = import_module(f"tests.benchmarks.{name}")
        for measure in module.parts_within(**seconds) if hasattr(module, "parts_within") else module.PARTS:
            for row in measure():
                print(*text(row), sep=" | ", file=sys.stderr, flush=True)
                yield row


def text(row: Row) -> list[str]:
    """Return a row's cells."""
    *cells, ratio = row
    return [*cells, "" if ratio is None else f"{ratio:.2f}"]


def processor() -> str:
    """Return what the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


def machine() -> str:
    """Return what the figures were measured on."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{processor()}, {os.cpu_count()} processors, {memory:.0f} GiB{gpu}; PyTorch {torch.__version__}; medians"


def main() -> None:
    """Measure the parts that are named, or all."""
    listed = "\n".join(f"  {name:11s} {what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        epilog=f"parts:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help="which parts (all)")
    parser.add_argument("--seconds", type=float, help="what the part gpu may take (450)")
    parser.add_argument("--markdown", type=Path, help="a file that gets the table, too")
    arguments = parser.parse_args()
    memory.reuse_freed()
    measured: list[list[str]] = []
    try:
        seconds = {"seconds": arguments.seconds} if arguments.seconds else {}
        for row in rows(arguments.parts or list(PARTS), seconds):
            measured.append(text(row))
    finally:  # what was measured takes an hour
        write(measured, arguments.markdown)


def write(measured: list[list[str]], markdown: Path | None) -> None:
    """Print the table, and write it into a file if one is given."""
    header = ["what", "ours", "beside it", "ratio"]
    if markdown:
        lines = [header, ["---", "---:", "---", "---:"], *measured]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        markdown.write_text(f"{machine()}\n\n{table}")
    shown = Table(*header)
    for line in measured:
        shown.add_row(*line)
    console = Console(width=None if sys.stdout.isatty() else 190)
    console.print(machine())
    console.print(shown)


if __name__ == "__main__":
    main()
