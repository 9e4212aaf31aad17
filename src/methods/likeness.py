"""How unlike an image is to those that a model knows: its distance to them in the space of descriptors.

The distance is that to the nearest known image, of descriptors of unit length (nearest neighbours: Sun et al. 2022,
https://proceedings.mlr.press/v162/sun22d.html). It assumes no shape of the data and needs no covariance, which a few
hundred images do not determine in a thousand dimensions. What is far, the known images themselves say: by the distance
of each to those of other patients, as a new image is of another patient. The threshold is their conformal quantile: a
case like the known ones is beyond it in 5 % at most (Bates et al. 2023, https://doi.org/10.1214/22-AOS2244).
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64

from src.data.manifest import case_groups
from src.storage.store import MODEL, load_stated, tensor_checksum
from src.system.files import replace_file

TYPICAL = 0.95
"""The share of cases like the known ones that are not to be flagged."""
MOST = 1000
"""Known images whose descriptors are kept, at most: drawn by the digests of their bytes."""
NEAREST = 3
"""The known images that are named beside a prediction."""
ALL = "all"
"""What the images are called that are known to models without views."""
SMALLEST = 1e-6
"""The least unit of distance: known images may all be alike."""

Descriptors = Float[np.ndarray, "image feature"]
Distances = Float64[np.ndarray, " image"]


@dataclass
class Known:
    """Known images: their descriptors, of unit length, and the distance of each to those of other patients.

    `facts` says of each image its `content`, its `label`, and its `case`, which is called by the first content among
    its images: the names of cases and patients stay at home. `others` are the contents of images of which no more is
    kept.
    """

    descriptors: Descriptors
    own: Distances
    facts: pd.DataFrame
    others: Sequence[str] = ()

    @classmethod
    def of(cls, rows: pd.DataFrame, descriptors: Descriptors, others: Iterable[str] = ()) -> "Known":
        """Return what is known of rows of a manifest with contents, of one descriptor each, and of `others`."""
        group = rows["case"].map(case_groups(rows)).to_numpy()
        case = rows.groupby("case")["content"].transform("min").to_numpy()
        facts = pd.DataFrame({"content": rows["content"], "case": case, "label": rows["label"].astype(str)})
        facts = facts.reset_index(drop=True)
        ordered = facts.drop_duplicates("content").sort_values("content")
        chosen, more = ordered.index[:MOST], ordered["content"].iloc[MOST:]
        kept, apart = unit_length(descriptors[chosen]), group[chosen][:, None] != group[chosen]
        own = np.where(apart, euclidean_distances(kept, kept), np.inf).min(axis=1)
        return cls(kept, own, facts.loc[chosen].reset_index(drop=True), sorted({*more, *others}))

    def __call__(self, descriptors: Descriptors, contents: Sequence[str]) -> Distances:
        """Return the distances of images in units of the known ones' median; a copy of a known one has its own."""
        own = dict(zip(self.facts["content"], self.own, strict=True))
        found = euclidean_distances(unit_length(descriptors), self.descriptors).min(axis=1)
        return np.array([own.get(*pair) for pair in zip(contents, found, strict=True)]) / self.median

    def nearest(self, rows: pd.DataFrame, descriptors: Descriptors, count: int = NEAREST) -> pd.DataFrame:
        """Return `case, sample, content, label, distance`: the known images that are nearest to each of some images.

        A row per image and known one, the nearest first; distances are in units of the known ones' median. Of a copy of
        a known image that one is the nearest, at 0.
        """
        found = euclidean_distances(unit_length(descriptors), self.descriptors) / self.median
        found[rows["content"].to_numpy()[:, None] == self.facts["content"].to_numpy()] = 0.0  # but for rounding
        places = found.argsort(axis=1, kind="stable")[:, :count]
        known = self.facts.iloc[places.ravel()][["content", "label"]].reset_index(drop=True)
        asked = rows[["case", "sample"]].loc[rows.index.repeat(places.shape[1])].reset_index(drop=True)
        return asked.join(known.assign(distance=np.take_along_axis(found, places, axis=1).ravel()))

    def nearest_known(self, content: str, among: Iterable[str], count: int = NEAREST) -> pd.DataFrame:
        """Return `content, label, distance` of the known images, among some contents, that are nearest to a known one.

        The nearest first, itself not among them; distances are in units of the median.
        """
        own = self.facts["content"].to_numpy() == content
        others = self.facts["content"].isin(set(among)).to_numpy() & ~own
        if not others.any():
            return pd.DataFrame(columns=["content", "label", "distance"])
        found = euclidean_distances(self.descriptors[own], self.descriptors[others])[0] / self.median
        places = found.argsort(kind="stable")[:count]
        return self.facts.loc[others, ["content", "label"]].iloc[places].assign(distance=found[places])

    @property
    def contents(self) -> set[str]:
        """The contents of all known images."""
        return {*self.facts["content"], *self.others}

    def table(self) -> pd.DataFrame:
        """Return `case, sample, distance` of the known images; none where all are of one patient."""
        facts = {"case": self.facts["case"], "sample": self.facts["content"], "distance": self.own / self.median}
        return pd.DataFrame(facts)[np.isfinite(self.own)]

    @property
    def median(self) -> float:
        """The known images' median distance; 1 where all are of one patient."""
        finite = self.own[np.isfinite(self.own)]
        return max(float(np.median(finite)), SMALLEST) if len(finite) else 1.0

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        from safetensors.numpy import save

        tensors = {"descriptors": self.descriptors, "own": self.own}
        stated = {"facts": self.facts.to_dict("list"), "others": self.others, "checksum": tensor_checksum(tensors)}
        replace_file(path, save(tensors, {MODEL: json.dumps(stated, sort_keys=True)}))

    @classmethod
    def load(cls, path: Path) -> "Known":
        """Return what `save` wrote; `ValueError` where it is damaged."""
        tensors, stated = load_stated(path)
        facts = {"label": "", **stated["facts"]}  # models of 0.1 know no labels
        return cls(tensors["descriptors"], tensors["own"], pd.DataFrame(facts), stated["others"])


