"""Sweeps: a parent run, a child per cell, and the fused table at the end."""

import atexit
import math
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from src.cli.arguments import last_of_each, values_of
from src.cli.command import adopt_places
from src.cli.evaluations import show_groups, slug, write_groups
from src.cli.mistakes import tell_mistakes
from src.cli.terminal import say
from src.config import CONF, build, refuse_unknown
from src.evaluation.two_classes import Binary
from src.recipes import sweep_digest
from src.storage.store import Store
from src.sweeps.cluster_jobs import check_launcher
from src.sweeps.fusion import Fusion, finished_cells, fuse_sweep, published_at
from src.sweeps.resume import DIGEST, VARIABLE, Sweep, catch_up, to_take_up, wants_resume
from src.system.files import check_writable
from src.system.next_commands import after_sweep, next_command
from src.tracking import KILLED, SWEEP, SWEPT, RunRecord, Tracking, away_errors
from src.tracking.datasets import of_runs

if TYPE_CHECKING:
    from src.evaluation.side_by_side import Group, SideBySide

OPTIONS = "sweep_options"
"""The tag of a sweep's run: the groups whose options have to stand in a cell's name."""
NAMED = {"encoder": "label", "crop": "size"}
"""The groups that a cell's name tells by a value of theirs, as ResNet-400 does, where that tells them apart."""
Show = Callable[["list[Group]", "SideBySide | None", str], None]
"""Shows the fusion of a sweep, of this name, on the terminal."""


class TrackedSweep(Callback):
    """Called by Hydra around a sweep. What goes wrong ends the command: Hydra itself would only warn."""

    sweep = ""
    tracking: Tracking
    expected = 1

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Create the parent run, or take up the one of an earlier try, and tell the cells of it."""
        with tell_mistakes():
            adopt_places(config, config.hydra)
            check_writable(workspace=str(config.workspace))
            check_launcher(config.hydra.launcher)
            check_cells(config)
            if config.published:
                published_at(config.published)  # before any work
            Store(config.store)
            self.tracking = build(config.tracking)
            self.prepare(config)
            self.open = ExitStack()
            self.open.enter_context(self.tracking.beats(self.sweep))
            atexit.register(self.abandon)

    def prepare(self, config: DictConfig) -> None:
        """See what the cells are, and begin."""
        swept = varied_values(config)
        self.expected = math.prod(len(values) for values in swept.values())
        digest = sweep_digest(config, swept)
        self.begin(config, swept, digest, self.earlier(config, digest))
        over = f" over {', '.join(swept)}" if swept else ": no key has several values (KEY=A,B)"
        say(f"sweep of {self.expected} cell{'s' * (self.expected > 1)}{over}")

    def earlier(self, config: DictConfig, digest: str) -> RunRecord | None:
        """Return the parent run of an earlier try, if it is to be taken up."""
        resume = wants_resume(config, config.hydra.runtime.choices, sweeping=True)
        return to_take_up(self.tracking, digest) if resume else None

    def begin(
        self,
        config: DictConfig,
        swept: dict[str, list[str]],
        digest: str,
        found: RunRecord | None,
        names: dict[str, str] | None = None,
    ) -> None:
        """Make the parent run of this try, or take up the one that was found; `names` are those of cells by point."""
        tags = {SWEPT: " ".join(swept), OPTIONS: " ".join(indistinct_groups(swept)), DIGEST: digest}
        if found:
            self.sweep = found.id
            self.tracking.reopen(self.sweep, tags)
            done = len(finished_cells(self.tracking.children(self.sweep)))
            say(f"taking up {found.name} ({self.sweep}): {done} of {self.expected} cells are finished")
        else:
            self.tracking.bury()
            if config.resume:
                say("resume=true: no earlier sweep has this config and these values, so that a new one begins")
            self.sweep = self.tracking.create(config.name or sweep_title(config), SWEEP, tags=tags)
        Sweep(self.sweep, list(swept), indistinct_groups(swept), resumed=bool(found), names=names or {}).tell()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Fuse the cells, on the parent run and on the terminal; name those that failed."""
        with tell_mistakes():
            self.close()
            # Cells differ in their two-class view where it is varied: they are fused under that of the config.
            binary = build(config.binary) if any(key.startswith("binary") for key in varied_values(config)) else None
            finish_sweep(self.tracking, self.sweep, self.expected, binary, config.replicates)

    def close(self) -> None:
        """Stop what goes on while cells run."""
        atexit.unregister(self.abandon)
        self.open.close()
        del os.environ[VARIABLE]

    def abandon(self) -> None:
        """Close the parent of a sweep that does not come to its end, and the cells of processes that were ended."""
        self.close()
        self.tracking.end(self.sweep, KILLED)
        done = 0
        with suppress(*away_errors()):
            self.tracking.bury()
            done = len(finished_cells(self.tracking.children(self.sweep)))
        fused = (
            f"`{next_command('fuse', f'sweep={self.sweep}')}` fuses the {done} cells that finished, and "
            if done
            else ""
        )
        rest = "the others" if done else "its cells"
        say(f"the sweep was ended early; {fused}the same command with resume=true runs {rest}")


def varied_values(config: DictConfig) -> dict[str, list[str]]:
    """Return what a sweep varies: the values of each key, the command line's before the experiment's."""
    return {key: list(o.sweep_string_iterator()) for key, o in swept_overrides(config).items() if o.is_discrete_sweep()}


def swept_overrides(config: DictConfig) -> dict[str, Override]:
    """Return the override of each key that is given to a sweep."""
    return last_of_each(config.hydra.overrides.task, config.hydra.sweeper.params)


