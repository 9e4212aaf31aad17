"""What a cell does besides its figures: pictures of examples that cannot be made."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from src.cells import explain_examples
from src.memory import OutOfMemory
from src.methods.cell import Explanation
from src.store import Store
from tests.evaluation.conftest import make_predictions


class TestPictures:
    def explained(self, folder: Path, error: Exception) -> None:
        """Pictures of examples, the second of which ends by an error."""

        def explain(*_: object) -> Iterator[Explanation]:
            yield Explanation("0000.png", np.zeros((8, 8, 3), np.uint8), {})
            raise error

        table = make_predictions(cases=8, seeds=1)
        experiment: Any = SimpleNamespace(examples=1, method=SimpleNamespace(explain=explain))
        outcome: Any = SimpleNamespace(predictions=table, models={})
        run: Any = SimpleNamespace(folder=folder)
        manifest = table[["sample"]].assign(content=table["sample"])
        explain_examples(experiment, manifest, outcome, Store(folder), run)

    @pytest.mark.parametrize(
        "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), OutOfMemory("one crop does not fit")]
    )
    def test_without_memory_for_them_cost_no_results(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
    ) -> None:
        self.explained(tmp_path, error)
        assert "no pictures of examples (examples=0 asks for none): out of memory" in capsys.readouterr().err

    def test_raise_our_own_mistakes(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError, match="ours"):
            self.explained(tmp_path, KeyError("ours"))
