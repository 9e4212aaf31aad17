"""How far predictions move when images are perturbed: `python -m src.stress --help`."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from src.cli.command import command, is_given
from src.cli.progress import TerminalProgress
from src.cli.robustness import show_robustness, write_robustness
from src.cli.terminal import say
from src.config import COPIES, Stress, build, flatten_config, rebuild_operator
from src.data.manifest import is_among
from src.images.perturb import PERTURBATIONS
from src.sweeps.fusion import read_predictions, read_table
from src.system.files import check_unwritten, check_writable
from src.system.next_commands import list_commands, next_command
from src.tracking import CELL, STRESS, STRESSED, RunRecord, TrackedRun

if TYPE_CHECKING:
    import pandas as pd

    from src.evaluation.robustness import Setting
    from src.models.held_out import HeldOut
    from src.storage.store import Store

LOOKED_AT = 8
"""Images of each model that are looked at for colours."""
UNLIKE = 1e-4
"""A probability that differs by less from the run's comes of the same model and image: of rounding."""


def main(config: DictConfig) -> None:
    """Stress models, track and show what came out, and write it where asked."""
    options: Stress = build(config)
    check_unwritten(options.overwrite, output=options.output)
    if options.output:
        check_writable(output=options.output)
    from src.storage.store import Store

    store = Store(options.store, Path(options.workspace) / COPIES)
    store.check()
    options.executor.check()
    options.tracking.bury()
    runs = find_runs(options)
    # Not the model's own name, which others are to find it by.
    name = options.name or f"stress of {runs[0].name if len(runs) == 1 else f'{len(runs)} models'}"
    with held_out_images(options, runs) as held:
        names = usable_perturbations(options, held)
        settings = [(each, float(level)) for each in names for level in getattr(options.levels, each)]
        tell_work(held, settings, store)
        with options.tracking.run(name, STRESS, tags={STRESSED: " ".join(run.id for run in runs)}) as tracked:
            tracked.log(params={key: value for key, value in flatten_config(config).items() if key != "overwrite"})
            table, notes = stress_models(options, held, settings, store, tracked)
            for each in runs[0].datasets:
                tracked.log_data(each)
    show_robustness(table, name, notes)
    if options.output:
        write_robustness(table, Path(options.output), notes)
        say(f"written to {options.output}")
    page = next_command("report", f"runs=[{','.join(run.id for run in runs)}]", "output=FILE.html")
    say(list_commands(f"{name} is run {tracked.id}", {"as one page": page}))


def find_runs(options: Stress) -> list[RunRecord]:
    """Return the runs whose models are asked; `ValueError` where one is given twice, or did not finish."""
    from src.tracking.model_registry import runs_of_model

    runs = [run for model in options.models for run in runs_of_model(options.tracking, model)]
    for run in runs:
        if run.kind != CELL or not run.finished:
            raise ValueError(f"{run.name} ({run.id}, {run.kind} {run.status}) has no model: finished runs have one")
        if Counter(each.id for each in runs)[run.id] > 1:
            raise ValueError(f"a model is stressed once, but {run.name} ({run.id}) is given twice")
    return runs


@contextmanager
def held_out_images(options: Stress, runs: list[RunRecord]) -> "Iterator[dict[str, HeldOut]]":
    """Give the models by name, each with the images that all of them held out, or as many as are asked for."""
    from src.evaluation.robustness import common_cases
    from src.models.held_out import choose_cases, hold_out
    from src.models.saved import load_all_fitted
    from src.tracking.model_registry import folder_of

    found = read_predictions(options.tracking, runs)
    common = common_cases(found)
    if left := set().union(*(table["case"] for table in found.values())) - set(common["case"]):
        say(f"{len(left)} cases are left out, as not all of these models held them out")
    chosen = choose_cases(common, options.images)
    with tempfile.TemporaryDirectory(prefix="tenfold-") as place:
        folders = [folder_of(options.tracking, run, Path(place)) for run in runs]
        held = {}
        for run, (name, table), member in zip(
            runs, found.items(), load_all_fitted(folders, rebuild_operator, options.weights), strict=True
        ):
            member.name = name
            member.run_on(options.workers, options.device, options.executor)
            member.check()
            recorded = table[is_among(table["case"], chosen)]
            root = Path(options.data.root or member.cell.data.root)
            manifest = read_table(options.tracking, run, "manifest.csv")
            held[name] = hold_out(member, recorded, manifest, root, TerminalProgress(after=1.0))
        yield held


