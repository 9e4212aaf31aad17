"""Windows of an image as a model sees them: where they lie, and one map of the image out of theirs."""

import math

import numpy as np
from jaxtyping import Float32

from src.images.crop import Centre, Crop

MOST = 35
"""Windows of an image: a processor encodes some five crops of 400 pixels in a second."""

RELATIVE = "relative to the map's strongest"

Corner = tuple[int, int]
Map = Float32[np.ndarray, "height width"]


def place_windows(crop: Crop, height: int, width: int, most: int = MOST) -> list[Corner]:
    """Return top and left of the windows by which a prepared image is explained: a grid, or the one that is looked at.

    A model of centres knows nothing of the rest, and of whole images it knows one window.
    """
    if isinstance(crop, Centre):
        top, left, *_ = crop.place((height, width), np.zeros(5))
        return [(top, left)]
    return place_grid(height, width, crop.size, most)


def place_grid(height: int, width: int, size: int, most: int = MOST) -> list[Corner]:
    """Return top and left of windows of `size` pixels, row by row: half a window apart at most, the borders covered.

    Where these are more than `most` they lie further apart, and of a very large image parts stay uncovered.
    """
    if not 1 <= size <= min(height, width) or most < 1:
        raise ValueError(
            f"`1 <= size <= height, width` and `most >= 1` must hold, but got size={size}, height={height}, "
            f"width={width}, most={most}"
        )
    room = (height - size, width - size)
    rows, columns = (spread_evenly(*each) for each in zip(room, count_windows(room, size, most), strict=True))
    return [(top, left) for top in rows for left in columns]


def count_windows(room: tuple[int, int], size: int, most: int) -> tuple[int, int]:
    """Return how many rows and columns of windows there are: `most` at most, as close as can be in both directions."""
    rows, columns = (1 + min(each, math.ceil(2 * each / size)) for each in room)
    candidates = [(count, min(columns, most // count)) for count in range(1, min(rows, most) + 1)]
    return min(candidates, key=lambda pair: max(map(measure_spacing, room, pair)))


def measure_spacing(room: int, count: int) -> float:
    """Return how far windows lie apart; a single one is as far as can be from covering what it cannot."""
    if count == 1:
        return math.inf if room else 0.0
    return room / (count - 1)


def spread_evenly(room: int, count: int) -> list[int]:
    """Return `count` whole numbers from 0 to `room`, evenly spaced; a single one lies in the middle."""
    if count == 1:
        return [room // 2]
    return [round(number * room / (count - 1)) for number in range(count)]


def average_windows(
    corners: list[Corner], maps: Float32[np.ndarray, "window size size"], height: int, width: int
) -> Map:
    """Return the mean over the windows that cover a pixel; not a number where none does.

    The nearer a window's centre is, the more it counts: no seams show, and a network knows least of what is near its
    borders. One value per window, half a window apart, is interpolated linearly.
    """
    size = maps.shape[-1]
    slope = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)) / size
    weight = np.outer(slope, slope)
    total, weights = np.zeros((height, width)), np.zeros((height, width))
    for (top, left), each in zip(corners, maps, strict=True):
        window = np.s_[top : top + size, left : left + size]
        total[window] += weight * each
        weights[window] += weight
    return np.divide(total, weights, out=np.full((height, width), np.nan), where=weights > 0).astype(np.float32)


def scale_to_percentile(values: Map, percentile: float = 100.0) -> Map:
    """Return values from 0 on divided by a percentile of theirs, 1 at most; all 0 stay so: nothing speaks for it."""
    strongest = float(np.nanpercentile(values, percentile))
    return np.minimum(values / np.float32(strongest or 1), np.float32(1))
