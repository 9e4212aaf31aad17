"""The audit of a run: what stands on both sides of its splits, before anything is learnt."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from src.data.leaks import leak_counts, leak_lines, leak_notes, leak_reasons, leaks
from src.data.manifest import first
from src.data.reader import Reader
from src.images import BadImage
from src.images.perceptual_hash import PerceptualHash
from src.methods.method import CellTask
from src.methods.preparation import Sample, prefetch, read_sample
from src.recipes import hash_recipe
from src.storage.store import Recipe, Store

AUDIT = ("warn", "fail")


@dataclass
class Audit:
    """What an audit found.

    findings
        `src.data.leaks.leaks`: a row per pair or patient.
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


def audit_splits(task: CellTask, splits: pd.DataFrame, workers: int) -> Audit:
    """Return what stands on both sides of splits; hashes are kept in the store."""
    manifest = task.manifest
    hashes, unknown = perceptual_hashes(task, workers)
    findings = leaks(manifest, splits, hashes)
    lines = leak_lines(findings, manifest, len(unknown))
    if unknown:
        reasons = [f"{name} ({reason})" for name, reason in unknown.items()]
        lines.append(f"{len(unknown)} images cannot be compared with others: {first(reasons)}")
    facts = leak_counts(findings, manifest) | {"audit_not_compared": len(unknown)}
    return Audit(findings, facts, leak_notes(findings, manifest), lines, leak_reasons(findings))


def perceptual_hashes(task: CellTask, workers: int) -> tuple[dict[str, UInt8[np.ndarray, "8 octet"]], dict[str, str]]:
    """Return the hashes by content, and why an image has none, by its name. The store keeps both."""
    data, samples, store = task.cell.data, task.samples, task.store
    wanted = hash_recipe(data)
    distinct = {sample.content: sample for sample in samples}
    held = store.held(wanted)
    missing = [each for content, each in distinct.items() if content not in held]
    if missing:
        done = prefetch(lambda sample: add(data, sample, store, wanted), missing, workers)
        deque(task.progress.track(done, "auditing", len(missing)), maxlen=0)
        store.finish()
        held = store.held(wanted)
    kept = [content for content in distinct if content in held.samples]
    read = zip(kept, store.each(wanted, kept), strict=True)
    hashes = {content: each[0].astype(np.uint8) for content, each in read}
    return hashes, {each.name: held.notes[each.content] for each in samples if each.content not in hashes}


def add(data: Reader, sample: Sample, store: Store, wanted: Recipe) -> None:
    """Store a sample's hash, an octet a feature and an orientation a crop, or why it has none.

    What becomes of an image that cannot be read is the method's affair.
    """
    try:
        hashes = PerceptualHash()(read_sample(data, sample))
    except BadImage as error:
        store.note(wanted, sample.content, str(error))
    else:
        store.write(wanted, sample.content, hashes[None].astype(np.float32))
