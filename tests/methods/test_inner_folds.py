"""Inner folds: training parts predicted by models that saw neither what is held out nor what they predict."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from src.cell import Cell
from src.classifiers.classifier import Classifier
from src.classifiers.logistic import Logistic
from src.data.splits import KFold
from src.methods.finetune.finetune import FineTune
from src.methods.frozen.frozen import Frozen
from src.methods.inner_folds import InnerFolds, split_training_parts
from src.methods.method import Method
from src.system.progress import Progress
from tests.support import finetuning
from tests.support.cells import cell, task_of
from tests.support.images import folder_of_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"), 16)


@dataclass(kw_only=True)
class Remembering(Logistic):
    """Remembers how many rows it learnt from, by fold."""

    learnt: ClassVar[list[tuple[int, int]]] = []

    def fit(self, features: Any, labels: Any, classes: int, fold: int, *rest: Any, **more: Any) -> Any:
        self.learnt.append((fold, len(labels)))
        return super().fit(features, labels, classes, fold, *rest, **more)


@dataclass(kw_only=True)
class ByFold(Logistic):
    """Has a parameter of its own in each fold, as what a study chose."""

    def of_fold(self, fold: int) -> Classifier:
        return Logistic(c=10.0**-fold)


class Told(Progress):
    """Remembers what it is told of."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.curves: set[str] = set()

    def counting(self, description: str, total: int) -> Any:
        self.seen.append(description)
        return super().counting(description, total)

    def point(self, curve: str, value: float, step: int) -> None:
        self.curves.add(curve)


def predict_inner(
    method: Method, one: Cell, store: Path, folds: int = 3, **more: Any
) -> tuple[pd.DataFrame, pd.DataFrame, InnerFolds]:
    """Return the splits, the predictions of training parts, and what made them."""
    task = replace(task_of(one, store), **{key: more.pop(key) for key in ("progress",) if key in more})
    splits = one.protocol.split(task.manifest)
    parts = split_training_parts(method, one, task.manifest, splits, folds)
    inner = InnerFolds(method=method, parts=parts, work=store / "work", chosen=more.get("chosen", {}))
    return splits, inner.predict(task), inner


def test_every_training_part_is_predicted_once_and_nothing_held_out(images: Path, tmp_path: Path) -> None:
    splits, table, _ = predict_inner(Frozen(workers=2), cell(images, seeds=[0, 1]), tmp_path)
    assert list(table)[:8] == ["sample", "case", "patient", "view", "label", "fold", "inner_fold", "seed"]
    for fold, rows in table.groupby("fold"):
        training = splits["case"][splits["fold"] != fold]
        assert sorted(rows["case"]) == sorted([*training, *training])
        assert set(rows["inner_fold"]) == {1, 2, 3}
        assert (rows.groupby("case")["inner_fold"].nunique() == 1).all()
    np.testing.assert_allclose(table[["p_one", "p_two"]].sum(axis=1), 1)


def test_a_training_part_is_predicted_as_data_of_its_own_would_be(images: Path, tmp_path: Path) -> None:
    """The figures of a fold are those of a run on its training part alone, which knows nothing of the rest."""
    one = cell(images)
    splits, table, _ = predict_inner(Frozen(workers=2), one, tmp_path)
    task = task_of(one, tmp_path)
    for fold in (1, 2):
        rows = task.manifest[task.manifest["case"].isin(splits["case"][splits["fold"] != fold])]
        alone = Frozen(workers=2).predict(replace(task, manifest=rows), KFold(folds=3, seed=0).split(rows)).predictions
        mine = table[table["fold"] == fold].drop(columns="fold").rename(columns={"inner_fold": "fold"})
        pd.testing.assert_frame_equal(mine[list(alone)].reset_index(drop=True), alone, check_exact=True)


