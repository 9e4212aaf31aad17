"""What every encoder must do, whichever library builds it."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from src.encoders.encoder import Encoder, Extractor
from src.encoders.network_encoder import Network
from src.encoders.weights import seed_draws
from tests.support.encoders import ADDRESSED, LENGTHS, NETWORKS, PRETRAINED, REAL, TWINS, crops, untrained

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=[*NETWORKS, "handcrafted"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def network(option: Callable[..., Encoder], name: str) -> Extractor:
    return untrained(option, name).load()


def test_every_option_is_tested() -> None:
    options = {path.stem for path in (ROOT / "conf" / "encoder").glob("*.yaml")}
    assert {*LENGTHS, *TWINS, *PRETRAINED, *ADDRESSED} == options


def test_descriptors_are_finite_float32_of_the_stated_length(network: Extractor, name: str) -> None:
    descriptors = network(crops())
    assert descriptors.shape == (3, network.length) == (3, (LENGTHS | PRETRAINED)[name])
    assert descriptors.dtype == torch.float32
    assert not descriptors.requires_grad
    assert torch.isfinite(descriptors).all()
    assert descriptors.std() > 0


def test_a_crop_does_not_depend_on_its_batch(network: Extractor) -> None:
    batch = crops()
    descriptors = network(batch)
    order = [2, 0, 1]
    assert torch.equal(network(batch[order]), descriptors[order])
    others = batch.clone()
    others[1:] = 255 - others[1:]
    assert torch.equal(network(others)[0], descriptors[0])


@pytest.mark.parametrize("name", NETWORKS, indirect=True)
def test_the_seed_alone_determines_random_weights(option: Callable[..., Encoder], name: str, network: Network) -> None:
    other = untrained(option, name, seed=1).load()  # one of the same seed: in the next test
    batch = crops(1)
    assert not torch.equal(network(batch), other(batch))
    assert untrained(option, name).digest() == network.encoder.digest() != other.encoder.digest()
    assert list(network.module.state_dict()) == list(other.module.state_dict())  # whatever was built before


@pytest.mark.parametrize("name", NETWORKS, indirect=True)
def test_every_network_learns_and_its_state_can_be_kept(
    option: Callable[..., Encoder], name: str, network: Network
) -> None:
    batch = crops(2)
    before, initial = network(batch), network.module.state_dict()
    learner = untrained(option, name).load()
    assert torch.equal(learner(batch), before)
    module = learner.module.requires_grad_(True).train()
    step(module, learner.prepare(batch))
    state = module.state_dict()
    parameters = dict(module.named_parameters())
    assert all(not torch.equal(state[key], initial[key]) for key in [next(iter(parameters)), *statistics(state)])
    module.eval()
    after = learner(batch)
    assert torch.equal(learner(batch), after)
    assert not torch.equal(after, before)
    kept = save({key: tensor.contiguous() for key, tensor in state.items()})
    module.load_state_dict(initial)
    assert torch.equal(learner(batch), before)
    module.load_state_dict(load(kept))
    assert torch.equal(learner(batch), after)


def step(module: torch.nn.Module, pixels: torch.Tensor) -> None:
    """Learn once; every parameter gets a gradient."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    torch.manual_seed(0)
    with torch.random.fork_rng():
        module(pixels).square().mean().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1, error_if_nonfinite=True)
    optimizer.step()


def statistics(state: dict[str, torch.Tensor]) -> list[str]:
    """The names of the running means of batches."""
    return [key for key in state if key.endswith(("running_mean", "moving_mean"))]


def test_only_networks_are_trainable_and_can_be_untrained(option: Callable[..., Encoder]) -> None:
    network, features = option("squeezenet"), option("handcrafted")
    assert (network.trainable, features.trainable) == (True, False)
    assert (network.untrained, features.untrained) == (False, False)
    assert option("squeezenet", weights="random").untrained


def test_crops_of_another_kind_are_refused(network: Extractor) -> None:
    for wrong in (crops().float(), crops()[0], crops()[:, :2], crops()[..., :79]):
        with pytest.raises(ValueError, match="crops must be uint8 and"):
            network(wrong)


