"""What a cell does: what is said before any work, repeats, pictures of examples that cannot be made."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from src.config import CONF, Experiment, build, rebuild_operator
from src.evaluation.predictions import probability_columns
from src.evaluation.recalibration import fit_recalibrations, recalibrate
from src.methods.method import CellTask, Explanation
from src.models.prediction import predict_new
from src.models.saved import load_fitted
from src.recipes import encoder_recipe
from src.storage.store import Store
from src.sweeps.run_cell import explain_examples, fill_run, gather_inputs, idle_overrides, settle_backend
from src.system.memory import OutOfMemory
from src.system.progress import Progress
from tests.support.cells import cell
from tests.support.configs import composed
from tests.support.predictions import make_predictions


@pytest.mark.parametrize(
    ("typed", "varied", "said"),
    [
        (["encoder=handcrafted", "encoder.weights=x"], [], "encoder.weights=x means nothing to encoder=handcrafted:"),
        (["encoder=handcrafted", "encoder.weights=x"], ["encoder"], ""),
        (["encoder=handcrafted", "encoder.levels=16", "pool.p=1"], [], ""),
        (["encoder=handcrafted", "method.device=cuda"], [], "method.device=cuda means nothing to encoder=handcrafted"),
        (["finetune.epochs=3"], [], "finetune.epochs=3 means nothing to method=frozen: left aside"),
        (["finetune=head"], [], "finetune=head means nothing to method=frozen"),
        (["finetune=head"], ["method"], ""),
        (["method=finetune", "pool.p=1"], [], "pool.p=1 means nothing to method=finetune"),
        (["method=finetune", "pool.p=1", "encoder=handcrafted"], [], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_mean_nothing_are_said(typed: list[str], varied: list[str], said: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", typed, return_hydra_config=True)
        options = {name: str(option) for name, option in config.hydra.runtime.choices.items()}
        experiment = build(compose("config", typed))
    lines = idle_overrides(experiment, typed, options, varied)
    assert [line.startswith(said) for line in lines] == [True] * bool(said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["encoder=vgg", "encoder.weights=/nowhere.pth"], "/nowhere.pth"),
        (["classifier=tuned", "classifier.study=nothing"], "no study 'nothing' has ended"),
        (["binary.positive=[Insitu]"], "Insitu"),
        (["slices=[grade]"], "but got 'grade'"),
        (["protocol.folds=9"], "protocol.folds=9"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_before_the_images_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[str], said: str
) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(5):
            (tmp_path / label / f"{number}.png").write_bytes(b"no image, and nobody looks")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        experiment = build(compose("config", ["data=folder", f"data.root={tmp_path}", *wrong]))

    def never(*_: object) -> Iterator[object]:
        raise AssertionError("images are read")

    monkeypatch.setattr("src.methods.preparation.prefetch", never)
    with pytest.raises(ValueError, match=said):
        gather_inputs(experiment, tell=lambda line: None)


class TestPictures:
    def explained(self, folder: Path, error: Exception) -> None:
        """Pictures of examples, the second of which ends by an error."""

        def explain(*_: object) -> Iterator[Explanation]:
            yield Explanation("0000.png", np.zeros((8, 8, 3), np.uint8), {})
            raise error

        table = make_predictions(cases=8, seeds=1)
        experiment: Any = SimpleNamespace(examples=1, method=SimpleNamespace(explain=explain))
        outcome: Any = SimpleNamespace(predictions=table, models={})
        run: Any = SimpleNamespace(folder=folder)
        manifest = table[["sample"]].assign(content=table["sample"])
        task = CellTask(cell=cell(folder), manifest=manifest, store=Store(folder))
        explain_examples(experiment, task, outcome, run)

    @pytest.mark.parametrize(
        "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), OutOfMemory("one crop does not fit")]
    )
    def test_without_memory_for_them_cost_no_results(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
    ) -> None:
        self.explained(tmp_path, error)
        assert "no pictures of examples (examples=0 asks for none): out of memory" in capsys.readouterr().err

    def test_raise_our_own_mistakes(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError, match="ours"):
            self.explained(tmp_path, KeyError("ours"))


@pytest.mark.slow
def test_a_run_with_repeats_predicts_every_case_in_each(tmp_path: Path) -> None:
    arguments = ["data=demo", "data.cases=24", "encoder=handcrafted", "crop=whole", "crop.size=32", "examples=0"]
    arguments += ["classifier=logistic", "protocol.folds=2", "protocol.repeats=3", f"workspace={tmp_path}"]
    experiment = composed(*arguments)
    assert isinstance(experiment, Experiment)
    with experiment.tracking.run("repeated", "cell") as run:
        evaluation, _ = fill_run(experiment, "repeated", run)
    kept = experiment.tracking.predictions(experiment.tracking.search()[0])
    assert kept.groupby("repeat")["case"].nunique().tolist() == [24, 24, 24]
    assert kept.groupby("fold")["repeat"].first().tolist() == [1, 1, 2, 2, 3, 3]
    assert evaluation.table.filter(regex="^r").shape == (1, 3)
    first = composed(*arguments, "protocol.repeats=1", "protocol.seed=2")
    assert isinstance(first, Experiment)
    with first.tracking.run("once", "cell") as run:
        again, _ = fill_run(first, "once", run)
    assert again.fold_accuracy.tolist() == evaluation.fold_accuracy.tolist()[4:]


@pytest.mark.slow
def test_a_run_is_recalibrated_by_its_inner_folds_and_so_is_its_model(tmp_path: Path) -> None:
    arguments = ["data=demo", "data.cases=40", "encoder=handcrafted", "crop=whole", "crop.size=32", "examples=0"]
    arguments += ["classifier=logistic", "protocol.folds=2", f"workspace={tmp_path}", "inner_folds=2"]
    parts = {}
    for kind in ("none", "temperature"):
        experiment = composed(*arguments, f"recalibration={kind}")
        assert isinstance(experiment, Experiment)
        with experiment.tracking.run(kind, "cell") as run:
            _, notes = fill_run(experiment, "model", run)
            files = {path.name: path for path in run.folder.rglob("*") if path.suffix in (".parquet", ".json")}
            parts[kind] = {name: pd.read_parquet(file) for name, file in files.items() if name.endswith("parquet")}
            member = load_fitted(run.folder / "model", rebuild_operator)
        assert any("before and after: log loss" in note for note in notes) == (kind == "temperature")
    raw, mapped = parts["none"]["predictions.parquet"], parts["temperature"]["predictions.parquet"]
    pd.testing.assert_frame_equal(parts["temperature"]["raw_predictions.parquet"], raw)
    assert "raw_predictions.parquet" not in parts["none"]
    maps = fit_recalibrations("temperature", parts["none"]["inner_predictions.parquet"])
    assert member.recalibration == maps
    pd.testing.assert_frame_equal(mapped, recalibrate(maps, raw))
    (metrics,) = (each.metrics for each in experiment.tracking.search() if each.name == "temperature")
    assert metrics["raw_log_loss"] != metrics["log_loss"]
    given = experiment.data.manifest().head(6).assign(view="")
    new = predict_new([member], given[["sample", "case", "view"]], Path(experiment.data.root), Progress())
    columns = probability_columns(raw)
    said = new.members.merge(mapped, on=["sample", "fold", "seed"], suffixes=("", "_run"))
    assert len(said) == 6
    np.testing.assert_allclose(said[columns], said[[f"{name}_run" for name in columns]], atol=1e-6)


def test_recalibration_is_named_where_it_is_mistyped() -> None:
    with pytest.raises(ValueError, match="`recalibration` must be one of none, temperature, platt, isotonic"):
        composed("recalibration=plat")


class TestBackendsThatAreChosen:
    @staticmethod
    def settled(folder: Path, *overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            own = ["encoder.architecture=test_resnet", "encoder.weights=random", "crop.size=64", f"workspace={folder}"]
            return settle_backend(compose("config", ["encoder=resnet", "encoder.backend=auto", *own, *overrides]))

    def test_stand_in_the_config_and_in_recipes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        config = self.settled(tmp_path)
        backend, precision = config.encoder.backend, config.encoder.precision
        assert (backend, precision) in [("torch", "float32"), ("openvino", "float32")]
        assert f"backend=auto is {backend} in float32 (torch float32 " in capsys.readouterr().err
        assert encoder_recipe(build(config), "").get("backend", "torch") == backend
        before = (tmp_path / "backends.json").read_bytes()
        assert self.settled(tmp_path) == config
        assert (tmp_path / "backends.json").read_bytes() == before

    @pytest.mark.parametrize("typed", ["crop.sharing=map", "method=finetune", "method.device=cuda"])
    def test_are_torch_where_there_is_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
    ) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        config = self.settled(tmp_path, typed)
        assert (config.encoder.backend, config.encoder.precision) == ("torch", "float32")
        assert not (tmp_path / "backends.json").exists()
