"""The tracked runs and sweeps, the newest first. `python -m src.runs --help`."""

from collections import Counter

from omegaconf import DictConfig

from src.cli.command import command
from src.cli.terminal import print_table, say
from src.config import Runs, build
from src.evaluation.text_tables import TextTable
from src.evaluation.wording import MISSING, measured
from src.system.next_commands import next_command
from src.tracking import CELL, STRESS, SWEEP, VALIDATION, RunRecord, Tracking
from src.tracking.run_names import begin_time, kind_word

HEADER = ["began", "id", "name", "kind", "status", "data", "accuracy, % (95 %)"]
SHORT = 8
"""The fewest characters of an id that are shown."""


def main(config: DictConfig) -> None:
    """Show runs and sweeps; nothing is changed, but that runs of dead processes are marked as killed."""
    options: Runs = build(config)
    options.tracking.bury()
    runs, cells = of_sweep(options) if options.sweep else top_level(options.tracking)
    found = [run for run in runs[::-1] if is_asked(run, options)]
    if not found:
        what = f"none of {len(runs)} runs fits" if runs else f"no runs are tracked at {options.tracking.uri}"
        say(f"{what}; `{next_command('run')}` makes one")
        return
    shown = found[: options.limit or None]
    title = f"{len(shown)} of {len(found)}, the newest first" if len(shown) < len(found) else ""
    print_table(TextTable(caption=title, header=HEADER, rows=table_rows(shown, cells), text=len(HEADER) - 1))
    if len(shown) < len(found):
        say(f"limit={len(found)} shows all")
    say("commands take an id, its beginning, or a name")


def top_level(tracking: Tracking) -> tuple[list[RunRecord], Counter[str]]:
    """Return the sweeps and the runs that are of none, as they began, and the number of cells of each sweep."""
    runs = [run for run in tracking.search() if run.kind in (CELL, SWEEP, STRESS, VALIDATION)]
    return [run for run in runs if not run.parent], Counter(run.parent for run in runs if not run.superseded)


def of_sweep(options: Runs) -> tuple[list[RunRecord], Counter[str]]:
    """Return the cells of a sweep and the sweep, so that it is listed first, and their number."""
    sweep = options.tracking.find(options.sweep, SWEEP)
    cells = options.tracking.children(sweep.id)
    return [*cells[::-1], sweep], Counter({sweep.id: len(cells)})


def is_asked(run: RunRecord, options: Runs) -> bool:
    """Return whether a run is one of those that are asked for; a part of a name will do."""
    asked = [(options.name, [run.name]), (options.dataset, run.data_names)]
    named = all(any(part.lower() in name.lower() for name in names) for part, names in asked if part)
    return named and options.status.upper() in ("", run.status)


def table_rows(runs: list[RunRecord], cells: Counter[str]) -> list[list[str]]:
    """Return a row for each run."""
    ids = short_ids([run.id for run in runs])
    return [
        [
            begin_time(run),
            short,
            run.name,
            describe_kind(run, cells),
            run.status.lower(),
            ", ".join(run.data_names) or MISSING,
            measured(run.metrics, "accuracy", 100, 1),
        ]
        for run, short in zip(runs, ids, strict=True)
    ]


def describe_kind(run: RunRecord, cells: Counter[str]) -> str:
    """Return what a run is, and of how many."""
    if run.kind == STRESS:
        return f"stress of {len(run.stressed)}"
    return f"sweep of {cells[run.id]}" if run.kind == SWEEP else kind_word(run.kind)


def short_ids(ids: list[str]) -> list[str]:
    """Return beginnings of ids, as short as they tell them apart; of a run that began in the spool all of it."""
    length = next(size for size in range(SHORT, 33) if len({each[:size] for each in ids}) == len(ids) or size == 32)
    return [each if each.startswith("spooled") else each[:length] for each in ids]


if __name__ == "__main__":
    command(main, "runs")
