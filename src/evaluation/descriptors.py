"""What descriptors tell of an image besides its class: its patient, its site, its scanner.

What they tell flatters every split that does not hold it together: where a patient, or a site whose classes differ, can
be told, a model can be right about a new image for having seen its like. Two measures, each beside what chance gives:

- **told**: the balanced accuracy, out of fold and by patient, of a linear classifier of a column's values (a ridge
  regression of their indicators, each weighed by its share, which is what a linear discriminant is). Chance is what the
  same comes to when the values of patients of the same class are exchanged: what the class alone tells is no effect of
  the site.
- **nearest**: of how many images the nearest one of the same class has the same value, and of how many it would if it
  were drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64, Int

from src.evaluation.metrics import patient_groups
from src.evaluation.proportions import Estimate, estimate_proportion

FOLDS = 5
DRAWS = 50
"""Exchanges of values, whose mean is what chance gives."""
SEED = 0
PCA, TSNE = "pca", "tsne"
RIGHT, WRONG = "right", "wrong"
"""What answers are."""

Descriptors = Float[np.ndarray, "image feature"]
Asked = Float[np.ndarray, "asked feature"]
Codes = Int[np.ndarray, "image draw"]
Numbers = Int[np.ndarray, " image"]
Marks = Bool[np.ndarray, " image"]


class Told(NamedTuple):
    """A share (0..1) with its 95 % interval over patients, and what chance gives, of so many images; 0: of none."""

    estimate: Estimate = Estimate()
    chance: float = float("nan")
    images: int = 0


def tell_values(descriptors: Descriptors, images: pd.DataFrame, column: str) -> Told:
    """Return how well a linear classifier tells the values of a column of `images`, out of fold, by balanced accuracy.

    `images` has `case, patient, label` beside it, as text. Values of fewer than two patients take no part, nor does "".
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = patient_groups(images)
    patients = pd.Series(groups).groupby(images[column].to_numpy()).nunique()
    shared = patients[(patients > 1) & (patients.index != "")]
    kept = images[column].isin(shared.index).to_numpy()
    if len(shared) < 2:
        return Told()
    descriptors, images, groups = descriptors[kept], images[kept], groups[kept]
    codes = number_values(images[column])
    strata = number_values(images["label"]) if column != "label" else np.zeros_like(codes)
    drawn = np.stack([codes, *exchange_values(codes, groups, strata)], axis=1)
    splitter = StratifiedGroupKFold(min(FOLDS, int(shared.min())), shuffle=True, random_state=SEED)
    answers = np.empty_like(drawn)
    for training, held in splitter.split(descriptors, codes, groups):
        answers[held] = answer_by_ridge(descriptors[training], drawn[training], descriptors[held])
    hits = answers == drawn
    chance = [balanced_share(hits[:, draw], drawn[:, draw]) for draw in range(1, drawn.shape[1])]
    return Told(share(hits[:, 0], groups, codes), float(np.mean(chance)), len(images))


def answer_by_ridge(known: Descriptors, codes: Codes, asked: Asked) -> Int[np.ndarray, "asked draw"]:
    """Return the values that a ridge regression of the values' indicators gives, for each draw of the known ones.

    The penalty is the mean variance along the known images' own directions; indicators are weighed by their share.
    """
    from sklearn.linear_model import Ridge

    values = np.arange(codes.max() + 1)
    indicators = (codes[:, :, np.newaxis] == values).astype(np.float64)
    penalty = float(((known - known.mean(axis=0)) ** 2).sum() / len(known))
    scores = Ridge(alpha=penalty).fit(known, indicators.reshape(len(known), -1)).predict(asked)
    share = np.maximum(indicators.mean(axis=0), 1e-12)
    answers: Int[np.ndarray, "asked draw"] = (scores.reshape(len(asked), *share.shape) / share).argmax(axis=2)
    return answers


