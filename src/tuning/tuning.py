"""Parameters chosen on data: in each fold's training part (nested), or on the held-out folds themselves (flagged)."""

import json
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.cell import Cell
from src.classifiers.tuned import FLAGGED, NESTED, STUDY, TUNED, optimistic_note
from src.data.splits import FIT, assign_roles
from src.evaluation.metrics import METRICS, label_numbers
from src.evaluation.predictions import average_by_case, probability_columns
from src.methods.finetune.finetune import EPOCHS
from src.methods.inner_folds import split_training_part
from src.methods.method import CellTask, Method, Outcome
from src.recipes import data_digest, splits_digest, study_recipe
from src.system.checks import at_least, one_of
from src.tuning.learners import Learner, learner_of
from src.tuning.search_space import Values, apply_values, parse_space
from src.tuning.studies import PRUNERS, SAMPLERS, Owner, Search, Watch, open_storage

log = logging.getLogger(__name__)

OBJECTIVES = {"log_loss": True, "brier": True, "accuracy": False, "balanced_accuracy": False, "auc": False}
"""By what parameters may be chosen, and whether less is better."""
TUNING = "tuning"
"""The role of cases by which parameters were chosen; they have another role besides."""


@dataclass(kw_only=True)
class Plan:
    """How parameters are chosen.

    - `search`: what is varied (`src.tuning.search_space`); `trials`: how often, in each study.
    - `nested`: a study in each outer fold, on its training part, which is split into `inner_folds` of whole patients.
      Otherwise one study on the held-out parts of the outer folds, whose figures are optimistic for that.
    - `objective`: the metric of all the cases that the folds held out, by which the best trial is chosen.
    - `pruner`: whether a trial ends after a fold where it is worse than the median of others (`median`, `none`).
    - `n_jobs`: trials at the same time; with 1 the same seed gives the same trials.
    """

    search: dict[str, Any] = field(default_factory=dict)
    study: str = ""
    trials: int = 50
    nested: bool = True
    inner_folds: int = 3
    objective: str = "log_loss"
    sampler: str = "tpe"
    pruner: str = "median"
    n_jobs: int = 1
    resume: bool | None = None

    def __post_init__(self) -> None:
        """Check the parameters."""
        one_of(OBJECTIVES, objective=self.objective)
        one_of(SAMPLERS, sampler=self.sampler)
        one_of(PRUNERS, pruner=self.pruner)
        at_least(1, trials=self.trials, n_jobs=self.n_jobs)
        at_least(2, inner_folds=self.inner_folds)

    @property
    def kind(self) -> str:
        """Whether figures are to be trusted."""
        return NESTED if self.nested else FLAGGED

    @property
    def asked(self) -> dict[str, Any]:
        """What of it determines a study, besides the folds."""
        chosen = {name: getattr(self, name) for name in ("nested", "objective", "sampler", "pruner")}
        return chosen | {"search": json.dumps(self.search, sort_keys=True)}


@dataclass
class Question:
    """What a trial asks: how well a cell with its values predicts the folds of `splits`, one after the other."""

    learner: Learner
    cell: Cell
    splits: pd.DataFrame
    objective: str

    @cached_property
    def parts(self) -> list[pd.DataFrame]:
        """What the learner takes, by fold."""
        return [self.learner.part(self.cell, self.splits, fold) for fold in folds_of(self.splits)]

    def __call__(self, values: Values, place: str) -> Iterator[tuple[float, float]]:
        """Yield the score of a fold and that of all folds so far; what is kept of the trial is called `place`."""
        cell = apply_values(self.cell, values)
        tables: list[pd.DataFrame] = []
        for part in self.parts:
            tables.append(by_case(self.learner.trial(cell, part, place)))
            yield score_cases(self.objective, tables[-1]), score_cases(self.objective, pd.concat(tables))

    def forget(self, place: str) -> None:
        """Delete what was kept of a trial."""
        self.learner.forget(place)


@dataclass
class Choice:
    """The parameters of a fold: those of the best trial of its study."""

    study: str
    trial: int
    value: float
    values: Values
    cell: Cell


@dataclass
class Chosen:
    """What was chosen.

    record
        All that is to be known to use it again (`src.classifiers.tuned`), as JSON values.
    trials
        A row per trial (`src.tuning.studies.Search.table`), by study.
    importance
        The share of each parameter in what makes a trial good, by study; empty where it is not known.
    """

    record: dict[str, Any]
    trials: dict[str, pd.DataFrame]
    importance: dict[str, dict[str, float]]