def unit_length(descriptors: Descriptors) -> Descriptors:
    """Return descriptors of unit length; one of zeros stays as it is."""
    lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
    return np.ascontiguousarray(descriptors / np.where(lengths > 0, lengths, 1), np.float32)


def euclidean_distances(one: Descriptors, other: Descriptors) -> Float64[np.ndarray, "image known"]:
    """Return the Euclidean distances between descriptors."""
    from sklearn.metrics import pairwise_distances

    return np.asarray(pairwise_distances(one.astype(np.float64), other.astype(np.float64)), np.float64)


def distance_by_case(table: pd.DataFrame) -> "pd.Series[float]":
    """Return the distance of each case, given `case, sample, model, distance` to what each model knows.

    It is that of the case's farthest image: the mean over what a model of several folds knows, then over the models.
    """
    ordered = table.sort_values(["case", "sample", "model", "distance"])  # a sum of floats depends on its order
    each = ordered.groupby(["case", "sample", "model"])["distance"].mean()
    return each.groupby(["case", "sample"]).mean().groupby("case").max()


def nearest_by_case(table: pd.DataFrame, count: int = NEAREST) -> pd.DataFrame:
    """Return `case, rank, content, label, distance`, given `case, content, label, distance` of each sample and model.

    They are the known images that most of a case's samples and of the models name among the nearest; of those that as
    many name the nearest, by the mean distance.
    """
    ordered = table.sort_values(["case", "content", "distance"])
    found = ordered.groupby(["case", "content"], as_index=False).agg(
        votes=("distance", "size"), label=("label", "first"), distance=("distance", "mean")
    )
    found = found.sort_values(["case", "votes", "distance", "content"], ascending=[True, False, True, True])
    found["rank"] = found.groupby("case").cumcount() + 1
    return found.loc[found["rank"] <= count, ["case", "rank", "content", "label", "distance"]]


def distance_threshold(known: Sequence[float]) -> float:
    """Return the distance within which a case like the known ones lies with a probability of `TYPICAL` at least.

    Of too few known cases to say so, the farthest one's; infinity where none has a distance.
    """
    ordered = np.sort(np.asarray(known, np.float64))
    rank = min(math.ceil(TYPICAL * (len(ordered) + 1)), len(ordered))
    return float(ordered[rank - 1]) if rank else math.inf
