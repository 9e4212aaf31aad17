"""The audit of a run: what stands on both sides of its splits, before anything is learnt."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from src.data.leaks import find_leaks, leak_counts, leak_lines, leak_notes, leak_reasons
from src.data.manifest import list_first
from src.methods.method import CellTask
from src.recipes import hash_recipe

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
    """Return what stands on both sides of splits, by the hashes that the first reading left in the store."""
    manifest = task.manifest
    hashes, unknown = perceptual_hashes(task)
    findings = find_leaks(manifest, splits, hashes)
    lines = leak_lines(findings, manifest, len(unknown))
    if unknown:
        reasons = [f"{name} ({reason})" for name, reason in unknown.items()]
        lines.append(f"{len(unknown)} images cannot be compared with others: {list_first(reasons)}")
    facts = leak_counts(findings, manifest) | {"audit_not_compared": len(unknown)}
    return Audit(findings, facts, leak_notes(findings, manifest), lines, leak_reasons(findings))


def perceptual_hashes(task: CellTask) -> tuple[dict[str, UInt8[np.ndarray, "8 octet"]], dict[str, str]]:
    """Return the stored hashes by content (`src.methods.image_reading`), and why an image has none, by its name."""
    wanted, samples = hash_recipe(task.cell.data), task.samples
    held = task.store.held(wanted)
    kept = [content for content in dict.fromkeys(sample.content for sample in samples) if content in held.samples]
    read = zip(kept, task.store.each(wanted, kept), strict=True)
    hashes = {content: each[0].astype(np.uint8) for content, each in read}
    return hashes, {each.name: held.notes[each.content] for each in samples if each.content not in hashes}
