"""Stain normalisation of H&E images: every operator takes and gives an 8-bit RGB image of the same size."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float32, Float64, Shaped, UInt8

from src.images import BadImage
from src.system.checks import at_least, holds, one_of

Image = UInt8[np.ndarray, "height width 3"]
Pixels = UInt8[np.ndarray, "1 pixel 3"]
Numbers = Float32[np.ndarray, " pixel"]
Measure = Callable[[Pixels], tuple[Numbers, ...]]
Matrix = npt.NDArray[np.float64]
Mask = Bool[np.ndarray, " pixel"]

WHITE = 240.0
"""Transmitted light (8-bit units) that counts as white: I0 in Macenko 2009 and Rakhlin 2018."""

FEWEST = 16
"""Pixels of tissue: two directions and the percentiles of angles mean nothing of fewer."""

STRIP = 2**15
"""Pixels treated at a time: all that is computed of them, some 400 KiB an array, stays in a core's cache."""

OVERLAP = 32
"""OpenCV rounds the last pixels of an array otherwise, one by one, not as vectors: strips go on beyond what counts."""

DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / np.float32(WHITE))
"""Optical density of each 8-bit value: OD = -ln((I + 1) / I0)."""

# Ruderman 1998, as in Reinhard 2001: RGB to cone responses, and their logarithms to l, alpha, beta.
LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
OPPONENT = np.diag([1 / np.sqrt(3), 1 / np.sqrt(6), 1 / np.sqrt(2)]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])


def split_strips(pixels: Shaped[np.ndarray, "_ _ 3"]) -> Iterator[Any]:
    """Yield strips (1, n, 3) of `STRIP` pixels and some of the next one's, which do not count: views if contiguous."""
    row = pixels.reshape(1, -1, 3)
    for start in range(0, row.shape[1], STRIP):
        yield row[:, start : start + STRIP + OVERLAP]


def dark_in_all(image: Image, density: float) -> Mask:
    """Return the pixels (row by row) whose optical density reaches a threshold in all three channels."""
    red, green, blue = cv2.split(image)
    return np.asarray(cv2.max(cv2.max(red, green), blue)).ravel() <= lightest_dense_value(density)


def dark_on_average(image: Image, density: float) -> Mask:
    """Return the pixels (row by row) whose mean optical density over the three channels reaches a threshold."""
    red, green, blue = (channel.astype(np.float32) + 1 for channel in cv2.split(image))
    # No logarithm is needed: sums of densities are products of light, of integers below 2**24 and so exact.
    return (red * green * blue).ravel() <= (WHITE * np.exp(-density)) ** 3


