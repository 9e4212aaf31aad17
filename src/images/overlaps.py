"""Images that show the same place in part: crops of one another, and overlapping fields of a slide."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Int64, UInt8

from src.images.keypoints import GRID, PLACE, Points, rank_within

Numbers = npt.NDArray[np.int64]
Pairs = Int64[np.ndarray, "pair 3"]
Places = Float64[np.ndarray, "match 2"]
Extent = Float64[np.ndarray, "2"]

SEARCHED = 2**22  # descriptors that are looked up, at most: of more than 8,192 images the first ones of each
WORD = 3  # octets of a descriptor by which it is looked up
SHARING = 30  # others of the same word with which a descriptor is compared, before it and after it
LOOKED_UP, MATCHED = 40, 64  # bits of 256 in which descriptors of the same place differ, at most
IN_COMMON = 2  # keypoints that images have in common which are compared
COMPARED = 16  # others that one image chooses to be compared with
SLACK = 2.0  # steps of GRID by which a matched keypoint may be off
TRIES = 500  # RANSAC's
SCALES = (0.25, 4.0)
FEWEST, SHARE = 8.0, 0.3  # Brown and Lowe's: see `measure_overlap`
SPREAD = 0.05  # of the area where images overlap: that of the matches, at least


def find_overlaps(points: Sequence[Points], sizes: Int64[np.ndarray, "image 2"]) -> Pairs:
    """Return rows `first, second, percent`, in order: images that show the same place, and of how much of the smaller.

    `points` are those of `src.images.keypoints`, `sizes` heights and widths in pixels. One image may be turned,
    mirrored, and up to four times as large as the other. Each is compared with the `COMPARED` others that have most
    keypoints in common with it: the work grows with the images, not with their pairs.
    """
    extents = GRID * sizes[:, ::-1] / sizes.max(axis=1, keepdims=True, initial=1)
    rows = [
        (first, second, measure_overlap(points[first][mirrored], points[second][0], extents[first], extents[second]))
        for first, second, mirrored in find_candidates(points)
    ]
    return np.array([row for row in rows if row[2]], np.int64).reshape(-1, 3)


def find_candidates(points: Sequence[Points]) -> Pairs:
    """Return rows `first, second, mirrored`, in order: images that have keypoints in common, and are to be compared."""
    taken = [found[:, : SEARCHED // (2 * len(points))] for found in points]
    owner = np.repeat(np.arange(len(taken)), [found.shape[1] for found in taken])
    if not len(owner):
        return np.empty((0, 3), np.int64)
    descriptors = np.concatenate([found[side, :, PLACE:] for side in (0, 1) for found in taken])
    pairs, common = count_common(find_near(descriptors, len(owner)), owner)
    shared = np.flatnonzero(common >= IN_COMMON)
    shared = shared[np.argsort(-common[shared], kind="stable")]
    pairs = pairs[shared]
    _, best = np.unique(pairs[:, :2], axis=0, return_index=True)  # of both orientations that with more in common
    pairs = pairs[np.sort(best)]
    ranks = rank_within(pairs[:, :2].ravel(), np.arange(2 * len(pairs))).reshape(-1, 2)
    pairs = pairs[(ranks < COMPARED).any(axis=1)]
    return pairs[np.lexsort(pairs.T[::-1])]


def count_common(near: Int64[np.ndarray, "near 3"], owner: Numbers) -> tuple[Pairs, Numbers]:
    """Return rows `first, second, mirrored` of images, and how many keypoints of either one are near one of the other.

    `near` are rows of keypoints `one, other, mirrored`; `owner` says of which image a keypoint is.
    """
    images = owner[near[:, :2]]
    near, images = near[images[:, 0] != images[:, 1]], images[images[:, 0] != images[:, 1]]
    turned = np.argsort(images, axis=1, kind="stable")
    images, keypoints = (np.take_along_axis(each, turned, axis=1) for each in (images, near[:, :2]))
    pairs, number = np.unique(np.column_stack([images, near[:, 2]]), axis=0, return_inverse=True)
    counts = [
        np.bincount(np.unique(number * len(owner) + each) // len(owner), minlength=len(pairs)) for each in keypoints.T
    ]
    return pairs, np.minimum(*counts)


def find_near(descriptors: UInt8[np.ndarray, "descriptor 32"], count: int) -> Int64[np.ndarray, "near 3"]:
    """Return rows `one, other, mirrored` of keypoints whose descriptors differ in `LOOKED_UP` bits at most, mostly.

    The first `count` descriptors are those of keypoints, the others those of the same in mirror images. They are looked
    up by words: of those that differ in 16 bits nearly all share one, in 32 bits every third.
    """
    values = np.ascontiguousarray(descriptors).view(np.uint64)
    found = [np.empty(0, np.int64)]
    for start in range(0, descriptors.shape[1] - WORD + 1, WORD):
        octets = descriptors[:, start : start + WORD].astype(np.int64)
        for some, others in pair_equal(octets @ 256 ** np.arange(WORD)):
            one, other = np.minimum(some, others), np.maximum(some, others)
            bits = np.bitwise_count(values[one] ^ values[other]).sum(axis=1)
            alike = (bits <= LOOKED_UP) & (one < count)  # of two mirror images nothing is new
            found.append(one[alike] * len(values) + other[alike])
    one, other = np.divmod(np.unique(np.concatenate(found)), len(values))
    return np.column_stack([one, other % count, other // count])


def pair_equal(words: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield the places of equal words, in portions: each with the `SHARING` next ones."""
    order = np.argsort(words, kind="stable")
    words = words[order]
    start = np.arange(len(words))
    for step in range(1, SHARING + 1):
        start = start[: np.searchsorted(start, len(words) - step)]
        start = start[words[start] == words[start + step]]
        yield order[start], order[start + step]


