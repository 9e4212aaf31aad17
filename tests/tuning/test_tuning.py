"""Parameters chosen by trials: from training cases alone, reproducibly, and never more trials than asked for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from src.cell import Cell
from src.classifiers.classifier import Classifier, Model
from src.classifiers.knn import Knn
from src.classifiers.logistic import Logistic
from src.data.splits import FIT, REPORT, KFold
from src.methods.frozen.frozen import Frozen
from src.methods.method import CellTask, Outcome
from src.storage.store import Store
from src.tuning.learners import Descriptors
from src.tuning.studies import Owner, Search, storage
from src.tuning.tuning import FLAGGED, NESTED, TUNING, Chosen, Plan, run_studies, score, search_of
from tests.support.cells import cell as any_cell

NEIGHBOURS = {
    "classifier.neighbours": {"low": 1, "high": 9},
    "classifier.metric": {"choices": ["cosine", "euclidean", "manhattan"]},
    "pool.p": {"low": 1.0, "high": 40.0},
}
"""Here `p` draws the features that are seen, so that trials differ as much as they can."""
STRENGTH = {"classifier.c": {"low": 1e-4, "high": 10.0, "log": True}}


class Problem:
    """Cases of two classes, two of each patient, with descriptors that tell the classes apart by `signal`."""

    def __init__(self, seed: int = 0, signal: float = 0.0, count: int = 48, patients: bool = True) -> None:
        draws = np.random.default_rng(seed)
        names = [f"case{number:03d}" for number in range(count)]
        labels = np.repeat(draws.permutation(count // 2) % 2, 2)
        self.features = (draws.normal(size=(count, 1, 8)) + signal * labels[:, None, None]).astype(np.float32)
        group = [f"patient{number // 2:02d}" if patients else "" for number in range(count)]
        label = pd.Categorical.from_codes(labels, ["a", "b"])
        self.manifest = pd.DataFrame(
            {"sample": names, "case": names, "patient": group, "view": "", "label": label, "content": names}
        )
        self.reads: list[float] = []

    def read(self, cell: Cell, rows: pd.DataFrame) -> np.ndarray:
        self.reads.append(cell.pool.p)
        return self.features[:, :, np.random.default_rng(int(1000 * cell.pool.p)).permutation(8)[:4]]

    def learner(self, kind: type[Descriptors] = Descriptors) -> Descriptors:
        bad = pd.DataFrame(columns=["sample", "outcome", "reason"])
        return kind(self.manifest, self.manifest, self.read, bad, {"recipe": "drawn"})


class Run:
    """Stands for a tracked run; calls `at` after each inner fold."""

    id = "run"

    def __init__(self, at: Callable[[], None]) -> None:
        self.at = at

    def point(self, step: int, of_fold: float, so_far: float) -> None:
        self.at()

    def end(self, state: str) -> None:
        pass


def watching(at: Callable[[], None] = lambda: None) -> Any:
    @contextmanager
    def watch(name: str, values: dict[str, Any]) -> Iterator[Run]:
        yield Run(at)

    return watch


def cell(seed: int = 0, classifier: Classifier | None = None, **changes: Any) -> Cell:
    given = {"classifier": classifier or Knn(), "protocol": KFold(folds=2), "seed": seed}
    return any_cell(Path("unused"), **(given | changes))


def tuned(
    problem: Problem,
    place: Path,
    one: Cell | None = None,
    learner: Descriptors | None = None,
    watch: Any = None,
    owner: Owner | None = None,
    memory: bool = False,
    **plan: Any,
) -> tuple[Outcome, Chosen]:
    one = one or cell()
    given = {"study": "given", "search": NEIGHBOURS, "trials": 8, "inner_folds": 2, "objective": "balanced_accuracy"}
    given |= plan
    asked = Plan(**given)
    search = search_of(asked, one, Frozen(), str(place / "studies" / "given.log"), owner or Owner())
    if memory:  # where there is nothing to continue
        search = replace(search, storage=optuna.storages.InMemoryStorage())
    splits = one.protocol.split(problem.manifest)
    task = CellTask(cell=one, manifest=problem.manifest, store=Store(place / "unused"))
    return run_studies(asked, search, learner or problem.learner(), task, splits, watch or watching())


def trials(chosen: Chosen) -> pd.DataFrame:
    """What of the trials must be the same whenever they are run."""
    return pd.concat(chosen.trials).drop(columns=["seconds", "run"])


def held_out_score(outcome: Outcome) -> float:
    return score("balanced_accuracy", outcome.predictions)


class Spying(Descriptors):
    """Remembers what each trial was shown."""

    def trial(self, cell: Cell, part: pd.DataFrame, place: str) -> pd.DataFrame:
        with threading.Lock():
            self.__dict__.setdefault("seen", []).append((place, part))
        return super().trial(cell, part, place)


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
        with pytest.raises(ValueError, match=r"training part of fold 1 cannot be split .* inner_folds=\d"):
            tuned(Problem(count=12), tmp_path, inner_folds=9)

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
    nested, flagged = check_random_labels(tmp_path, range(100, 124), trials=40)
    print(f"nested {nested.mean():.3f} (sd {nested.std():.3f}), flagged {flagged.mean():.3f} (sd {flagged.std():.3f})")


class TestStudies:
    def test_same_seed_same_trials(self, tmp_path: Path) -> None:
        problem = Problem(signal=0.5)
        first, again = (tuned(problem, tmp_path / str(n), trials=12)[1] for n in range(2))
        pd.testing.assert_frame_equal(trials(first), trials(again), check_exact=True)
        other = tuned(problem, tmp_path / "other", cell(seed=1), trials=12)[1]
        assert not trials(first).equals(trials(other))

    @pytest.mark.parametrize("moment", [1, 23])
    def test_cut_short_and_continued_is_as_in_one_go(self, tmp_path: Path, moment: int) -> None:
        problem = Problem(signal=0.5)
        whole = tuned(problem, tmp_path / "whole", trials=12)
        points = iter(range(moment))

        def interrupt() -> None:
            if next(points, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            tuned(problem, tmp_path / "cut", watch=watching(interrupt), trials=12)
        gone = Owner(gone=lambda marks: True)
        continued = tuned(problem, tmp_path / "cut", trials=12, resume=True, owner=gone)
        pd.testing.assert_frame_equal(trials(whole[1]), trials(continued[1]), check_exact=True)
        pd.testing.assert_frame_equal(whole[0].predictions, continued[0].predictions, check_exact=True)

    def test_what_is_finished_is_not_run_again(self, tmp_path: Path) -> None:
        problem = Problem()
        tuned(problem, tmp_path, trials=4)
        learner = problem.learner(Spying)
        _, chosen = tuned(problem, tmp_path, learner=learner, trials=6, resume=True)
        assert {len(table) for table in chosen.trials.values()} == {6}
        assert {place[-3:] for place, _ in learner.seen} == {"004", "005"}
        learner = problem.learner(Spying)
        tuned(problem, tmp_path, learner=learner, trials=6, resume=True)
        assert "seen" not in vars(learner)

    def test_a_study_that_exists_is_not_begun_again(self, tmp_path: Path) -> None:
        tuned(Problem(), tmp_path, trials=2)
        with pytest.raises(ValueError, match="a study given with 4 finished trials: resume=true goes on"):
            tuned(Problem(), tmp_path, trials=2)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"objective": "brier"}, "objective was balanced_accuracy and is brier"),
            ({"search": STRENGTH, "one": cell(classifier=Logistic())}, "search was"),
            ({"inner_folds": 3}, "inner_folds was 2 and is 3"),
            ({"nested": False}, "nested was True and is False"),
            ({"one": cell(protocol=KFold(folds=4))}, "splits was"),
            ({"one": cell(seed=3)}, "seed was 0 and is 3"),
            ({"problem": Problem(count=40)}, "data was"),
        ],
        ids=lambda value: value if isinstance(value, str) else ", ".join(value),
    )
    def test_another_question_is_another_study(self, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
        tuned(Problem(), tmp_path, trials=1)
        with pytest.raises(ValueError, match=said):
            tuned(**({"problem": Problem(), "place": tmp_path, "trials": 1, "resume": True} | changes))

    def test_two_at_a_time_run_each_trial_once(self, tmp_path: Path) -> None:
        problem = Problem(signal=0.5)
        learner = problem.learner(Spying)
        _, chosen = tuned(problem, tmp_path, learner=learner, trials=10, n_jobs=2, pruner="none")
        for table in chosen.trials.values():
            assert table["trial"].tolist() == list(range(10))
            assert set(table["state"]) == {"complete"}
        assert len(learner.seen) == 2 * 10 * 2

    def test_trials_worse_than_the_median_end_early(self, tmp_path: Path) -> None:
        problem = Problem(signal=0.7)
        _, chosen = tuned(problem, tmp_path / "median", trials=16, inner_folds=3)
        found = pd.concat(chosen.trials.values())
        assert (found["inner_folds"][found["state"] == "complete"] == 3).all()
        assert (found["state"] == "pruned").any()
        assert (found["inner_folds"][found["state"] == "pruned"] < 3).any()
        _, whole = tuned(problem, tmp_path / "none", trials=9, pruner="none")
        assert set(pd.concat(whole.trials.values())["state"]) == {"complete"}

    def test_a_trial_that_fails_does_not_end_the_study(self, tmp_path: Path) -> None:
        # The training parts within hold 21 cases or so: more neighbours than these are refused.
        search = {"classifier.neighbours": {"low": 1, "high": 60}}
        outcome, chosen = tuned(Problem(signal=1.0), tmp_path, search=search, trials=10, sampler="random")
        found = pd.concat(chosen.trials.values())
        failed = found[found["state"] == "fail"]
        assert 0 < len(failed) < len(found)
        assert failed["error"].str.contains("is more than the").all()
        assert any("trials of study given failed" in note for note in outcome.notes)

    def test_a_study_all_of_whose_trials_fail_says_why(self, tmp_path: Path) -> None:
        search = {"classifier.neighbours": {"low": 100, "high": 200}}
        with pytest.raises(ValueError, match=r"no trial of study given/fold01 .* is more than the"):
            tuned(Problem(), tmp_path, search=search, trials=2)

    def test_a_choice_of_lists_comes_back_as_it_was(self, tmp_path: Path) -> None:
        from src.tuning.search_space import Dimension, Space

        ways = [[], [64], [64, 32]]
        search = finder(tmp_path, Space([Dimension(key="finetune.hidden", choices=ways)]))
        search.begin(["given/fold01"], {})
        list(search.run("given/fold01", Constant(), watching()))
        values = search.space.values(search.best("given/fold01").params)
        assert values["finetune.hidden"] in ways

    def test_descriptors_are_read_once_for_all_trials(self, tmp_path: Path) -> None:
        problem = Problem(signal=1.0)
        search = NEIGHBOURS | {"pool.p": {"choices": [1, 3, float("inf")]}}
        problem.read = lambda cell, rows: problem.reads.append(cell.pool.p) or problem.features  # type: ignore[method-assign,func-returns-value]
        tuned(problem, tmp_path, search=search, trials=12)
        assert sorted(problem.reads) == [1.0, 3.0, float("inf")]


class Constant:
    """A trial of two folds whose score says nothing."""

    def __call__(self, values: dict[str, Any], place: str) -> Iterator[tuple[float, float]]:
        yield 0.5, 0.5
        yield 0.5, 0.5

    def forget(self, place: str) -> None:
        pass


def finder(folder: Path, space: Any = None, owner: Owner | None = None, trials: int = 3) -> Search:
    from src.tuning.search_space import Dimension, Space

    return Search(
        name="given",
        storage=storage(str(folder / "given.log")),
        space=space or Space([Dimension(key="classifier.c", low=0.1, high=1.0)]),
        trials=trials,
        minimize=True,
        owner=owner or Owner(),
    )


class TestProcesses:
    def test_a_trial_of_a_living_process_is_left_to_it(self, tmp_path: Path) -> None:
        one, other = (
            finder(tmp_path, owner=Owner(marks={"machine": "here", "pid": pid}, gone=lambda marks: False))
            for pid in ("1", "2")
        )
        one.begin(["given/fold01"], {})
        taken = one.take("given/fold01", [])
        assert taken is not None
        assert sorted(other.run("given/fold01", Constant(), watching())) == [1, 2]
        finishing = threading.Timer(0.3, lambda: one.attempt("given/fold01", taken, Constant(), watching()))
        finishing.start()
        other.settle("given/fold01", Constant(), watching(), pause=0.05)
        assert other.finished("given/fold01") == 3
        finishing.join()

    def test_a_trial_of_a_dead_process_is_run_here(self, tmp_path: Path) -> None:
        one = finder(tmp_path, owner=Owner(marks={"machine": "here", "pid": "1"}))
        one.begin(["given/fold01"], {})
        assert one.take("given/fold01", []) is not None
        marks = {"machine": "here", "pid": "2"}
        other = finder(tmp_path, owner=Owner(marks=marks, gone=lambda marks: marks["pid"] == "1"))
        assert sorted(other.run("given/fold01", Constant(), watching())) == [0, 1, 2]

    def test_a_trial_of_another_machine_is_taken_for_lost_after_long(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = finder(tmp_path, owner=Owner(marks={"machine": "there"}))
        one.begin(["given/fold01"], {})
        assert one.take("given/fold01", []) is not None
        other = finder(tmp_path, owner=Owner(marks={"machine": "here"}, gone=lambda marks: True))
        assert sorted(other.run("given/fold01", Constant(), watching())) == [1, 2]
        (left,) = other.running("given/fold01")
        assert not other.overdue("given/fold01", left)
        monkeypatch.setattr("src.tuning.studies.LEAST", -1.0)
        monkeypatch.setattr("src.tuning.studies.PATIENCE", 0.0)
        other.settle("given/fold01", Constant(), watching())
        assert other.finished("given/fold01") == 3

    def test_a_trial_of_this_machine_is_never_taken_from_a_living_process(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = (finder(tmp_path, owner=Owner(marks={"machine": "here", "pid": pid})) for pid in "12")
        one.begin(["given/fold01"], {})
        assert one.take("given/fold01", []) is not None
        list(other.run("given/fold01", Constant(), watching()))
        monkeypatch.setattr("src.tuning.studies.LEAST", -1.0)
        monkeypatch.setattr("src.tuning.studies.PATIENCE", 0.0)
        (left,) = other.running("given/fold01")
        assert not other.overdue("given/fold01", left)

    def test_a_trial_that_is_taken_up_again_is_as_old_as_that(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may have been begun days ago, by a process that was killed."""
        one = finder(tmp_path, owner=Owner(marks={"machine": "there", "pid": "1"}))
        one.begin(["given/fold01"], {})
        taken = one.take("given/fold01", [])
        assert taken is not None
        taken.set_user_attr("taken", 1e9)
        again = finder(tmp_path, owner=Owner(marks={"machine": "there", "pid": "2"}, gone=lambda marks: True))
        monkeypatch.setattr("src.tuning.studies.PATIENCE", 1.0)
        other = finder(tmp_path, owner=Owner(marks={"machine": "here"}))
        list(other.run("given/fold01", Constant(), watching()))
        assert other.overdue("given/fold01", other.running("given/fold01")[0])
        assert again.take("given/fold01", again.running("given/fold01")) is not None
        assert not other.overdue("given/fold01", other.running("given/fold01")[0])

    def test_a_lost_trial_that_another_process_has_ended_is_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = finder(tmp_path, owner=Owner(marks={"machine": "there"}), trials=2)
        one.begin(["given/fold01"], {})
        first, second = one.take("given/fold01", []), one.take("given/fold01", [])
        assert first is not None
        assert second is not None
        monkeypatch.setattr("src.tuning.studies.LEAST", -1.0)
        monkeypatch.setattr("src.tuning.studies.PATIENCE", 0.0)
        other = finder(tmp_path, owner=Owner(marks={"machine": "here"}), trials=2)

        class Meanwhile(Constant):
            """While the first lost trial is run here, a third machine ends the second."""

            def __call__(self, values: dict[str, Any], place: str) -> Iterator[tuple[float, float]]:
                one.attempt("given/fold01", second, Constant(), watching())
                yield from super().__call__(values, place)

        other.settle("given/fold01", Meanwhile(), watching())
        assert other.finished("given/fold01") == 2

    def test_a_score_that_is_no_number_ends_no_trial(self, tmp_path: Path) -> None:
        """An inner fold of one class has no AUC: only with the others has a trial a score."""

        class OneClass(Constant):
            def __call__(self, values: dict[str, Any], place: str) -> Iterator[tuple[float, float]]:
                yield float("nan"), float("nan")
                yield 0.5, 0.5

        search = finder(tmp_path, trials=9)
        search.begin(["given/fold01"], {})
        list(search.run("given/fold01", OneClass(), watching()))
        assert set(search.table("given/fold01")["state"]) == {"complete"}

    def test_a_trial_that_two_processes_ran_ends_once(self, tmp_path: Path) -> None:
        one = finder(tmp_path)
        one.begin(["given/fold01"], {})
        taken = one.take("given/fold01", [])
        assert taken is not None
        twin = finder(tmp_path).take("given/fold01", one.running("given/fold01"))
        assert twin is not None
        one.attempt("given/fold01", taken, Constant(), watching())
        before = one.table("given/fold01")
        one.attempt("given/fold01", twin, Constant(), watching())
        pd.testing.assert_frame_equal(one.table("given/fold01"), before)

    def test_two_processes_that_begin_at_once_run_as_many_trials_as_asked(self, tmp_path: Path) -> None:
        one, other = finder(tmp_path), finder(tmp_path)
        one.create("given/fold01", {"trials": 3})
        other.create("given/fold01", {"trials": 3})
        for search in (one, other):  # each has found none that wait
            for _ in range(3):
                search.study("given/fold01").enqueue_trial({})
        assert sorted(one.run("given/fold01", Constant(), watching())) == [0, 1, 2]
        assert other.finished("given/fold01") == len(other.table("given/fold01")) == 3
        assert list(other.run("given/fold01", Constant(), watching())) == []
        with pytest.raises(ValueError, match="trials was 3 and is 4"):
            other.create("given/fold01", {"trials": 4})

    def test_a_journal_with_half_a_line_goes_on(self, tmp_path: Path) -> None:
        finder(tmp_path).begin(["given/fold01"], {})
        with (tmp_path / "given.log").open("ab") as file:
            file.write(b'{"op_code": 6, "worker_')
        again = finder(tmp_path)
        again.begin(["given/fold01"], {})
        assert sorted(again.run("given/fold01", Constant(), watching())) == [0, 1, 2]
        assert finder(tmp_path).finished("given/fold01") == 3


def test_parameters_of_another_study_are_not_tuned(tmp_path: Path) -> None:
    from src.classifiers.tuned import Tuned

    with pytest.raises(ValueError, match="tune classifier=lightgbm, logistic or knn"):
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


def drawn() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32), np.arange(8) % 2
