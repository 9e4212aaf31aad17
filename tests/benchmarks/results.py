"""The results of a checkout as digests, to hold two commits against each other.

    python -m tests.benchmarks.results FOLDER BACH_HALF

makes a sweep of the demo, a frozen and a fine-tuned run on real images, a study, a comparison and a report in FOLDER,
and prints the digests of what is stored, of predictions, tables, metrics and figures, of the comparison, and of the
page without ids and times. The same lines from two commits (diff) are the same results, byte for byte.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

KEPT = (
    "predictions.parquet",
    "table.csv",
    "table.md",
    "splits.csv",
    "metrics.json",
    "roc.png",
    "confusion.png",
    "tuning.json",
)
"""The artefacts of a run that are compared."""
VARYING = re.compile(
    r"[0-9a-f]{32}|\b[0-9a-f]{12}\b( with changes)?|(?<!\.)\b[0-9a-f]{7,8}\b|process \d+|"
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|\d+(\.\d+)? (s|min|h)\b"
)
"""What of a page is another each time: ids, commits, times, durations."""


def commands(folder: Path, bach: str) -> Iterator[list[str]]:
    """Yield the commands, the arguments after `python -m src.`."""
    real = [
        "data=bach",
        f"data.root={bach}",
        "data.width=768",
        "data.height=768",
        "encoder=efficientnet_lite0",
        "crop=whole",
    ]
    real += ["stain=none", "protocol.folds=2", "examples=2"]
    few = [
        "method=finetune",
        "training_patients=60",
        "finetune.phases=[{trainable: all, steps: 3}]",
        "finetune.validation=0",
    ]
    yield ["run", "-m", "experiment=demo", "name=demo"]
    yield ["run", *real, "classifier=logistic", "augment=stain_jitter", "augment.count=2", "name=frozen"]
    yield ["run", *real, *few, "finetune.patience=0", "name=finetuned"]
    yield [
        "tune",
        "data=demo",
        "encoder=efficientnet_lite0",
        "crop=half224",
        "search=logistic",
        "trials=3",
        "study=tuned",
    ]
    yield ["compare", "sweep=demo", f"output={folder / 'comparison'}"]
    yield ["report", "sweep=demo", f"output={folder / 'report.html'}"]


def digest(content: bytes) -> str:
    """Return a short digest of bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def content(path: Path, folder: Path) -> bytes:
    """Return what of a file is compared: without what is another each time, and without where it lies."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_csv(index=False).encode()
    if path.suffix in (".html", ".json", ".md", ".csv"):
        return VARYING.sub("", path.read_text().replace(str(folder), "")).encode()
    return path.read_bytes()


def results(folder: Path) -> Iterator[str]:
    """Yield a line for each file that is compared, without the ids of runs."""
    for path in sorted((folder / "runs" / "store").rglob("*.safetensors")):
        yield f"store/{path.parent.name}/{path.name} {digest(content(path, folder))}"
    found = [path for path in (folder / "runs" / "artifacts").rglob("*") if path.name in KEPT]
    yield from sorted(f"artifact {path.name} {digest(content(path, folder))}" for path in found)
    for path in [*sorted((folder / "comparison").iterdir()), folder / "report.html"]:
        yield f"{path.name} {digest(content(path, folder))}"


def main(folder: Path, bach: str) -> None:
    """Run the commands in this checkout, and print the digests of what came out."""
    folder.mkdir(parents=True)
    for module, *arguments in commands(folder, bach):
        command = [sys.executable, "-m", f"src.{module}", *arguments, f"workspace={folder / 'runs'}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(*results(folder), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
