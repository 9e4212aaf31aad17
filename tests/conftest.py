"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

import tests.support.typechecker  # noqa: F401  # before the hook, which looks it up
from src.system import memory

if TYPE_CHECKING:
    from tests.support.servers import Server

# Shapes in annotations are checked while testing; not where they name PyTorch, which is imported late.
CHECKED = ["src.images.stain", "src.encoders", "src.classifiers", "src.evaluation", "src.storage.store", "src.data"]
install_import_hook(CHECKED, "tests.support.typechecker.checked")
memory.reuse_freed()  # as commands do

settings.register_profile("busy", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("busy")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test of what an extra brings (`@pytest.mark.extra("MODULE", ...)`) where that is not installed."""
    for marker in item.iter_markers("extra"):
        for module in marker.args:
            pytest.importorskip(module)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images, weights and published facts that lies beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the developers' shared folder")
    return SHARED


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small networks are faster in one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def held_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Server]":
    """The tracking server of a module's tests, in whatever state they left it."""
    from tests.support.servers import Server

    server = Server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.kill()


@pytest.fixture
def server(held_server: "Server") -> "Server":
    """A tracking server that answers, whatever the test before did to it."""
    return held_server if held_server.process else held_server.start()
