"""Fitted cells in folders: whole, with the weights of their encoders, or refused by name."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from src.config import rebuild_operator
from src.data.sets.table import Table
from src.encoders.torchvision import Torchvision
from src.models.saved import DESCRIPTION, load_all_fitted, load_fitted, pack_fitted, packed_cells
from tests.support.cells import cell
from tests.support.images import folder_of_images
from tests.support.models import FROZEN, asked, kept

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"), 12)


class TestWeights:
    @pytest.fixture
    def model(self, images: Path, tmp_path: Path) -> tuple[Path, Path]:
        """A fitted cell whose encoder's weights lie in a file of torch's own format, which is a pickle."""
        weights = tmp_path / "weights.pth"
        encoder = Torchvision(label="SqueezeNet", architecture="squeezenet1_1", weights="random", head=["classifier."])
        torch.save(encoder.load().module.state_dict(), weights)
        return kept(cell(images, encoder=replace(encoder, weights=str(weights))), FROZEN, tmp_path)[1], weights

    def test_that_are_gone_are_named(self, images: Path, model: tuple[Path, Path]) -> None:
        folder, weights = model
        weights.rename(weights.with_name("moved.pth"))
        with pytest.raises(ValueError, match="model one was fitted are gone.*weights=PATH"):
            asked([load_fitted(folder, rebuild_operator)], images)
        moved = load_fitted(folder, rebuild_operator, weights=str(weights.with_name("moved.pth")))
        assert len(asked([moved], images).table) == 12

    def test_that_differ_are_refused(self, images: Path, model: tuple[Path, Path]) -> None:
        folder, weights = model
        state = torch.load(weights, weights_only=True)
        torch.save({name: tensor + 1 for name, tensor in state.items()}, weights)
        with pytest.raises(ValueError, match="model one was fitted are others than those here"):
            asked([load_fitted(folder, rebuild_operator)], images)

    def test_that_no_file_holds_are_asked_of_no_file(self, images: Path, tmp_path: Path) -> None:
        folder = kept(cell(images), FROZEN, tmp_path)[1]
        member = replace(load_fitted(folder, rebuild_operator), weights="of another version")
        with pytest.raises(ValueError, match="others than those here .*: install the versions of the libraries"):
            asked([member], images)

    def test_are_packed_without_a_pickle(self, images: Path, model: tuple[Path, Path], tmp_path: Path) -> None:
        folder, weights = model
        before = asked([load_fitted(folder, rebuild_operator)], images).table
        pack_fitted([folder], rebuild_operator, tmp_path / "packed")
        weights.unlink()
        shutil.move(tmp_path / "packed", tmp_path / "elsewhere")
        after = asked(load_all_fitted(packed_cells(tmp_path / "elsewhere"), rebuild_operator), images).table
        pd.testing.assert_frame_equal(after, before, check_exact=True)
        assert {file.suffix for file in (tmp_path / "elsewhere").rglob("*") if file.is_file()} == {
            ".safetensors",
            ".json",
        }

    def test_that_are_gone_are_not_packed(self, model: tuple[Path, Path], tmp_path: Path) -> None:
        folder, weights = model
        weights.unlink()
        with pytest.raises(ValueError, match="are gone"):
            pack_fitted([folder], rebuild_operator, tmp_path / "packed")


class TestFolder:
    def test_without_a_description_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="holds no model.json, so that it is no whole model: run the cell again"):
            load_fitted(tmp_path, rebuild_operator)

    def test_made_by_another_revision_is_refused(self, images: Path, tmp_path: Path) -> None:
        folder = kept(cell(images), FROZEN, tmp_path)[1]
        description = json.loads((folder / DESCRIPTION).read_text())
        description["cell"]["crop"]["revision"] = 0
        (folder / DESCRIPTION).write_text(json.dumps(description))
        with pytest.raises(ValueError, match="made by Crop of revision 0, but here is revision 1"):
            load_fitted(folder, rebuild_operator)

    @pytest.mark.parametrize("pattern", ["fold*", "known/*"])
    def test_that_is_not_whole_is_refused(self, images: Path, tmp_path: Path, pattern: str) -> None:
        folder = kept(cell(images), FROZEN, tmp_path)[1]
        gone = sorted(folder.glob(pattern))[0]
        gone.unlink()
        with pytest.raises(ValueError, match=f"model one .* is not whole: {gone.stem} is missing"):
            load_fitted(folder, rebuild_operator)

    def test_names_no_patient(self, tmp_path: Path) -> None:
        root = folder_of_images(tmp_path / "images", 8)
        rows = [(f"{'one' if n % 2 == 0 else 'two'}/{n:03d}.png", f"Jane Doe {n}", "ab"[n % 2]) for n in range(8)]
        pd.DataFrame(rows, columns=["sample", "patient", "label"]).to_csv(root / "t.csv", index=False)
        one = cell(root, data=Table(path=str(root / "t.csv"), root=str(root)))
        folder = kept(one, FROZEN, tmp_path)[1]
        assert not any(b"Jane Doe" in file.read_bytes() for file in folder.rglob("*") if file.is_file())