def test_no_more_patients_are_known_than_may_be(images: Path, tmp_path: Path) -> None:
    Remembering.learnt.clear()
    one = cell(images, classifier=Remembering(), training_patients=6)
    _, table, _ = predict_inner(Frozen(workers=1), one, tmp_path, folds=3)
    assert table.groupby("fold")["case"].nunique().tolist() == [6, 6]
    assert {rows for _, rows in Remembering.learnt} == {4 * one.augment.count}


def test_parameters_of_a_fold_predict_its_training_part(images: Path, tmp_path: Path) -> None:
    _, table, inner = predict_inner(Frozen(workers=2), cell(images, classifier=ByFold()), tmp_path)
    for fold in (1, 2):
        _, other, _ = predict_inner(Frozen(workers=2), cell(images, classifier=Logistic(c=10.0**-fold)), tmp_path)
        pd.testing.assert_frame_equal(*(each[each["fold"] == fold] for each in (table, other)), check_exact=True)
    assert "parameters were chosen on whole training parts" in inner.notes(cell(images, classifier=ByFold()), 3)[0]


def test_fewer_folds_where_a_class_has_fewer_patients(images: Path, tmp_path: Path) -> None:
    one = cell(images)
    _, table, inner = predict_inner(Frozen(workers=2), one, tmp_path, folds=9)
    assert set(table["inner_fold"]) == {1, 2, 3, 4}
    assert inner.notes(one, 9) == [
        "inner_folds=9, but a class has fewer patients in training parts: 4 in that of fold 1, 4 in that of fold 2"
    ]
    assert inner.notes(one, 4) == []


def test_one_patient_of_a_class_is_too_few(images: Path, tmp_path: Path) -> None:
    one = cell(images)
    manifest = task_of(one, tmp_path).manifest.groupby("label", observed=True).head(2)
    with pytest.raises(ValueError, match="two patients of every class .* fold 1 class one has 1 case: add patients"):
        split_training_parts(Frozen(), one, manifest, one.protocol.split(manifest), 5)


class TestFineTuning:
    def test_what_was_trained_is_gone_and_no_curve_is_told(self, images: Path, tmp_path: Path) -> None:
        told = Told()
        one = finetuning.cell(images, finetune=finetuning.tuned(epochs=1))
        _, table, _ = predict_inner(FineTune(workers=2, device="cpu"), one, tmp_path, folds=2, progress=told)
        assert table.groupby("fold")["case"].nunique().tolist() == [8, 8]
        assert "inner folds of 2/2: training images" in told.seen
        assert not told.curves
        assert not list(tmp_path.rglob("model.safetensors"))
        assert not list((tmp_path / "work").iterdir())

    def test_goes_on_where_it_was_killed(self, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        one = finetuning.cell(images, finetune=finetuning.tuned(epochs=1))
        method = FineTune(workers=2, device="cpu")
        _, whole, _ = predict_inner(method, one, tmp_path / "whole", folds=2)
        of_fold, done = InnerFolds.of_fold, []

        def killed(self: InnerFolds, task: Any, fold: int, *rest: Any) -> pd.DataFrame:
            if len(done) == 1:
                raise KeyboardInterrupt
            done.append(fold)
            return of_fold(self, task, fold, *rest)

        monkeypatch.setattr(InnerFolds, "of_fold", killed)
        with pytest.raises(KeyboardInterrupt):
            predict_inner(method, one, tmp_path / "cut", folds=2)
        monkeypatch.undo()
        told = Told()
        _, resumed, _ = predict_inner(method, one, tmp_path / "cut", folds=2, progress=told)
        assert not any("of 1/2" in line for line in told.seen)
        pd.testing.assert_frame_equal(resumed, whole, check_exact=True)

    def test_too_few_to_stop_by_are_named_before_any_work(self, images: Path, tmp_path: Path) -> None:
        one = finetuning.cell(images, finetune=finetuning.tuned(validation=0.2))
        manifest = task_of(one, tmp_path).manifest.groupby("label", observed=True).head(4)
        with pytest.raises(ValueError, match="leaves no patient of class"):
            split_training_parts(FineTune(), one, manifest, one.protocol.split(manifest), 2)
