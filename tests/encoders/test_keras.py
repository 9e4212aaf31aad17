"""Encoders of Keras against `keras.applications` called as its documentation says."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.encoders.encoder import Encoder
from src.encoders.keras import import_keras

# Keras' own, when it turns its tensors into arrays in order to write or to predict.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BLOCKS = ["block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3"]
MODULES = {"keras_resnet": "resnet", "keras_vgg": "vgg16", "keras_inception": "inception_v3"}


def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, 80, 80, 3), dtype=np.uint8)


def crops() -> torch.Tensor:
    return torch.from_numpy(images()).permute(0, 3, 1, 2)


def build(architecture: str) -> Any:
    """A model with random weights and, what matters to the test, random statistics of its normalisations."""
    keras = import_keras()
    model = getattr(keras.applications, architecture)(include_top=False, weights=None, input_shape=(None, None, 3))
    generator = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.8, 1.2, array.shape) for array in layer.get_weights()])
    return model


@pytest.mark.parametrize("name", sorted(MODULES))
def test_addresses_and_hashes_are_keras_own(option: Callable[..., Encoder], name: str) -> None:
    import_keras()
    encoder = option(name)
    module = sys.modules[f"keras.src.applications.{MODULES[name]}"]
    assert encoder.md5 in inspect.getsource(module)  # type: ignore[attr-defined]
    base = getattr(module, "BASE_WEIGHTS_PATH", None) or module.WEIGHTS_PATH_NO_TOP
    assert encoder.url.startswith(base)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_preprocessing_is_keras_own(option: Callable[..., Encoder], name: str) -> None:
    applications = import_keras().applications
    expected = getattr(applications, MODULES[name]).preprocess_input(images().astype(np.float32))
    prepared = option(name, weights="random").load().prepare(crops())
    np.testing.assert_allclose(prepared.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODULES))
def test_descriptors_are_those_of_keras_called_directly(
    option: Callable[..., Encoder], tmp_path: Path, name: str
) -> None:
    keras = import_keras()
    encoder = option(name, weights=str(tmp_path))
    model = build(encoder.architecture)
    model.save_weights(tmp_path / f"{encoder.architecture}.weights.h5")
    pixels = getattr(keras.applications, MODULES[name]).preprocess_input(images().astype(np.float32))
    outputs = [model.get_layer(block).output for block in BLOCKS] if name == "keras_vgg" else [model.output]
    averages = [keras.layers.GlobalAveragePooling2D()(output) for output in outputs]
    predicted = keras.Model(model.input, averages).predict(pixels, verbose=0)
    expected = np.concatenate(predicted, axis=-1) if isinstance(predicted, list) else predicted
    descriptors = encoder.load()(crops()).numpy()
    assert np.abs(descriptors - expected).max() <= 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(descriptors, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_files_in_the_format_that_keras_publishes_load(option: Callable[..., Encoder], tmp_path: Path) -> None:
    from keras.src.legacy.saving import legacy_h5_format

    h5py = pytest.importorskip("h5py")
    model = build("ResNet50")
    with h5py.File(tmp_path / "ResNet50.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    model.save_weights(tmp_path / "new.weights.h5")
    published = option("keras_resnet", weights=str(tmp_path)).load()
    new = option("keras_resnet", weights=str(tmp_path / "new.weights.h5")).load()
    assert torch.equal(published(crops()), new(crops()))


def test_keras_global_state_is_left_alone(option: Callable[..., Encoder]) -> None:
    keras = import_keras()
    before = keras.config.image_data_format(), torch.is_grad_enabled()
    network = option("keras_vgg", weights="random").load()
    network(crops())
    assert (keras.config.image_data_format(), torch.is_grad_enabled()) == before
    assert not any(parameter.requires_grad for parameter in network.module.parameters())


def test_statistics_of_batches_follow_in_training_and_wherever_the_network_moves(
    option: Callable[..., Encoder],
) -> None:
    network = option("keras_resnet", weights="random").load()
    module = network.module.train()
    name = next(key for key, _ in module.named_buffers())  # type: ignore[union-attr]
    before = module.get_buffer(name).clone()
    for _ in range(2):
        expected = module.get_buffer(name)
        module.double().float()  # a conversion replaces the tensors, as a move to another device does
        assert torch.equal(module.get_buffer(name), expected)
        module(network.prepare(crops()))
        assert not torch.equal(module.get_buffer(name), before)
        before = module.get_buffer(name).clone()
    assert not {name for name, _ in module.named_buffers()} & {name for name, _ in module.named_parameters()}


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_a_file_of_another_architecture_is_refused(option: Callable[..., Encoder], tmp_path: Path, suffix: str) -> None:
    import_keras()  # on torch, before anything else of Keras
    from keras.src.legacy.saving import legacy_h5_format

    model, path = build("VGG16"), tmp_path / f"other{suffix}"
    if suffix == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    else:
        model.save_weights(path)
    with pytest.raises(ValueError, match=f"other{suffix} does not fit ResNet50"):
        option("keras_resnet", weights=str(path)).load()


def test_a_file_that_leaves_a_layer_as_it_was_drawn_is_refused(option: Callable[..., Encoder], tmp_path: Path) -> None:
    keras = import_keras()
    path = tmp_path / "part.weights.h5"
    whole = build("VGG16")
    keras.Model(whole.input, whole.get_layer("block4_pool").output).save_weights(path)
    with pytest.raises(ValueError, match=r"part\.weights\.h5 does not fit VGG16"):
        option("keras_vgg", weights=str(path)).load()


def test_damaged_files_and_other_kinds_are_refused(option: Callable[..., Encoder], tmp_path: Path) -> None:
    for name in ("damaged.h5", "damaged.weights.h5"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(ValueError, match=f"{name} does not fit VGG16"):
            option("keras_vgg", weights=str(tmp_path / name)).load()
    (tmp_path / "model.keras").touch()
    with pytest.raises(ValueError, match=r"must be a file \.weights\.h5 or \.h5"):
        option("keras_vgg", weights=str(tmp_path / "model.keras")).load()
    with pytest.raises(ValueError, match=r"must hold VGG16\.weights\.h5 or VGG16\.h5 for VGG16, but holds: damaged"):
        option("keras_vgg", weights=str(tmp_path)).load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "VGG20"}, "keras.applications has no encoder.architecture=VGG20"),
        ({"layers": ["block9"]}, r"encoder.layers must be layers of VGG16 \(.*block1_conv1.*but got \['block9'\]"),
    ],
)
def test_wrong_choices_are_refused(option: Callable[..., Encoder], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        option("keras_vgg", weights="random", **changes).load()


def test_another_architecture_needs_to_be_told_of_its_pixels(option: Callable[..., Encoder]) -> None:
    with pytest.raises(ValueError, match="which pixels keras.applications.ResNet101 takes: give encoder.scale"):
        option("keras_resnet", architecture="ResNet101")
    given = option("keras_resnet", architecture="ResNet101", mean=[1.0, 2.0, 3.0], std=[1.0, 1.0, 1.0])
    assert (given.label, given.mean) == ("ResNet101", [1.0, 2.0, 3.0])  # type: ignore[attr-defined]
