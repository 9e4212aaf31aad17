"""From a predictions table to everything that a run reports: numbers, tables, the data of figures."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from src.evaluation.calibration import Calibration, measure_calibration
from src.evaluation.chosen_threshold import ChosenThresholds, KeptThreshold, ThresholdChoice
from src.evaluation.curves import count_confusions, reliability_curve, roc_curve
from src.evaluation.decision_curve import decision_curve, predictive_values
from src.evaluation.estimand import describe_estimand
from src.evaluation.fold_tables import FOLD, REPEAT, fold_table, mark_correct, result_table
from src.evaluation.metrics import CaseScores, accuracy_by_fold, measure_cases, patient_groups, prefix_names
from src.evaluation.predictions import (
    average_by_case,
    check_predictions,
    class_names,
    count_repeats,
    probability_columns,
    view_names,
)
from src.evaluation.scored_cases import score_cases
from src.evaluation.slices import name_folds, slice_table
from src.evaluation.subgroups import slice_notes
from src.evaluation.two_classes import POSITIVE, Binary, count_missed, set_points, view_title
from src.evaluation.wording import percent

FEW_PATIENTS = 20
"""Below it, a bootstrap over patients held a true accuracy of 0.8 in 74 (of 4 patients) to 88 (of 15) of 100 simulated
studies, and in 92 from here on; Cameron and Miller 2015 call 20 to 50 clusters few."""


@dataclass(kw_only=True)
class Evaluation:
    """What a run reports.

    classes
        The classes' names, in order.
    metrics
        Name and value, fractions: of the probabilities averaged over views, seeds and models. Two-class ones begin with
        `binary_`.
    table
        Accuracies by model and fold, or by repeat where there are several, in percent
        (`src.evaluation.fold_tables.result_table`). A single model's row is the mean over its seeds of a seed's
        accuracy, as published, and thus not the accuracy among the metrics. Folds that are the values of a column, such
        as hospitals, are called by them.
    fold_accuracy
        The accuracy (0..1) of the averaged probabilities per fold (index: the folds); `accuracy_std` is its deviation.
    confusion
        Counts, means over repeats: rows are the true classes, columns the predicted ones.
    roc
        Name and curve: "positive" alone where there is a two-class view, else each class against the rest, where it can
        be computed.
    reliability
        Confidence against accuracy; None where class probabilities are not known.
    positive
        The positive classes of the two-class view; empty, as are the next two, where there is none.
    set_points
        The figures at thresholds, a row each (`src.evaluation.two_classes.set_points`): first, if a `rule` chose any,
        at each fold's own (`threshold`: their mean); then at the fixed ones.
    chosen
        The thresholds that were chosen (`src.evaluation.chosen_threshold`); None where none were.
    missed
        How many cases of each positive class are missed at the last threshold, on average over repeats.
    calibration
        How far scores can be taken at their word (`src.evaluation.calibration`), by name: "positive" where there is a
        two-class view, and of more than two classes each against the rest.
    predictive
        Predictive values at the thresholds (`src.evaluation.decision_curve.predictive_values`), and `decision`, the net
        benefit over all thresholds (`decision_curve`); empty where there is no two-class view.
    slices
        The metrics of a part of the cases at a time (`src.evaluation.slices.slice_table`): empty where nothing tells
        cases apart.
    folds
        The table by fold where `table` is by repeat, else empty.
    estimand
        To what the intervals refer, and what they do not hold (`src.evaluation.estimand.describe_estimand`).
    notes
        What a reader of the figures has to know: a positive class that nobody chose, an accuracy that is not shown to
        exceed what naming the most frequent class gives, few patients.
    """

    classes: list[str]
    metrics: dict[str, float]
    table: pd.DataFrame
    fold_accuracy: pd.Series
    confusion: pd.DataFrame
    roc: dict[str, pd.DataFrame]
    reliability: pd.DataFrame | None
    positive: list[str]
    set_points: pd.DataFrame
    missed: dict[str, float]
    calibration: dict[str, Calibration] = field(default_factory=dict)
    predictive: pd.DataFrame = field(default_factory=pd.DataFrame)
    decision: pd.DataFrame = field(default_factory=pd.DataFrame)
    slices: pd.DataFrame = field(default_factory=pd.DataFrame)
    folds: pd.DataFrame = field(default_factory=pd.DataFrame)
    estimand: list[str] = field(default_factory=list)
    chosen: ChosenThresholds | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def commonest(self) -> tuple[str, float]:
        """The most frequent class (the first one of a tie), and its share (0..1): the accuracy of always naming it."""
        counts = self.confusion.sum(axis=1)
        return str(counts.idxmax()), float(counts.max() / counts.sum())

    @property
    def part(self) -> str:
        """What the columns of the table are: folds, or repeats where there are several."""
        return FOLD if self.folds.empty else REPEAT

    @property
    def view(self) -> str:
        """What the two-class view holds against what; empty where there is none."""
        return view_title(self.positive, self.classes) if self.positive else ""


def evaluate(
    predictions: pd.DataFrame,
    binary: Binary | None = None,
    replicates: int = 1000,
    seed: int = 0,
    facts: pd.DataFrame | None = None,
    choice: ThresholdChoice | KeptThreshold | None = None,
) -> Evaluation:
    """The evaluation of one run, or of the fusion of several aligned ones (`src.evaluation.predictions.align_tables`).

    `facts` tell samples apart beside their views (`src.evaluation.slices.slice_facts`); `choice` is what a
    threshold is chosen by in each fold.
    """
    check_predictions(predictions)
    binary = binary or Binary()
    cases = average_by_case(predictions)
    view, repeats = binary(cases), count_repeats(cases)
    probabilities = cases[probability_columns(cases)].to_numpy(dtype=np.float64)
    predicted = [class_names(cases)[number] for number in probabilities.argmax(axis=1)]
    result = Evaluation(
        classes=class_names(cases),
        metrics=measure_cases(cases, replicates, seed),
        table=result_table(predictions).rename(columns=fold_headings(predictions, facts)),
        folds=fold_table(predictions) if repeats > 1 else pd.DataFrame(),
        fold_accuracy=accuracy_by_fold(mark_correct(cases), cases["fold"]),
        confusion=average_counts(count_confusions(cases["label"].tolist(), predicted, class_names(cases)), repeats),
        roc=one_against_rest(cases) if view is None else {},
        reliability=reliability_curve(CaseScores.of(cases)),
        positive=[],
        set_points=pd.DataFrame(),
        missed={},
        calibration=calibrate_classes(cases, replicates, seed),
        slices=measure_slices(predictions, facts, binary, replicates, seed),
        estimand=describe_estimand(cases),
    )
    result.notes = (
        binary.notes(result.classes)
        + not_above_the_commonest(result)
        + few_patients(cases)
        + slice_notes(result.slices)
    )
    if view is None:
        return result
    result = with_two_classes(result, cases, view, binary, replicates, seed)
    return with_chosen_threshold(result, view, choice.of(predictions, binary)) if choice else result


def average_counts(counts: pd.DataFrame, repeats: int) -> pd.DataFrame:
    """Return counts of all repeats as those of one, on average; of one they are whole numbers."""
    return counts if repeats == 1 else counts / repeats


def not_above_the_commonest(result: Evaluation) -> list[str]:
    """Return a note where the accuracy is not shown to exceed that of always naming the most frequent class."""
    name, share = result.commonest
    accuracy, low = result.metrics["accuracy"], result.metrics["accuracy_low"]
    if low > share:
        return []
    verb = "does not exceed" if accuracy <= share else "is not shown to exceed"
    figures = f"{percent(accuracy)} % (95 %: from {percent(low)})"
    return [f"the accuracy, {figures}, {verb} the {percent(share)} % of always naming the most frequent class, {name}"]


def few_patients(cases: pd.DataFrame) -> list[str]:
    """Return a note where intervals by bootstrap are too narrow, as patients are few."""
    count = len(np.unique(patient_groups(cases)))
    if count >= FEW_PATIENTS:
        return []
    what = "patients" if (cases["patient"] != "").all() else "patients (unknown ones counted as one each)"
    return [
        f"{count} {what} are few: with fewer than {FEW_PATIENTS}, 95 % intervals by bootstrap are too narrow, and only "
        "large differences can be shown"
    ]


def measure_slices(
    predictions: pd.DataFrame, facts: pd.DataFrame | None, binary: Binary, replicates: int, seed: int
) -> pd.DataFrame:
    """Return the metrics by view and by the columns of `facts`; empty where there is nothing but all the cases."""
    given = pd.DataFrame({"sample": []}) if facts is None else facts
    if len(view_names(predictions)) < 2 and len(given.columns) < 2:
        return pd.DataFrame()
    return slice_table(predictions, given, binary, replicates, seed)


def fold_headings(predictions: pd.DataFrame, facts: pd.DataFrame | None) -> dict[str, str]:
    """Return the names of the folds by their headings, where they are the values of a column of `facts`."""
    return {} if facts is None else {f"f{fold}": name for fold, name in name_folds(predictions, facts).items()}


def calibrate_classes(cases: pd.DataFrame, replicates: int, seed: int) -> dict[str, Calibration]:
    """Return the calibration of each class against the rest; of two classes none, as the two-class view says it all."""
    names = class_names(cases)
    every = {name: score_cases(cases, name) for name in names} if len(names) > 2 else {}
    return {name: measure_calibration(scored, replicates, seed) for name, scored in every.items()}


def one_against_rest(cases: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the ROC curve of each class against the rest; a class that no case has, or every case, has none."""
    truth = {name: (cases["label"] == name).to_numpy(dtype=bool) for name in class_names(cases)}
    possible = {name: each for name, each in truth.items() if each.any() and not each.all()}
    return {name: roc_curve(each, cases[f"p_{name}"].to_numpy(dtype=np.float64)) for name, each in possible.items()}


