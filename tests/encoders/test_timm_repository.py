"""Models of timm by their address, from a folder of the hub's format and from a server that answers as the hub does."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models._hub import save_for_hf

from src.encoders.encoder import Encoder
from src.encoders.timm import Timm
from src.encoders.timm_repository import read_timm_config
from tests.support.encoders import crops

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there
COMMIT = "0" * 40
REFUSED = {"gated/model": (403, "GatedRepo"), "private/model": (401, "RepoNotFound")}


class Hub(BaseHTTPRequestHandler):
    """Answers as huggingface.co does to what its client asks for a file: /OWNER/NAME/resolve/main/FILE."""

    def __init__(self, root: Path, *arguments: Any) -> None:
        self.root = root
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        repository, _, name = self.path.lstrip("/").partition("/resolve/main/")
        file = self.root / repository / name
        if repository in REFUSED or not file.is_file():
            status, code = REFUSED.get(repository, (404, "EntryNotFound"))
            self.send_response(status if file.parent.is_dir() or repository in REFUSED else 404)
            self.send_header("X-Error-Code", code if file.parent.is_dir() or repository in REFUSED else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", hashlib.sha256(file.read_bytes()).hexdigest())
        self.send_header("Content-Length", str(file.stat().st_size))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(file.read_bytes())

    def do_GET(self) -> None:
        self.do_HEAD()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def let_answer(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let the hub be at an address."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder whose repositories a server offers; the hub's cache is empty."""
    from huggingface_hub import constants

    root = tmp_path / "hub"
    root.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, root)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        let_answer(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
        yield root
        server.shutdown()


SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "dynamic_img_size": True}


def publish(folder: Path, safe: bool = True, architecture: str = "vit_tiny_patch16_224", **arguments: Any) -> Any:
    """A repository as timm itself writes it; its model has a classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = timm.create_model(architecture, num_classes=3, **arguments).eval()
    data = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    save_for_hf(model, str(folder), model_args=arguments, safe_serialization=safe, data_config=data)
    return model


def expected(model: Any, size: int) -> torch.Tensor:
    """What timm computes of the crops with the repository's pixels, before its classifier."""
    pixels = torch.nn.functional.interpolate(crops().float(), (size, size), mode="bilinear", antialias=True) / 255
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    model.reset_classifier(0)
    with torch.no_grad():
        return model((pixels - mean) / std)  # type: ignore[no-any-return]


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_a_repository_says_all_of_its_model(option: Callable[..., Encoder], hub: Path, safe: bool) -> None:
    model = publish(hub / "someone" / "ViT-mine", safe, **SMALL)
    encoder = option("hub", repository="someone/ViT-mine")
    assert isinstance(encoder, Timm)
    assert (encoder.label, encoder.architecture) == ("ViT-mine", "vit_tiny_patch16_224")
    assert (encoder.mean, encoder.std, encoder.input_size) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], 32)
    torch.testing.assert_close(encoder.load()(crops()), expected(model, 32))
    torch.testing.assert_close(
        option("hub", repository="someone/ViT-mine", input_size=64).load()(crops()), expected(model, 64)
    )


def test_what_was_fetched_needs_no_network_again(
    option: Callable[..., Encoder], hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub / "someone" / "mine", safe=False, **SMALL)
    before = option("hub", repository="someone/mine")
    digest = before.digest()
    let_answer(monkeypatch, NOBODY)
    assert option("hub", repository="someone/mine") == before
    assert option("hub", repository="someone/mine").digest() == digest


def test_what_a_run_has_recorded_asks_nobody(
    option: Callable[..., Encoder], hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that the repository says is written into the run's config: it is asked once."""
    publish(hub / "someone" / "mine", **SMALL)
    encoder: Any = option("hub", repository="someone/mine")
    recorded = {name: getattr(encoder, name) for name in encoder.following}
    let_answer(monkeypatch, NOBODY)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "another"))
    assert option("hub", **recorded) == encoder


def test_a_downloaded_repository_is_a_folder(option: Callable[..., Encoder], tmp_path: Path) -> None:
    model = publish(tmp_path / "mine", architecture="resnet10t")
    encoder = option("hub", weights=str(tmp_path / "mine"))
    assert isinstance(encoder, Timm)
    assert (encoder.label, encoder.input_size) == ("mine", 0)  # crops stay as they come: it averages over them
    torch.testing.assert_close(encoder.load()(crops()), expected(model, 80), rtol=1e-4, atol=1e-5)