def measure_overlap(
    one: UInt8[np.ndarray, "_ 34"], other: UInt8[np.ndarray, "_ 34"], first: Extent, second: Extent
) -> int:
    """Return of how many percent of the smaller of two images the other shows the same place, 0 if it does not.

    Their keypoints are matched, each with its nearest, and the turn, scale and shift that fit most matches are sought
    (RANSAC, by OpenCV and with its own fixed seed). The images show the same place if of n matches where they would
    overlap more than 8 + 0.3 n fit: Brown and Lowe 2007, https://doi.org/10.1007/s11263-006-0002-3, eq. 13. They must
    be spread: marks that are printed on mammograms look alike, too.
    """
    here, there = match_keypoints(one, other)
    if len(here) <= FEWEST:
        return 0
    found = cv2.estimateAffinePartial2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=SLACK, maxIters=TRIES)
    if not np.any(found[1]):
        return 0
    shift, fits = np.asarray(found[0], np.float64), np.asarray(found[1], bool)[:, 0]
    moved = move_places(here, shift)
    inside = ((moved >= 0) & (moved <= second)).all(axis=1)
    if fits.sum() <= FEWEST + SHARE * inside.sum() or not SCALES[0] <= np.hypot(*shift[:, 0]) <= SCALES[1]:
        return 0
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    placed, whole = move_places(corners * first, shift).astype(np.float32), (corners * second).astype(np.float32)
    common, _ = cv2.intersectConvexConvex(placed, whole)
    if cv2.contourArea(cv2.convexHull(there[fits].astype(np.float32))) < SPREAD * common:
        return 0
    return max(1, round(100 * common / min(cv2.contourArea(placed), cv2.contourArea(whole))))


def match_keypoints(one: UInt8[np.ndarray, "_ 34"], other: UInt8[np.ndarray, "_ 34"]) -> tuple[Places, Places]:
    """Return x and y of the keypoints of two images that are each other's nearest, by their descriptors."""
    if not (len(one) and len(other)):
        return np.empty((0, 2)), np.empty((0, 2))
    first, second = (np.ascontiguousarray(each[:, PLACE:]) for each in (one, other))
    found = cv2.batchDistance(first, second, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=1, crosscheck=True)
    bits, nearest = (np.asarray(each, np.int64)[:, 0] for each in found)
    matched = np.flatnonzero((nearest >= 0) & (bits <= MATCHED))
    return one[matched, :PLACE].astype(np.float64), other[nearest[matched], :PLACE].astype(np.float64)


def move_places(places: Places, shift: Float64[np.ndarray, "2 3"]) -> Places:
    """Return where places come by a turn, scale and shift."""
    return places @ shift[:, :2].T + shift[:, 2]
