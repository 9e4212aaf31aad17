"""Is one tracked run better than another? `python -m src.compare --help`."""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.cli.command import command, is_given
from src.cli.terminal import say
from src.cli.verdicts import Compared, VerdictPart, show_comparison, write_comparison
from src.config import CONF, Compare, build
from src.evaluation.wording import percent
from src.sweeps.fusion import (
    GIVEN,
    finished_cells,
    fuse_sweep,
    fusion_notes,
    group_runs,
    name_in_group,
    read_predictions,
    read_table,
    recorded_view,
    shared_cases,
    told_by,
)
from src.sweeps.ledger_runs import Ledger
from src.system.checks import one_of
from src.system.files import check_unwritten, check_writable
from src.system.next_commands import next_command
from src.tracking import CELL, KIND, SWEEP, RunRecord, Tracking

if TYPE_CHECKING:
    import pandas as pd

    from src.evaluation.two_classes import Binary


def main(config: DictConfig) -> None:
    """Show, and write where asked, how tracked runs compare. Nothing is tracked."""
    options: Compare = build(config)
    if sum(map(bool, (options.runs, options.sweep, options.newest_of))) != 1:
        raise ValueError("give one of runs=[A,B,...], sweep=NAME_OR_ID or experiment=NAME")
    check_unwritten(options.overwrite, output=options.output)
    if options.output:
        check_writable(output=options.output)
    binary = options.binary if is_given("binary") else None
    result = of_runs(options, binary) if options.runs else of_sweep(options, binary)
    show_comparison(result)
    if options.output:
        write_comparison(result, Path(options.output))
        say(f"written to {options.output}")


def of_runs(options: Compare, binary: "Binary | None") -> Compared:
    """Return how runs that are named compare."""
    runs = [options.tracking.find(name, CELL) for name in options.runs]
    if twice := [run.name for run in runs if Counter(each.id for each in runs)[run.id] > 1]:
        raise ValueError(f"a run is compared with others, but {twice[0]} is given twice")
    found = read_predictions(options.tracking, runs)
    named = dict(zip(found, runs, strict=True))
    part = compare_named(
        options, Ledger(tracking=options.tracking, replicates=options.replicates), named, found, "", binary
    )
    return Compared(title="comparison", parts=[part])


def of_sweep(options: Compare, binary: "Binary | None") -> Compared:
    """Return how the finished cells of a sweep compare, those of the same cases and folds with each other."""
    tracking = options.tracking
    parent = tracking.find(options.sweep, SWEEP) if options.sweep else newest_sweep(tracking, options.newest_of)
    runs = finished_cells(tracking.children(parent.id))
    if len(runs) < 2:
        raise ValueError(
            f"sweep {parent.name} ({parent.id}) has {len(runs)} finished cells, but a comparison needs two or more"
        )
    found = read_predictions(tracking, runs)
    parts = group_runs(dict(zip(found, runs, strict=True)), found)
    result = Compared(title=parent.name, parts=[])
    ledger = Ledger(tracking=tracking, replicates=options.replicates)
    for part, axes in zip(parts, told_by(parts, parent.swept), strict=True):
        if len(part) < 2:
            result.left.append(f"{next(iter(part))} is alone on its cases and folds: nothing to compare it with")
            continue
        named = {name_in_group(name, axes): run for name, run in part.items()}
        own = {name_in_group(name, axes): found[name] for name in part}
        result.parts.append(compare_named(options, ledger, named, own, " ".join(axes.values()), binary))
    if not result.parts:
        raise ValueError("\n".join(result.left))
    if options.newest_of:
        result.published = beside_published(options, runs, parent.swept, binary)
    return result


