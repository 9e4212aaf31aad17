"""Tuning, as typed: a run like any cell with a child per trial, studies that go on, and what must not be done."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.commands import QUICK, ROOT, Command, run, tracking
from tests.support.studies import SMALL, share_trials, table, trials_of


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """The workspace of a tuned cell, and a plain one beside it."""
    workspace = tmp_path_factory.mktemp("small")
    process = run("tune", *SMALL, "name=tuned", workspace=workspace)
    assert process.returncode == 0, process.stderr
    assert "data: 16 images: Normal 4, Benign 4, InSitu 4, Invasive 4; " in process.stderr
    plain = run("run", *QUICK, "data.cases=16", workspace=workspace)
    assert plain.returncode == 0, plain.stderr
    return workspace, process


@pytest.mark.slow
class TestNested:
    def test_is_a_run_like_any_cell(self, small: tuple[Path, Any]) -> None:
        keep = tracking(small[0])
        tuned, plain = keep.find("tuned"), keep.find("SqueezeNet-48")
        artefacts, others = ({each.path for each in keep.client.list_artifacts(found.id)} for found in (tuned, plain))
        assert artefacts - others == {"studies", "tuning.json", "tune.yaml", "inner_predictions.parquet"}
        assert others <= artefacts
        assert set(plain.metrics) == set(tuned.metrics)
        kind = {"kind", "splits", "data", "recipe"}
        assert {name: tuned.tags[name] for name in kind} == {name: plain.tags[name] for name in kind}
        assert tuned.tags["tuned"] == "nested"
        assert tuned.tags["study"] == "small"
        assert "digest" in tuned.tags
        assert "tuned" not in plain.tags
        assert "optimistic" not in small[1].stdout

    def test_its_config_is_a_cells(self, small: tuple[Path, Any]) -> None:
        from omegaconf import OmegaConf

        from src.config import Experiment

        keep = tracking(small[0])
        saved = OmegaConf.create(keep.artifact(keep.find("tuned"), "config.yaml").decode())
        assert set(saved) == set(OmegaConf.structured(Experiment))

    def test_is_fused_with_others(self, small: tuple[Path, Any]) -> None:
        fused = run("fuse", "runs=[tuned,SqueezeNet-48]", "replicates=20", workspace=small[0])
        assert fused.returncode == 0, fused.stderr
        assert "Model fusion" in fused.stdout

    def test_a_child_run_per_trial(self, small: tuple[Path, Any]) -> None:
        keep = tracking(small[0])
        tuned = keep.find("tuned")
        children = keep.children(tuned.id)
        names = [f"fold{fold:02d} trial {number:03d}" for fold in (1, 2) for number in range(4)]
        assert sorted(child.name for child in children) == names
        trials = trials_of(small[0], "small", "tuned")
        assert len(trials) == 8
        for child in children:
            assert child.tags["kind"] == "trial"
            assert child.status == "FINISHED"
            assert child.tags["trial"] in ("complete", "pruned")
            assert float(child.params["classifier.c"]) > 0
            steps = keep.client.get_metric_history(child.id, "log_loss")
            assert [step.step for step in steps] == [1, 2][: len(steps)]

    def test_shows_what_was_chosen(self, small: tuple[Path, Any]) -> None:
        workspace, process = small
        record = json.loads((workspace / "studies" / "small.json").read_text())
        keep = tracking(workspace)
        assert json.loads(keep.artifact(keep.find("tuned"), "tuning.json")) == record
        assert record["tuned"] == "nested"
        assert record["objective"] == "log_loss"
        for fold, chosen in record["folds"].items():
            assert f"small/fold0{fold}: log_loss {chosen['log_loss']:.4f} in trial {chosen['trial']}" in process.stderr
        figures = {each.path for each in keep.client.list_artifacts(keep.find("tuned").id, "studies/fold01")}
        assert {"studies/fold01/history.png", "studies/fold01/slice.png", "studies/fold01/trials.csv"} <= figures

    def test_roles_tell_tuning(self, small: tuple[Path, Any]) -> None:
        roles = table(small[0], tracking(small[0]).find("tuned"), "roles.csv")
        for _, part in roles.groupby("fold"):
            tuning, report = (set(part["case"][part["role"] == role]) for role in ("tuning", "report"))
            assert len(tuning) == len(report) == 8
            assert not tuning & report

    def test_its_models_predict_new_images(self, small: tuple[Path, Any], tmp_path: Path) -> None:
        output = tmp_path / "new.csv"
        arguments = ["model=tuned", f"input={small[0]}/demo", f"output={output}", "device=cpu"]
        process = run("predict", *arguments, workspace=small[0])
        assert process.returncode == 0, process.stderr
        assert len(pd.read_csv(output)) == 16


@pytest.mark.slow
class TestUsedAgain:
    def test_the_classifier_of_a_study_predicts_as_its_run_did(self, small: tuple[Path, Any]) -> None:
        arguments = [*QUICK, "data.cases=16", "classifier=tuned", "classifier.study=small", "name=again"]
        process = run("run", *arguments, workspace=small[0])
        assert process.returncode == 0, process.stderr
        keep = tracking(small[0])
        again, tuned = (keep.predictions(keep.find(name)).drop(columns="model") for name in ("again", "tuned"))
        pd.testing.assert_frame_equal(again, tuned, check_exact=True)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["classifier.study=small", "protocol.seed=1"], "study small was nested in other folds than this run's"),
            (["classifier.study=small", "data.seed=1"], "in other images or labels"),
            (["classifier.study=none"], "no study 'none' has ended"),
        ],
        ids=str,
    )
    def test_not_where_it_could_have_seen_what_is_held_out(
        self, small: tuple[Path, Any], tmp_path: Path, arguments: list[str], said: str
    ) -> None:
        elsewhere = [f"classifier.folder={small[0]}/studies"]
        process = run("run", *QUICK, "data.cases=16", "classifier=tuned", *arguments, *elsewhere, workspace=tmp_path)
        assert process.returncode == 1
        assert said in process.stderr
        assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_what_papers_did_is_flagged(small: tuple[Path, Any]) -> None:
    process = run("tune", *SMALL, "study=papers", "nested=false", workspace=small[0])
    assert process.returncode == 0, process.stderr
    assert "SqueezeNet-48 tuned, optimistic" in process.stdout
    assert "note: optimistic: study papers chose the parameters on the held-out cases themselves" in process.stdout
    found = tracking(small[0]).find("SqueezeNet-48 tuned, optimistic")
    assert found.tags["tuned"] == "flagged"
    assert "optimistic" in found.tags["notes"]
    assert "optimistic" in tracking(small[0]).artifact(found, "table.md").decode()
    used = [*QUICK, "data.cases=16", "classifier=tuned", "classifier.study=papers", "protocol.seed=5", "name=used"]
    process = run("run", *used, workspace=small[0])
    assert process.returncode == 0, process.stderr
    assert "note: optimistic: study papers" in process.stdout


@pytest.mark.slow
def test_a_sweep_of_studies_runs_in_processes(tmp_path: Path) -> None:
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = run("tune", *SMALL, "trials=2", "pool.p=1,3", *launcher, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    assert "2 of 2 cells finished" in process.stderr


LONG = [*SMALL, "study=long", "name=long", "trials=14"]


def killed_and_resumed(workspace: Path, trials: int) -> None:
    """Kill the command when so many trials have begun, and go on to the end."""
    process = Command("tune", *LONG, workspace=workspace)
    journal = workspace / "studies" / "long.log"
    while not journal.exists() or journal.read_text().count('"machine"') < trials:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    time.sleep(random.Random(trials).random() / 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = run("tune", *LONG, "resume=true", workspace=workspace)
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_killed_and_resumed_ends_with_the_same_trials(tmp_path: Path) -> None:
    assert run("tune", *LONG, workspace=tmp_path / "whole").returncode == 0
    killed_and_resumed(tmp_path / "killed", trials=9)
    one, other = (trials_of(tmp_path / name, "long", "long") for name in ("whole", "killed"))
    assert len(one) == 2 * 14
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    whole, killed = (tracking(tmp_path / name) for name in ("whole", "killed"))
    assert killed.artifact(killed.find("long"), "predictions.parquet") == whole.artifact(
        whole.find("long"), "predictions.parquet"
    )
    runs = killed.search()
    assert "RUNNING" not in {each.status for each in runs}
    finished = [each for each in runs if each.tags["kind"] == "trial" and each.status == "FINISHED"]
    assert len(finished) == 28
    parents = {each.tags["mlflow.parentRunId"] for each in finished}
    assert parents == {killed.find("long").id}


@pytest.mark.slow
@pytest.mark.parametrize("trials", [1, 4, 14, 21, 27])
def test_killed_whenever_it_ends_with_the_same_trials(tmp_path: Path, trials: int) -> None:
    assert run("tune", *LONG, workspace=tmp_path / "whole").returncode == 0
    killed_and_resumed(tmp_path / "killed", trials)
    one, other = (trials_of(tmp_path / name, "long", "long") for name in ("whole", "killed"))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.slow
def test_two_processes_share_the_trials_of_a_database(tmp_path: Path) -> None:
    share_trials(f"sqlite:///{tmp_path}/studies.db", tmp_path)


@pytest.mark.slow
def test_networks_are_tuned_on_the_folds_within(tmp_path: Path) -> None:
    arguments = [
        *QUICK,
        "data.cases=16",
        "search=finetune",
        "trials=2",
        "inner_folds=2",
        "study=nets",
        "crop.count=1",
        "finetune.batch=8",
        "finetune.trainable=head",
        "search.finetune.epochs.low=1",
        "search.finetune.epochs.high=2",
        "~search.finetune.trainable",
    ]
    process = run("tune", *arguments, workspace=tmp_path)
    assert process.returncode == 0, process.stderr
    keep = tracking(tmp_path)
    (tuned,) = keep.search({"tuned": "nested", "kind": "cell"})
    assert len(keep.predictions(tuned)) == 16
    trials = trials_of(tmp_path, "nets", tuned.id)
    assert len(trials) == 4
    assert trials["finetune.epochs"].between(1, 2).all()
    # What trials trained is deleted; the networks of the outer folds are kept.
    assert not list((tmp_path / "studies" / "work").rglob("*.safetensors"))
    assert len(list(tmp_path.glob("store/*/model.safetensors"))) == 2
    output = tmp_path / "new.csv"
    predicted = run(
        "predict", f"model={tuned.id}", f"input={tmp_path}/demo", f"output={output}", "device=cpu",
        workspace=tmp_path,
    )  # fmt: skip
    assert predicted.returncode == 0, predicted.stderr


@pytest.mark.slow
def test_a_sweep_of_tuned_cells(tmp_path: Path) -> None:
    arguments = [*SMALL, "trials=2", "objective=log_loss,brier"]
    process = run("tune", *arguments, workspace=tmp_path, sweep=True)
    assert process.returncode == 0, process.stderr
    for name in ("SqueezeNet-48 objective=log_loss tuned", "SqueezeNet-48 objective=brier tuned", "Model fusion"):
        assert name in process.stdout


@pytest.mark.slow
def test_a_study_that_exists_is_named(small: tuple[Path, Any]) -> None:
    process = run("tune", *SMALL, workspace=small[0])
    assert process.returncode == 1
    assert "there is a study small with 8 finished trials: resume=true goes on with it" in process.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search=logstic"], ["Could not find 'search/logstic'", "lightgbm"]),
        (["search=logistic", "classifier=knn"], ["Knn has no c; it has neighbours, metric"]),
        (["search=logistic", "search.classifier.c.low=big"], ["search.classifier.c.low must be a number", "'big'"]),
        (
            ["search=logistic", "storage=postgresql://me:secret@127.0.0.1:9/db"],
            ["storage=postgresql://***@127.0.0.1:9/db cannot"],
        ),
        (["search=finetune", "n_jobs=2"], ["n_jobs=2, but networks are trained one after the other"]),
    ],
    ids=str,
)
def test_mistakes_get_one_clear_message(tmp_path: Path, arguments: list[str], said: list[str]) -> None:
    given = [each for each in QUICK if each.split("=")[0] not in {each.split("=")[0] for each in arguments}]
    process = run("tune", *given, *arguments, workspace=tmp_path)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr + process.stdout
    assert "secret" not in process.stderr + process.stdout
    for part in said:
        assert part in process.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_answers_without_heavy_imports(arguments: list[str]) -> None:
    code = (
        "import sys, runpy, atexit\n"
        "heavy = ['torch', 'mlflow', 'lightgbm', 'sklearn', 'scipy', 'matplotlib', 'optuna', 'sqlalchemy']\n"
        "atexit.register(lambda: print('IMPORTED', [name for name in heavy if name in sys.modules]))\n"
        f"sys.argv = ['src.tune', *{arguments}]\n"
        "runpy.run_module('src.tune', run_name='__main__')\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert "IMPORTED []" in process.stdout
    assert "inner_folds" in process.stdout
