"""Where weights come from, and every way in which they cannot."""

import hashlib
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from src.encoders.encoder import Encoder

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


class Quiet(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if "Range" not in self.headers:
            super().do_GET()
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, option: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a SqueezeNet's weights, published as torchvision does: the hash is part of the name."""
    folder, cache = tmp_path / "site", tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(cache))
    save_squeezenet(option, folder / "weights.pth")
    start = hashlib.sha256((folder / "weights.pth").read_bytes()).hexdigest()[:8]
    (folder / "weights.pth").rename(folder / f"squeezenet1_1-{start}.pth")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/squeezenet1_1-{start}.pth"
        server.shutdown()


def save_squeezenet(option: Callable[..., Encoder], path: Path, **extra: torch.Tensor) -> None:
    state = {**option("squeezenet", weights="random", seed=5).load().module.state_dict(), **extra}
    state = {key: tensor.contiguous() for key, tensor in state.items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)


def same(one: Encoder, other: Encoder) -> bool:
    crop = torch.arange(3 * 64 * 64).reshape(1, 3, 64, 64).to(torch.uint8)
    return torch.equal(one.load()(crop), other.load()(crop))


@pytest.mark.parametrize("file", ["squeezenet1_1.safetensors", "any.safetensors", "any.pth", "any.bin"])
def test_a_path_may_be_a_file_or_a_folder(option: Callable[..., Encoder], tmp_path: Path, file: str) -> None:
    head = {"classifier.1.weight": torch.zeros(1000, 512, 1, 1), "classifier.1.bias": torch.zeros(1000)}
    save_squeezenet(option, tmp_path / file, **head)
    path = tmp_path if file.startswith("squeezenet") else tmp_path / file
    encoder = option("squeezenet", weights=str(path))
    assert same(encoder, option("squeezenet", weights="random", seed=5))
    assert encoder.digest() == hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()


def test_a_changed_file_has_another_digest(option: Callable[..., Encoder], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"one")
    encoder = option("squeezenet", weights=str(path))
    before = encoder.digest()
    path.write_bytes(b"another")
    assert encoder.digest() != before


def test_published_weights_are_fetched_once(option: Callable[..., Encoder], published: str, tmp_path: Path) -> None:
    encoder = option("squeezenet", url=published)
    assert same(encoder, option("squeezenet", weights="random", seed=5))
    file = published.rpartition("/")[2]
    assert cached(tmp_path) == [file]
    (tmp_path / "site" / file).unlink()
    assert encoder.digest().startswith(file[14:22])


def test_a_download_that_broke_off_goes_on(option: Callable[..., Encoder], published: str, tmp_path: Path) -> None:
    file = published.rpartition("/")[2]
    whole = tmp_path / "site" / file
    part = tmp_path / "cache/hub/checkpoints" / f"{file}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(whole.read_bytes()[:1000])
    whole.write_bytes(b"x" * 1000 + whole.read_bytes()[1000:])  # these are there: they are not asked for
    assert option("squeezenet", url=published).digest().startswith(file[14:22])
    assert cached(tmp_path) == [file]


def cached(folder: Path) -> list[str]:
    """What torch's cache holds, but for the lock."""
    return [path.name for path in (folder / "cache/hub/checkpoints").iterdir() if not path.name.startswith(".")]