def compare_named(
    options: Compare,
    ledger: Ledger,
    runs: Mapping[str, RunRecord],
    predictions: "Mapping[str, pd.DataFrame]",
    title: str,
    binary: "Binary | None",
) -> VerdictPart:
    """Return how runs on the same cases and folds compare, from their predictions, both by name."""
    from src.evaluation.comparison import compare
    from src.evaluation.optimism_ledger import optimism_ledger

    reference = next((name for name, run in runs.items() if options.reference in (name, run.id, run.name)), "")
    predictions, left_out = shared_cases(runs.values(), predictions)
    binary = binary or recorded_view(list(runs.values()))
    found = compare(
        predictions,
        binary,
        reference=reference or options.reference,
        primary=options.primary,
        ratios=held_out_ratios(options.tracking, runs),
    )
    return VerdictPart(
        title=title,
        comparison=found,
        primary=options.primary,
        ledger=optimism_ledger(ledger.entries(runs, predictions)),
        notes=comparison_notes(next(iter(predictions.values())), binary) + fusion_notes(list(runs.values())) + left_out,
    )


def newest_sweep(tracking: Tracking, experiment: str) -> RunRecord:
    """Return the newest sweep of an experiment."""
    options = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
    one_of(options, experiment=experiment)
    cells = [run for run in tracking.search({KIND: CELL}) if run.params.get("experiment") == experiment]
    parents = dict.fromkeys(run.parent for run in cells if run.parent)
    if not parents:
        raise ValueError(
            f"no sweep of experiment {experiment} is tracked at {tracking.uri}; "
            f"`{next_command('run', '-m', f'experiment={experiment}')}` makes one"
        )
    return max(map(tracking.find, parents), key=lambda run: run.start)


def held_out_ratios(tracking: Tracking, runs: Mapping[str, RunRecord]) -> dict[str, float]:
    """Return the mean over folds of the ratio of held-out to training cases."""
    found = {}
    for name, run in runs.items():
        roles = read_table(tracking, run, "roles.csv")
        held = roles[roles["role"] == "report"].groupby("fold")["case"].nunique()
        given = roles[roles["role"].isin(GIVEN)].groupby("fold")["case"].nunique()
        found[name] = float((held / given).mean())
    return found


def comparison_notes(predictions: "pd.DataFrame", binary: "Binary") -> list[str]:
    """Return what the reader of a comparison has to know of its classes, cases and folds."""
    from src.evaluation.evaluation import few_patients
    from src.evaluation.predictions import class_names, count_repeats
    from src.evaluation.two_classes import view_title

    cases, names = predictions.drop_duplicates("case"), class_names(predictions)
    share = cases["label"].value_counts(normalize=True)
    lines = [f"always naming {share.index[0]}, the most frequent class, is right in {percent(share.iloc[0])} %"]
    positive = binary.positives(names)
    lines += [f"two classes: {view_title(positive, names)}"] if positive else []
    lines += binary.notes(names) + few_patients(cases)
    if not (cases["patient"] != "").any():
        lines.append("patients are not known: every case counts as one, so that p is too small if some share a patient")
    elif cases["patient"].nunique() < len(cases) and count_repeats(predictions) == 1:
        lines.append("McNemar's test takes a patient's cases for independent: its p is too small if they are alike")
    lines += luck_notes(predictions["fold"].nunique(), count_repeats(predictions))
    return lines


def luck_notes(folds: int, repeats: int) -> list[str]:
    """Return what folds and repeats can say of the luck of training."""
    if folds < 2:
        return ["one fold: luck in its training cannot be told from a difference between ways of learning"]
    if repeats > 1:
        return []
    return [
        f"{folds} folds, drawn once: the luck of their models is judged from {folds} figures, and held for independent "
        "from fold to fold; protocol.repeats=10 allows for training parts that overlap, and finds more"
    ]


def beside_published(
    options: Compare, runs: list[RunRecord], keys: list[str], binary: "Binary | None"
) -> "pd.DataFrame | None":
    """Return our figures against the published ones that the runs name; None where they name none."""
    from src.evaluation.published import subtract_published

    together = fuse_sweep(options.tracking, runs, keys, options.replicates, binary).together
    if together is None or not len(together.published):
        return None
    return subtract_published(together.published, together.table)


def spell_experiment(arguments: list[str]) -> list[str]:
    """Return the arguments with `experiment` under a name that Hydra does not take for the group in `conf/`."""
    return [argument.replace("experiment=", "newest_of=", argument.startswith("experiment=")) for argument in arguments]


if __name__ == "__main__":
    sys.argv = spell_experiment(sys.argv)
    command(main, "compare")