def test_ones_own_arguments_and_pixels_are_added(option: Callable[..., Encoder], hub: Path) -> None:
    publish(hub / "someone" / "mine", **SMALL)
    encoder = option("hub", repository="someone/mine", arguments={"depth": 2}, mean=[0.5] * 3, readout="token_patches")
    assert isinstance(encoder, Timm)
    assert (encoder.arguments["depth"], encoder.arguments["img_size"], encoder.mean) == (2, 32, [0.5] * 3)
    with pytest.raises(ValueError, match=r"missing: 12, the first is blocks\.1\..* \(all: blocks\.\*\.norm1\.weight, "):
        encoder.load()


@pytest.mark.parametrize(
    ("repository", "message"),
    [
        ("nobody/model", r"nobody/model \(the hub has no such repository, or it is private\)"),
        ("private/model", r"private/model \(the hub has no such repository, or it is private\)"),
        (
            "gated/model",
            r"it is gated.*accept the licence on https://huggingface.co/gated/model and run `hf auth login`",
        ),
        ("just-a-name", "encoder.repository must be OWNER/NAME on the hub, but got 'just-a-name'"),
        ("", "encoder.repository must be OWNER/NAME on the hub, but got ''"),
        ("someone/plain", r"it has no config\.json.*give encoder\.architecture=NAME and encoder\.file=NAME, or try"),
        ("someone/bert", r"no model of timm: its config\.json is of transformers' dinov2\. Try encoder=transformers"),
        ("someone/grey", "encoders take red, green and blue, but .* takes 1 channels"),
        ("someone/broken", r"config\.json cannot be read as JSON"),
        ("someone/new", r"timm has no encoder\.architecture=vit_of_tomorrow"),
    ],
)
def test_what_cannot_be_had_is_one_message(
    option: Callable[..., Encoder], hub: Path, repository: str, message: str
) -> None:
    repositories = {
        "plain": None,
        "bert": json.dumps({"model_type": "dinov2", "architectures": ["Dinov2Model"]}),
        "grey": json.dumps({"architecture": "resnet10t", "pretrained_cfg": {"input_size": [1, 64, 64]}}),
        "broken": "{",
        "new": json.dumps({"architecture": "vit_of_tomorrow", "pretrained_cfg": {}}),
    }
    for name, text in repositories.items():
        (hub / "someone" / name).mkdir(parents=True)
        if text is not None:
            (hub / "someone" / name / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        option("hub", repository=repository).load()
    assert "\n" not in str(caught.value)


def test_no_network_is_told_at_once(
    option: Callable[..., Encoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    let_answer(monkeypatch, NOBODY)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"config\.json could not be fetched from .*\(no connection .*weights=FOLDER"):
        option("hub", repository="someone/mine")


def test_weights_without_a_configuration_are_taken_by_architecture(option: Callable[..., Encoder], hub: Path) -> None:
    model = publish(hub / "someone" / "mine", architecture="resnet10t")
    (hub / "someone" / "mine" / "config.json").unlink()
    torch.save({"state_dict": model.state_dict()}, hub / "someone" / "mine" / "last.ckpt")
    (hub / "someone" / "mine" / "model.safetensors").unlink()
    encoder = option("hub", repository="someone/mine", architecture="resnet10t", file="last.ckpt")
    assert encoder.load()(crops()).shape == (3, 512)


def test_older_configurations_have_all_in_one() -> None:
    """As MahmoodLab/UNI's and those of timm before 0.9; the size that a model was made for is an argument."""
    old = {"architecture": "vit_tiny_patch16_224", "num_classes": 0, "input_size": [3, 384, 384], "mean": [0, 0, 0]}
    said = read_timm_config(old | {"fixed_input_size": True, "classifier": ["a", "b"]}, "there")
    assert said == {
        "architecture": "vit_tiny_patch16_224",
        "arguments": {"img_size": 384},
        "input_size": 384,
        "mean": [0, 0, 0],
        "head": ["a.", "b."],
    }
