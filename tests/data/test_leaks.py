"""Leaks: who and what stands on both sides of a split, and how that is told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.leaks import COLUMNS, find_leaks, leak_counts, leak_lines, leak_notes, leak_reasons
from src.data.manifest import list_cases
from src.data.splits import Holdout, ImageHoldout, ImageKFold, KFold, Published

Make = Callable[..., pd.DataFrame]
NONE = {"audit_patients": 0, "audit_identical": 0, "audit_near_identical": 0, "audit_overlap": 0, "audit_conflicts": 0}


def table(rows: list[tuple[str, str, str, str, int]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A manifest and splits of rows `sample, patient, content, label, fold`; each image is a case."""
    manifest = pd.DataFrame(rows, columns=["sample", "patient", "content", "label", "fold"])
    manifest = manifest.assign(case=manifest["sample"], view="", label=pd.Categorical(manifest["label"]))
    return manifest.drop(columns="fold"), manifest[["case", "fold"]].assign(repeat=1)


def hashed(content: str, *changed: int) -> np.ndarray:
    """Hashes of a content that are unlike those of others; these bits of it are changed, in all orientations."""
    hashes = np.random.default_rng(list(content.encode())).integers(0, 256, (8, 32), dtype=np.uint8)
    bits = np.zeros(256, np.uint8)
    bits[list(changed)] = 1
    return hashes ^ np.packbits(bits)


def test_a_clean_split_has_no_finding() -> None:
    manifest, splits = table([("a", "p1", "x", "one", 1), ("b", "p1", "y", "two", 1), ("c", "p2", "z", "one", 2)])
    findings = find_leaks(manifest, splits, {content: hashed(content) for content in "xyz"})
    assert findings.empty
    assert list(findings) == list(COLUMNS)
    assert leak_notes(findings, manifest) == leak_reasons(findings) == []
    assert leak_counts(findings, manifest) == NONE | {"audit_unknown_patients": 0}
    assert leak_lines(findings, manifest) == [
        "no patient, identical, near-identical or overlapping image on both sides of a split (3 images of 2 patients)"
    ]


def test_patients_of_several_folds_are_named(manifest: Make) -> None:
    rows = manifest({"a": 20, "b": 20}, per_patient=4).assign(content=range(40))
    findings = find_leaks(rows, ImageKFold(folds=4).split(rows), {})
    assert findings["kind"].eq("patient").all()
    assert findings["patient_first"].tolist() == sorted(set(rows["patient"])) == findings["patient_second"].tolist()
    assert (findings["fold_first"] < findings["fold_second"]).all()
    owners = rows.set_index("sample")["patient"]
    assert (
        owners[findings["first"]].tolist() == owners[findings["second"]].tolist() == findings["patient_first"].tolist()
    )
    (note,) = leak_notes(findings, rows)
    assert note == (
        "possibly optimistic: 10 patients stand on both sides of a split, first 'a-p0': "
        "protocol=kfold keeps patients together"
    )
    assert leak_counts(findings, rows)["audit_patients"] == 10


def test_only_a_split_through_patients_is_a_leak(manifest: Make) -> None:
    known = manifest({"a": 20, "b": 20}, per_patient=4).assign(content=range(40))
    for protocol in (KFold(), Holdout()):
        assert find_leaks(known, protocol.split(known), {}).empty
    assert len(find_leaks(known, ImageHoldout().split(known), {}))
    alone = manifest({"a": 20, "b": 20}, per_patient=1).assign(content=range(40))
    assert find_leaks(alone, ImageKFold().split(alone), {}).empty


def test_published_folds_leak_where_they_tear_a_patient(manifest: Make, tmp_path: Path) -> None:
    rows = manifest({"a": 4, "b": 4}, per_patient=2).assign(content=range(8))
    for folds, found in (([1, 1, 2, 2], 0), ([1, 2, 1, 2], 4), ([0, 1, 0, 1], 4)):
        list_cases(rows)[["case"]].assign(fold=folds * 2).to_csv(tmp_path / "folds.csv", index=False)
        splits = Published(path=str(tmp_path / "folds.csv")).split(rows)
        assert len(find_leaks(rows, splits, {})) == found


