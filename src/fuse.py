"""Fuse tracked runs again, or recompute published predictions. `python -m src.fuse --help`."""

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.cli.command import command
from src.cli.evaluations import show_evaluation, show_groups, write_evaluation, write_groups
from src.cli.terminal import say
from src.config import ROOT, Fuse, build
from src.sweeps.callback import unfused_groups
from src.sweeps.fusion import finished_cells, fuse_runs, fuse_sweep, given_view
from src.system.files import check_unwritten, check_writable
from src.tracking import CELL, SWEEP

if TYPE_CHECKING:
    from src.evaluation.evaluation import Evaluation


def main(config: DictConfig) -> None:
    """Show, and write where asked, the fusion of a sweep's cells, of named runs, or of published predictions."""
    options: Fuse = build(config)
    if sum(map(bool, (options.sweep, options.runs, options.published))) != 1:
        raise ValueError("give one of sweep=NAME_OR_ID, runs=[ID,...] or published=NAME")
    check_unwritten(options.overwrite, output=options.output)
    if options.output:
        check_writable(output=options.output)
    if options.sweep:
        show_sweep(options)
        return
    evaluation, title, notes = evaluate_released(options) if options.published else evaluate_runs(options)
    show_evaluation(evaluation, title, notes)
    if options.output:
        write_evaluation(evaluation, Path(options.output), notes)
        say(f"written to {options.output}")


def evaluate_released(options: Fuse) -> "tuple[Evaluation, str, list[str]]":
    """Return the evaluation of released predictions, from `experiments/NAME/published/crossvalidation.csv`."""
    import pandas as pd

    from src.evaluation.published import evaluate_published

    path = ROOT / "experiments" / options.published / "published" / "crossvalidation.csv"
    if not path.is_file():
        known = sorted(file.parents[1].name for file in ROOT.glob("experiments/*/published/crossvalidation.csv"))
        raise ValueError(f"nothing is published under {options.published!r}; there is {', '.join(known)}")
    notes = ["as released: fused class and carcinoma score of each image, without the class probabilities"]
    return evaluate_published(pd.read_csv(path), options.replicates), f"{options.published}, published", notes


def evaluate_runs(options: Fuse) -> "tuple[Evaluation, str, list[str]]":
    """Return the evaluation of the fusion of named runs."""
    tracking = options.tracking
    tracking.bury()
    runs = [tracking.find(name, CELL) for name in options.runs]
    binary = given_view(options.binary, runs)
    evaluation, notes = fuse_runs(tracking, runs, options.replicates, binary, options.slices)
    return evaluation, "fusion", notes


def show_sweep(options: Fuse) -> None:
    """Show, and write where asked, what a sweep ended with."""
    tracking = options.tracking
    tracking.bury()
    parent = tracking.find(options.sweep, SWEEP)
    runs = finished_cells(tracking.children(parent.id))
    if not runs:
        raise ValueError(f"sweep {parent.name} ({parent.id}) has no finished cells to fuse")
    binary = given_view(options.binary, runs)
    fusion = fuse_sweep(tracking, runs, parent.swept, options.replicates, binary, options.slices)
    show_groups(fusion.groups, fusion.together, parent.name)
    if options.output:
        write_groups(fusion.groups, fusion.together, Path(options.output))
        say(f"written to {options.output}")
    if fusion.failed:
        raise ValueError("\n".join(unfused_groups(fusion)))


if __name__ == "__main__":
    command(main, "fuse")
