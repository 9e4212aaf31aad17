"""The tracked runs and sweeps, the newest first. `python -m src.runs --help`."""

from collections import Counter
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.cli.command import command
from src.cli.terminal import print_table, say
from src.config import Runs, build
from src.evaluation.text_tables import TextTable
from src.evaluation.wording import MISSING, measured
from src.system.next_commands import next_command
from src.tracking import CELL, KIND, PARENT, SUPERSEDED, SWEEP, Tracking
from src.tracking.run_names import began, data_names

if TYPE_CHECKING:
    from mlflow.entities import Run

HEADER = ["began", "id", "name", "kind", "status", "data", "accuracy, % (95 %)"]
SHORT = 8
"""The fewest characters of an id that are shown."""


def main(config: DictConfig) -> None:
    """Show runs and sweeps; nothing is changed, but that runs of dead processes are marked as killed."""
    options: Runs = build(config)
    options.tracking.bury()
    runs, cells = of_sweep(options) if options.sweep else alone(options.tracking)
    found = [run for run in runs[::-1] if fits(run, options)]
    if not found:
        what = f"none of {len(runs)} runs fits" if runs else f"no runs are tracked at {options.tracking.uri}"
        say(f"{what}; `{next_command('run')}` makes one")
        return
    shown = found[: options.limit or None]
    title = f"{len(shown)} of {len(found)}, the newest first" if len(shown) < len(found) else ""
    print_table(TextTable(caption=title, header=HEADER, rows=rows(shown, cells), text=len(HEADER) - 1))
    if len(shown) < len(found):
        say(f"limit={len(found)} shows all")
    say("commands take an id, its beginning, or a name")


def alone(tracking: Tracking) -> "tuple[list[Run], Counter[str]]":
    """Return the sweeps and the runs that are of none, as they began, and the number of cells of each sweep."""
    runs = [run for run in tracking.search() if run.data.tags.get(KIND) in (CELL, SWEEP)]
    parents = [str(run.data.tags.get(PARENT, "")) for run in runs if SUPERSEDED not in run.data.tags]
    return [run for run in runs if PARENT not in run.data.tags], Counter(parents)


def of_sweep(options: Runs) -> "tuple[list[Run], Counter[str]]":
    """Return the cells of a sweep and the sweep, so that it is listed first, and their number."""
    sweep = options.tracking.find(options.sweep, SWEEP)
    cells = options.tracking.children(sweep.info.run_id)
    return [*cells[::-1], sweep], Counter({str(sweep.info.run_id): len(cells)})


def fits(run: "Run", options: Runs) -> bool:
    """Return whether a run is one of those that are asked for; a part of a name will do."""
    asked = [(options.name, [str(run.info.run_name)]), (options.dataset, data_names(run))]
    named = all(any(part.lower() in name.lower() for name in names) for part, names in asked if part)
    return named and options.status.upper() in ("", run.info.status)


def rows(runs: "list[Run]", cells: "Counter[str]") -> list[list[str]]:
    """Return a row for each run."""
    ids = shortened([str(run.info.run_id) for run in runs])
    return [
        [
            began(run),
            short,
            str(run.info.run_name),
            f"sweep of {cells[run.info.run_id]}" if run.data.tags.get(KIND) == SWEEP else "run",
            str(run.info.status).lower(),
            ", ".join(data_names(run)) or MISSING,
            measured(run.data.metrics, "accuracy", 100, 1),
        ]
        for run, short in zip(runs, ids, strict=True)
    ]


def shortened(ids: list[str]) -> list[str]:
    """Return beginnings of ids, as short as they tell them apart; of a run that began in the spool all of it."""
    length = next(size for size in range(SHORT, 33) if len({each[:size] for each in ids}) == len(ids) or size == 32)
    return [each if each.startswith("spooled") else each[:length] for each in ids]


if __name__ == "__main__":
    command(main, "runs")
