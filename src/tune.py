"""Parameters chosen by trials inside the training part of each fold. `python -m src.tune --help`."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.classifiers.tuned import STUDY, TUNED
from src.cli.evaluations import save_figure, slug
from src.cli.terminal import say
from src.config import Experiment, Tune, build, flatten_config
from src.recipes import config_digest
from src.sweeps.callback import cell_name
from src.sweeps.processes import sweeping_command
from src.sweeps.resume import DIGEST, POINT, Sweep, earlier_runs, supersede_runs
from src.sweeps.run_cell import attempt_cell, chosen_options, fill_run, position_tags, tell_idle, tell_outcome
from src.system.addresses import mask_passwords
from src.system.files import replace_file
from src.tracking import CELL, PARENT, TrackedRun, Tracking
from src.tuning.studies import Owner, Watch
from src.tuning.tuning import OBJECTIVES, Chosen, Tuning, search_of

TRIAL = "trial"
"""The kind of the runs of trials; the run of their tuning is their parent."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def main(config: DictConfig) -> None:
    """Tune one cell."""
    attempt_cell(tune_cell, config)


def tune_cell(config: DictConfig, sweep: Sweep | None) -> None:
    """Choose parameters, predict by them, evaluate and track: a run like that of any cell, and a child per trial."""
    choices = HydraConfig.get().runtime.choices
    tracking: Tracking = build(config.tracking)
    cell = cell_name(config, choices, sweep)
    config.study = study_name(config, cell, str(choices["search"]), sweep)
    config.resume = sweep.resumed if sweep and config.resume is None else bool(config.resume)
    plan: Tune = build(config)
    name = (config.name if sweep is None else "") or f"{cell} tuned{'' if plan.nested else ', optimistic'}"
    tags = {DIGEST: config_digest(config), TUNED: plan.kind, STUDY: plan.study} | position_tags(sweep)
    old = earlier_runs(tracking, tags[DIGEST], tags[POINT], sweep) if sweep and sweep.resumed else []
    studies = Path(plan.workspace) / "studies"
    place = plan.storage or str(studies / f"{plan.study}.log")
    search = search_of(plan, plan, plan.method, place, process_owner())  # before any work
    with tracking.run(name, CELL, sweep.run if sweep else "", tags) as run:
        supersede_runs(tracking, old, run.id)
        log_configs(config, run)
        tell_idle(plan, sweep)
        watch = watch_trials(plan, tracking, run)
        tuning = Tuning(plan=plan, method=plan.method, search=search, work=studies / "work", watch=watch)
        try:
            evaluation, notes = fill_run(plan, name, run, tuning=tuning)
        except KeyboardInterrupt:
            say(f"study {plan.study} was ended early: the same command with resume=true goes on with it")
            raise
        assert tuning.chosen is not None, "it has predicted"
        keep_chosen(tuning.chosen, plan, studies, run, notes)
        adopt_trials(tuning.chosen, tracking, run)
    say(f"parameters in {studies / plan.study}.json; classifier=tuned classifier.study={plan.study} uses them")
    tell_outcome(evaluation, name, notes, run.id, sweep)


def study_name(config: DictConfig, cell: str, search: str, sweep: Sweep | None) -> str:
    """Return the name of the study: what is given, else the cell's and the search's; a sweep's cells have their own."""
    if config.study and not NAME.fullmatch(config.study):
        raise ValueError(f"`study` must be of letters, digits, '.', '_' and '-', but got study={config.study}")
    if config.study and sweep is None:
        return str(config.study)
    return slug(f"{config.study}_{cell}" if config.study else f"{cell}_{search}")


def log_configs(config: DictConfig, run: TrackedRun) -> None:
    """Write the configs, that of the cell and that of its tuning, and log both as parameters; no password is kept."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    own = {each.name for each in fields(Experiment)}
    cell = {key: value for key, value in values.items() if key in own}
    for name, content in (("config.yaml", cell), ("tune.yaml", values)):
        (run.folder / name).write_text(mask_passwords(OmegaConf.to_yaml(OmegaConf.create(content))))
    run.log(params=flatten_config(config) | chosen_options())


def watch_trials(plan: Tune, tracking: Tracking, run: TrackedRun) -> Watch:
    """Return what opens a child run for each trial."""

    @contextmanager
    def watch(name: str, values: Mapping[str, Any]) -> Iterator[Trial]:
        tags = {TUNED: plan.kind, STUDY: plan.study}
        with tracking.open(tracking.create(name, TRIAL, run.id, tags)) as opened:
            opened.log(params=values)
            yield Trial(opened, plan.objective)

    return watch


def process_owner() -> Owner:
    """Return the marks of this process, and what says whether that of others is gone."""
    from src.tracking.process_life import is_dead, process_marks

    return Owner(marks=process_marks(), gone=is_dead)


@dataclass
class Trial:
    """The tracked run of a trial."""

    run: TrackedRun
    objective: str

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    def point(self, step: int, of_fold: float, so_far: float) -> None:
        """Record the score of an inner fold, and that of all of them so far."""
        self.run.log_steps(f"{self.objective}_of_inner_fold", {step: of_fold})
        self.run.log_steps(self.objective, {step: so_far})

    def end(self, state: str) -> None:
        """Record how the trial ended."""
        self.run.log(tags={TRIAL: state})


def keep_chosen(chosen: Chosen, plan: Tune, studies: Path, run: TrackedRun, notes: list[str]) -> None:
    """Write what was chosen, for people and for `classifier=tuned`, and the tables and figures of each study."""
    from src.evaluation.study_figures import draw_studies

    studies.mkdir(parents=True, exist_ok=True)
    text = (json.dumps(chosen.record, indent=2) + "\n").encode()
    for path in (run.folder / "tuning.json", studies / f"{plan.study}.json"):
        replace_file(path, text)
    keys = list(next(iter(chosen.record["folds"].values()))["parameters"])
    note = "; ".join(note for note in notes if note.startswith("optimistic"))
    for name, trials in chosen.trials.items():
        folder = run.folder / "studies" / slug(name.split("/")[-1])
        folder.mkdir(parents=True)
        replace_file(folder / "trials.csv", trials.to_csv(index=False).encode())
        figures = draw_studies(trials, chosen.importance[name], keys, plan.objective, OBJECTIVES[plan.objective], note)
        for kind, figure in figures.items():
            save_figure(figure, folder / f"{kind}.png")


def adopt_trials(chosen: Chosen, tracking: Tracking, run: TrackedRun) -> None:
    """Make the trials' runs of a process that was killed children of this run."""
    found = {each.id: each for each in tracking.search({STUDY: chosen.record[STUDY]})}
    for trials in chosen.trials.values():
        for trial in trials["run"]:
            if trial in found and found[trial].parent != run.id:
                tracking.tag(trial, {PARENT: run.id})


if __name__ == "__main__":
    sweeping_command(main, "tune")