def check_cells(config: DictConfig) -> None:
    """Raise before any work what is wrong with the cells of a sweep: a group, a key, or two cells that are the same.

    Composed are as many cells as show each value once: which keys there are hangs on the options of the groups.
    """
    given = swept_overrides(config)
    for key, override in given.items():
        values = list(override.sweep_iterator()) if override.is_discrete_sweep() else []
        if twice := [value for place, value in enumerate(values) if value in values[:place]]:
            raise ValueError(f"a sweep has a cell for each value, but {key} has {twice[0]} twice: {key}={values}")
    varied = [values_of(override) for override in given.values()]
    loader = GlobalHydra.instance().config_loader()
    for place in range(max(map(len, varied), default=0)):
        cell = loader.load_sweep_config(config, [values[place % len(values)] for values in varied])
        refuse_unknown(cell)


def sweep_title(config: DictConfig) -> str:
    """Return the name of a sweep that has none: its experiment, or when it began."""
    experiment = config.hydra.runtime.choices.get("experiment")
    return str(experiment or f"sweep {config.hydra.sweep.dir.rsplit('/', 1)[-1]}")


def indistinct_groups(swept: Mapping[str, list[str]]) -> list[str]:
    """Return the groups of which two swept options have the same label or size, so that the options name the cells."""
    values = {group: [own_value(group, option) for option in swept.get(group, [])] for group in NAMED}
    return [group for group, found in values.items() if len(set(found)) < len(found)]


def own_value(group: str, option: str) -> str:
    """Return the label or size that an option sets; of one whose file says none, or is not there, its name."""
    files = [folder / group / f"{option}.yaml" for folder in config_folders()]
    config: Any = next((OmegaConf.load(file) for file in files if file.exists()), {})
    known = config.get("known", {}).get(str(config.get("architecture")), {})  # an encoder's, by architecture
    found = config.get(NAMED[group], known.get(NAMED[group]))
    return option if found is None else str(found)


def config_folders() -> list[Path]:
    """Return the folders of configs: ours, and those that are given on the command line."""
    hydra = GlobalHydra.instance()
    places = hydra.config_loader().get_search_path().get_path() if hydra.is_initialized() else []
    return [CONF, *(Path(each.path.removeprefix("file://")) for each in places if each.provider == "command-line")]


def cell_name(config: DictConfig, choices: Mapping[str, Any], sweep: Sweep | None) -> str:
    """Return a readable name that tells a cell from others: ResNet-400, or ResNet-400 pool.p=1 where that is swept."""
    overridden = {
        group for group, value in NAMED.items() if str(config[group][value]) != own_value(group, choices[group])
    }
    said = {"crop.size", "experiment", *NAMED} - overridden - set(sweep.named if sweep else ())
    others = [key for key in (sweep.keys if sweep else ()) if key not in said]
    values = {key: choices[key] if key in choices else OmegaConf.select(config, key) for key in others}
    name = f"{config.encoder.label}-{config.crop.size}"
    return " ".join([name, *(f"{key}={value}" for key, value in values.items())])


def finish_sweep(
    tracking: Tracking, sweep: str, expected: int, binary: Binary | None, replicates: int, show: Show = show_groups
) -> None:
    """End a sweep: write the fused tables onto its run, show them, and name the cells that did not finish."""
    try:
        catch_up(tracking)
        fuse_cells(tracking, sweep, expected, binary, replicates, show)
    except away_errors() as error:
        if isinstance(error, OSError) and error.filename:  # of this machine
            raise
        tracking.end(sweep, KILLED)
        sys.exit(
            f"error: the tracking server fails, so that the cells cannot be fused now ({str(error).splitlines()[0]}); "
            f"what it could not take is kept: when it is back, `{next_command('sync')}` sends it, and the same command "
            "with resume=true fuses"
        )


def fuse_cells(
    tracking: Tracking, sweep: str, expected: int, binary: Binary | None, replicates: int, show: Show = show_groups
) -> None:
    """Write and show a sweep's fused tables."""
    cells = tracking.children(sweep)
    done = finished_cells(cells)
    failed = [run.name for run in cells if not run.finished]
    failed += [f"{expected - len(cells)} that did not begin"] if len(cells) < expected else []
    parent = tracking.find(sweep)
    fusion = Fusion(groups=[], together=None)
    with tracking.open(sweep) as run:
        run.log(tags={"failed_cells": ", ".join(failed)})
        for data in of_runs(done):
            run.log_data(data)
        if done:
            fusion = fuse_sweep(tracking, done, parent.swept, replicates, binary)
            write_groups(fusion.groups, fusion.together, run.folder)
            run.log(metrics=fusion_metrics(fusion), tags={"notes": "; ".join(sweep_notes(fusion))})
            show(fusion.groups, fusion.together, parent.name)
    say(f"sweep {sweep}: {len(done)} of {expected} cells finished")
    if done:
        say(after_sweep(parent.name, sweep, len(done)))
    errors = [f"cells failed: {', '.join(failed)}; their runs hold the tracebacks"] if failed else []
    errors += unfused_groups(fusion)
    if errors:
        sys.exit("error: " + "\n".join(errors))


def unfused_groups(fusion: Fusion) -> list[str]:
    """Return a line on each group of cells that could not be fused."""
    return [f"the cells of {title} could not be fused: {why}" for title, why in fusion.failed.items()]


def fusion_metrics(fusion: Fusion) -> dict[str, float]:
    """Return the metrics of a sweep's fusion; where there are several groups each under the group's name."""
    parts = [(f"{slug(group.title)}/".lstrip("/"), group.evaluation.metrics) for group in fusion.groups]
    return {prefix + name: value for prefix, found in parts for name, value in found.items()}


def sweep_notes(fusion: Fusion) -> list[str]:
    """Return the notes on any of a sweep's cells."""
    return list(dict.fromkeys(note for group in fusion.groups for note in group.notes))
