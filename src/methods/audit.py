"""The audit of a run: what stands on both sides of its splits, before anything is learnt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from src.data.leaks import DISTANCE, find_alike, find_leaks, leak_counts, leak_lines, leak_notes, leak_reasons
from src.data.manifest import list_first
from src.data.patients import estimated_patients, group_alike
from src.data.reader import Reader
from src.images.keypoints import NO_POINTS, Points
from src.images.overlaps import find_overlaps
from src.methods.method import CellTask
from src.methods.preparation import Size, samples_of
from src.recipes import hash_recipe, keypoints_recipe, overlaps_recipe
from src.storage.store import Store, recipe_digest

AUDIT = ("warn", "fail")


@dataclass
class Audit:
    """What an audit found.

    findings
        `src.data.leaks.find_leaks`: a row per pair or patient.
    facts
        What the run should record: counts by name.
    notes
        What a reader of the run's figures has to know.
    lines
        What to tell the user before anything is learnt.
    reasons
        Why figures would be optimistic, empty where nothing was found.
    """

    findings: pd.DataFrame
    facts: dict[str, int]
    notes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def refuse(self) -> None:
        """Raise `ValueError` where something stands on both sides of a split."""
        if self.reasons:
            reasons = "; ".join(self.reasons)
            raise ValueError(f"audit=fail, and figures would be optimistic: {reasons}. (audit=warn runs all the same)")


def audit_splits(task: CellTask, splits: pd.DataFrame) -> Audit:
    """Return what stands on both sides of splits, by what the first reading left in the store."""
    manifest, data = task.manifest, task.cell.data
    hashes, unknown = perceptual_hashes(data, manifest, task.store)
    findings = find_leaks(manifest, splits, hashes, overlapping_images(data, task.sizes, task.store))
    lines = leak_lines(findings, manifest, len(unknown))
    if unknown:
        reasons = [f"{name} ({reason})" for name, reason in unknown.items()]
        lines.append(f"{len(unknown)} images cannot be compared with others: {list_first(reasons)}")
    facts = leak_counts(findings, manifest) | {"audit_not_compared": len(unknown)}
    if data.estimates_patients:
        facts["audit_estimated_patients"] = estimated_patients(manifest).nunique()
    return Audit(findings, facts, leak_notes(findings, manifest), lines, leak_reasons(findings))


def estimate_patients(data: Reader, manifest: pd.DataFrame, sizes: Mapping[str, Size], store: Store) -> pd.DataFrame:
    """Return the manifest with estimated patients (`src.data.patients`), by what the first reading left in the store.

    Of one patient are images that are nearly identical or overlap in part.
    """
    hashes, _ = perceptual_hashes(data, manifest, store)
    return group_alike(manifest, pd.concat([*find_alike(hashes, DISTANCE), overlapping_images(data, sizes, store)]))


def perceptual_hashes(
    data: Reader, manifest: pd.DataFrame, store: Store
) -> tuple[dict[str, UInt8[np.ndarray, "8 octet"]], dict[str, str]]:
    """Return the stored hashes by content (`src.methods.image_reading`), and why an image has none, by its name."""
    contents = manifest["content"].tolist()
    hashes, notes = stored_hashes(data, contents, store), store.held(hash_recipe(data), contents).notes
    samples = samples_of(manifest)
    return hashes, {each.name: notes[each.content] for each in samples if each.content not in hashes}


def stored_hashes(data: Reader, contents: Iterable[str], store: Store) -> dict[str, UInt8[np.ndarray, "8 octet"]]:
    """Return the hashes by content that a store holds of images as `data` reads them."""
    return {content: each[0].astype(np.uint8) for content, each in store.found(hash_recipe(data), contents).items()}


def overlapping_images(data: Reader, sizes: Mapping[str, Size], store: Store) -> pd.DataFrame:
    """Return rows `content_first, content_second, overlap` (`src.images.overlaps`) of the images that can be read.

    They are looked for once, and stored under the contents of all.
    """
    contents = sorted(sizes)
    wanted, together = overlaps_recipe(data), recipe_digest({"contents": contents})
    if not store.holds(wanted, together):
        points = stored_keypoints(data, contents, store)
        pairs = find_overlaps(points, np.array(list(map(sizes.__getitem__, contents)), np.int64).reshape(-1, 2))
        store.write(wanted, together, pairs[None])
        store.finish()
    first, second, percent = store.read(wanted, together)[0].T
    names = np.array(contents, dtype=object)
    return pd.DataFrame({"content_first": names[first], "content_second": names[second], "overlap": percent})


def stored_keypoints(data: Reader, contents: Sequence[str], store: Store) -> list[Points]:
    """Return what the first reading found of each content, and no keypoint where that is nothing."""
    found = store.found(keypoints_recipe(data), contents)
    return [found.get(content, NO_POINTS) for content in contents]
