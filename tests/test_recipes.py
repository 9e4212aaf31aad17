"""What determines results has a digest of its own, and what does not has none."""

from dataclasses import replace
from pathlib import Path

import pytest

from src.classifiers.logistic import Logistic
from src.data.sets.folder import Folder
from src.data.splits import KFold
from src.encoders.pooling import PowerMean
from src.encoders.torchvision import Torchvision
from src.images.augment import NoAugment, StainJitter
from src.images.crop import Centre, Crop, Whole
from src.images.stain import Macenko
from src.recipes import config_digest, descriptor_recipe, fit_recipe
from src.storage.store import recipe_digest
from src.training.parameters import FineTuning
from tests.support.cells import cell
from tests.support.configs import config
from tests.support.frozen import extract_all, samples
from tests.support.images import folder_of_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize(
    "same",
    [
        ["name=other", "workspace=/elsewhere", "examples=3", "resume=true"],
        ["method.workers=1", "method.device=cpu", "method.batch=3"],
        ["executor=ray", "executor.samples=3"],
        ["tracking.uri=http://127.0.0.1:9", "data.root=/moved", "store=/moved"],
    ],
    ids=" ".join,
)
def test_what_does_not_change_results_does_not_change_the_digest(same: list[str]) -> None:
    assert config_digest(config(*same)) == config_digest(config())


def test_other_sizes_of_the_same_pass_do_not_change_the_digest() -> None:
    shared = config_digest(config("crop.sharing=map"))
    assert config_digest(config("crop.sharing=map", "crop.together=[400]")) == shared != config_digest(config())


@pytest.mark.parametrize(
    "other",
    [
        *("seed=1", "seeds=[0,1]", "pool.p=2", "crop=half400", "crop=centre", "encoder=vgg", "encoder.weights=random"),
        *("classifier=logistic", "method=finetune", "protocol.folds=3", "replicates=5", "binary.positive=[Normal]"),
    ],
)
def test_what_changes_results_changes_the_digest(other: str) -> None:
    assert config_digest(config(other)) != config_digest(config())


@pytest.mark.parametrize(
    ("changes", "drawn"),
    [
        ({"augment": NoAugment(), "crop": Whole(size=40)}, False),
        ({"augment": NoAugment(), "crop": Centre(size=40)}, False),
        ({"augment": NoAugment(), "crop": Centre(size=40, orient=True)}, True),
        ({"augment": NoAugment()}, True),
        ({"crop": Whole(size=40)}, True),
    ],
)
def test_a_seed_is_in_the_recipe_exactly_where_it_changes_descriptors(
    images: Path, tmp_path: Path, changes: dict[str, object], drawn: bool
) -> None:
    one, other = (cell(images, seed=seed, **changes) for seed in (0, 1))
    assert (descriptor_recipe(one, "w") != descriptor_recipe(other, "w")) == drawn
    chosen = samples(one)[:2]
    made = [extract_all(each, tmp_path / str(each.seed), chosen) for each in (one, other)]
    assert (list(made[0].values()) != list(made[1].values())) == drawn


def test_the_recipe_is_what_changes_descriptors_and_nothing_else(images: Path) -> None:
    def of(**changes: object) -> str:
        one = cell(images, **changes)
        return recipe_digest(descriptor_recipe(one, one.encoder.digest()))

    same = [
        of(),
        of(pool=PowerMean(p=1)),
        of(classifier=Logistic(c=2.0)),
        of(seeds=[1, 2]),
        of(protocol=KFold(folds=3)),
        of(data=Folder(root=str(images / ".." / images.name))),
        of(encoder=Torchvision(label="other", architecture="squeezenet1_1", weights="random", head=["classifier."])),
    ]
    assert len(set(same)) == 1
    other = [
        of(seed=1),
        of(stain=Macenko(percentile=2)),
        of(augment=StainJitter(count=2, low=0.8)),
        of(crop=Crop(size=41, scale=0.5, count=3)),
        of(on_bad_image="pass"),
        of(encoder=Torchvision(label="SqueezeNet", architecture="squeezenet1_1", weights="random", seed=1)),
        of(encoder=replace(cell(images).encoder, precision="bfloat16")),
    ]
    assert len({*same, *other}) == 1 + len(other)
    one = cell(images)
    assert not {"backend", "precision"} & set(descriptor_recipe(one, one.encoder.digest())["encoder"])


@pytest.mark.extra("openvino")
def test_another_backend_has_a_recipe_of_its_own(images: Path) -> None:
    one = cell(images)
    other = replace(one.encoder, backend="openvino")
    assert descriptor_recipe(one, "w") != descriptor_recipe(cell(images, encoder=other), "w")


def test_a_network_that_is_stored_keeps_its_name(images: Path) -> None:
    """Parameters of the training that came later are in no recipe that does not use them: this one is of before."""
    assert recipe_digest(fit_recipe(cell(images))["finetune"]) == "781572ffc19740db2f88801e4d1fb2cb"
    averaged = fit_recipe(cell(images, finetune=FineTuning(averaging="ema")))["finetune"]
    assert averaged == fit_recipe(cell(images))["finetune"] | {"averaging": "ema"}