def exchange_values(codes: Numbers, groups: Numbers, strata: Numbers) -> list[Numbers]:
    """Return draws of the values, exchanged between patients of the same stratum; where a patient has several values,
    between images.

    A patient's stratum is the most frequent one among its images.
    """
    table = pd.DataFrame({"code": codes, "group": groups, "stratum": strata})
    by_group = table.groupby("group")
    if (by_group["code"].nunique() > 1).any():
        table["group"] = range(len(table))
        by_group = table.groupby("group")
    units = by_group.agg(code=("code", "first"), stratum=("stratum", lambda each: each.mode().iloc[0]))
    place = units.index.get_indexer(pd.Index(table["group"]))
    generator = np.random.default_rng(SEED)
    return [units.groupby("stratum")["code"].transform(generator.permutation).to_numpy()[place] for _ in range(DRAWS)]


def find_nearest(descriptors: Descriptors, images: pd.DataFrame, column: str) -> Told:
    """Return of how many images the nearest one of the same class has the same value of a column of `images`.

    `images` has `case, patient, label` beside it, as text. Images take part whose class has both: other images with
    their value, and with another one. Images whose value is "" take no part.
    """
    from sklearn.metrics import pairwise_distances

    values, labels = (images[name].to_numpy(dtype=str) for name in (column, "label"))
    candidates = (labels[:, np.newaxis] == labels) & ~np.eye(len(images), dtype=bool)
    candidates &= (values[:, np.newaxis] != "") & (values != "")
    same = candidates & (values[:, np.newaxis] == values)
    asked = same.any(axis=1) & (candidates & ~same).any(axis=1)
    if not asked.any():
        return Told()
    distances = pairwise_distances(descriptors.astype(np.float64))
    nearest = np.where(candidates, distances, np.inf).argmin(axis=1)
    hits = values[nearest] == values
    chance = (same.sum(axis=1)[asked] / candidates.sum(axis=1)[asked]).mean()
    own, unknown = np.arange(len(images)), (images["patient"] == "").to_numpy()
    # Two images that are nearest to each other are both right, or both wrong: of unknown patients they count as one's.
    paired = unknown & unknown[nearest] & (nearest[nearest] == own)
    groups = patient_groups(images)[np.where(paired, np.minimum(own, nearest), own)]
    return Told(share(hits[asked], groups[asked]), float(chance), int(asked.sum()))


def share(hits: Marks, groups: Numbers, strata: Numbers | None = None) -> Estimate:
    """Return the share of hits with its interval over patients; with strata the mean of their shares."""
    marks, folds = np.ones((1, len(hits)), dtype=bool), np.zeros((1, len(hits)), dtype=np.int64)
    return estimate_proportion(hits[np.newaxis], marks, groups, folds, strata)


def number_values(column: "pd.Series[str]") -> Numbers:
    """Return the number of each value among those of a column."""
    return np.unique(column.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def balanced_share(hits: Marks, codes: Numbers) -> float:
    """Return the mean over values of the share of hits."""
    return float(pd.Series(hits).groupby(codes).mean().mean())


@dataclass
class DescriptorMap:
    """Places of images in the plane, and what the axes are; `kind` is what made it."""

    places: Float64[np.ndarray, "image 2"]
    axes: Sequence[str]


def map_by_pca(descriptors: Descriptors) -> DescriptorMap:
    """Return the map by the first two principal components; axes say their share of the variance."""
    from sklearn import decomposition

    count = min(2, *descriptors.shape)
    model, places = decomposition.PCA(count, svd_solver="full"), np.zeros((len(descriptors), 2))
    places[:, :count] = model.fit_transform(descriptors.astype(np.float64))
    axes = [f"Component {n} ({100 * part:.0f} %)" for n, part in enumerate(model.explained_variance_ratio_, 1)]
    return DescriptorMap(places, [*axes, ""])


def map_by_tsne(descriptors: Descriptors) -> DescriptorMap:
    """Return the map by t-SNE (openTSNE: Polićar, Stražar and Zupan 2024), begun at the principal components.

    The same descriptors give the same map: neighbours are exact, and one thread adds in one order.
    """
    import openTSNE

    count = len(descriptors)
    model = openTSNE.TSNE(
        perplexity=min(30.0, max((count - 1) / 3, 1.0)),
        initialization="pca",
        neighbors="exact",
        random_state=SEED,
        n_jobs=1,
    )
    return DescriptorMap(np.asarray(model.fit(descriptors.astype(np.float64)), np.float64), ["", ""])


PROJECTIONS = {PCA: map_by_pca, TSNE: map_by_tsne}
"""The ways of a map; the second one needs openTSNE."""
