"""Optuna's studies: kept as they go, continued where they were left, and the same trials from the same seed."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from src.system.addresses import mask_passwords
from src.system.random_draws import keyed_generator
from src.tuning.search_space import Space, Values

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

log = logging.getLogger(__name__)

SAMPLERS, PRUNERS = ("tpe", "random"), ("median", "none")
STARTUP = 5
"""Trials that are not pruned, so that there is a median to compare others with."""
ASKED, OWNER, TAKEN, SECONDS, RUN, ERROR = "asked", "owner", "taken", "seconds", "run", "error"
"""What studies and trials hold of ours: all that determines a study; a trial's process, when that took it (seconds
since 1970), how long it took, its tracked run, its error."""
PATIENCE = 10.0
"""A trial of another machine that takes so many times as long as the longest one is taken for lost."""
LEAST = 60.0
"""But not before so many seconds."""


class Watched(Protocol):
    """The tracked run of a trial."""

    @property
    def id(self) -> str:
        """The run's id."""

    def point(self, step: int, of_fold: float, so_far: float) -> None:
        """Record the score of an inner fold, and that of all of them so far."""

    def end(self, state: str) -> None:
        """Record how the trial ended: `complete` or `pruned`."""


class Watch(Protocol):
    """Opens the tracked run of a trial."""

    def __call__(self, name: str, values: Values) -> AbstractContextManager[Watched]:
        """Open the run of a name, for a trial of these values."""


def never_gone(marks: Mapping[str, str]) -> bool:
    """Return that no process is known to be gone."""
    return False


@dataclass(kw_only=True)
class Owner:
    """The process that runs trials: its marks, and whether the process of other marks of this machine is gone."""

    marks: Mapping[str, str] = field(default_factory=dict)
    gone: Callable[[Mapping[str, str]], bool] = never_gone

    def lost(self, marks: Mapping[str, str]) -> bool:
        """Return whether a trial's process is known to be gone; of other machines nothing is known."""
        return marks.get("machine") == self.marks.get("machine") and self.gone(marks)


class Steps(Protocol):
    """What a trial does."""

    def __call__(self, values: Values, place: str) -> Iterator[tuple[float, float]]:
        """Yield, after each inner fold, its score and that of all the folds so far; `place` is the trial's own name."""

    def forget(self, place: str) -> None:
        """Delete what was kept of a trial while it was not finished."""


