"""Sweeps: a parent run, a child per cell, and the fused table at the end."""

import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from src.config import CONF, build, edge
from src.presentation import say, show, write
from src.tracking import SWEEP, Tracking

if TYPE_CHECKING:
    pass

VARIABLE = "TENFOLD_SWEEP"
"""The environment variable that tells a cell its sweep's run."""
KEYS = "sweep_keys"
LABELS = "sweep_labels"
NAMED = ("encoder", "crop", "crop.size", "experiment")
"""What a cell's name says already."""


class TrackedSweep(Callback):
    """Called by Hydra around a sweep. What goes wrong ends the command: Hydra itself would only warn."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Create the parent run, and tell the cells of it."""
        with edge():
            swept = varied(config)
            tracking = build(config.tracking)
            tracking.bury()
            tags = {KEYS: " ".join(swept), LABELS: ambiguous(swept.get("encoder", []))}
            os.environ[VARIABLE] = tracking.create(config.name or title(config), SWEEP, tags=tags)
            count = 1
            for values in swept.values():
                count *= len(values)
            say(f"sweep of {count} cells over {', '.join(swept) or 'nothing'}")

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Fuse the cells, on the parent run and on the terminal; name those that failed."""
        with edge():
            finish(build(config.tracking), os.environ.pop(VARIABLE), config)


def varied(config: DictConfig) -> dict[str, list[str]]:
    """Return what a sweep varies: the values of each key, the command line's before the experiment's."""
    given = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    overrides = OverridesParser.create().parse_overrides([*given, *config.hydra.overrides.task])
    last = {override.get_key_element(): override for override in overrides}
    return {key: list(o.sweep_string_iterator()) for key, o in last.items() if o.is_discrete_sweep()}


def title(config: DictConfig) -> str:
    """Return the name of a sweep that has none: its experiment, or when it began."""
    experiment = config.hydra.runtime.choices.get("experiment")
    return str(experiment or f"sweep {config.hydra.sweep.dir.rsplit('/', 1)[-1]}")


def ambiguous(encoders: list[str]) -> str:
    """Return "option" where the labels of the swept encoders are not all different, so that options name the cells."""
    labels = Counter(OmegaConf.load(CONF / "encoder" / f"{option}.yaml").label for option in encoders)
    return "option" if max(labels.values(), default=1) > 1 else "label"


def cell_name(config: DictConfig, choices: Mapping[str, Any], tracking: Tracking, sweep: str) -> str:
    """Return a readable name that is unique in a sweep: ResNet-400, or ResNet-400 pool.p=1 where that is swept."""
    tags = tracking.find(sweep).data.tags if sweep else {}
    encoder = choices["encoder"] if tags.get(LABELS) == "option" else config.encoder.label
    others = [key for key in tags.get(KEYS, "").split() if key not in NAMED]
    values = {key: choices[key] if key in choices else OmegaConf.select(config, key) for key in others}
    return " ".join([f"{encoder}-{config.crop.size}", *(f"{key}={value}" for key, value in values.items())])


def finish(tracking: Tracking, sweep: str, config: DictConfig) -> None:
    """End a sweep: write the fused table onto its run, show it, and name the cells that did not finish."""
    from src.evaluation.evaluation import evaluate
    from src.evaluation.predictions import align

    cells = tracking.children(sweep)
    finished = [run for run in cells if run.info.status == "FINISHED"]
    failed = [run.info.run_name for run in cells if run.info.status != "FINISHED"]
    with tracking.open(sweep) as run:
        run.log(tags={"failed_cells": ", ".join(failed)})
        if finished:
            tables = {run.info.run_name: tracking.predictions(run) for run in finished}
            notes = sorted({run.data.tags["notes"] for run in finished} - {""})
            evaluation = evaluate(align(tables), build(config.binary), config.replicates)
            write(evaluation, run.folder, notes)
            run.log(metrics=evaluation.metrics, tags={"notes": "; ".join(notes)})
            show(evaluation, str(tracking.find(sweep).info.run_name), notes)
    say(
        f"sweep {sweep}: {len(finished)} of {len(cells)} cells finished; `python -m src.fuse sweep={sweep}` fuses again"
    )
    if failed:
        raise SystemExit(f"error: {len(failed)} cells failed: {', '.join(failed)}; their runs hold the tracebacks")
