from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from src.data.image_file import file_digest
from src.data.manifest import single_views
from src.data.sets.demo_mammograms import CLASSES, MARGINS, DemoMammograms

if TYPE_CHECKING:
    from torch import Tensor, nn


def tiny(root: Path, **changes: int) -> DemoMammograms:
    return DemoMammograms(root=str(root), **({"cases": 16, "size": 64} | changes))


def contents(root: Path) -> dict[str, str]:
    return {
        path.name: file_digest(path) for path in root.rglob("*") if path.is_file() and path.suffix in (".png", ".csv")
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, np.ndarray]:
    """The manifest of 200 cases, and its images, n x 64 x 64."""
    reader = tiny(tmp_path_factory.mktemp("many"), cases=200)
    manifest = reader.manifest()
    return manifest, np.stack([reader.read(sample)[..., 0] for sample in manifest["sample"]])


def test_the_same_to_the_byte(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tiny(tmp_path / name).manifest()
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(set(contents(tmp_path / "one").values())) == 31


def test_an_image_depends_on_its_name_and_the_seed_only(tmp_path: Path) -> None:
    tiny(tmp_path / "few").manifest()
    tiny(tmp_path / "more", cases=21).manifest()
    tiny(tmp_path / "other", seed=1).manifest()
    few, more, other = (contents(tmp_path / name) for name in ("few", "more", "other"))
    images = [name for name in few if name.endswith(".png")]
    assert all(few[name] == more[name] != other[name] for name in images)


def test_other_parameters_make_another_folder(tmp_path: Path) -> None:
    first = tiny(tmp_path).manifest()
    assert set(first["sample"]).isdisjoint(tiny(tmp_path, size=65).manifest()["sample"])
    pd.testing.assert_frame_equal(tiny(tmp_path).manifest(), first)


def test_views_are_paired_and_some_are_lacking(many: tuple[pd.DataFrame, np.ndarray]) -> None:
    manifest, _ = many
    views = manifest.groupby("case")["view"].agg(" ".join).value_counts().to_dict()
    assert views == {"cc mlo": 175, "mlo": 13, "cc": 12}
    assert single_views(manifest, "lesions") == ["25 of 200 lesions have one view only (cc 12, mlo 13)"]
    assert DemoMammograms().notes(manifest) == single_views(manifest, "lesions")
    assert single_views(manifest[manifest["view"] == "cc"], "lesions") == []
    assert single_views(manifest.assign(view=""), "lesions") == []


def test_patients_and_classes(many: tuple[pd.DataFrame, np.ndarray]) -> None:
    manifest, _ = many
    cases = manifest.drop_duplicates("case")
    assert cases["label"].value_counts().to_dict() == dict.fromkeys(CLASSES, 100)
    patients = cases.groupby("patient")
    assert set(patients["case"].nunique()) == {1, 2}
    assert set(patients["side"].nunique()) == {1, 2}
    assert set(patients["label"].nunique()) == {1, 2}
    assert (patients["breast_density"].nunique() == 1).all()
    for label, rows in cases.groupby("label", observed=True):
        assert set(rows["mass_margins"]) == set(MARGINS[str(label)])
        assert set(rows["breast_density"]) == {"1", "2", "3", "4"}


def features(images: np.ndarray) -> np.ndarray:
    """Mean, standard deviation and the area of what is bright, (n, 3)."""
    mean, std = images.mean(axis=(1, 2)), images.std(axis=(1, 2))
    bright = (images > (mean + 1.5 * std)[:, None, None]).mean(axis=(1, 2))
    return np.stack([mean, std, bright], axis=1)


def test_brightness_and_size_do_not_tell_the_classes(many: tuple[pd.DataFrame, np.ndarray]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    manifest, images = many
    model = make_pipeline(StandardScaler(), LogisticRegression())
    malignant = (manifest["label"] == "malignant").to_numpy()
    folds = {"groups": manifest["patient"], "cv": GroupKFold(5), "method": "predict_proba"}
    predicted = cross_val_predict(model, features(images), malignant, **folds)[:, 1]
    assert 0.3 < roc_auc_score(malignant, predicted) < 0.7


@pytest.mark.slow
def test_a_small_network_learns_the_classes(many: tuple[pd.DataFrame, np.ndarray]) -> None:
    import torch
    from sklearn.metrics import roc_auc_score

    manifest, pixels = many
    images = torch.from_numpy((pixels[:, None] - pixels.mean()) / pixels.std()).float()
    malignant = torch.tensor((manifest["label"] == "malignant").tolist()).float()
    held_out = torch.tensor(manifest["patient"].str[-1].isin(list("369")).tolist())
    network = trained(images[~held_out], malignant[~held_out])
    with torch.no_grad():
        predicted = network(images[held_out])[:, 0]
    assert roc_auc_score(malignant[held_out], predicted) > 0.9


def trained(images: "Tensor", malignant: "Tensor") -> "nn.Module":
    """Four convolutions, 25 epochs, random quarter turns and flips."""
    import torch
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for before, after in ((1, 8), (8, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))
        optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
        for step in range(25 * len(images) // 32):
            chosen = torch.randperm(len(images))[:32]
            turned = torch.rot90(images[chosen], step % 4, (2, 3))
            turned = turned.flip(3) if step // 4 % 2 else turned
            loss = nn.functional.binary_cross_entropy_with_logits(network(turned)[:, 0], malignant[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


def test_images_look_like_mammograms(many: tuple[pd.DataFrame, np.ndarray], tmp_path: Path) -> None:
    _, images = many
    assert 60 < images.mean() < 130
    assert (images.std(axis=(1, 2)) > 5).all()
    assert np.ptp(images.mean(axis=(1, 2))) > 20  # films differ
    assert np.mean((images == 255) | (images == 0)) < 0.01
    reader = tiny(tmp_path, cases=2)
    pixels = reader.read(reader.manifest()["sample"][0])
    assert pixels.shape == (64, 64, 3)
    assert (pixels == pixels[..., :1]).all()


def test_values_check_themselves() -> None:
    for wrong in ({"cases": 1}, {"size": 10}, {"size": 10**5}, {"seed": -1}):
        with pytest.raises(ValueError, match="=".join(map(str, next(iter(wrong.items()))))):
            DemoMammograms(**wrong)
