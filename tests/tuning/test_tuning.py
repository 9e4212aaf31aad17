"""Parameters chosen by trials: from training cases alone, reproducibly, and never more trials than asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.classifiers.classifier import Model
from src.classifiers.logistic import Logistic
from src.data.splits import FIT, REPORT, KFold
from src.methods.method import Outcome
from src.tuning.tuning import FLAGGED, NESTED, TUNING, Plan, score_cases
from tests.support.tuning import Problem, Spying, cell, drawn, tuned


def held_out_score(outcome: Outcome) -> float:
    return score_cases("balanced_accuracy", outcome.predictions)


class TestNested:
    def test_a_folds_trials_see_none_of_what_it_holds_out(self, tmp_path: Path) -> None:
        problem = Problem(signal=1.0)
        learner = problem.learner(Spying)
        outcome, _ = tuned(problem, tmp_path, learner=learner, trials=3)
        patient = problem.manifest.set_index("case")["patient"]
        report = outcome.roles[outcome.roles["role"] == REPORT]
        assert len(learner.seen) == 3 * 2 * 2
        for place, part in learner.seen:
            fold = int(place.split("/fold")[1][:2])
            held_out = set(report["case"][report["fold"] == fold])
            assert not held_out & set(part["case"])
            assert set(part["case"]) == set(problem.manifest["case"]) - held_out
            inside, judged = (set(part["case"][part["role"] == role].map(patient)) for role in (FIT, REPORT))
            assert inside
            assert judged
            assert not inside & judged

    def test_what_is_held_out_does_not_change_what_is_chosen(self, tmp_path: Path) -> None:
        """The descriptors and labels of a fold's held-out cases become others: its trials stay the same."""
        problem, other = Problem(signal=1.0), Problem(signal=1.0)
        splits = cell().protocol.split(problem.manifest)
        hidden = problem.manifest["case"].isin(splits["case"][splits["fold"] == 2]).to_numpy()
        other.features[hidden] = 7.0
        codes = other.manifest["label"].cat.codes.to_numpy()
        other.manifest["label"] = pd.Categorical.from_codes(np.where(hidden, codes[::-1], codes), ["a", "b"])
        pinned = cell(protocol=Given(splits))
        one, two = (tuned(each, tmp_path / str(n), pinned)[1] for n, each in enumerate((problem, other)))
        drop = ["seconds", "run"]
        pd.testing.assert_frame_equal(
            one.trials["given/fold02"].drop(columns=drop), two.trials["given/fold02"].drop(columns=drop)
        )
        assert not one.trials["given/fold01"].drop(columns=drop).equals(two.trials["given/fold01"].drop(columns=drop))

    def test_predicts_by_what_was_chosen(self, tmp_path: Path) -> None:
        problem = Problem(signal=1.0)
        outcome, chosen = tuned(problem, tmp_path)
        assert sorted(outcome.predictions["case"]) == sorted(problem.manifest["case"])
        splits = cell().protocol.split(problem.manifest)
        for fold, own in outcome.chosen.items():
            asked = chosen.record["folds"][str(fold)]["parameters"]
            assert (own.classifier.neighbours, own.pool.p) == (asked["classifier.neighbours"], asked["pool.p"])
            learner = problem.learner()
            direct = learner.learn(own, learner.part(own, splits, fold)).predictions
            mine = outcome.predictions[outcome.predictions["fold"] == fold].reset_index(drop=True)
            pd.testing.assert_frame_equal(mine, direct, check_exact=True)

    def test_the_best_trial_is_chosen(self, tmp_path: Path) -> None:
        for objective, best in (("balanced_accuracy", "max"), ("log_loss", "min")):
            _, chosen = tuned(Problem(signal=0.5), tmp_path / objective, objective=objective)
            for name, table in chosen.trials.items():
                complete = table[table["state"] == "complete"]
                fold = chosen.record["folds"][str(int(name[-2:]))]
                assert fold[objective] == getattr(complete["value"], best)()
                assert fold["trial"] == complete["trial"][complete["value"] == fold[objective]].iloc[0]

    def test_roles_say_who_was_tuned_on(self, tmp_path: Path) -> None:
        outcome, _ = tuned(Problem(), tmp_path, trials=2)
        for _, part in outcome.roles.groupby("fold"):
            of = {role: set(rows["case"]) for role, rows in part.groupby("role")}
            assert of[TUNING] == of[FIT]
            assert not of[TUNING] & of[REPORT]

    def test_few_patients_cannot_be_split_within(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"two patients of every class .* fold 1 class . has 1 patient: add"):
            tuned(Problem(count=8), tmp_path)

    def test_of_few_training_patients_no_more_are_seen(self, tmp_path: Path) -> None:
        problem = Problem(signal=1.0)
        learner = problem.learner(Spying)
        outcome, _ = tuned(problem, tmp_path, cell(training_patients=8), learner, trials=2)
        for place, part in learner.seen:
            fold = int(place.split("/fold")[1][:2])
            known = outcome.roles[(outcome.roles["fold"] == fold) & (outcome.roles["role"] == FIT)]
            assert set(part["case"]) == set(known["case"])
            assert len(set(part["case"])) == 16


