"""What an image is recognised by where only a part of it is seen again: keypoints, spread over it and its scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

Points = UInt8[np.ndarray, "2 keypoint 34"]
"""Keypoints of an image, and the same in its mirror image: x, y and descriptor."""
GRID = 256
"""Steps in which places are told, along the longer side."""
PLACE = 2
"""The columns of a keypoint that say where it is, x and y; its descriptor follows."""
DESCRIPTOR = 32
"""Octets of a descriptor."""
NO_POINTS: Points = np.empty((2, 0, PLACE + DESCRIPTOR), np.uint8)
LEVELS, STEP = 8, 1.2  # the pyramid's, ORB's own
DETECTED = 5  # corners that are looked for, to one that is kept
CONTRAST = 7  # grey values, of 256: the tissue in mammograms is faint
MARGIN = 16  # pixels: half a descriptor's patch
CELLS = 12  # along the longer side


@dataclass(kw_only=True)
class Keypoints:
    """`count` corners of an image that is scaled down to `side` pixels, with a descriptor each.

    ORB (Rublee et al. 2011, https://doi.org/10.1109/ICCV.2011.6126544), by OpenCV, turned as the image is; as a mirror
    image has other descriptors, each corner has both. A corner is kept if it is the strongest of its cell at its scale,
    then the second and so on, or printed marks had all of a mammogram's.
    """

    count: int = 256
    side: int = 512
    revision: ClassVar[int] = 1

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> Points:
        """Return x and y, in steps of `GRID` to the longer side, and the descriptor: of the image and its mirror image.

        Any number of the first keypoints has the scales in proportion, and is as widely spread.
        """
        grey = self.shrink(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        if min(grey.shape) <= 2 * MARGIN:
            return NO_POINTS
        detector = cv2.ORB.create(DETECTED * self.count, STEP, LEVELS, MARGIN, fastThreshold=CONTRAST)
        found = detector.detect(grey)
        chosen = [found[number] for number in self.spread(found, max(grey.shape))] if found else []
        width = grey.shape[1]
        mirrored = [mirror_keypoint(each, width) for each in chosen]
        flipped = np.ascontiguousarray(grey[:, ::-1])
        sides = [describe(detector, grey, chosen), describe(detector, flipped, mirrored)]
        scale = GRID / max(grey.shape)
        return np.stack([np.concatenate([(places * scale).astype(np.uint8), words], 1) for places, words in sides])

    def shrink(self, grey: UInt8[np.ndarray, "height width"]) -> npt.NDArray[np.uint8]:
        """Return a grey image whose longer side has `side` pixels at most."""
        scale = self.side / max(grey.shape)
        height, width = (max(1, round(scale * length)) for length in grey.shape)
        return (
            grey
            if scale >= 1
            else np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        )

    def spread(self, found: Sequence[cv2.KeyPoint], longer: int) -> npt.NDArray[np.int64]:
        """Return the numbers of the keypoints that are kept, in order."""
        places = np.array([each.pt for each in found])
        level = np.array([each.octave for each in found])
        cell = (places * (CELLS / longer)).astype(np.int64) @ [1, CELLS] + level * CELLS**2
        strongest = np.argsort([-each.response for each in found], kind="stable")
        in_cell = rank_within(cell, strongest)
        in_level = rank_within(level, strongest[np.argsort(in_cell[strongest], kind="stable")])
        shares = STEP ** -np.arange(LEVELS)
        turn = (in_level + 0.5) / shares[level]  # of a fine scale more are taken than of a coarse one
        return np.argsort(turn, kind="stable")[: self.count]


def rank_within(group: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return each one's place, from 0 on, among those of its group, where they come in an order."""
    by_group = order[np.argsort(group[order], kind="stable")]
    ranks = np.empty(len(group), np.int64)
    ranks[by_group] = np.arange(len(group)) - np.searchsorted(group[by_group], group[by_group])
    return ranks


def mirror_keypoint(point: cv2.KeyPoint, width: int) -> cv2.KeyPoint:
    """Return the keypoint of an image that is mirrored, left to right."""
    angle = (180 - point.angle) % 360
    return cv2.KeyPoint(width - 1 - point.pt[0], point.pt[1], point.size, angle, point.response, point.octave)


def describe(
    detector: cv2.ORB, grey: npt.NDArray[np.uint8], chosen: list[cv2.KeyPoint]
) -> tuple[npt.NDArray[np.float64], UInt8[np.ndarray, "keypoint 32"]]:
    """Return x and y of keypoints, in pixels, and their descriptors."""
    if not chosen:
        return np.empty((0, PLACE)), np.empty((0, DESCRIPTOR), np.uint8)
    kept, words = detector.compute(grey, chosen)
    assert len(kept) == len(chosen), "a keypoint was found where none can be described"
    return np.array([each.pt for each in kept]), words