def test_unknown_patients_are_a_note_and_no_finding(manifest: Make) -> None:
    rows = manifest({"a": 4, "b": 4}).assign(content=range(8))
    findings = find_leaks(rows, KFold(folds=2).split(rows), {})
    assert findings.empty
    assert leak_notes(findings, rows) == [
        "possibly optimistic: the patients of 8 of 8 cases are unknown, and may stand on both sides of a split"
    ]
    (line,) = leak_lines(findings, rows)
    assert (
        line
        == "no identical, near-identical or overlapping image on both sides of a split (8 images of unknown patients)"
    )
    assert leak_lines(findings, rows, 3) == [
        "no identical, near-identical or overlapping image on both sides of a split "
        "(5 of 8 images compared, of unknown patients)"
    ]
    assert leak_counts(findings, rows)["audit_unknown_patients"] == 8
    some = rows.assign(patient=["p1"] + [""] * 7)
    assert leak_lines(findings, some)[0].endswith("(8 images of 1 patients, those of 7 cases unknown)")


def test_identical_files_in_two_folds() -> None:
    manifest, splits = table(
        [("a", "p1", "x", "one", 1), ("b", "p2", "x", "one", 2), ("c", "p3", "y", "two", 1), ("d", "p4", "z", "two", 2)]
    )
    findings = find_leaks(manifest, splits, {})
    assert findings.drop(columns="overlap").to_dict("records") == [
        {"kind": "identical", "first": "a", "second": "b", "fold_first": 1, "fold_second": 2, "distance": 0}
        | {"label_first": "one", "label_second": "one", "patient_first": "p1", "patient_second": "p2"}
    ]
    (note,) = leak_notes(findings, manifest)
    assert note.startswith(
        "possibly optimistic: 2 identical images stand on both sides of a split, first a = b: remove"
    )
    assert leak_lines(findings, manifest) == ["2 identical images on both sides of a split (4 images of 4 patients)"]


def test_copies_within_a_fold_are_no_finding_unless_their_labels_differ() -> None:
    manifest, splits = table(
        [("a", "", "x", "one", 1), ("b", "", "x", "one", 1), ("c", "", "y", "one", 2), ("d", "", "y", "two", 2)]
    )
    findings = find_leaks(manifest, splits, {})
    assert findings[["first", "second"]].to_numpy().tolist() == [["c", "d"]]
    assert leak_reasons(findings) == []
    found = leak_counts(findings, manifest)
    assert (found["audit_identical"], found["audit_conflicts"]) == (0, 2)
    said = "2 identical, near-identical or overlapping images have different labels, first c = d: one and two"
    assert leak_notes(findings, manifest)[0] == leak_lines(findings, manifest)[1] == said


def test_near_identical_images_in_two_folds() -> None:
    manifest, splits = table(
        [("a", "p1", "x", "one", 1), ("b", "p2", "y", "one", 2), ("c", "p3", "z", "two", 2), ("d", "p4", "w", "two", 0)]
    )
    hashes = {"x": hashed("x"), "y": hashed("x", 3, 77, 200), "z": hashed("z"), "w": hashed("z", *range(25))}
    findings = find_leaks(manifest, splits, hashes)
    assert findings[["kind", "first", "second", "distance"]].to_numpy().tolist() == [["near_identical", "a", "b", 3]]
    assert "2 near-identical images stand on both sides of a split, first a ~ b: look" in leak_reasons(findings)[0]
    assert len(find_leaks(manifest, splits, hashes, distance=25)) == 2  # fold 0 is in every training part
    del hashes["y"]  # an image that cannot be read has none
    assert find_leaks(manifest, splits, hashes).empty


def test_overlapping_images_in_two_folds() -> None:
    """Each with the one that overlaps most; what is near-identical, too, is told as that."""
    manifest, splits = table(
        [("a", "", "x", "one", 1), ("b", "", "y", "one", 2), ("c", "", "z", "one", 2), ("d", "", "w", "one", 1)]
    )
    rows = [("x", "y", 40), ("x", "z", 60), ("x", "w", 90), ("z", "w", 99)]
    overlaps = pd.DataFrame(rows, columns=["content_first", "content_second", "overlap"])
    hashes = {"x": hashed("x"), "y": hashed("y"), "z": hashed("z"), "w": hashed("z", 5)}
    findings = find_leaks(manifest, splits, hashes, overlaps)
    assert findings[["kind", "first", "second"]].to_numpy().tolist() == [
        ["near_identical", "c", "d"],
        ["overlap", "a", "b"],
        ["overlap", "a", "c"],
    ]
    assert findings["overlap"].tolist() == [pd.NA, 40, 60]
    assert findings["distance"].isna().tolist() == [False, True, True]
    assert leak_counts(findings, manifest)["audit_overlap"] == 3
    assert leak_reasons(findings)[1].startswith(
        "3 images that overlap in part stand on both sides of a split, first a "
    )
    assert find_leaks(manifest, splits.assign(fold=1), hashes, overlaps).empty


