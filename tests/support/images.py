"""Images drawn like stained tissue, folders of them, and how images are held against each other."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


REFERENCES = [
    "SOB_B_A-14-22549AB-100-027",
    "SOB_B_TA-14-16184-200-025",
    "SOB_M_LC-14-13412-200-003",
    "SOB_M_MC-14-18842D-200-016",
]


def tissue(stains: np.ndarray = STAINS, seed: int = 0, shape: tuple[int, int] = (120, 160)) -> np.ndarray:
    """An image of two stains in random, smooth amounts."""
    draws = np.random.default_rng(seed).gamma(1.0, 0.6, (*shape, 2))
    amounts = cv2.GaussianBlur(draws, (0, 0), 2) * np.array([1.0, 0.8])
    return (240 * np.exp(-amounts @ stains) - 1).clip(0, 255).astype(np.uint8)


def read(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def assert_equal_but_for_rounding(one: np.ndarray, other: np.ndarray) -> None:
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    assert (one == other).mean() >= 0.999


def folder_of_images(root: Path, count: int = 6) -> Path:
    for number in range(count):
        path = root / ("one", "two")[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tissue(seed=number, shape=(100, 130))).save(path)
    return root


def spoil(root: Path) -> Path:
    """Six good images and two bad ones: a white and a truncated."""
    folder_of_images(root)
    Image.fromarray(np.full((100, 130, 3), 255, np.uint8)).save(root / "one" / "white.png")
    good = (root / "one" / "000.png").read_bytes()
    (root / "two" / "truncated.png").write_bytes(good[: len(good) // 2])
    return root
