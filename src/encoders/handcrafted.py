"""Hand-crafted features: texture, gradients, intensity and stains; no network, and nothing to download."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from src.encoders.encoder import Encoder, check_crops
from src.system.checks import at_least, holds

if TYPE_CHECKING:
    import torch

Features = dict[str, float]

PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")
ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
RADIAL_BINS = 6
STEP = 256
FARTHEST = 31  # so that patterns of 8 points per pixel of radius are counted in a byte


@dataclass(kw_only=True)
class Handcrafted(Encoder):
    """Features of a crop that were designed, not learnt: what networks had to beat. None is negative.

    - co-occurrence of grey levels (Haralick 1973): six properties of the matrices at each of `distances` (pixels, grey
      in `levels` steps), their mean and range over four angles; a correlation c is (1 + c) / 2;
    - local binary patterns (Ojala 2002): the histogram of the uniform, rotation-invariant patterns of 8 r points at
      each radius r of `radii`;
    - gradients: their magnitudes; the histogram of their `orientations`, weighted by magnitude (Dalal 2005), as the
      magnitudes of its Fourier series, which rotations leave alone (Liu 2014); the histogram of their angles to the
      radius from the crop's centre, which tells spiculated from round masses (Huo 1995);
    - intensity: mean, deviation, skewness, kurtosis and percentiles of red, green, blue and grey;
    - stains: mean, deviation and percentiles of haematoxylin, eosin and DAB (Ruifrok 2001).

    They hardly change where a crop is turned by 90 degrees or mirrored. `weights` means nothing here: it lets a sweep
    over encoders set it for the networks among them.
    """

    distances: list[int] = field(default_factory=lambda: [1, 2, 4])
    levels: int = 32
    radii: list[int] = field(default_factory=lambda: [1, 2, 3])
    orientations: int = 16
    weights: str = ""

    outside_recipe: ClassVar[tuple[str, ...]] = ("label", "weights")
    idle: ClassVar[tuple[str, ...]] = ("weights",)

    def __post_init__(self) -> None:
        """Check the parameters."""
        for name in ("distances", "radii"):
            values = getattr(self, name)
            if not values or min(values) < 1 or max(values) > FARTHEST or len(set(values)) < len(values):
                raise ValueError(
                    f"`{name}` must be different numbers of pixels from 1 to {FARTHEST}, but got {name}={values}"
                )
        holds("2 <= levels <= 256", 2 <= self.levels <= 256, levels=self.levels)
        at_least(2, orientations=self.orientations)

    @property
    def smallest(self) -> int:
        """The size in pixels of the smallest crop that every feature is defined for."""
        return max(max(self.distances), 2 * max(self.radii)) + 1

    @property
    def names(self) -> list[str]:
        """The names of the features, in the order of the descriptor."""
        return list(self.describe(np.zeros((self.smallest, self.smallest, 3), np.uint8)))

    def digest(self) -> str:
        """Return the library that computes the features, and its version."""
        return f"scikit-image-{version('scikit-image')}"

    def check_size(self, size: int) -> None:
        """Raise `ValueError` for crops in which a feature is not defined."""
        if size < self.smallest:
            raise ValueError(
                f"crops must measure {self.smallest} pixels at least for distances={self.distances} and "
                f"radii={self.radii}, but measure {size}: choose larger crops, or smaller distances and radii"
            )

    def load(self, device: str = "cpu") -> "HandcraftedExtractor":
        """Return the features, ready for crops; they are computed on the CPU, whatever the device."""
        return HandcraftedExtractor(self)

    def describe(self, crop: UInt8[np.ndarray, "size size 3"]) -> Features:
        """Return the features of a crop by name, in the order of the descriptor."""
        grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        return {
            **cooccurrence(grey, self.distances, self.levels),
            **patterns(grey, self.radii),
            **gradients(grey, self.orientations),
            **intensity(crop, grey),
            **stains(crop),
        }


class HandcraftedExtractor:
    """Hand-crafted features, as an encoder that is loaded: crops in, descriptors of `length` numbers out."""

    def __init__(self, encoder: Handcrafted) -> None:
        import torch

        self.encoder = encoder
        self.length = len(encoder.names)
        self.device = torch.device("cpu")

    def __call__(self, crops: "torch.Tensor") -> "torch.Tensor":
        """Return the descriptors (n, length), float32, of the crops (n, 3, size, size), uint8, red, green, blue.

        Errors: ValueError for crops of another type or shape, or smaller than distances and radii allow.
        """
        import torch

        self.encoder.check_size(check_crops(crops))
        images = np.ascontiguousarray(crops.cpu().permute(0, 2, 3, 1).numpy())
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # most of the work leaves Python's lock
            rows = list(pool.map(lambda image: list(self.encoder.describe(image).values()), images))
        return torch.tensor(rows, dtype=torch.float32).reshape(len(crops), self.length)


def cooccurrence(grey: UInt8[np.ndarray, "height width"], distances: list[int], levels: int) -> Features:
    """Properties of the grey levels' co-occurrence: their mean and range over the angles, at each distance."""
    from skimage.feature import graycomatrix, graycoprops

    quantised = (grey.astype(np.uint16) * levels // 256).astype(np.uint8)
    matrices = graycomatrix(quantised, distances, ANGLES, levels, symmetric=True, normed=True)
    features: Features = {}
    for name in PROPERTIES:
        values = graycoprops(matrices, name)  # (distance, angle)
        if name == "correlation":
            values = np.clip((1 + values) / 2, 0, 1)
        for distance, row in zip(distances, values, strict=True):
            features[f"co-occurrence {name} {distance} mean"] = row.mean()
            features[f"co-occurrence {name} {distance} range"] = np.ptp(row)
    return features


def patterns(grey: UInt8[np.ndarray, "height width"], radii: list[int]) -> Features:
    """Histograms of uniform, rotation-invariant local binary patterns, by the number of bright points on the circle.

    The last bin holds the patterns that are not uniform. Pixels whose circle leaves the crop are left out.
    """
    features: Features = {}
    for radius in radii:
        codes = binary_patterns(grey, radius)
        for code, share in enumerate(np.bincount(codes.ravel(), minlength=8 * radius + 2) / codes.size):
            features[f"binary pattern {radius} {code}"] = share
    return features


def binary_patterns(
    grey: UInt8[np.ndarray, "height width"], radius: int
) -> UInt8[np.ndarray, "inner_height inner_width"]:
    """Return the uniform, rotation-invariant pattern of each pixel that is `radius` from the border at least.

    scikit-image's `local_binary_pattern(grey, 8 * radius, radius, "uniform")` in a tenth of its time. Places on the
    circle are rounded to 1 / 256 of a pixel, so that all sums are of whole numbers below 2 ** 24: exact in float32,
    also where a point is as bright as the centre.
    """
    pixels = grey.astype(np.float32)
    height, width = (side - 2 * radius for side in grey.shape)
    centres = pixels[radius:-radius, radius:-radius] * STEP**2
    turns = 2 * np.pi * np.arange(8 * radius) / (8 * radius)
    bright = np.empty((len(turns), height, width), np.uint8)
    for number, turn in enumerate(turns):
        (top, below), (left, right) = (
            divmod(round(radius * STEP * (1 + x)), STEP) for x in (-np.sin(turn), np.cos(turn))
        )
        weights = np.outer((STEP - below, below), (STEP - right, right)).astype(np.float32)
        values = cv2.filter2D(pixels, cv2.CV_32F, weights, anchor=(0, 0))  # between four neighbours
        bright[number] = values[top : top + height, left : left + width] >= centres
    changes, points = (bits.sum(axis=0, dtype=np.uint8) for bits in (bright ^ np.roll(bright, 1, axis=0), bright))
    return np.where(changes <= 2, points, np.uint8(8 * radius + 1))


def gradients(grey: UInt8[np.ndarray, "height width"], orientations: int) -> Features:
    """Magnitudes of gradients (of grey from 0 to 1, per pixel), their orientations, and their angles to the radius."""
    down, across = (cv2.Sobel(grey, cv2.CV_32F, x, 1 - x, scale=1 / (8 * 255)) for x in (0, 1))
    magnitudes = np.hypot(across, down)
    features = summary("gradient magnitude", magnitudes.ravel())
    # A bin's centre, not its edge, lies at the angles that are frequent because pixels lie on a grid.
    bins = np.round(np.arctan2(down, across) * (orientations / np.pi)).astype(int) % orientations
    series = np.abs(np.fft.rfft(weighted(bins, magnitudes, orientations)))
    features |= {f"gradient orientation {number}": series[number] for number in range(1, len(series))}
    y, x = (np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in grey.shape)
    y = y[:, np.newaxis]
    angles = np.arctan2(np.abs(across * y - down * x), np.abs(across * x + down * y))  # 0 along the radius, to pi / 2
    bins = np.minimum((angles * (RADIAL_BINS * 2 / np.pi)).astype(int), RADIAL_BINS - 1)
    shares = weighted(bins, magnitudes, RADIAL_BINS)
    return features | {f"gradient to radius {number}": share for number, share in enumerate(shares)}


def weighted(
    bins: Int[np.ndarray, "height width"], weights: Float[np.ndarray, "height width"], count: int
) -> Float[np.ndarray, " count"]:
    """Return the share that each bin has of the weights; zeros where there is no weight."""
    sums = np.bincount(bins.ravel(), weights.ravel(), count)
    return sums / max(sums.sum(), np.finfo(np.float32).tiny)


def intensity(crop: UInt8[np.ndarray, "height width 3"], grey: UInt8[np.ndarray, "height width"]) -> Features:
    """Moments and percentiles of red, green, blue and grey, from 0 to 1.

    The skewness s is (1 + s / (1 + |s|)) / 2, so that it is not negative; it and the kurtosis of a flat crop are those
    of a normal distribution.
    """
    features: Features = {}
    levels = np.arange(256) / 255
    for name, channel in zip(("red", "green", "blue", "grey"), (*np.moveaxis(crop, 2, 0), grey), strict=True):
        shares = np.bincount(channel.ravel(), minlength=256) / channel.size
        mean = shares @ levels
        deviation = np.sqrt(shares @ (levels - mean) ** 2)
        skewness, kurtosis = 0.0, 3.0
        if shares.max() < 1:
            skewness, kurtosis = (shares @ ((levels - mean) / deviation) ** power for power in (3, 4))
        features[f"{name} mean"] = mean
        features[f"{name} deviation"] = deviation
        features[f"{name} skewness"] = (1 + skewness / (1 + abs(skewness))) / 2
        features[f"{name} kurtosis"] = kurtosis
        # Half a pixel less than the share asked for: rounding of the sums must not decide.
        below = np.searchsorted(np.cumsum(shares) + 0.5 / channel.size, np.array(PERCENTILES) / 100)
        features |= {f"{name} {percent} %": levels[level] for percent, level in zip(PERCENTILES, below, strict=True)}
    return features


def stains(crop: UInt8[np.ndarray, "height width 3"]) -> Features:
    """Amounts of haematoxylin, eosin and DAB, as scikit-image separates them: from 0 on, defined for any colours."""
    from skimage.color import rgb2hed

    amounts = rgb2hed(crop).reshape(-1, 3)
    names = ("haematoxylin", "eosin", "DAB")
    return {key: value for name, row in zip(names, amounts.T, strict=True) for key, value in summary(name, row).items()}


def summary(name: str, values: Float[np.ndarray, " number"]) -> Features:
    """Mean, standard deviation and percentiles of numbers."""
    features = {f"{name} mean": values.mean(dtype=np.float64), f"{name} deviation": values.std(dtype=np.float64)}
    return features | dict(
        zip((f"{name} {percent} %" for percent in PERCENTILES), np.percentile(values, PERCENTILES), strict=True)
    )
