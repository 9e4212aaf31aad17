"""How alike new images are to the known ones, and which are copies of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.config import rebuild_operator
from src.methods import likeness as known_images
from src.methods.likeness import MOST, Known, distance_by_case, distance_threshold, nearest_by_case
from src.methods.method import Method
from src.models.saved import load_fitted
from tests.support.cells import cell
from tests.support.finetuning import cell as trained_cell
from tests.support.finetuning import tuned
from tests.support.images import folder_of_images
from tests.support.models import FROZEN, TRAINED, asked, copied, kept

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"), 12)


@pytest.mark.parametrize("method", [FROZEN, TRAINED], ids=["frozen", "trained"])
def test_copies_are_recognised_however_few_descriptors_are_kept(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    monkeypatch.setattr(known_images, "MOST", 5)
    one = cell(images) if method is FROZEN else trained_cell(images, finetune=tuned(epochs=1))
    member = load_fitted(kept(one, method, tmp_path)[1], rebuild_operator)
    first = replace(member, models=dict([min(member.models.items())]), known=dict([min(member.known.items())]))
    assert asked([first], images).copies == 12
    assert asked([first], copied(images, tmp_path / "new")).copies == 12


class TestDistance:
    def known(self, draws: np.random.Generator, patients: int = 60, each: int = 2) -> Known:
        """Images of patients: two of a patient are close to each other."""
        centres = draws.normal(3, 1, (patients, 20)).repeat(each, axis=0)
        descriptors = (centres + draws.normal(0, 0.05, centres.shape)).astype(np.float32)
        return Known.of(manifest(len(descriptors), each), descriptors)

    def test_flags_one_in_twenty_of_new_patients(self) -> None:
        flagged = []
        for seed in range(40):
            draws = np.random.default_rng(seed)
            known = self.known(draws)
            new = draws.normal(3, 1, (50, 20)).astype(np.float32)
            flagged.append(
                known(new, [""] * 50) > distance_threshold(distance_by_case(known.table().assign(model="m")))
            )
        assert 0.02 <= np.mean(flagged) <= 0.07

    def test_flags_what_is_elsewhere(self) -> None:
        draws = np.random.default_rng(0)
        known = self.known(draws)
        other = draws.normal(0, 1, (50, 20)).astype(np.float32)
        assert (known(other, [""] * 50) > distance_threshold(known.table()["distance"])).mean() > 0.95

    def test_leaves_the_own_patient_out(self) -> None:
        known = self.known(np.random.default_rng(0))
        distances = known.own
        nearest = np.array([np.sort(np.linalg.norm(known.descriptors - row, axis=1))[1] for row in known.descriptors])
        assert (distances > 2 * nearest).all()

    def test_of_one_patient_says_nothing(self) -> None:
        known = Known.of(manifest(6, 6), np.random.default_rng(0).random((6, 4)).astype(np.float32))
        assert known.table().empty
        assert distance_threshold(known.table()["distance"]) == np.inf

    def test_images_that_are_all_alike(self) -> None:
        known = Known.of(manifest(6, 1), np.ones((6, 4), np.float32))
        assert np.isfinite(known(np.eye(4, dtype=np.float32), [""] * 4)).all()

    def test_keeps_a_bounded_number(self, tmp_path: Path) -> None:
        draws = np.random.default_rng(0)
        known = Known.of(manifest(MOST + 50, 1), draws.random((MOST + 50, 3)).astype(np.float32))
        assert len(known.descriptors) == len(known.facts) == MOST
        known.save(tmp_path / "all.safetensors")
        back = Known.load(tmp_path / "all.safetensors")
        np.testing.assert_array_equal(back.descriptors, known.descriptors)
        pd.testing.assert_frame_equal(back.table(), known.table())
        assert back.contents == known.contents == {f"s{number:04d}" for number in range(MOST + 50)}


class TestNearest:
    def test_are_in_order_with_labels_in_the_unit_of_distances(self, tmp_path: Path) -> None:
        angles = np.radians([0, 10, 30, 90])
        rows = manifest(4, 1).assign(label=list("abab"))
        Known.of(rows, np.stack([np.cos(angles), np.sin(angles)], axis=1)).save(tmp_path / "all.safetensors")
        known = Known.load(tmp_path / "all.safetensors")
        asked = np.array([[2.0, 0.0], [0.0, 3.0]], np.float32)
        found = known.nearest(rows.iloc[[0, 3]].assign(case=["x", "y"], content=""), asked, 2)
        assert found["case"].tolist() == ["x", "x", "y", "y"]
        assert found["content"].tolist() == ["s0000", "s0001", "s0003", "s0002"]
        assert found["label"].tolist() == ["a", "b", "b", "a"]
        chords = 2 * np.sin(np.radians([0, 10, 0, 60]) / 2)
        np.testing.assert_allclose(found["distance"] * known.median, chords, atol=1e-6)
        np.testing.assert_allclose(found["distance"][::2], known(asked, ["", ""]), atol=1e-6)

    def test_there_are_no_more_than_known_ones(self) -> None:
        known = Known.of(manifest(2, 1), np.eye(2, dtype=np.float32))
        assert len(known.nearest(manifest(1, 1), np.ones((1, 2), np.float32))) == 2

    def test_models_vote_and_the_mean_distance_decides(self) -> None:
        rows = [("c", "far", 2.0), ("c", "far", 4.0), ("c", "near", 1.0), ("c", "both", 2.5), ("c", "both", 1.5)]
        table = pd.DataFrame(rows, columns=["case", "content", "distance"]).assign(label="a")
        found = nearest_by_case(pd.concat([table, table.assign(case="d").iloc[:1]]), 2)
        assert found[["case", "rank", "content", "distance"]].to_numpy().tolist() == [
            ["c", 1, "both", 2.0],
            ["c", 2, "far", 3.0],
            ["d", 1, "far", 2.0],
        ]


def manifest(count: int, each: int) -> pd.DataFrame:
    """Rows of a manifest, so many images of a patient."""
    names = [f"s{number:04d}" for number in range(count)]
    patients = [f"p{number // each}" for number in range(count)]
    return pd.DataFrame(
        {"sample": names, "case": names, "patient": patients, "content": names, "view": "", "label": "a"}
    )
