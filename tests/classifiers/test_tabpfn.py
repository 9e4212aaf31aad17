"""TabPFN with random weights in its own architecture: all but whether it learns, which takes trained ones."""

import socket
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from src.classifiers.tabpfn import TabPFN
from src.system.files import hash_file
from tests.support.classifiers import ClassifierContract
from tests.support.descriptors import problem

pytestmark = pytest.mark.extra("tabpfn")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of TabPFN 2.5's architecture, small and with random numbers."""
    import torch
    from tabpfn.architectures import ARCHITECTURES
    from tabpfn.architectures.tabpfn_v2_5 import TabPFNV2p5Config
    from tabpfn.checkpoint import save_as_safetensors

    config = TabPFNV2p5Config(emsize=24, nlayers=2, nhead=2, num_thinking_rows=4, max_num_classes=10, num_buckets=10)
    draws = torch.Generator().manual_seed(0)
    made = ARCHITECTURES["tabpfn_v2_5"].get_architecture(config).state_dict()
    state = {name: torch.randn(each.shape, generator=draws) * 0.2 for name, each in made.items()}
    path = tmp_path_factory.mktemp("weights") / "tabpfn.safetensors"
    save_as_safetensors({"state_dict": state, "config": asdict(config), "architecture_name": "tabpfn_v2_5"}, path)
    return str(path)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up, and nothing connected to."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something asks the network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


class TestConformance(ClassifierContract):
    @pytest.fixture
    def classifier(self, weights: str, offline: None) -> TabPFN:
        return TabPFN(weights=weights, estimators=1)

    @pytest.fixture
    def classes(self) -> int:
        return 3


def test_it_is_the_library_called_directly(weights: str) -> None:
    from tabpfn import TabPFNClassifier

    features, labels = problem(rows=30)
    (model,) = TabPFN(weights=weights, estimators=2).fit(features, labels, 3, 4, [1])
    direct = TabPFNClassifier(n_estimators=2, model_path=weights, device="cpu", random_state=1004)
    expected = direct.fit(features, labels).predict_proba(features[:5])
    np.testing.assert_allclose(model.predict(features[:5]), expected, rtol=1e-5)


def test_a_model_knows_its_weights_by_their_digest(weights: str, tmp_path: Path) -> None:
    one = TabPFN(weights=weights, estimators=1)
    assert one.digest() == hash_file(Path(weights))
    one.fit(*problem(rows=20), 3, 1, [0])[0].save(tmp_path / "model")
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"others")
    for given in (str(other), ""):
        with pytest.raises(ValueError, match=r"needs TabPFN's weights with the SHA-256 \w{12}.*: give those"):
            TabPFN(weights=given).load(tmp_path / "model.safetensors").predict(problem()[0])


@pytest.mark.parametrize("given", ["", "nowhere.ckpt"])
def test_without_weights_it_is_said_what_to_do_before_any_work(given: str, offline: None) -> None:
    with pytest.raises(ValueError, match=r"TabPFN needs its weights, but .*classifier.weights=PATH"):
        TabPFN(weights=given).check("", "")