def dark_in_luminance(image: Image, density: float) -> Mask:
    """Return the pixels (row by row) the optical density of whose luminance (ITU-R BT.601) reaches a threshold."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)).ravel() <= lightest_dense_value(density)


def lightest_dense_value(density: float) -> int:
    """Return the lightest 8-bit value whose optical density reaches a threshold, or -1 where none does."""
    return int(np.flatnonzero(DENSITY >= density).max(initial=-1))


MASKS = {"all": dark_in_all, "mean": dark_on_average, "luminance": dark_in_luminance}
PLACES = {"all": "in all three channels", "mean": "in the mean of the channels", "luminance": "in luminance"}


def density_covariance(pixels: Pixels) -> Matrix:
    """Return the sample covariance (3 x 3) of the optical densities of pixels.

    The sums run over joint histograms of two channels, so they are exact in double precision at any number of pixels.
    """
    table = DENSITY.astype(np.float64)
    planes = cv2.split(pixels)
    pairs = {
        (i, j): cv2.calcHist([planes[i], planes[j]], [0, 1], None, [256, 256], [0, 256, 0, 256])
        for i, j in ((0, 1), (0, 2), (1, 2))
    }
    single = [pairs[0, 1].sum(axis=1), pairs[0, 1].sum(axis=0), pairs[0, 2].sum(axis=0)]
    count = float(single[0].sum())
    mean = np.array([table @ histogram for histogram in single]) / count
    products = np.diag([table**2 @ histogram for histogram in single])
    for (i, j), histogram in pairs.items():
        products[i, j] = products[j, i] = table @ histogram @ table
    covariance: Matrix = (products - count * np.outer(mean, mean)) / (count - 1)
    return covariance


def upper_percentiles(measure: Measure, pixels: UInt8[np.ndarray, "_ _ 3"], percent: float) -> Iterator[float]:
    """Yield what `numpy.percentile` returns of each quantity that `measure` gives of pixels.

    For percentages near 100 this is several times as fast: only the tail beyond a bound guessed from every 64th pixel
    is kept and sorted. Where the guess was wrong, everything is.
    """
    count = pixels.size // 3
    rank = (count - 1) * percent / 100
    bounds = [np.percentile(values, max(percent - 1, 0)) for values in measure(pixels.reshape(1, -1, 3)[:, ::64])]
    for number, tail in enumerate(find_tails(measure, pixels, bounds)):
        first = count - len(tail)
        if rank < first:
            yield float(np.percentile(find_tails(measure, pixels, [-np.inf] * len(bounds))[number], percent))
            continue
        low, high = int(rank) - first, min(int(rank) + 1, count - 1) - first
        ordered = np.partition(tail, [low, high]).astype(np.float64)
        yield float(ordered[low] + (ordered[high] - ordered[low]) * (rank % 1))


def find_tails(measure: Measure, pixels: UInt8[np.ndarray, "_ _ 3"], bounds: list[Any]) -> list[Numbers]:
    """Return the values of each quantity that reach its bound."""
    kept = []
    for strip in split_strips(pixels):
        measured = (values[:STRIP] for values in measure(strip))
        kept.append([values.compress(values >= bound) for values, bound in zip(measured, bounds, strict=True)])
    return [np.concatenate(parts) for parts in zip(*kept, strict=True)]


class Projection:
    """Each pixel's optical density times two rows.

    What a call returns lies in arrays that the next one of as many pixels overwrites: fresh ones take several times as
    long to fill.
    """

    def __init__(self, rows: Float64[np.ndarray, "2 3"]) -> None:
        # OpenCV's transform from 3 to 3 channels is several times as fast as the one from 3 to 2.
        self.square = np.vstack([rows, np.zeros(3)]).astype(np.float32)
        self.density: Any = None
        self.projected: Any = None
        self.planes: Any = None

    def __call__(self, pixels: Pixels) -> tuple[Numbers, Numbers]:
        """Return the two products of each pixel."""
        self.density = cv2.LUT(pixels, DENSITY, self.density)
        self.projected = cv2.transform(self.density, self.square, self.projected)
        self.planes = cv2.split(self.projected, self.planes)
        return self.planes[0][0], self.planes[1][0]


def transmit(image: Image, mixing: Matrix) -> Image:
    """Return the 8-bit image I0 exp(-mixing OD) of the optical densities of an image."""
    affine = np.column_stack([-mixing, np.full(3, np.log(WHITE))]).astype(np.float32)
    result = np.empty(image.shape, np.uint8)
    density: Any = None
    light: Any = None
    for strip, out in zip(split_strips(image), split_strips(result), strict=True):
        density = cv2.LUT(strip, DENSITY, density)
        light = cv2.transform(density, affine, light)
        # Truncated as `ndarray.astype` does when released. The next strip overwrites the overlap.
        np.copyto(out, cv2.threshold(cv2.exp(light, light), 255, 0, cv2.THRESH_TRUNC, light)[1], casting="unsafe")
    return result


def truncate(values: Float32[np.ndarray, "height width 3"]) -> Image:
    """Return values, which are overwritten, clipped to 0..255 and truncated as `ndarray.astype` does when released."""
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


@dataclass(kw_only=True)
class Stain(ABC):
    """A stain normaliser. Raises `BadImage` for an image that it cannot treat."""

    revision: ClassVar[int] = 1
    """Raised by hand when the output changes for the same parameters, so that stored descriptors are made anew."""

    @abstractmethod
    def __call__(self, image: Image) -> Image:
        """Return the normalised image."""


@dataclass(kw_only=True)
class NoStain(Stain):
    """The image as it is."""

    def __call__(self, image: Image) -> Image:
        """Return the same image."""
        return image


@dataclass(kw_only=True)
class Macenko(Stain):
    """Macenko et al. 2009, with the reference stains and maxima of Rakhlin et al. 2018.

    The plane of the two stains is spanned by the two directions of *largest* variance of the tissue's optical density.
    """

    revision: ClassVar[int] = 2

    percentile: float = 1.0
    """Angles of the stain vectors: this percentile and 100 minus it."""
    density: float = 0.345
    """A pixel is tissue if its optical density reaches this (natural logarithm; the paper's 0.15 is to base 10)."""
    mask: str = "mean"
    """Which optical density: that of `all` three channels, their `mean`, or that of the `luminance`."""
    tissue: float = 0.002
    """An image with a smaller share of tissue cannot be normalised (`BadImage`)."""
    separation: float = 5.0
    """Nor can one whose two stain vectors are closer than this, in degrees (real sections: 10 to 44)."""

    # Columns haematoxylin and eosin, and the 99th percentiles of their concentrations (Rakhlin 2018, released code).
    STAINS: ClassVar[Matrix] = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
    MAXIMA: ClassVar[Matrix] = np.array([1.9705, 1.0308])

    def __post_init__(self) -> None:
        """Check the parameters."""
        holds("0 <= percentile < 50", 0 <= self.percentile < 50, percentile=self.percentile)
        holds("0 <= tissue <= 1", 0 <= self.tissue <= 1, tissue=self.tissue)
        at_least(0, density=self.density, separation=self.separation)
        one_of(MASKS, mask=self.mask)

    def __call__(self, image: Image) -> Image:
        """Return the image with its two stains replaced by the reference ones, truncated to 8 bits."""
        tissue = self.tissue_pixels(image)
        unmix = np.linalg.pinv(self.stain_vectors(tissue))
        maxima = np.array([*upper_percentiles(Projection(unmix), image, 99)])
        if (maxima <= 0).any():
            raise BadImage("only one of the two stains is present, so they cannot be told apart")
        return transmit(image, self.STAINS @ np.diag(self.MAXIMA / maxima) @ unmix)

    def tissue_pixels(self, image: Image) -> Pixels:
        """Return the pixels that the mask takes for tissue, row by row."""
        dark = MASKS[self.mask](image, self.density)
        if np.count_nonzero(dark) < self.least(image):
            raise BadImage(self.too_little(image))
        # Pixels of four bytes are picked several times as fast as those of three: each is one number.
        picked = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).view(np.uint32).ravel().compress(dark)
        return np.asarray(cv2.cvtColor(picked.view(np.uint8).reshape(1, -1, 4), cv2.COLOR_RGBA2RGB), np.uint8)

    def least(self, image: Image) -> float:
        """Return how many pixels of tissue an image needs."""
        return max(self.tissue * image.size / 3, FEWEST)

    def too_little(self, image: Image) -> str:
        """Return what is wrong with an image of too little tissue, and by which mask it would have enough, if any."""
        pixels = image.size / 3
        counts = {name: np.count_nonzero(mask(image, self.density)) for name, mask in MASKS.items()}
        reason = (
            f"{counts[self.mask] / pixels:.2%} of its pixels have an optical density of {self.density} or more "
            f"{PLACES[self.mask]}, and stain normalisation needs {self.least(image) / pixels:.2%}"
        )
        for name, count in counts.items():
            if count >= self.least(image):
                return f"{reason}; {PLACES[name]} {count / pixels:.2%} have it: take stain.mask={name}"
        return f"nearly no tissue: {reason}"

    def stain_vectors(self, tissue: Pixels) -> Float64[np.ndarray, "3 2"]:
        """Return the unit vectors (columns) of haematoxylin and eosin in optical density space."""
        plane = self.plane(density_covariance(tissue))
        project = Projection(plane.T)

        def angles(pixels: Pixels) -> tuple[Numbers, Numbers]:
            first, second = project(pixels)
            angle = np.arctan2(second, first, out=second)
            return np.negative(angle, out=first), angle

        negative, high = upper_percentiles(angles, tissue, 100 - self.percentile)
        low = -negative
        extremes = plane @ np.array([[np.cos(low), np.cos(high)], [np.sin(low), np.sin(high)]])
        separation = np.degrees(np.arccos(np.clip(abs(extremes[:, 0] @ extremes[:, 1]), 0, 1)))
        if separation < self.separation:
            raise BadImage(
                f"its pixels show one stain only: the two stain vectors are {separation:.2f} degrees apart, "
                f"and normalisation needs {self.separation}"
            )
        # Haematoxylin absorbs more red than eosin does.
        return extremes if extremes[0, 0] > extremes[0, 1] else extremes[:, ::-1]

    def plane(self, covariance: Matrix) -> Float64[np.ndarray, "3 2"]:
        """Return the two eigenvectors of largest variance, turned towards positive densities."""
        vectors = np.linalg.eigh(covariance).eigenvectors[:, [2, 1]]
        return vectors * np.where(vectors.sum(axis=0) < 0, -1.0, 1.0)