def test_each_image_is_named_with_its_nearest() -> None:
    manifest, splits = table(
        [("a", "", "x", "one", 1), ("b", "", "y", "one", 2), ("c", "", "z", "one", 2), ("d", "", "w", "two", 1)]
    )
    hashes = {"x": hashed("x"), "y": hashed("x", 0, 1, 2, 3), "z": hashed("x", 5), "w": hashed("x", 6, 7)}
    findings = find_leaks(manifest, splits, hashes)
    pairs = findings[["first", "second", "distance"]].to_numpy().tolist()
    assert pairs == [["a", "b", 4], ["a", "c", 1], ["a", "d", 2], ["b", "d", 6], ["c", "d", 3]]
    assert leak_counts(findings, manifest)["audit_near_identical"] == 4


def test_thousands_of_copies_give_as_many_rows() -> None:
    rows = [(f"{number:04d}", "", f"same{number % 3}", "one", number % 5 + 1) for number in range(3000)]
    manifest, splits = table([*rows, ("other", "", "y", "two", 1)])
    hashes = {f"same{number}": hashed("x", number) for number in range(3)}
    findings = find_leaks(manifest, splits, hashes)
    assert 3000 <= len(findings) <= 2 * 3000
    assert (
        leak_counts(findings, manifest)["audit_identical"]
        == leak_counts(findings, manifest)["audit_near_identical"]
        == 3000
    )


def test_neither_order_nor_the_data_set_s_own_columns_matter() -> None:
    manifest, splits = table([(name, "", "xyx"[place % 3], "one", place % 2) for place, name in enumerate("abcdefgh")])
    findings = find_leaks(manifest, splits, {})
    assert len(findings)
    mixed = manifest.sample(frac=1, random_state=3).assign(fold="f", distance=1, kind="k", first="f")
    pd.testing.assert_frame_equal(find_leaks(mixed, splits[::-1], {}), findings)


@settings(max_examples=25)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("uvwxyz"), st.sampled_from(["one", "two"]), st.integers(0, 3)),
        min_size=1,
        max_size=15,
    ),
    changed=st.lists(st.integers(0, 40), min_size=6, max_size=6),
)
def test_all_images_with_a_twin_are_named_and_no_others(rows: list[tuple[str, str, int]], changed: list[int]) -> None:
    manifest, splits = table([(f"{number:02d}", "", *row) for number, row in enumerate(rows)])
    hashes = {name: hashed("x", *range(bits)) for name, bits in zip("uvwxyz", changed, strict=True)}
    findings = find_leaks(manifest, splits, hashes)

    def twins(one: int, other: int, kind: str) -> bool:
        (content, label, fold), (content_2, label_2, fold_2) = rows[one], rows[other]
        near = abs(changed["uvwxyz".index(content)] - changed["uvwxyz".index(content_2)]) <= 24
        alike = content == content_2 if kind == "identical" else content != content_2 and near
        return one != other and alike and (label != label_2 or fold != fold_2)

    for kind in ("identical", "near_identical"):
        expected = {one for one in range(len(rows)) for other in range(len(rows)) if twins(one, other, kind)}
        pairs = findings[findings["kind"] == kind][["first", "second"]].astype(int).to_numpy()
        assert set(pairs.ravel().tolist()) == expected
        assert all(twins(one, other, kind) and one < other for one, other in pairs)


@pytest.mark.parametrize("hashes", [{}, {"x": hashed("x")}])
def test_images_without_hashes_are_compared_by_their_bytes(hashes: dict[str, np.ndarray]) -> None:
    manifest, splits = table([("a", "", "x", "one", 1), ("b", "", "x", "one", 2), ("c", "", "y", "two", 2)])
    assert find_leaks(manifest, splits, hashes)["kind"].tolist() == ["identical"]


def test_of_repeats_any_one_that_parts_images_counts() -> None:
    manifest, splits = table([("a", "", "x", "one", 1), ("b", "", "x", "one", 1), ("c", "", "z", "one", 2)])
    assert find_leaks(manifest, splits, {}).empty
    again = splits.assign(repeat=2, fold=[3, 4, 3])
    findings = find_leaks(manifest, pd.concat([splits, again]), {})
    assert findings[["first", "second", "fold_first", "fold_second"]].to_numpy().tolist() == [["a", "b", "1 3", "1 4"]]
