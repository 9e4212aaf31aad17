"""Which tracked runs the optimism ledger holds against each other, and the command that would make one it lacks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf

from src.cell import IDLE, Cell
from src.classifiers.tuned import FLAGGED, NESTED
from src.config import USUAL_INNER_FOLDS, flatten_config
from src.sweeps.fusion import BY_IMAGE, leaks_patients, read_inner
from src.system.next_commands import HERE, next_command, override
from src.tracking import CELL, FINISHED, KIND, RunRecord, Tracking

if TYPE_CHECKING:
    import pandas as pd

    from src.evaluation.optimism_ledger import LedgerEntry

COUNTERPART = {
    "kfold": "image_kfold",
    "holdout": "image_holdout",
    "image_kfold": "kfold",
    "image_holdout": "holdout",
}
"""The protocol that differs in nothing but whether it keeps a patient's images together."""
MADE = ("method", *(each.name for each in fields(Cell) if each.name != "protocol"))
"""The groups and keys that make predictions, but for the protocol."""
OTHERS = {"frozen": ("finetune",), "finetune": ("augment", "pool", "classifier")}
"""Those of them that make none by a method."""
ELSEWHERE = ("data.root",)
"""What of the rest a command has to say to find the data; where runs are, it is told by `src.system.next_commands`."""
INNER = f"inner_folds={USUAL_INNER_FOLDS}"
TRIALS = ("search", "trials", "inner_folds", "objective", "sampler", "pruner")
"""The groups and keys that say how parameters are chosen."""


@dataclass(kw_only=True)
class Ledger:
    """Makes the ledger's entries from tracked runs."""

    tracking: Tracking
    replicates: int = 1000
    told: set[frozenset[str]] = field(default_factory=set)
    """The pairs of runs that have an entry."""
    cells: dict[str, list[RunRecord]] = field(default_factory=dict)
    """The finished cells by the digest of their data, the newest first."""

    def entries(self, runs: Mapping[str, RunRecord], tables: "Mapping[str, pd.DataFrame]") -> "Iterator[LedgerEntry]":
        """Yield the entries on runs of the same cases and folds, from their predictions, both by name."""
        from src.evaluation.optimism_ledger import best_seed

        for name, run in runs.items():
            yield from self.by_image(name, run, tables[name])
        for name, table in tables.items():
            yield best_seed(name, table, self.replicates)
        if len(tables) > 1:
            yield self.best_run(runs, tables)
        for name, run in runs.items():
            if run.tuned:
                yield from self.tuned(name, run)

    def best_run(self, runs: Mapping[str, RunRecord], tables: "Mapping[str, pd.DataFrame]") -> "LedgerEntry":
        """Return what the best of the runs claims, beside runs that were chosen by inner folds."""
        from src.evaluation.optimism_ledger import best_cell

        inner = read_inner(self.tracking, runs)
        return best_cell(tables, inner, self.way_to_inner(list(runs.values())), self.replicates)

    def way_to_inner(self, runs: list[RunRecord]) -> str:
        """Return the command that makes runs with inner folds; empty where all have them."""
        lacking = [run for run in runs if not run.inner_folds]
        if not lacking:
            return ""
        sweeps = {run.parent for run in runs}
        sweep = self.tracking.by_id(sweeps.pop()) if len(sweeps) == 1 and "" not in sweeps else None
        if sweep and sweep.command:
            return f"; to make them: {sweep.command} {INNER}"
        return f"; to make them: {remake_command(lacking[0], INNER)}" + (", and so on" if len(lacking) > 1 else "")

    def by_image(self, name: str, run: RunRecord, table: "pd.DataFrame") -> "Iterator[LedgerEntry]":
        """Yield what the same run claims with folds by image."""
        from src.evaluation.optimism_ledger import IMAGE_LEVEL, LedgerEntry

        other = self.counterpart(run)
        if not (table["patient"] != "").any():
            yield LedgerEntry(
                practice=IMAGE_LEVEL, model=name, note="patients are not known: every protocol is by image"
            )
        elif other is not None:
            note = f"{other.protocol}: run {other.id[:8]}"
            yield from self.held(IMAGE_LEVEL, name, run, other, run.protocol in BY_IMAGE or leaks_patients(run), note)
        else:
            made = remake_command(run, f"protocol={opposite_protocol(run)}")
            yield LedgerEntry(practice=IMAGE_LEVEL, model=name, note=f"no such run yet; to make it: {made}")

    def tuned(self, name: str, run: RunRecord) -> "Iterator[LedgerEntry]":
        """Yield what tuning on the reported folds claims beside tuning in the training part of each."""
        from src.evaluation.optimism_ledger import TUNED as PRACTICE
        from src.evaluation.optimism_ledger import LedgerEntry

        nested = run.tuned == NESTED
        other = self.other_tuning(run, FLAGGED if nested else NESTED)
        if other is not None:
            note = f"{other.tuned}: study {other.study}, run {other.id[:8]}"
            yield from self.held(PRACTICE, name, run, other, not nested, note)
        else:
            made = remake_command(run, f"nested={str(not nested).lower()}")
            yield LedgerEntry(practice=PRACTICE, model=name, note=f"no such run yet; to make it: {made}")

    def held(
        self, practice: str, name: str, run: RunRecord, other: RunRecord, claims: bool, note: str
    ) -> "Iterator[LedgerEntry]":
        """Yield the entry on two runs, the first of which `claims` or is the honest one, unless it was told before."""
        from src.evaluation.optimism_ledger import compare_claim

        pair = frozenset([run.id, other.id])
        if pair in self.told:
            return
        self.told.add(pair)
        claimed, honest = map(self.tracking.predictions, (run, other) if claims else (other, run))
        yield compare_claim(practice, name, claimed, honest, note, self.replicates)

    def counterpart(self, run: RunRecord) -> RunRecord | None:
        """Return the newest run that is the same but for whether its protocol keeps patients together."""
        found = [
            other
            for other in self.of_same_data(run)
            if other.protocol == opposite_protocol(run)
            and other.tuned == run.tuned
            and making_params(other) == making_params(run)
            and agree_on(run.params, other.params, ("protocol.folds", "protocol.fraction", "protocol.repeats"))
        ]
        # Of the same draw of folds if there is one.
        return max(found, key=lambda other: agree_on(run.params, other.params, ("protocol.seed",)), default=None)

    def other_tuning(self, run: RunRecord, kind: str) -> RunRecord | None:
        """Return the newest run of the same cases and folds that was tuned the other way, of the same study if any."""
        found = [
            other
            for other in self.of_same_data(run)
            if other.tuned == kind
            and other.splits == run.splits
            and (making_params(other) == making_params(run) or other.study == run.study)
        ]
        return max(found, key=lambda other: tuning_likeness(run, other), default=None)

    def of_same_data(self, run: RunRecord) -> list[RunRecord]:
        """Return the finished cells on the data of a run, the newest first."""
        if run.data not in self.cells:
            self.cells[run.data] = self.tracking.search({KIND: CELL, "data": run.data}, FINISHED)[::-1]
        return self.cells[run.data]


