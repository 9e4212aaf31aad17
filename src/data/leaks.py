"""What stands on both sides of a split: patients, identical files, near-identical images and overlapping ones."""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64, UInt8

from src.images.perceptual_hash import find_near_pairs

PATIENT, IDENTICAL, NEAR, OVERLAP = "patient", "identical", "near_identical", "overlap"
DISTANCE = 24
"""Bits of 256 in which near-identical images differ, at most."""
PORTION = 2**17  # pairs that are looked up at the same time

COPIES = "remove the copies, or give them one patient under protocol=kfold"
WAYS_OUT = {
    PATIENT: ("patients", "protocol=kfold keeps patients together"),
    IDENTICAL: ("identical images", COPIES),
    NEAR: ("near-identical images", f"look at them (audit.csv), {COPIES}"),
    OVERLAP: (
        "images that overlap in part",
        "they are of one patient (audit.csv): name patients (data.patients), for protocol=kfold to keep them together",
    ),
}
SIGNS = {IDENTICAL: "=", NEAR: "~", OVERLAP: "overlaps"}
FACTS = ("sample", "content", "fold", "label", "patient")
COLUMNS = (
    *("kind", "first", "second", "fold_first", "fold_second", "distance", "overlap"),
    *("label_first", "label_second", "patient_first", "patient_second"),
)


def find_leaks(
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    hashes: Mapping[str, UInt8[np.ndarray, "8 octet"]],
    overlaps: pd.DataFrame | None = None,
    distance: int = DISTANCE,
) -> pd.DataFrame:
    """Return what a split should not have: the rows of `COLUMNS`, in which first and second are samples.

    `patient`: one in several folds, by a sample in each of two. `identical`, `near_identical` and, of what is neither,
    `overlap`: an image and the nearest one of another fold, or with another label; every image concerned has a row, and
    so a few at most. `manifest` has the column `content`; `hashes` are those of `src.images.perceptual_hash` by
    content, of the images that have one; `distance` is in bits; `overlaps` are rows `content_first, content_second,
    overlap`, each pair once, and `overlap` is in percent of the smaller image.
    """
    folds = signatures(splits)
    rows = manifest.assign(fold=manifest["case"].map(folds), label=manifest["label"].astype(str))
    rows = rows.sort_values("sample")[list(FACTS)]
    repeated = rows["content"][rows["content"].duplicated()].unique()
    identical = pd.DataFrame({"content_first": repeated, "content_second": repeated, "distance": 0})
    tables = {
        PATIENT: find_torn_patients(rows),
        IDENTICAL: find_twins([identical], rows),
        NEAR: find_twins(find_alike(hashes, distance), rows),
        OVERLAP: find_overlapping(overlaps, rows),
    }
    findings = pd.concat([table.assign(kind=kind) for kind, table in tables.items()], ignore_index=True)
    findings = findings.rename(columns={"sample_first": "first", "sample_second": "second"})
    images = findings[findings["kind"] != PATIENT]
    findings = findings.drop(images.index[images.duplicated(["first", "second"])]).reset_index(drop=True)
    return findings.astype({"distance": "Int64", "overlap": "Int64"})[list(COLUMNS)]


def signatures(splits: pd.DataFrame) -> pd.Series:
    """Return, by case, its fold; of several repeats those of all of them, which differ where any of them does."""
    if splits["repeat"].nunique() == 1:
        return splits.set_index("case")["fold"]
    return splits.sort_values("repeat").astype({"fold": str}).groupby("case")["fold"].agg(" ".join)