@dataclass(kw_only=True)
class Tuning:
    """A method whose parameters are chosen: `predict` is that of a `Method`, and leaves in `chosen` what it chose.

    `search` is that of `search_of`, `work` a folder for what trials train; `watch` opens the tracked run of a trial.
    """

    plan: Plan
    method: Method
    search: Search
    work: Path
    watch: Watch
    chosen: Chosen | None = None

    def predict(self, task: CellTask, splits: pd.DataFrame) -> Outcome:
        """Predict every held-out sample, by the parameters that its fold's study chose."""
        learner = self.learner(task, splits)
        outcome, self.chosen = run_studies(self.plan, self.search, learner, task, splits, self.watch)
        return outcome

    def learner(self, task: CellTask, splits: pd.DataFrame) -> Learner:
        """Return what learns with the parameters of a trial, with all done that does not depend on them."""
        method = self.method.method_for(task.cell.encoder)
        if "classifier" in method.varied:  # before any work
            patients = task.cell.training_patients
            task.cell.classifier.check(splits_digest(splits), data_digest(task.manifest), patients)
        return learner_of(method, task, self.work)


def search_of(plan: Plan, cell: Cell, method: Method, place: str, owner: Owner) -> Search:
    """Return what keeps and runs the studies of a plan; `ValueError` where they cannot be, before any work.

    `place` is where they are kept (`src.tuning.studies.open_storage`).
    """
    cell.classifier.check_tunable()
    method = method.method_for(cell.encoder)
    if plan.n_jobs > 1 and method.trains:
        raise ValueError(
            f"n_jobs={plan.n_jobs}, but networks are trained one after the other here: take n_jobs=1, and start "
            "the same command with resume=true on other machines, with storage= the address of a database"
        )
    search = Search(
        name=plan.study,
        space=parse_space(plan.search, cell, method.varied),
        storage=open_storage(place),
        trials=plan.trials,
        minimize=OBJECTIVES[plan.objective],
        sampler=plan.sampler,
        pruner=plan.pruner,
        seed=cell.seed,
        n_jobs=plan.n_jobs,
        owner=owner,
    )
    if not plan.resume:
        search.refuse()
    return search


def run_studies(
    plan: Plan, search: Search, learner: Learner, task: CellTask, splits: pd.DataFrame, watch: Watch
) -> tuple[Outcome, Chosen]:
    """Run a plan's studies, and return the outer predictions by what was chosen, and what that is."""
    cell = task.cell
    questions = ask_nested(plan, learner, task, splits) if plan.nested else ask_flagged(plan, learner, cell, splits)
    inner_folds = plan.inner_folds if plan.nested else 0
    asked = study_recipe(cell, plan.asked, inner_folds, learner.operators, learner.recipe, task.manifest, splits)
    search.begin(list(questions), asked)
    for name, question in questions.items():
        left = plan.trials - search.finished(name)
        if left > 0:
            title = f"trials of {name.split('/')[-1]}"
            deque(task.progress.track(search.run(name, question, watch), title, left), maxlen=0)
    choices = {}
    for fold in folds_of(splits):
        name = study_name(plan, fold)
        search.settle(name, questions[name], watch)
        choices[fold] = choose_parameters(search, name, cell)
    tell_choices(plan, choices)
    outcomes = [learner.learn(choice.cell, learner.part(cell, splits, fold)) for fold, choice in choices.items()]
    chosen = Chosen(
        record=asked_and_chosen(plan, asked, choices),
        trials={name: search.table(name) for name in questions},
        importance={name: search.importance(name) for name in questions},
    )
    used = {fold: questions[study_name(plan, fold)].splits for fold in choices}
    return join_outcomes(plan, outcomes, choices, used, chosen), chosen


def ask_nested(plan: Plan, learner: Learner, task: CellTask, splits: pd.DataFrame) -> dict[str, Question]:
    """Return what the study of each outer fold asks: its training part is all that it knows."""
    cell = task.cell
    part = assign_roles(task.manifest, splits, cell.training_patients, seed=cell.seed)
    questions = {}
    for fold in folds_of(splits):
        known = set(part["case"][(part["fold"] == fold) & (part["role"] == FIT)])
        rows = learner.rows[learner.rows["case"].isin(known)]
        # The patients were chosen: all of those that are left are learnt from.
        question = Question(
            learner,
            replace(cell, training_patients=0),
            split_training_part(rows, plan.inner_folds, cell.seed, fold),
            plan.objective,
        )
        questions[study_name(plan, fold)] = question
    return questions