@dataclass(kw_only=True)
class Search:
    """The studies of one search: what they vary, how they draw, and where they are kept.

    Each trial has a sampler of its own, seeded by the study's name and the trial's number: what it draws depends on
    the trials before it, and not on which process ran them.
    """

    name: str
    storage: "BaseStorage"
    space: Space
    trials: int
    minimize: bool
    sampler: str = "tpe"
    pruner: str = "median"
    seed: int = 0
    n_jobs: int = 1
    owner: Owner = field(default_factory=Owner)

    def found(self) -> list[str]:
        """Return the names of the studies of this search that exist."""
        import optuna

        return sorted(name for name in optuna.get_all_study_names(self.storage) if name.split("/")[0] == self.name)

    def refuse(self) -> None:
        """Raise `ValueError` where the studies exist."""
        if found := self.found():
            raise ValueError(
                f"there is a study {self.name} with {sum(map(self.finished, found))} finished trials: resume=true goes "
                "on with it, study=NAME begins another"
            )

    def begin(self, names: list[str], asked: Mapping[str, Any]) -> None:
        """Make the studies, with their trials waiting; or go on with those that exist.

        `asked` is what determines them beside their names; `ValueError` where they were asked something else before.
        """
        found = self.found()
        for name in found:
            self.agree(name, asked)
        for name in names:
            study = self.study(name) if name in found else self.create(name, asked)
            for _ in range(len(self.existing(name)), self.trials):
                study.enqueue_trial({})

    def create(self, name: str, asked: Mapping[str, Any]) -> "Study":
        """Return a new study, or that which another process has made meanwhile."""
        import optuna
        from optuna.study import StudyDirection

        direction = StudyDirection.MINIMIZE if self.minimize else StudyDirection.MAXIMIZE
        study = optuna.create_study(storage=self.storage, study_name=name, direction=direction, load_if_exists=True)
        self.agree(name, asked)
        return study

    def agree(self, name: str, asked: Mapping[str, Any]) -> None:
        """Raise `ValueError` where a study was asked something else; one that is just being made was asked nothing."""
        study = self.study(name)
        if ASKED not in study.user_attrs:
            study.set_user_attr(ASKED, dict(asked))
        check_same_question(self.name, study.user_attrs[ASKED], asked)

    def existing(self, name: str, *states: "TrialState") -> "list[FrozenTrial]":
        """Return a study's trials of these states, or of all. Two processes that begin at once may enqueue too many."""
        trials = self.study(name).get_trials(deepcopy=False, states=states or None)
        return [trial for trial in trials if trial.number < self.trials]

    def study(self, name: str, number: int = 0) -> "Study":
        """Return a study as a trial of this number sees it."""
        import optuna

        sampler = make_sampler(self.sampler, int(keyed_generator(self.seed, name, number, "trial").integers(2**32)))
        return optuna.load_study(
            storage=self.storage, study_name=name, sampler=sampler, pruner=make_pruner(self.pruner)
        )

    def finished(self, name: str) -> int:
        """Return how many trials of a study are finished."""
        return sum(trial.state.is_finished() for trial in self.existing(name))

    def run(self, name: str, steps: Steps, watch: Watch) -> Iterator[int]:
        """Run the trials of a study that wait, and those that a dead process left; yield the numbers of those done."""
        from joblib import Parallel, delayed

        lock = threading.Lock()
        left = [trial for trial in self.running(name) if self.owner.lost(trial.user_attrs.get(OWNER, {}))]

        def one(_: int) -> int | None:
            with lock:  # one after the other: two threads must not take the same trial
                trial = self.take(name, left)
            return None if trial is None else self.attempt(name, trial, steps, watch)

        count = self.trials - self.finished(name)
        numbers = Parallel(self.n_jobs, prefer="threads", return_as="generator_unordered", pre_dispatch="n_jobs")(
            delayed(one)(each) for each in range(count)
        )
        yield from (number for number in numbers if number is not None)

    def take(self, name: str, left: "list[FrozenTrial]") -> "Trial | None":
        """Return a trial that a dead process left, or else the next one that waits; none where there is none."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import Trial, TrialState

        # Not `Study.ask`: where none waits it makes one more, and its sampler is not that of the trial's number. Nor
        # Optuna's heartbeats: a journal has none, and the retry of a trial gets another number and with it other draws.
        study_id = self.storage.get_study_id_from_name(name)
        for trial in [*left, *self.existing(name, TrialState.WAITING)]:
            trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            with suppress(UpdateFinishedTrialError):
                if trial in left or self.storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    left[:] = [each for each in left if each.number != trial.number]
                    taken = Trial(self.study(name, trial.number), trial_id)
                    taken.set_user_attr(TAKEN, time.time())
                    taken.set_user_attr(OWNER, dict(self.owner.marks))
                    return taken
        return None

    def attempt(self, name: str, trial: "Trial", steps: Steps, watch: Watch) -> int:
        """Run one trial to its end. One that fails is told so with its error, and does not end the study."""
        from optuna.trial import TrialState

        study, place = self.study(name, trial.number), f"{name}/{trial.number:03d}"
        value, state, begun = float("nan"), TrialState.FAIL, time.time()
        try:
            values = self.space.suggest(trial)
            with watch(f"{name.split('/')[-1]} trial {trial.number:03d}", values) as watched:
                trial.set_user_attr(RUN, watched.id)
                state, value = evaluate_trial(trial, steps(values, place), watched)
                watched.end(state.name.lower())
        except Exception as error:  # whatever a library has against these values: the run holds the traceback
            record_attribute(trial, ERROR, f"{error}" or repr(error))
        record_attribute(trial, SECONDS, time.time() - begun)
        told = value if state == TrialState.COMPLETE else None
        study.tell(trial.number, told, state, skip_if_finished=True)
        steps.forget(place)
        return trial.number

    def running(self, name: str) -> "list[FrozenTrial]":
        """Return the trials of a study that some process runs, or ran when it died."""
        from optuna.trial import TrialState

        return self.existing(name, TrialState.RUNNING)

    def settle(self, name: str, steps: Steps, watch: Watch, pause: float = 1.0) -> None:
        """Wait for the trials that other processes run; those that are lost are run here."""
        said = False
        while running := self.running(name):
            lost = [trial for trial in running if self.overdue(name, trial)]
            for trial in lost:
                taken = self.take(name, [trial])
                if taken is not None:  # else another process has taken and ended it
                    self.attempt(name, taken, steps, watch)
            if not lost:
                hosts = sorted({str(trial.user_attrs.get(OWNER, {}).get("host")) for trial in running})
                if not said:
                    log.info("%s: waiting for %d trials on %s", name, len(running), ", ".join(hosts))
                said = True
                time.sleep(pause)

    def overdue(self, name: str, trial: "FrozenTrial") -> bool:
        """Return whether nobody runs a trial any more, as far as can be known."""
        marks = trial.user_attrs.get(OWNER, {})
        if marks.get("machine") == self.owner.marks.get("machine"):
            return self.owner.lost(marks)
        took = [each.user_attrs[SECONDS] for each in self.existing(name) if SECONDS in each.user_attrs]
        taken = trial.user_attrs.get(TAKEN, time.time())
        return bool(time.time() - taken > max(LEAST, PATIENCE * max(took, default=float("inf"))))

    def best(self, name: str) -> "FrozenTrial":
        """Return the best finished trial of a study, the first of equals; `ValueError` where every one failed."""
        from optuna.trial import TrialState

        trials = self.existing(name)
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        if not complete:
            first = next((trial.user_attrs[ERROR] for trial in trials if ERROR in trial.user_attrs), "all were pruned")
            raise ValueError(f"no trial of study {name} came to its end; the first one: {first}")
        sign = 1 if self.minimize else -1
        return min(complete, key=lambda trial: (sign * float(trial.value or 0), trial.number))

    def table(self, name: str) -> pd.DataFrame:
        """Return a row per trial: `trial, state, value, inner_folds, seconds, run, error` and the values by key."""
        rows = [describe_trial(trial, self.space.keys) for trial in self.existing(name)]
        return pd.DataFrame(rows)

    def importance(self, name: str) -> dict[str, float]:
        """Return the share of each parameter in what makes a trial good (PED-ANOVA); empty where it is not known."""
        import optuna
        from optuna.trial import TrialState

        study = self.study(name)
        complete = self.existing(name, TrialState.COMPLETE)
        varied = [key for key in self.space.keys if len({str(trial.params.get(key)) for trial in complete}) > 1]
        if len({trial.value for trial in complete}) < 4 or len(varied) < 2:
            return {}
        return optuna.importance.get_param_importances(study, params=varied)


def record_attribute(trial: "Trial", name: str, value: Any) -> None:
    """Record something of a trial, unless another process, which took it for lost, has finished it."""
    from optuna.exceptions import UpdateFinishedTrialError

    with suppress(UpdateFinishedTrialError):
        trial.set_user_attr(name, value)


def evaluate_trial(trial: "Trial", steps: Iterator[tuple[float, float]], watched: Watched) -> Any:
    """Return the state and the value that a trial ends with, pruned after an inner fold or complete."""
    from optuna.trial import TrialState

    # A trial that goes on after a kill has reported some of its folds already.
    known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    value = float("nan")
    for step, (of_fold, value) in enumerate(steps, start=1):
        watched.point(step, of_fold, value)
        if step not in known and not math.isnan(value):  # Optuna prunes what is not a number
            trial.report(value, step)
        if trial.should_prune():
            return TrialState.PRUNED, value
    return TrialState.COMPLETE, value


def describe_trial(trial: "FrozenTrial", keys: list[str]) -> dict[str, Any]:
    """Return a trial as the row of a table."""
    steps = trial.intermediate_values
    own = {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value if trial.value is not None else steps.get(max(steps, default=0)),
        "inner_folds": len(steps),
        "seconds": trial.user_attrs.get(SECONDS),
        "run": trial.user_attrs.get(RUN, ""),
        "error": trial.user_attrs.get(ERROR, ""),
    }
    return own | {key: trial.params.get(key) for key in keys}


def check_same_question(name: str, before: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise `ValueError` where a study was asked something else before; say what differs."""
    differ = [key for key in {**asked, **before} if before.get(key) != asked.get(key)]
    if differ:
        told = "; ".join(f"{key} was {before.get(key)} and is {asked.get(key)}" for key in differ[:3])
        raise ValueError(f"study {name} was made otherwise, and cannot go on: {told}. study=NAME begins another")