class Given(KFold):
    """Splits that are given."""

    def __init__(self, splits: pd.DataFrame) -> None:
        super().__init__()
        self.given = splits

    def split(self, manifest: pd.DataFrame) -> pd.DataFrame:
        return self.given


class TestFlagged:
    def test_chooses_once_for_all_folds_on_what_they_hold_out(self, tmp_path: Path) -> None:
        outcome, chosen = tuned(Problem(signal=0.5), tmp_path, nested=False)
        assert list(chosen.trials) == ["given/all folds"]
        assert len({str(fold["parameters"]) for fold in chosen.record["folds"].values()}) == 1
        assert outcome.facts["tuned"] == FLAGGED
        assert any(note.startswith("optimistic: study given") for note in outcome.notes)
        touched = outcome.roles[outcome.roles["role"] == TUNING]
        judged = outcome.roles[outcome.roles["role"] == REPORT]
        assert set(zip(judged["fold"], judged["case"], strict=True)) <= set(
            zip(touched["fold"], touched["case"], strict=True)
        )

    def test_the_score_chosen_by_is_the_score_reported(self, tmp_path: Path) -> None:
        outcome, chosen = tuned(Problem(), tmp_path, nested=False)
        assert chosen.record["folds"]["1"]["balanced_accuracy"] == pytest.approx(held_out_score(outcome), abs=1e-12)


def random_label_scores(seeds: range, trials: int, folder: Path, nested: bool) -> np.ndarray:
    found = []
    for seed in seeds:
        problem, one = Problem(seed, patients=False), cell(seed)
        place = folder / f"{seed}{nested}"
        outcome, _ = tuned(problem, place, one, trials=trials, nested=nested, sampler="random", memory=True)
        found.append(held_out_score(outcome))
    return np.array(found)


def check_random_labels(folder: Path, seeds: range, trials: int) -> tuple[np.ndarray, np.ndarray]:
    nested, flagged = (random_label_scores(seeds, trials, folder, nested) for nested in (True, False))
    # Of n cases whose labels mean nothing, the accuracy has the standard deviation sqrt(1 / 4 n).
    error = np.sqrt(0.25 / 48 / len(seeds))
    assert abs(nested.mean() - 0.5) < 3 * error
    assert flagged.mean() > 0.5 + 3 * error
    assert flagged.mean() > nested.mean() + 3 * error
    return nested, flagged


@pytest.mark.slow
def test_on_random_labels_nested_stays_at_chance_and_flagged_is_above(tmp_path: Path) -> None:
    check_random_labels(tmp_path, range(6), trials=20)


@pytest.mark.slow
def test_on_many_random_labels_nested_stays_at_chance_and_flagged_is_above(tmp_path: Path) -> None:
    nested, flagged = check_random_labels(tmp_path, range(100, 112), trials=40)
    print(f"nested {nested.mean():.3f} (sd {nested.std():.3f}), flagged {flagged.mean():.3f} (sd {flagged.std():.3f})")


def test_parameters_of_another_study_are_not_tuned(tmp_path: Path) -> None:
    from src.classifiers.tuned import Tuned

    with pytest.raises(ValueError, match="tune another, such as classifier=lightgbm"):
        tuned(Problem(), tmp_path, cell(classifier=Tuned(study="other")))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"objective": "f1"}, "`objective` must be one of log_loss"),
        ({"sampler": "grid"}, "`sampler` must be one of tpe, random"),
        ({"pruner": "best"}, "`pruner` must be one of median, none"),
        ({"trials": 0}, "`trials >= 1`"),
        ({"inner_folds": 1}, "`inner_folds >= 2`"),
        ({"n_jobs": 0}, "`n_jobs >= 1`"),
    ],
    ids=str,
)
def test_a_plan_checks_itself(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Plan(**wrong)


def test_a_plan_is_nested_unless_said_otherwise() -> None:
    assert Plan().kind == NESTED
    assert isinstance(Logistic().fit(*drawn(), 2, 1, [0])[0], Model)