def find_torn_patients(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the known patients in several folds: a row each, of the first samples in two folds."""
    known = rows[rows["patient"] != ""].drop_duplicates(["patient", "fold"]).sort_values(["patient", "fold"])
    number = known.groupby("patient").cumcount()
    first, second = known[number == 0].add_suffix("_first"), known[number == 1].add_suffix("_second")
    return first.merge(second, left_on="patient_first", right_on="patient_second")


def find_twins(pairs: Iterable[pd.DataFrame], rows: pd.DataFrame) -> pd.DataFrame:
    """Return the nearest image of another fold or label, for each image of `content_first, content_second, distance`.

    Of copies in one fold with one label the first stands for all as the nearest: thousands of copies give thousands of
    rows, not millions.
    """
    firsts = rows.add_suffix("_first")
    seconds = rows.drop_duplicates(["content", "fold", "label"]).add_suffix("_second")
    found = (nearest_twins(portion.merge(firsts).merge(seconds)) for portion in pairs)
    return drop_mirrored(reduce(lambda table, more: nearest_twins(pd.concat([table, more])), found))


def find_overlapping(overlaps: pd.DataFrame | None, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the image of another fold or label that overlaps most, for each of `content_first, content_second`."""
    if overlaps is None:
        overlaps = pd.DataFrame({"content_first": [], "content_second": [], "overlap": []}, dtype="str")
    sides = {"content_first": "content_second", "content_second": "content_first"}
    both = pd.concat([overlaps, overlaps.rename(columns=sides)], ignore_index=True)
    found = find_twins([both.assign(distance=100 - both["overlap"].astype(int))], rows)
    return found.drop(columns="distance")


def nearest_twins(pairs: pd.DataFrame) -> pd.DataFrame:
    """Of each first image the nearest second of another fold, of another label, and of both."""
    folds, labels = (pairs[f"{fact}_first"] != pairs[f"{fact}_second"] for fact in ("fold", "label"))
    key = ["sample_first", "folds", "labels"]
    pairs = pairs.assign(folds=folds, labels=labels)[folds | labels]
    return pairs.sort_values([*key, "distance", "sample_second"]).drop_duplicates(key)


def drop_mirrored(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each pair once, the first before the second by name."""
    sides = {f"{fact}_first": f"{fact}_second" for fact in FACTS}
    other = sides | {second: first for first, second in sides.items()}
    turned = pairs["sample_first"] > pairs["sample_second"]
    pairs = pd.concat([pairs[~turned], pairs[turned].rename(columns=other)])
    names = ["sample_first", "sample_second"]
    return pairs.drop_duplicates(names).sort_values(names)


def find_alike(hashes: Mapping[str, UInt8[np.ndarray, "8 octet"]], distance: int) -> Iterator[pd.DataFrame]:
    """Near-identical contents, both ways: `content_first, content_second, distance`, in portions."""
    contents = pd.Series(list(hashes), dtype="str")
    stacked = np.stack(list(hashes.values())) if hashes else np.empty((0, 8, 8), np.uint8)
    for pairs in cut_portions(find_near_pairs(stacked, distance)):
        first, second, bits = np.concatenate([pairs, pairs[:, [1, 0, 2]]]).T
        columns = {"content_first": contents.take(first).array, "content_second": contents.take(second).array}
        yield pd.DataFrame(columns | {"distance": bits})


def cut_portions(blocks: Iterable[Int64[np.ndarray, "_ 3"]]) -> Iterator[Int64[np.ndarray, "_ 3"]]:
    """Yield the rows of blocks in portions of `PORTION`; the last one, or the only one, may be empty."""
    held = np.empty((0, 3), np.int64)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > PORTION:
            yield held[:PORTION]
            held = held[PORTION:]
    yield held


def across_folds(findings: pd.DataFrame) -> pd.DataFrame:
    """Return the findings that are leaks: of two folds, one is held out while the other is learnt from."""
    return findings[findings["fold_first"] != findings["fold_second"]]


def label_conflicts(findings: pd.DataFrame) -> pd.DataFrame:
    """Return the images that are alike and have different labels."""
    return findings[(findings["kind"] != PATIENT) & (findings["label_first"] != findings["label_second"])]


def count_concerned(findings: pd.DataFrame) -> int:
    """Return how many patients or, of other kinds, images the findings name."""
    images = findings[findings["kind"] != PATIENT]
    return int((findings["kind"] == PATIENT).sum()) + len({*images["first"], *images["second"]})


def unknown_patients(manifest: pd.DataFrame) -> int:
    """Return how many cases have an unknown patient."""
    return int(manifest.loc[manifest["patient"] == "", "case"].nunique())


def by_kind(findings: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the kinds that there are, patients before images, and their findings."""
    kinds = [(kind, findings[findings["kind"] == kind]) for kind in WAYS_OUT]
    return [(kind, rows) for kind, rows in kinds if len(rows)]


def leak_counts(findings: pd.DataFrame, manifest: pd.DataFrame) -> dict[str, int]:
    """How many patients and images stand on both sides of a split, images have a twin with another label, and cases an
    unknown patient."""
    found = {kind: count_concerned(rows) for kind, rows in by_kind(across_folds(findings))}
    return {
        "audit_patients": found.get(PATIENT, 0),
        "audit_identical": found.get(IDENTICAL, 0),
        "audit_near_identical": found.get(NEAR, 0),
        "audit_overlap": found.get(OVERLAP, 0),
        "audit_conflicts": count_concerned(label_conflicts(findings)),
        "audit_unknown_patients": unknown_patients(manifest),
    }


def leak_reasons(findings: pd.DataFrame) -> list[str]:
    """Return why figures are optimistic, for each kind of leak: how many, the first, and the way out."""
    return [
        f"{count_concerned(rows)} {WAYS_OUT[kind][0]} stand on both sides of a split, first "
        f"{describe_finding(rows.iloc[0])}: {WAYS_OUT[kind][1]}"
        for kind, rows in by_kind(across_folds(findings))
    ]


def conflict_notes(findings: pd.DataFrame) -> list[str]:
    """Return a line on images that are alike and have different labels, where there are such."""
    rows = label_conflicts(findings)
    if rows.empty:
        return []
    what = f"{count_concerned(rows)} identical, near-identical or overlapping images have different labels"
    first = rows.iloc[0]
    return [f"{what}, first {describe_finding(first)}: {first['label_first']} and {first['label_second']}"]


def leak_notes(findings: pd.DataFrame, manifest: pd.DataFrame) -> list[str]:
    """Return what a reader of figures has to know: leaks, contradicting labels, unknown patients."""
    notes = [f"possibly optimistic: {reason}" for reason in leak_reasons(findings)] + conflict_notes(findings)
    if count := unknown_patients(manifest):
        notes.append(
            f"possibly optimistic: the patients of {count} of {manifest['case'].nunique()} cases are unknown, and may "
            "stand on both sides of a split"
        )
    return notes


def leak_lines(findings: pd.DataFrame, manifest: pd.DataFrame, not_compared: int = 0) -> list[str]:
    """Return what was found, in a line or two, also where that is nothing; so many images could not be compared."""
    parts = [f"{count_concerned(rows)} {WAYS_OUT[kind][0]}" for kind, rows in by_kind(across_folds(findings))]
    known = manifest.loc[manifest["patient"] != "", "patient"].nunique()
    what = ", ".join(parts) or f"no {'patient, ' if known else ''}identical, near-identical or overlapping image"
    whose = f"of {known} patients" if known else "of unknown patients"
    if known and unknown_patients(manifest):
        whose += f", those of {unknown_patients(manifest)} cases unknown"
    compared = f"{len(manifest) - not_compared} of {len(manifest)} images compared," if not_compared else ""
    looked_at = compared or f"{len(manifest)} images"
    return [f"{what} on both sides of a split ({looked_at} {whose})", *conflict_notes(findings)]


def describe_finding(finding: "pd.Series[Any]") -> str:
    """Return a finding in a few words."""
    if finding["kind"] == PATIENT:
        return repr(finding["patient_first"])
    return f"{finding['first']} {SIGNS[finding['kind']]} {finding['second']}"