def with_two_classes(
    result: Evaluation, cases: pd.DataFrame, view: pd.DataFrame, binary: Binary, replicates: int, seed: int
) -> Evaluation:
    """Return the evaluation with the figures of its two-class view."""
    positive = binary.positives(result.classes)
    missed = count_missed(cases, view, positive, binary.thresholds[-1])
    curves = {name: curve for name, curve in one_against_rest(view).items() if name == POSITIVE}
    scored = score_cases(view)
    calibration = measure_calibration(scored, replicates, seed)
    own = calibration.figures if len(result.classes) == 2 else {}  # of two classes there is one slope
    figures = own | prefix_names(measure_cases(view, replicates, seed) | calibration.figures, "binary_")
    return replace(
        result,
        metrics=result.metrics | figures,
        positive=positive,
        roc=curves,
        calibration={POSITIVE: calibration} | result.calibration,
        predictive=predictive_values(scored, binary.thresholds, binary.prevalence),
        decision=decision_curve(scored, binary.prevalence, replicates=replicates, seed=seed),
        set_points=set_points(view, binary.thresholds),
        missed={name: each / count_repeats(cases) for name, each in missed.items()},
    )


def with_chosen_threshold(result: Evaluation, view: pd.DataFrame, chosen: ChosenThresholds) -> Evaluation:
    """Return the evaluation with the figures at the folds' own thresholds, in the metrics as `threshold_...`."""
    called = view["p_positive"].to_numpy(dtype=np.float64) > chosen.of_cases(view)
    decided = view.assign(p_positive=called.astype(np.float64), p_negative=1 - called.astype(np.float64))
    row = set_points(decided, [0.5]).assign(threshold=chosen.mean, rule=str(chosen.rule))
    point = {str(name): value for name, value in row.drop(columns="rule").iloc[0].items()}
    lowest, highest = chosen.ends
    figures = {"threshold_mean": chosen.mean, "threshold_lowest": lowest, "threshold_highest": highest}
    figures |= {f"threshold_{name}": value for name, value in point.items() if name != "threshold"}
    return replace(
        result,
        metrics=result.metrics | figures,
        set_points=pd.concat([row, result.set_points], ignore_index=True).fillna({"rule": ""}),
        chosen=chosen,
        notes=result.notes + chosen.notes(),
    )