def ask_flagged(plan: Plan, learner: Learner, cell: Cell, splits: pd.DataFrame) -> dict[str, Question]:
    """Return what the one study of all outer folds asks: how well their held-out parts are predicted."""
    return {study_name(plan, 0): Question(learner, cell, splits, plan.objective)}


def study_name(plan: Plan, fold: int) -> str:
    """Return the name of a fold's study; of the one of all folds, where tuning is not nested."""
    return f"{plan.study}/fold{fold:02d}" if plan.nested else f"{plan.study}/all folds"


def folds_of(splits: pd.DataFrame) -> list[int]:
    """Return the folds that are held out."""
    return sorted({int(fold) for fold in splits["fold"]} - {0})


def by_case(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return a row per case, averaged over views and seeds as in an evaluation."""
    if predictions["case"].is_unique:
        return predictions
    return average_by_case(predictions.assign(model=""))


def score_cases(objective: str, cases: pd.DataFrame) -> float:
    """Return a metric of cases."""
    probabilities = cases[probability_columns(cases)].to_numpy(dtype=np.float64)
    return float(METRICS[objective](probabilities, label_numbers(cases), np.ones((1, len(cases))))[0])


def choose_parameters(search: Search, name: str, cell: Cell) -> Choice:
    """Return the parameters of the best trial of a study."""
    best = search.best(name)
    values = search.space.values(best.params)
    return Choice(name, best.number, float(best.value or 0), values, apply_values(cell, values))


def tell_choices(plan: Plan, choices: Mapping[int, Choice]) -> None:
    """Say what was chosen."""
    for choice in {choice.study: choice for choice in choices.values()}.values():
        values = " ".join(f"{key}={format_value(value)}" for key, value in choice.values.items())
        log.info("%s: %s %.4f in trial %d, %s", choice.study, plan.objective, choice.value, choice.trial, values)


def format_value(value: Any) -> str:
    """Return a value as short text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def asked_and_chosen(plan: Plan, asked: Mapping[str, str], choices: Mapping[int, Choice]) -> dict[str, Any]:
    """Return what was chosen with all that is to be known to use it again, as JSON values."""
    folds = {
        str(fold): {
            STUDY: choice.study,
            "trial": choice.trial,
            plan.objective: choice.value,
            "parameters": choice.values,
            "classifier": {"operator": type(choice.cell.classifier).__name__, **asdict(choice.cell.classifier)},
        }
        for fold, choice in choices.items()
    }
    return {STUDY: plan.study, TUNED: plan.kind, "trials": plan.trials, **asked, "folds": folds}


def join_outcomes(
    plan: Plan,
    outcomes: list[Outcome],
    choices: Mapping[int, Choice],
    used: Mapping[int, pd.DataFrame],
    chosen: Chosen,
) -> Outcome:
    """Return the outcomes of the folds as one; `used` are the cases by which each one's parameters were chosen."""
    touched = [pd.DataFrame({"case": splits["case"], "fold": fold, "role": TUNING}) for fold, splits in used.items()]
    states = pd.concat(chosen.trials.values())["state"]
    facts: dict[str, str | int] = {TUNED: plan.kind, STUDY: plan.study, "trials": len(states)}
    if EPOCHS in outcomes[0].facts:
        facts[EPOCHS] = sum(int(outcome.facts[EPOCHS]) for outcome in outcomes)
    return Outcome(
        predictions=pd.concat([outcome.predictions for outcome in outcomes], ignore_index=True),
        models={name: model for outcome in outcomes for name, model in outcome.models.items()},
        roles=pd.concat([*(outcome.roles for outcome in outcomes), *touched], ignore_index=True),
        bad=outcomes[0].bad,
        facts=outcomes[0].facts | facts | {f"{state}_trials": int((states == state).sum()) for state in STATES},
        notes=list(dict.fromkeys(note for outcome in outcomes for note in outcome.notes)) + tuning_notes(plan, states),
        known={name: known for outcome in outcomes for name, known in outcome.known.items()},
        chosen={fold: choice.cell for fold, choice in choices.items()},
    )


STATES = ("complete", "pruned", "fail")


def tuning_notes(plan: Plan, states: "pd.Series[str]") -> list[str]:
    """Return what a reader of the figures has to know."""
    found = [] if plan.nested else [optimistic_note(plan.study)]
    if failed := int((states == "fail").sum()):
        found.append(f"{failed} of {len(states)} trials of study {plan.study} failed; their runs hold the tracebacks")
    return found