def test_what_has_another_hash_is_refused_and_not_kept(
    option: Callable[..., Encoder], published: str, tmp_path: Path
) -> None:
    file = tmp_path / "site" / published.rpartition("/")[2]
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"the sha256 of .* must start with"):
        option("squeezenet", url=published).load()
    assert cached(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "changes", "parts"),
    [
        ("squeezenet", {"url": f"{NOBODY}/squeezenet1_1-b8a52dc0.pth"}, ["squeezenet1_1.safetensors", NOBODY]),
        ("keras_vgg", {"url": f"{NOBODY}/vgg16_notop.h5"}, ["VGG16.weights.h5", NOBODY]),
        ("resnet", {}, ["resnet50.safetensors", "timm/resnet50.tv_in1k", "model.safetensors"]),
        ("uni", {}, ["vit_large_patch16_224.safetensors", "MahmoodLab/UNI", "accept the licence on", "hf auth login"]),
    ],
)
def test_weights_out_of_reach_are_an_error_at_once_that_names_the_choices(
    option: Callable[..., Encoder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    changes: dict[str, str],
    parts: list[str],
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(ValueError, match="could not be fetched from") as caught:
        option(name, **changes).digest()
    assert time.monotonic() - started < 10
    for part in ["encoder.weights=random (untrained)", "encoder.weights=PATH", *parts]:
        assert part in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_path_that_is_not_there_is_refused(option: Callable[..., Encoder], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="imagenet, released, random or the path of a file or folder, but 'imagnet'"):
        option("squeezenet", weights="imagnet").load()


def test_a_folder_without_the_file_says_what_it_holds(option: Callable[..., Encoder], tmp_path: Path) -> None:
    for name in ("b.txt", "a.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"must hold squeezenet1_1\.safetensors .*but holds: a\.safetensors, b\.txt"):
        option("squeezenet", weights=str(tmp_path)).load()


def test_a_file_of_another_kind_is_refused(option: Callable[..., Encoder], tmp_path: Path) -> None:
    (tmp_path / "weights.npz").touch()
    with pytest.raises(ValueError, match=r"must be a file \.safetensors or \.pth or .* or \.pth\.tar, but got .*npz"):
        option("squeezenet", weights=str(tmp_path / "weights.npz")).load()


def test_a_file_of_another_architecture_is_refused(option: Callable[..., Encoder], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_squeezenet(option, path)
    with pytest.raises(ValueError, match=r"does not fit alexnet: .*missing: \d+, .*unexpected: \d+, .*another shape"):
        option("alexnet", weights=str(path)).load()


def test_tensors_must_have_the_right_shape_and_be_expected(option: Callable[..., Encoder], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_squeezenet(option, path)
    state = load_file(path)
    state["features.0.bias"] = torch.zeros(3)
    state["more"] = torch.zeros(1)
    save_file(state, path)
    with pytest.raises(ValueError, match=r"unexpected: 1, .* more; of another shape: 1, .* features\.0\.bias"):
        option("squeezenet", weights=str(path)).load()


@pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth", "damaged.bin"])
def test_a_damaged_file_is_named(option: Callable[..., Encoder], tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match=f"{name} cannot be read as weights"):
        option("squeezenet", weights=str(tmp_path / name)).load()


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_nothing_is_unpickled(
    option: Callable[..., Encoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., None]
) -> None:
    monkeypatch.chdir(tmp_path)
    write({"features.0.bias": Harmful()}, tmp_path / "weights.pth")
    with pytest.raises(
        ValueError, match=r"cannot be read as weights .*(it holds posix\.mkdir, too|Weights only|magic)"
    ):
        option("squeezenet", weights=str(tmp_path / "weights.pth")).load()
    assert not (tmp_path / "harm").exists()


def test_something_else_than_tensors_is_refused(option: Callable[..., Encoder], tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="must hold a state dict"):
        option("squeezenet", weights=str(tmp_path / "weights.pth")).load()


CHECKPOINTS = {
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "model.module": lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}},
    "teacher.backbone": lambda state: {
        "student": {f"backbone.{name}": torch.zeros_like(tensor) for name, tensor in state.items()},
        "teacher": {f"backbone.{name}": tensor for name, tensor in state.items()} | {"head.mlp.weight": torch.ones(2)},
    },
    "state_dict.model.encoder": lambda state: {
        "state_dict": {f"model.encoder.{name}": tensor for name, tensor in state.items()}
        | {"model.decoder.weight": torch.ones(2)},
        "hyper_parameters": {"lr": 0.1},
    },
}


@pytest.mark.parametrize("prefix", CHECKPOINTS)
def test_checkpoints_are_taken_as_people_have_them_and_what_is_taken_is_said(
    option: Callable[..., Encoder], tmp_path: Path, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    state = dict(option("squeezenet", weights="random", seed=5).load().module.state_dict())  # type: ignore[attr-defined]
    torch.save(CHECKPOINTS[prefix](state), tmp_path / "last.ckpt")
    with caplog.at_level("INFO"):
        assert same(
            option("squeezenet", weights=str(tmp_path / "last.ckpt")), option("squeezenet", weights="random", seed=5)
        )
    (said,) = {record.getMessage() for record in caplog.records}
    assert f"last.ckpt: the {len(state)} tensors of {prefix} are taken" in said
    left = {
        "state_dict": "; left aside: optimizer (1)",
        "model.module": "taken",
        "teacher.backbone": f"; left aside: student.backbone ({len(state)}), teacher.head (1)",
        "state_dict.model.encoder": "; left aside: state_dict.model.decoder (1)",
    }
    assert said.endswith(left[prefix])


def test_a_nested_state_dict_that_does_not_fit_is_refused_by_its_own_names(
    option: Callable[..., Encoder], tmp_path: Path
) -> None:
    state = dict(option("squeezenet", weights="random", seed=5).load().module.state_dict())  # type: ignore[attr-defined]
    state["features.more.weight"] = state.pop("features.0.bias")
    torch.save({"state_dict": {f"net.{name}": tensor for name, tensor in state.items()}}, tmp_path / "last.ckpt")
    message = (
        r"tensors below state_dict\.net missing: 1, .* features\.0\.bias; unexpected: 1, .* features\.more\.weight"
    )
    with pytest.raises(ValueError, match=message):
        option("squeezenet", weights=str(tmp_path / "last.ckpt")).load()


def test_a_folder_that_was_downloaded_from_the_hub_is_taken(option: Callable[..., Encoder], tmp_path: Path) -> None:
    small = {"arguments": {"depth": 1, "img_size": 32}, "input_size": 32}
    one = option("uni", weights="random", seed=5, **small)
    torch.save(one.load().module.state_dict(), tmp_path / "pytorch_model.bin")  # type: ignore[attr-defined]
    assert same(one, option("uni", weights=str(tmp_path), **small))
