"""What a cohort has in common with what a model learnt from."""

import numpy as np
import pandas as pd
import pytest

from src.methods.cohort_audit import CohortAudit, audit_cohort


def rows(names: str, patients: list[str], contents: list[str], label: str = "a") -> pd.DataFrame:
    """A manifest with contents."""
    samples = [f"{name}.png" for name in names]
    return pd.DataFrame(
        {"sample": samples, "case": samples, "patient": patients, "view": "", "label": label, "content": contents}
    )


@pytest.fixture
def hashes() -> dict[str, np.ndarray]:
    """Those of unlike images, but that `near` differs from `one` in two bits."""
    draws = np.random.default_rng(0)
    found = {name: draws.integers(0, 256, (8, 32)).astype(np.uint8) for name in ("one", "two", "three", "four")}
    found["near"] = found["one"].copy()
    found["near"][0, 0] ^= 3
    return found


def test_copies_near_copies_and_patients_are_found(hashes: dict[str, np.ndarray]) -> None:
    known = rows("abc", ["p", "q", ""], ["one", "two", "three"])
    cohort = rows("ade", ["x", "q", ""], ["near", "four", "three"], "b")
    found = audit_cohort(cohort, known, hashes)
    table = found.findings.set_index("kind")
    assert table.loc["identical", ["first", "second", "label_first", "label_second"]].tolist() == [
        "e.png", "c.png", "b", "a",
    ]  # fmt: skip
    assert table.loc["near_identical", ["first", "second", "distance"]].tolist() == ["a.png", "a.png", 2]
    assert table.loc["patient", ["patient_first", "second"]].tolist() == ["q", "b.png"]
    assert found.facts == {"audit_patients": 1, "audit_identical": 1, "audit_near_identical": 1}
    assert found.notes[0] == "possibly optimistic: the model learnt from 1 patients of the cohort, first 'q'"
    with pytest.raises(
        ValueError, match=r"audit=fail.*1 identical images of the cohort, first e.png ~ c.png.*leave them out"
    ):
        found.refuse()


def test_a_cohort_that_is_new_is_said_to_be(hashes: dict[str, np.ndarray]) -> None:
    found = audit_cohort(rows("ab", ["x", ""], ["four", "far"]), rows("ab", ["p", ""], ["one", "two"]), hashes)
    assert isinstance(found, CohortAudit)
    assert found.findings.empty
    assert found.notes == []
    assert found.lines == [
        "the model learnt from no patient, identical or near-identical image of the cohort (4 images compared; 1 could "
        "be compared by their bytes only)"
    ]
    found.refuse()


def test_patients_that_are_estimated_are_nobody_elses(hashes: dict[str, np.ndarray]) -> None:
    known, cohort = (rows("a", ["estimated: a.png"], [content]) for content in ("one", "two"))
    assert audit_cohort(cohort, known, hashes).findings.empty


def test_images_of_the_training_alone_mean_nothing_here(hashes: dict[str, np.ndarray]) -> None:
    known = rows("abc", ["p", "q", ""], ["one", "one", "near"])
    assert audit_cohort(rows("a", ["x"], ["four"]), known, hashes).findings.empty