def test_the_callers_crops_are_left_alone(network: Extractor) -> None:
    batch = crops(1)
    network(batch)
    assert torch.equal(batch, crops(1))


def test_drawing_weights_leaves_the_global_generators_as_they_were() -> None:
    def peek() -> tuple[object, object, object]:
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    before = peek()
    with seed_draws(3):
        drawn = random.random(), np.random.random(), float(torch.rand(()))  # noqa: NPY002
    assert peek() == before
    with seed_draws(3):
        assert (random.random(), np.random.random(), float(torch.rand(()))) == drawn  # noqa: NPY002


@pytest.mark.parametrize("name", ["inception", "keras_inception", "alexnet", "resnet"])
def test_the_smallest_crop_passes_and_a_smaller_one_is_refused(option: Callable[..., Encoder], name: str) -> None:
    network = untrained(option, name).load()
    smallest = network.encoder.smallest
    assert network(crops(1, smallest)).shape == (1, LENGTHS[name])
    with pytest.raises(ValueError, match=f"must measure {smallest} pixels at least"):
        network(crops(1, smallest - 1))


def test_crops_are_resized_as_pillow_does(option: Callable[..., Encoder]) -> None:
    from PIL import Image

    network = option("squeezenet", weights="random", input_size=56, mean=[0, 0, 0], std=[1, 1, 1]).load()
    crop = cv2.GaussianBlur(crops(1)[0].permute(1, 2, 0).numpy(), (5, 5), 0)
    ours = network.prepare(torch.from_numpy(crop).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy() * 255
    theirs = np.asarray(Image.fromarray(crop).resize((56, 56), Image.Resampling.BILINEAR), dtype=np.float32)
    assert np.abs(ours - theirs).max() < 1.01  # Pillow rounds, once per direction


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", REAL)
def test_real_weights_on_real_crops_give_the_same_bits_in_any_order(
    option: Callable[..., Encoder], shared: Path, name: str, threads: int
) -> None:
    network = option(name, weights=str(shared / "weights")).load()
    image = cv2.imread(str(shared / "data/histology_sample/benign/SOB_B_A-14-22549AB-100-027.png"))
    assert image is not None
    tiles = [image[y : y + 96, x : x + 96, ::-1] for y in range(0, 288, 96) for x in range(0, 288, 96)]
    batch = torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2)
    torch.set_num_threads(threads)
    try:
        descriptors = network(batch)
        for seed in range(3):
            order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
            assert torch.equal(network(batch[order]), descriptors[order])
    finally:
        torch.set_num_threads(1)
    assert (descriptors >= 0).all()  # rectified, so that the power mean is defined


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": [0.5]}, "`mean` must hold three numbers"),
        ({"std": [1, 0, 1]}, "`std > 0` must hold"),
        ({"scale": 0}, "`scale > 0` must hold"),
        ({"seed": -1}, "`seed >= 0` must hold, but got seed=-1"),
        ({"input_size": -1}, "`input_size >= 0` must hold"),
        ({"channels": "hsv"}, "`channels` must be one of rgb, bgr, but got channels=hsv"),
    ],
)
def test_parameters_check_themselves(option: Callable[..., Encoder], changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        option("squeezenet", **changes)


def test_digests_and_operators_need_no_heavy_library(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"abc")
    code = f"""
import sys
from src.encoders import pooling
from src.encoders.handcrafted import Handcrafted
from src.encoders.keras import Keras
from src.encoders.timm import Timm
from src.encoders.torchvision import Torchvision
for kind, name in ((Keras, "VGG16"), (Timm, "resnet50"), (Torchvision, "alexnet")):
    print(kind(architecture=name, known={{name: {{}}}}, weights="random", seed=7).digest())
print(Keras(architecture="VGG16", known={{"VGG16": {{}}}}, weights={str(tmp_path / "weights.h5")!r}).digest())
print(Handcrafted(label="x").digest())
print(sorted({{"torch", "torchvision", "timm", "keras", "skimage", "requests", "rich"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    *drawn, file, features, heavy = run.stdout.splitlines()
    assert all(line.startswith("random-7-torch-") for line in drawn)
    assert file == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # the SHA-256 of abc
    assert features.startswith("scikit-image-0.")
    assert heavy == "[]"
