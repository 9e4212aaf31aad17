"""Plain transcriptions of the formulas in Rakhlin et al. 2018, in double precision: what speed is measured against."""

from collections.abc import Callable

import numpy as np

STAINS = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
MAXIMA = np.array([1.9705, 1.0308])
UNMIX = np.array([[1.88, -0.07, -0.60], [-1.02, 1.13, -0.48], [-0.55, -0.13, 1.57]])
MIX = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])

Pick = Callable[[np.ndarray], np.ndarray]


def normalised(image: np.ndarray, tissue: Pick, two: Pick) -> np.ndarray:
    """Macenko's normalisation; `tissue` picks pixels by density, `two` two eigenvectors of a covariance matrix."""
    density = -np.log((image.reshape(-1, 3).astype(np.float64) + 1) / 240)
    kept = density[tissue(density)]
    plane = two(np.cov(kept, rowvar=False))
    projected = kept @ plane
    angles = np.arctan2(projected[:, 1], projected[:, 0])
    extremes = [plane @ [np.cos(angle), np.sin(angle)] for angle in np.percentile(angles, [1, 99])]
    stains = np.array(sorted(extremes, key=lambda vector: -vector[0])).T
    amounts = np.linalg.lstsq(stains, density.T, rcond=None)[0]
    amounts *= (MAXIMA / np.percentile(amounts, 99, axis=1))[:, np.newaxis]
    return (240 * np.exp(-STAINS @ amounts)).T.reshape(image.shape).clip(0, 255).astype(np.uint8)


def dense(density: np.ndarray) -> np.ndarray:
    """Dense enough in the mean of the channels."""
    return density.mean(axis=1) >= 0.345


def dense_in_all(density: np.ndarray) -> np.ndarray:
    """Dense enough in all channels, as released."""
    return (density >= 0.15).all(axis=1)


def largest(covariance: np.ndarray) -> np.ndarray:
    """The two directions of largest variance."""
    vectors = np.linalg.eigh(covariance)[1][:, [2, 1]]
    return vectors * np.where(vectors.sum(axis=0) < 0, -1, 1)


def macenko(image: np.ndarray) -> np.ndarray:
    """With the two directions of largest variance."""
    return normalised(image, dense, largest)


def macenko_all(image: np.ndarray) -> np.ndarray:
    """With the two directions of largest variance of what is dense in all channels."""
    return normalised(image, dense_in_all, largest)


def macenko_released(image: np.ndarray) -> np.ndarray:
    """With the first two as LAPACK returns them, negated and in reverse order."""
    return normalised(image, dense_in_all, lambda covariance: -np.linalg.eig(covariance)[1][:, [1, 0]])


def jitter(image: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
    """The colour augmentation with given multipliers of haematoxylin and eosin."""
    density = -np.log10((image.reshape(-1, 3).astype(np.float64) + 1) / 240)
    amounts = (UNMIX @ density.T).T * np.array([*multipliers, 1])
    return (240 * 10 ** -(amounts @ MIX) - 1).clip(0, 255).astype(np.uint8).reshape(image.shape)


def crops(image: np.ndarray, size: int, count: int, draws: np.random.Generator) -> np.ndarray:
    """Random squares, rotated by multiples of 90 degrees and flipped."""
    cut = []
    for _ in range(count):
        top, left = (draws.integers(side - size + 1) for side in image.shape[:2])
        crop = np.rot90(image[top : top + size, left : left + size], draws.integers(4))
        crop = np.flipud(crop) if draws.random() < 0.5 else crop
        cut.append(np.fliplr(crop) if draws.random() < 0.5 else crop)
    return np.stack(cut)
