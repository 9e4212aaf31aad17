"""Whom each model learns from: views, names, and what is lacking."""

from pathlib import Path

import pandas as pd
import pytest

from src.data.splits import REPORT
from src.methods.fold_models import by_view, check_classes, leave_out, model_name, role_mask
from tests.support.cells import cell


@pytest.fixture
def manifest() -> pd.DataFrame:
    """Three lesions, one of which has one view only."""
    rows = [("c1-cc", "c1", "cc", "a"), ("c1-mlo", "c1", "mlo", "a"), ("c2-cc", "c2", "cc", "b")]
    rows += [("c2-mlo", "c2", "mlo", "b"), ("c3-cc", "c3", "cc", "b")]
    table = pd.DataFrame(rows, columns=["sample", "case", "view", "label"])
    return table.assign(patient="", label=pd.Categorical(table["label"]))


def test_a_model_per_view_or_one_for_all(manifest: pd.DataFrame) -> None:
    separate = dict(by_view(cell(Path("unused")), manifest))
    assert {view: len(rows) for view, rows in separate.items()} == {"cc": 3, "mlo": 2}
    assert {view: len(rows) for view, rows in by_view(cell(Path("unused"), views="shared"), manifest)} == {"": 5}


def test_names_of_models() -> None:
    assert [model_name(view, 1, 0) for view in ("", "cc")] == ["fold01-seed0", "cc-fold01-seed0"]


def test_a_view_that_lacks_a_class_is_named(manifest: pd.DataFrame) -> None:
    roles = pd.DataFrame({"case": ["c1", "c2", "c3"], "fold": 1, "role": ["report", "fit", "fit"]})
    assert role_mask(manifest, roles, 1, REPORT).tolist() == [True, True, False, False, False]
    with pytest.raises(ValueError, match="fold 1 has no image of view cc of class a to learn from"):
        check_classes(manifest, roles, 1, "cc")


def test_nothing_but_bad_images_is_named(manifest: pd.DataFrame) -> None:
    bad = pd.DataFrame({"sample": manifest["sample"], "outcome": "left out", "reason": "white"})
    assert leave_out(manifest, bad.iloc[:2])["case"].tolist() == ["c2", "c2", "c3"]
    with pytest.raises(ValueError, match="all 5 images are bad; first c1-cc left out white"):
        leave_out(manifest, bad)