def usable_perturbations(options: Stress, held: "Mapping[str, HeldOut]") -> list[str]:
    """Return the perturbations that are asked for; of grey images those that mean something.

    `ValueError` where others were named.
    """
    coloured = [name for name in options.perturbations if PERTURBATIONS[name].coloured]
    if not coloured or not all(one.grey(LOOKED_AT) for one in held.values()):
        return options.perturbations
    if is_given("perturbations"):
        shift = f"perturbations=[{','.join(coloured)}]"
        raise ValueError(f"{shift} shift colours, but the images of {next(iter(held))} are grey: leave them out")
    say(f"images are grey: without {', '.join(coloured)}, which shift colours")
    return [name for name in options.perturbations if name not in coloured]


def tell_work(held: "Mapping[str, HeldOut]", settings: "list[Setting]", store: "Store") -> None:
    """Say how much there is to do, before it is done."""
    from src.evaluation.robustness import UNCHANGED

    planned: set[tuple[str, str]] = set()
    crops = sum(one.crops([UNCHANGED, *settings], store, planned) for one in held.values())
    first = next(iter(held.values()))
    cases = first.recorded["case"].nunique()
    kinds = len({name for name, _ in settings})
    models = f"{len(held)} models" if len(held) > 1 else next(iter(held))
    say(f"{models}: {len(first.images)} images of {cases} cases, each predicted by models that have not seen it")
    say(f"as they are and at {len(settings)} levels of {kinds} perturbations: {crops:,} crops to encode")


def stress_models(
    options: Stress, held: "Mapping[str, HeldOut]", settings: "list[Setting]", store: "Store", tracked: TrackedRun
) -> "tuple[pd.DataFrame, list[str]]":
    """Predict, measure and keep; return the table and what its reader has to know."""
    import pandas as pd

    from src.evaluation.robustness import UNCHANGED, LevelScale, robustness_table

    answers: dict[str, dict[Setting, pd.DataFrame]] = {}
    notes = []
    total = sum(one.work for one in held.values()) * (1 + len(settings))
    with TerminalProgress().counting("perturbed images", total) as count:
        for name, one in held.items():
            unchanged = one.predict(UNCHANGED, store, count)
            notes += deviation_notes(name, one, unchanged)
            answers[name] = {UNCHANGED: unchanged} | {each: one.predict(each, store, count) for each in settings}
    kinds = dict.fromkeys(name for name, _ in settings)
    scales = {
        name: LevelScale(unit=PERTURBATIONS[name].unit, unchanged=PERTURBATIONS[name].unchanged) for name in kinds
    }
    table = robustness_table(answers, scales, options.replicates)
    kept = [
        part.assign(model=name, perturbation=setting[0], level=setting[1])
        for name, parts in answers.items()
        for setting, part in parts.items()
    ]
    pd.concat(kept, ignore_index=True).to_parquet(tracked.folder / "perturbed_predictions.parquet", index=False)
    write_robustness(table, tracked.folder, notes)
    return table, notes


def deviation_notes(name: str, one: "HeldOut", unchanged: "pd.DataFrame") -> list[str]:
    """Return a note where a model does not say of images as they are what its run recorded."""
    deviation = one.deviation(unchanged)
    if deviation <= UNLIKE:
        return []
    how = f"probabilities differ by up to {deviation:.2g}" if deviation <= 1 else "some images are not predicted"
    note = (
        f"{name} does not give its run's own figures on images as they are ({how}): libraries, device or weights are "
        "others than in the run"
    )
    say(f"note: {note}")
    return [note]


if __name__ == "__main__":
    command(main, "stress")