@dataclass(kw_only=True)
class MacenkoReleased(Macenko):
    """The normaliser in the code released with Rakhlin et al. 2018, which made the published numbers.

    Tissue is what reaches a density in all three channels, and the axes are the first two eigenvectors as
    `numpy.linalg.eig` returns them, unsorted. Where these are not the two of largest variance (29 of BACH's 400 images
    at half scale) its stain vectors are closer than `Macenko`'s with that mask, and its colours otherwise. Only what
    has no outcome at all is refused.
    """

    revision: ClassVar[int] = 2
    added: ClassVar[dict[str, str]] = {"mask": "all"}

    density: float = 0.15
    mask: str = "all"
    tissue: float = 0.0
    separation: float = 0.001

    def plane(self, covariance: Matrix) -> Float64[np.ndarray, "3 2"]:
        """Return the first two eigenvectors in LAPACK's order, negated and reversed, as released.

        The reversal keeps angles, which wrap at 180 degrees, near +90 or -90 whichever sign LAPACK gives the first.
        """
        return -np.linalg.eig(covariance).eigenvectors[:, [1, 0]]


@dataclass(kw_only=True)
class Reinhard(Stain):
    """Reinhard et al. 2001: mean and standard deviation of each channel of the l-alpha-beta space are the target's.

    The default target is the slide TCGA-A2-A3XS-DX1 as measured by Amgad et al. 2019 (breast, H&E).
    """

    mean: list[float] = field(default_factory=lambda: [8.74108109, -0.12440419, 0.0444982])
    std: list[float] = field(default_factory=lambda: [0.6135447, 0.10989545, 0.0286032])

    def __post_init__(self) -> None:
        """Check the parameters."""
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"three means and three positive deviations are needed, but got {self.mean}, {self.std}")

    def __call__(self, image: Image) -> Image:
        """Return the image with the target's statistics, rounded down to 8 bits."""
        lms = cv2.transform(image.astype(np.float32), LMS.astype(np.float32))
        lab = cv2.transform(cv2.log(np.maximum(lms, np.float32(1e-3))), OPPONENT.astype(np.float32))
        mean, deviation = (statistic.ravel() for statistic in cv2.meanStdDev(lab))
        if not (deviation >= 1e-4).all():
            raise BadImage("flat: one of its colour channels does not vary, so it cannot be scaled to the target's")
        scale = np.array(self.std) / deviation
        # lab' = (lab - mean) * scale + target, and back to the logarithm of LMS: one affine map.
        back = np.linalg.inv(OPPONENT)
        affine = np.column_stack([back @ np.diag(scale), back @ (np.array(self.mean) - mean * scale)])
        rgb = cv2.transform(
            cv2.exp(cv2.transform(lab, affine.astype(np.float32))), np.linalg.inv(LMS).astype(np.float32)
        )
        return truncate(rgb)