def opposite_protocol(run: RunRecord) -> str:
    """Return the protocol that differs from a run's in nothing but whether it keeps a patient's images together."""
    leaking = run.protocol not in COUNTERPART and leaks_patients(run)
    return "kfold" if leaking else COUNTERPART.get(run.protocol, "image_kfold")


def making_params(run: RunRecord) -> dict[str, str]:
    """Return what made a run's predictions, but for the protocol: its parameters by key."""
    return {key: value for key, value in run.params.items() if makes_predictions(key, run.method)}


def makes_predictions(key: str, method: str) -> bool:
    """Return whether a key makes predictions by a method."""
    group = key.split(".")[0]
    return group in MADE and group not in OTHERS.get(method, ()) and key not in IDLE


def agree_on(one: Mapping[str, str], other: Mapping[str, str], keys: Sequence[str]) -> bool:
    """Return whether two runs have the same values of the keys that both have."""
    return all(one[key] == other[key] for key in keys if key in one and key in other)


def tuning_likeness(run: RunRecord, other: RunRecord) -> tuple[bool, bool]:
    """Return whether parameters of two runs were chosen in one study, and whether in the same way."""
    keys = [key for key in run.params if key.split(".")[0] in TRIALS]
    return other.study == run.study, agree_on(run.params, other.params, keys)


def remake_command(run: RunRecord, change: str) -> str:
    """Return the command that makes a run again but for one override, from its parameters."""
    program = "tune" if run.tuned else "run"
    try:
        overrides = overrides_of(run.params, program, change)
    except HydraException:  # made by options that are gone
        return f"{next_command(program, change)} and the run's other values"
    # A study of the same name would go on with the trials of this one.
    study = [f"study={run.study or 'study'}_{change.replace('=', '_')}"] if program == "tune" else []
    return next_command(program, *overrides, *study)


def overrides_of(params: Mapping[str, str], program: str, change: str) -> list[str]:
    """Return the overrides of a command that lead to a run's parameters, but for one that differs."""
    config, changed = ("tune" if program == "tune" else "config"), change.split("=")[0]
    usual = default_options(config)
    method = params.get("method", "")
    idle = OTHERS.get(method, ())
    named = [key for key in (*MADE, *TRIALS, "protocol") if key in usual and key not in (changed, *idle)]
    given = [change, *(override(key, params[key]) for key in named if params.get(key, usual[key]) != usual[key])]
    ours = compose(config, [*HERE.overrides, *given])
    if lacking := sorted(OmegaConf.missing_keys(ours)):
        given += [override(key, params[key]) for key in lacking]
        ours = compose(config, [*HERE.overrides, *given])
    values = flatten_config(ours)
    keys = [key for key in params if is_remade(key, method) and key in values and key not in usual]
    return given + [override(key, params[key]) for key in keys if params[key] != str(values[key])]


@cache
def default_options(config: str) -> dict[str, str]:
    """Return the options of a command's groups unless others are given."""
    return dict(compose(config, return_hydra_config=True).hydra.runtime.choices)


def is_remade(key: str, method: str) -> bool:
    """Return whether a command has to say a key to make a run of a method again."""
    return makes_predictions(key, method) or key in ELSEWHERE or key.split(".")[0] in ("protocol", *TRIALS)