def make_sampler(sampler: str, seed: int) -> "BaseSampler":
    """Return what draws the values of one trial."""
    from optuna.samplers import RandomSampler, TPESampler

    return TPESampler(seed=seed) if sampler == "tpe" else RandomSampler(seed=seed)


def make_pruner(pruner: str) -> "BasePruner":
    """Return what ends a trial that is worse, after an inner fold, than the median of those before it."""
    from optuna.pruners import MedianPruner, NopPruner

    return MedianPruner(n_startup_trials=STARTUP) if pruner == "median" else NopPruner()


def open_storage(place: str) -> "BaseStorage":
    """Return where studies are kept: a database of this address, or else Optuna's journal in a file of this path."""
    import optuna
    from filelock import FileLock
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if "://" in place:
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError

        try:
            return RDBStorage(place)
        except (ArgumentError, SQLAlchemyError, ImportError) as error:
            raise ValueError(
                f"the database storage={mask_passwords(place)} cannot be used: {str(error).splitlines()[0]}"
            ) from None
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock: Any = FileLock(path.with_suffix(".lock"))  # of Optuna's own, that of a killed process is waited for
    with lock:
        mend_journal(path)
    return JournalStorage(JournalFileBackend(str(path), lock))


def mend_journal(path: Path) -> None:
    """Take away the half line that a full disk may have left at the end of a journal."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
