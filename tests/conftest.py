"""Fixtures that every test may use."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

import tests.typechecker  # noqa: F401  # before the hook, which looks it up
from src import memory

# Shapes in annotations are checked while testing; not where they name PyTorch, which is imported late.
CHECKED = ["src.images.stain", "src.encoders", "src.classifiers", "src.evaluation", "src.store", "src.data"]
install_import_hook(CHECKED, "tests.typechecker.checked")
memory.reuse()  # as commands do

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images, weights and published facts that lies beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the developers' shared folder")
    return SHARED
