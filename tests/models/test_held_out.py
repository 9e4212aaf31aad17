"""Held-out images, perturbed: by whom they are predicted, what is stored, and which are taken."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from src.cell import Cell
from src.classifiers.knn import Knn
from src.config import rebuild_operator
from src.evaluation.robustness import UNCHANGED
from src.images.augment import NoAugment
from src.images.perturb import perturb_image
from src.images.stain import NoStain
from src.methods.method import Method, Outcome
from src.methods.preparation import Sample, prepare_image
from src.models.held_out import HeldOut, choose_cases, hold_out
from src.models.saved import load_fitted
from src.storage.store import Store
from src.system.progress import Progress
from tests.support.cells import cell
from tests.support.finetuning import cell as trained_cell
from tests.support.images import folder_of_images
from tests.support.models import FROZEN, TRAINED, kept
from tests.support.predictions import make_predictions

pytestmark = pytest.mark.usefixtures("one_thread")
BLUR = ("blur", 3.0)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return folder_of_images(tmp_path / "images", 12)


def plain(images: Path, **changes: Any) -> Cell:
    return cell(images, **({"stain": NoStain(), "augment": NoAugment()} | changes))


def held(images: Path, one: Cell, method: Method, folder: Path, name: str = "one") -> tuple[HeldOut, Outcome]:
    """A fitted cell with all its images."""
    outcome, place = kept(one, method, folder, name)
    outcome.predictions.insert(0, "model", name)
    manifest = pd.read_csv(write_manifest(one, folder / "store", folder / "manifest.csv"), dtype=str)
    member = load_fitted(place, rebuild_operator)
    return hold_out(member, outcome.predictions, manifest, images, Progress()), outcome


def write_manifest(one: Cell, store: Path, file: Path) -> Path:
    """What a run keeps of its manifest."""
    from tests.support.cells import task_of

    task_of(one, store).manifest.to_csv(file, index=False)
    return file


def asked(one: HeldOut, setting: tuple[str, float], store: Store) -> pd.DataFrame:
    counted: list[int] = []
    found = one.predict(setting, store, counted.append)
    assert sum(counted) == one.work == 12
    return found


def values(table: pd.DataFrame) -> np.ndarray:
    return table.sort_values(["sample", "fold", "seed"])[["p_one", "p_two"]].to_numpy(dtype=float)


@pytest.mark.parametrize(("make", "method"), [(plain, FROZEN), (trained_cell, TRAINED)], ids=["frozen", "finetune"])
def test_images_as_they_are_get_the_runs_own_figures_and_others_do_not(
    images: Path, tmp_path: Path, make: Any, method: Method
) -> None:
    one, outcome = held(images, make(images), method, tmp_path)
    store = Store(tmp_path / "new")
    unchanged = asked(one, UNCHANGED, store)
    assert list(unchanged) == list(one.recorded)
    np.testing.assert_allclose(values(unchanged), values(outcome.predictions), rtol=0, atol=1e-6)
    assert one.deviation(unchanged) < 1e-6
    blurred = asked(one, BLUR, store)
    assert blurred[["sample", "case", "label", "fold"]].equals(unchanged[["sample", "case", "label", "fold"]])
    assert one.deviation(blurred) > 1e-4
    np.testing.assert_array_equal(values(asked(one, BLUR, store)), values(blurred))


def test_an_image_is_predicted_by_the_models_of_its_own_fold(images: Path, tmp_path: Path) -> None:
    one, _ = held(images, plain(images, seeds=[0, 3]), FROZEN, tmp_path)
    store = Store(tmp_path / "new")
    whole = asked(one, BLUR, store)
    assert len(whole) == 12 * 2
    fold = int(one.recorded["fold"].iloc[0])
    alone = {name: model for name, model in one.member.models.items() if f"fold{fold:02d}" in name}
    assert len(alone) == 2
    part = replace(one, member=replace(one.member, models=alone), recorded=one.recorded[one.recorded["fold"] == fold])
    found = part.predict(BLUR, store, lambda count: None)
    np.testing.assert_array_equal(values(found), values(whole[whole["fold"] == fold]))


def test_images_are_perturbed_before_all_else(images: Path, tmp_path: Path) -> None:
    one, _ = held(images, plain(images), FROZEN, tmp_path)
    sample = Sample(*one.images[["sample", "content"]].iloc[0])
    made, _ = prepare_image(one.cell(BLUR), sample)
    perturbed = perturb_image(one.member.cell.data.read(sample.name), *BLUR)
    np.testing.assert_array_equal(made, one.member.cell.crop.rescale(perturbed))


def test_what_is_stored_is_not_encoded_again_by_another_classifier_or_day(images: Path, tmp_path: Path) -> None:
    one, _ = held(images, plain(images), FROZEN, tmp_path)
    store = Store(tmp_path / "store")  # the run's
    settings_ = [UNCHANGED, BLUR, ("stain", 1.2)]
    assert one.crops(settings_, store, set()) == 2 * 12 * 3  # as they are they are there
    planned: set[tuple[str, str]] = set()
    other, _ = held(images, plain(images, classifier=Knn(neighbours=2)), FROZEN, tmp_path, "other")
    assert [each.crops(settings_, store, planned) for each in (one, other)] == [72, 0]
    before = {setting: asked(one, setting, store) for setting in settings_}
    assert one.crops(settings_, store, set()) == 0
    shutil.rmtree(images)
    for setting in settings_:
        np.testing.assert_array_equal(values(asked(one, setting, Store(tmp_path / "store"))), values(before[setting]))
    assert len(asked(other, BLUR, store)) == 12


def test_networks_see_images_fold_by_fold(images: Path, tmp_path: Path) -> None:
    one, _ = held(images, trained_cell(images), TRAINED, tmp_path)
    assert one.crops([UNCHANGED, BLUR], Store(tmp_path / "store"), set()) == 2 * 12 * 2


def test_what_cannot_be_normalised_any_longer_is_left_out(images: Path, tmp_path: Path) -> None:
    one, _ = held(images, cell(images, augment=NoAugment()), FROZEN, tmp_path)  # Macenko's
    found = asked(one, ("brightness", 10.0), Store(tmp_path / "new"))
    assert len(found) == 0
    assert list(found) == list(one.recorded)
    assert one.deviation(found) == np.inf


def test_grey_images_are_known(images: Path, tmp_path: Path) -> None:
    one, _ = held(images, plain(images), FROZEN, tmp_path)
    assert not one.grey(8)
    for file in images.rglob("*.png"):
        Image.open(file).convert("L").convert("RGB").save(file)
    assert one.grey(8)


def test_images_that_are_gone_or_others_are_named(images: Path, tmp_path: Path) -> None:
    one, outcome = held(images, plain(images), FROZEN, tmp_path)
    manifest = pd.read_csv(tmp_path / "manifest.csv", dtype=str)
    with pytest.raises(ValueError, match=r"12 of 12 images of run one are not in .*nowhere: one/000.png, .*data.root="):
        hold_out(one.member, outcome.predictions, manifest, tmp_path / "nowhere", Progress())
    shutil.copy(images / "one" / "002.png", images / "one" / "000.png")
    with pytest.raises(ValueError, match=r"1 of 12 images in .* are others than those of run one: one/000.png"):
        hold_out(one.member, outcome.predictions, manifest, images, Progress())
    with pytest.raises(ValueError, match="other classes than the predictions of its run"):
        hold_out(one.member, outcome.predictions.rename(columns={"p_one": "p_1"}), manifest, images, Progress())


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 59))
def test_cases_are_chosen_by_patient_and_class_and_the_fewer_are_among_the_more(most: int, fewer: int) -> None:
    recorded = make_predictions(cases=60, seeds=1)
    chosen = choose_cases(recorded, most)
    assert chosen == choose_cases(recorded.sample(frac=1, random_state=most), most)
    assert min(most, 60) <= len(chosen) < most + 2  # patients have two
    patients = recorded.groupby("patient")["case"].agg(set)
    assert all(cases <= chosen or not cases & chosen for cases in patients)
    assert choose_cases(recorded, min(fewer, most)) <= chosen
    assert choose_cases(recorded, 0) == set(recorded["case"])


def test_every_class_gives_its_share() -> None:
    recorded = make_predictions(cases=80, seeds=1)
    chosen = recorded[recorded["case"].isin(choose_cases(recorded.assign(patient=""), 20))]
    assert chosen["label"].value_counts().tolist() == [5, 5, 5, 5]
