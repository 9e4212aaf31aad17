"""One cell, or with -m a sweep: predict every case out of fold, evaluate, track. `python -m src.run --help`."""

from contextlib import suppress

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.cli.terminal import say
from src.config import build, flatten_config
from src.recipes import config_digest
from src.sweeps.processes import sweeping_command
from src.sweeps.resume import DIGEST, POINT, Sweep, earlier_runs, supersede_runs, wants_resume
from src.sweeps.run_cell import (
    CellInputs,
    attempt_cell,
    chosen_options,
    fill_run,
    gather_inputs,
    position_tags,
    tell_idle,
    tell_outcome,
)
from src.system.addresses import mask_passwords
from src.tracking import CELL, JOB, RunRecord, Tracking


def main(config: DictConfig) -> None:
    """Run one cell."""
    attempt_cell(ensure_cell, config)


def ensure_cell(config: DictConfig, sweep: Sweep | None) -> None:
    """Predict, evaluate and track one cell, unless it is finished and may be taken over."""
    from src.sweeps.callback import cell_name

    choices = HydraConfig.get().runtime.choices
    tracking = build(config.tracking)
    tags = {DIGEST: config_digest(config)} | position_tags(sweep)
    # In a sweep `name` is the sweep's.
    name = sweep.names.get(tags[POINT], "") if sweep else config.name
    name = name or cell_name(config, choices, sweep)
    resume = sweep.resumed if sweep else wants_resume(config, choices, sweeping=False)
    old = earlier_runs(tracking, tags[DIGEST], tags.get(POINT, ""), sweep) if resume else []
    done = [run for run in old if run.finished and run.tags.get(DIGEST) == tags[DIGEST]]
    inputs = current_inputs(config) if done else None
    if inputs and (same := [run for run in done if inputs.facts.items() <= run.tags.items()]):
        supersede_runs(tracking, [run for run in old if sweep and run is not same[-1]], same[-1].id)
        take_over(config, tracking, same[-1], tags, sweep)
        return
    with tracking.run(name, CELL, sweep.run if sweep else "", tags) as run:
        if sweep:
            supersede_runs(tracking, old, run.id)
        (run.folder / "config.yaml").write_text(mask_passwords(OmegaConf.to_yaml(config, resolve=True)))
        params = chosen_options() | flatten_config(config)
        run.log(params={key: value for key, value in params.items() if key != "resume"})  # no trait of the cell
        experiment = build(config)
        tell_idle(experiment, sweep)
        try:
            evaluation, notes = fill_run(experiment, name, run, inputs)
        except KeyboardInterrupt:
            if sweep is None:
                say(f"{name} (run {run.id}) was ended early: the same command takes over what is stored by now")
            raise
    tell_outcome(evaluation, name, notes, run.id, sweep)


def current_inputs(config: DictConfig) -> CellInputs | None:
    """Return what a finished cell would work on now; None where that cannot be had: run anew, the cell says why."""
    with suppress(ValueError, OSError):
        return gather_inputs(build(config), tell=lambda line: None)
    return None


def take_over(
    config: DictConfig, tracking: Tracking, run: RunRecord, tags: dict[str, str], sweep: Sweep | None
) -> None:
    """Let a finished run stand for a cell, and show it if it is alone."""
    from src.sweeps.fusion import fuse_runs

    say(f"{run.name}: finished already as run {run.id}, on the same data")
    if sweep is None:
        evaluation, notes = fuse_runs(tracking, [run], config.replicates)
        tell_outcome(evaluation, run.name, notes, run.id, sweep)
    elif run.job != tags[JOB]:
        tracking.tag(run.id, {JOB: tags[JOB]})  # the sweep may vary the same in another order


if __name__ == "__main__":
    sweeping_command(main, "config")
