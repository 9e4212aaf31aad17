"""Studies: the same trials in one go or in parts, by one process or by several."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.classifiers.logistic import Logistic
from src.data.splits import KFold
from src.tuning.studies import Owner, Search, open_storage
from tests.support.tuning import NEIGHBOURS, Problem, Spying, cell, trials, tuned, watching

STRENGTH = {"classifier.c": {"low": 1e-4, "high": 10.0, "log": True}}


class TestStudies:
    def test_same_seed_same_trials(self, tmp_path: Path) -> None:
        problem = Problem(signal=0.5)
        first, again = (tuned(problem, tmp_path / str(n), trials=12)[1] for n in range(2))
        pd.testing.assert_frame_equal(trials(first), trials(again), check_exact=True)
        other = tuned(problem, tmp_path / "other", cell(seed=1), trials=12)[1]
        assert not trials(first).equals(trials(other))

    @pytest.mark.slow
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
        storage=open_storage(str(folder / "given.log")),
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
