"""Fitted cells applied to new images: a table with a row per case."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from src.data import image_file
from src.evaluation.chosen_threshold import parse_rule
from src.evaluation.predictions import probability_columns, stepwise_means
from src.evaluation.two_classes import NEGATIVE, POSITIVE
from src.methods.fold_models import LEFT_OUT, PASSED
from src.methods.likeness import NEAREST, distance_by_case, distance_threshold, nearest_by_case
from src.methods.method import Applied
from src.methods.preparation import prefetch
from src.models.saved import Member, ModelThreshold
from src.recipes import descriptor_recipe
from src.storage.store import Store
from src.system.progress import Progress

PREDICTED = "predicted"
"""The outcome of a case whose images could be treated, all or some of them; of others `passed` or `left out`."""

BLOCK = 200
"""Images that are predicted together: their descriptors are held on disk meanwhile."""
OUTCOME = ["outcome", "reason"]
CALLS = ("score", "called")
CASE_OF_FOLD = ["fold", "case", "label"]
NAMED = {"content": "", "label": "_label", "distance": "_distance"}
"""What is said of a known image that is near, and how the names of these columns end."""
SHOWN = 12
"""Digits of its content that an image is called by whose name is not known."""
UNKNOWN = ["patient", "label"]
"""What a run's predictions table says of its samples, and nobody of new images."""


@dataclass
class Prediction:
    """What models say of new images.

    table
        A row per case, in their order: `case, p_<class>..., label`; where the models have a threshold `score`, that of
        the positive classes, and `called` (positive or negative) by it; `agreement`, the share of the fold models whose
        own label is this one, and `spread`, the deviation of its probability over them; `distance` to the known images
        in multiples of its threshold, and `unlike` where it is beyond; the nearest known images, `nearest_1` with
        `nearest_1_label` and `nearest_1_distance`, and so on; `outcome` and `reason`. A case all of whose images were
        left out has no figures.
    members
        A row per image and fold model: `sample, case, view, model, fold, seed, p_<class>...`.
    copies
        How many images are copies of known ones: they are not new to the models.
    threshold
        What calls a case positive; None where nothing was chosen.
    """

    table: pd.DataFrame
    members: pd.DataFrame
    copies: int
    threshold: ModelThreshold | None = None


def predict_new(
    members: list[Member],
    images: pd.DataFrame,
    root: Path,
    progress: Progress,
    store: Store | None = None,
    threshold: ModelThreshold | None = None,
    names: Mapping[str, str] | None = None,
) -> Prediction:
    """Predict images, `sample, case, view`, whose samples are relative to `root`, by the mean of fitted cells.

    With the column `content`, the digest of each file's bytes, files have been opened, and are not again.

    `store` gives and keeps descriptors; without one none are kept. `threshold` is that of their mean
    (`fuse_thresholds`). `names` are those of known images by their content; else they are called by its beginning.
    `ValueError` where the cells have different classes,
    or a view has no model.
    """
    check_members(members, images)
    workers = members[0].method.workers
    rows, unread = (images, pd.DataFrame()) if "content" in images else with_digests(images, root, workers, progress)
    # What is held does not grow with the number of images but by the answers.
    blocks = [rows.iloc[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    answers = [answer for block in blocks for answer in apply_members(members, block, root, progress, store)]
    each = join_tables([(name, answer.predictions) for name, answer in answers]).drop(columns=UNKNOWN, errors="ignore")
    bad = pd.concat([unread, *(answer.bad for _, answer in answers)], ignore_index=True)
    distances = case_distances(members, join_tables([(name, answer.distances) for name, answer in answers]))
    nearest = join_tables([(name, answer.nearest) for name, answer in answers])
    classes = members[0].classes
    table = case_outcomes(images, bad, each).join(fuse_answers(each, classes)).join(distances)
    alike = nearest_columns(members, nearest, table.index, names or {})
    table = table.join(alike)
    table = table if threshold is None else table.assign(**call_cases(table, threshold))
    calls = [] if threshold is None else list(CALLS)
    order = [*(f"p_{name}" for name in classes), "label", *calls, "agreement", "spread"]
    order += ["distance", "unlike", *alike, *OUTCOME]
    label = table["label"].astype(object).where(table["label"].notna(), "")
    unlike = (table["distance"] > 1).astype("boolean").mask(table["distance"].isna())  # nothing is known of some
    table = table.assign(label=label, unlike=unlike)[order].reset_index()
    known = set().union(*(known.contents for member in members for known in member.known.values()))
    return Prediction(table, each, int(rows["content"].isin(known).sum()), threshold)


def fuse_thresholds(members: Sequence[Member]) -> ModelThreshold | None:
    """Return the threshold of the mean of fitted cells, chosen by their rule on the mean of what theirs was chosen on.

    None where they do not agree on the rule, the score or the folds, or one has no threshold.
    """
    first, found = members[0].threshold, [each.threshold for each in members if each.threshold is not None]
    if first is None or len(found) < len(members) or not all(first.alike(each) for each in found):
        return None
    rule = parse_rule(first.rule)
    if len(found) == 1 or rule is None:
        return first
    tables = [each.cases.set_index(CASE_OF_FOLD).sort_index() for each in found]
    if not all(table.index.equals(tables[0].index) for table in tables):
        return None
    means = pd.concat(tables)[probability_columns(tables[0])].groupby(level=CASE_OF_FOLD).mean()
    return ModelThreshold.choose(rule, means.reset_index(), first.binary)


def call_cases(table: pd.DataFrame, threshold: ModelThreshold) -> dict[str, "pd.Series[float] | pd.Series[str]"]:
    """Return `score` and `called` of cases; of those that were left out there is neither."""
    given = table["label"].notna()
    score = pd.Series(threshold.binary.score(table), table.index).where(given)
    called = pd.Series(np.where(score > threshold.value, POSITIVE, NEGATIVE), table.index).where(given, "")
    return {"score": score, "called": called}


def apply_members(
    members: list[Member], rows: pd.DataFrame, root: Path, progress: Progress, store: Store | None
) -> Iterator[tuple[str, Applied]]:
    """Yield the name of each fitted cell, and what it says of images with contents."""
    for _, alike in groupby(sorted(members, key=descriptor_kind), key=descriptor_kind):
        with store_or_temporary(store) as held:  # cells of the same descriptors share them
            for member in alike:
                yield member.name, member.apply(rows, root, held, progress)


def check_members(members: list[Member], images: pd.DataFrame) -> None:
    """Raise `ValueError` unless the cells have the same classes, weights as fitted, and models of all views."""
    first = members[0]
    for member in members:
        if set(member.classes) != set(first.classes):
            raise ValueError(
                f"models that predict together have the same classes, but {first.name} has {', '.join(first.classes)} "
                f"and {member.name} has {', '.join(member.classes)}"
            )
        lacking = images[~images["view"].isin(member.views)]
        if member.views != [""] and len(lacking):
            row = lacking.iloc[0]
            raise ValueError(
                f"model {member.name} has models of the views {' and '.join(member.views)}, but {row['sample']} is of "
                f"view {row['view']!r}: list the images in a CSV with the columns sample, case and view"
            )
        member.check()


def descriptor_kind(member: Member) -> str:
    """Return what determines the descriptors of a fitted cell, as text."""
    return json.dumps(descriptor_recipe(member.cell, member.weights), sort_keys=True)


@contextmanager
def store_or_temporary(store: Store | None) -> Iterator[Store]:
    """Give the store; where there is none, one that is deleted afterwards."""
    if store is not None:
        yield store
        return
    with tempfile.TemporaryDirectory(prefix="tenfold-") as folder:
        yield Store(folder)


def with_digests(
    images: pd.DataFrame, root: Path, workers: int, progress: Progress
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the images with the column `content`, and `sample, outcome, reason` of files that cannot be opened."""
    read = prefetch(lambda sample: digest_or_reason(root / sample), images["sample"], workers)
    found = list(progress.track(read, "reading", len(images)))
    rows = images.assign(content=[digest for digest, _ in found])
    gone = images[["sample"]].assign(outcome=LEFT_OUT, reason=[reason for _, reason in found])
    return rows[rows["content"] != ""], gone[gone["reason"] != ""]


def digest_or_reason(path: Path) -> tuple[str, str]:
    """Return the digest of a file's bytes, and why it cannot be opened; one of them is empty."""
    try:
        return image_file.file_digest(path), ""
    except FileNotFoundError:
        return "", "the file is missing"
    except OSError as error:
        return "", f"the file cannot be opened: {error.strerror}"


def join_tables(tables: list[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Return one table of several models' tables, those that are empty left out, with the column `model`."""
    found = [table.assign(model=name) for name, table in tables if len(table)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def fuse_answers(each: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Return, by case, the mean over models of what they say: `p_<class>..., label, agreement, spread`.

    The mean is over the samples of a view, then views, folds, seeds and cells, as in an evaluation. `each` is a table
    of `case, view, sample, model, fold, seed, p_<class>...`.
    """
    names = [f"p_{name}" for name in classes]
    if each.empty:
        return pd.DataFrame(columns=[*names, "label", "agreement", "spread"], dtype=np.float64)
    _, answers, *_, means = (by[names] for by in stepwise_means(each, ["case", "model", "seed", "fold", "view"]))
    chosen = means.to_numpy().argmax(axis=1)
    numbers = pd.Series(chosen, means.index).reindex(answers.index.get_level_values("case")).to_numpy()
    values = answers.to_numpy()
    own = pd.DataFrame(
        {"agreement": values.argmax(axis=1) == numbers, "spread": values[np.arange(len(values)), numbers]},
        index=answers.index,
    ).groupby("case")
    label = np.asarray(classes)[chosen]
    return means.assign(label=label, agreement=own["agreement"].mean(), spread=own["spread"].std(ddof=0))


def case_distances(members: list[Member], distances: pd.DataFrame) -> "pd.Series[float]":
    """Return, by case, the distance to the images that the cells know, in multiples of the threshold."""
    threshold = known_threshold(members)
    if distances.empty or threshold is None:
        return pd.Series(dtype=np.float64, name="distance")
    return (distance_by_case(distances) / threshold).rename("distance")


def known_threshold(members: list[Member]) -> float | None:
    """Return the distance beyond which a case is unlike the images that the cells know; None where they know none."""
    known = [one.table().assign(model=member.name) for member in members for one in member.known.values()]
    return distance_threshold(distance_by_case(pd.concat(known)).tolist()) if known else None


def nearest_columns(
    members: list[Member], nearest: pd.DataFrame, cases: pd.Index, names: Mapping[str, str]
) -> pd.DataFrame:
    """Return, by case, the nearest known images with their labels, and their distances in multiples of the threshold.

    Texts are empty, and distances not a number, where a case has none.
    """
    table = nearest_by_case(nearest) if len(nearest) else pd.DataFrame(columns=[*NAMED, "case", "rank"])
    table["content"] = [names.get(content, content[:SHOWN]) for content in table["content"]]
    table["distance"] = table["distance"].astype(np.float64) / (known_threshold(members) or np.nan)
    found = {}
    for rank in range(1, NEAREST + 1):
        rows = table[table["rank"] == rank].set_index("case").reindex(cases)
        for name, end in NAMED.items():
            found[f"nearest_{rank}{end}"] = rows[name] if name == "distance" else rows[name].astype(object).fillna("")
    return pd.DataFrame(found)


def case_outcomes(images: pd.DataFrame, bad: pd.DataFrame, each: pd.DataFrame) -> pd.DataFrame:
    """Return, by case in the order of the images, `outcome` and `reason`."""
    predicted = set(each["case"]) if len(each) else set()
    found = images.merge(bad.drop_duplicates("sample"), on="sample", how="left")
    rows = {}
    for case, part in found.groupby("case", sort=False):
        wrong = part[part["outcome"].notna()]
        outcome = PASSED if (wrong["outcome"] == PASSED).any() else PREDICTED
        reason = "; ".join(f"{row.sample}: {row.reason}" for row in wrong.itertuples())
        rows[case] = (outcome if case in predicted else LEFT_OUT, reason)
    return pd.DataFrame.from_dict(rows, orient="index", columns=OUTCOME).rename_axis("case")
