"""What another laboratory, scanner or archive does to an image, in graded steps: 8-bit RGB gives 8-bit RGB of its size.

Nothing is drawn: the same level gives the same pixels. At the level `unchanged` an image is what it was, to the byte.
The kinds are those of Hendrycks and Dietterich 2019 (ICLR, section 3) that happen to a slide or a radiograph, and a
shift of stains in the basis of Ruifrok and Johnston 2001.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageEnhance

from src.images.augment import StainJitter
from src.images.stain import DENSITY, WHITE, Image
from src.system.checks import holds, one_of

REVISION = 1
"""Raised when a level makes other pixels: descriptors of them are stored."""
UNMIX = np.linalg.inv(StainJitter.MIX.T)
"""Densities of red, green and blue to those of haematoxylin, eosin and a third stain: exact, where the printed inverse
is rounded, so that a small shift changes little."""


def shift_stains(image: Image, factor: float) -> Image:
    """Return an H&E image whose haematoxylin is `factor` times as dense, and its eosin as much less."""
    matrix = StainJitter.MIX.T @ np.diag([factor, 1 / factor, 1.0]) @ UNMIX
    density = cv2.transform(np.asarray(cv2.LUT(image, DENSITY)), matrix.astype(np.float32))
    return round_light(WHITE * np.exp(-density) - 1)


def shift_scanner(image: Image, factor: float) -> Image:
    """Return an image whose tone curve is another: red to the power of `factor`, blue to that of its inverse.

    Black and white stay, as scanners are set to a white background; 8-bit values are those of 0..1 to a power.
    """
    levels = np.arange(256) / 255
    curves = [255 * levels**power for power in (factor, 1.0, 1 / factor)]
    return np.asarray(cv2.LUT(image, round_light(np.stack(curves, axis=1))[None]))


def blur_image(image: Image, sigma: float) -> Image:
    """Return an image out of focus: a Gaussian of standard deviation `sigma`, in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101))


def compress_jpeg(image: Image, quality: float) -> Image:
    """Return what is left of an image after JPEG of a `quality` (libjpeg's scale, colour at half the resolution)."""
    file = io.BytesIO()
    PillowImage.fromarray(image).save(file, "JPEG", quality=round(quality), subsampling="4:2:0")
    with PillowImage.open(file) as made:
        return np.array(made)


def change_brightness(image: Image, factor: float) -> Image:
    """Return an image whose values are `factor` times as large, as far as 8 bits go."""
    return np.array(ImageEnhance.Brightness(PillowImage.fromarray(image)).enhance(factor))


def change_contrast(image: Image, factor: float) -> Image:
    """Return an image whose values are `factor` times as far from its mean grey level, as far as 8 bits go."""
    return np.array(ImageEnhance.Contrast(PillowImage.fromarray(image)).enhance(factor))


def rotate_image(image: Image, degrees: float) -> Image:
    """Return an image turned counterclockwise about its centre, mirrored at its edges where it does not reach."""
    height, width, _ = image.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(
        cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    )


def magnify_image(image: Image, factor: float) -> Image:
    """Return an image `factor` times as large about its centre, cut to its size, or mirrored at its edges up to it."""
    height, width, _ = image.shape
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    made = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC))
    top, left = (abs(made.shape[0] - height) // 2, abs(made.shape[1] - width) // 2)
    if factor > 1:
        return made[top : top + height, left : left + width].copy()
    bottom, right = height - made.shape[0] - top, width - made.shape[1] - left
    return np.asarray(cv2.copyMakeBorder(made, top, bottom, left, right, cv2.BORDER_REFLECT_101))


def round_light(values: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]") -> Image:
    """Return values rounded to 8 bits."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """A kind of change: what makes it of an image and a level, and in which `unit` levels are.

    Levels lie in `lowest` to `highest`; at `unchanged` nothing is done (of JPEG it is 100, where an image as it is
    stored stands). `coloured` is one that means nothing for grey images.
    """

    change: Callable[[Image, float], Image]
    unit: str
    unchanged: float
    lowest: float
    highest: float
    coloured: bool = False

    def __call__(self, image: Image, level: float) -> Image:
        """Return the image at a level."""
        return image if level == self.unchanged else self.change(image, level)

    def check(self, name: str, levels: Sequence[float]) -> None:
        """Raise `ValueError` where there are no levels, or one is none, or is given twice."""
        key = f"levels.{name}"
        if not levels:
            raise ValueError(f"`{key}` must have a level at least, {self.unit}, but got {key}=[]")
        for level in levels:
            rule = f"{self.lowest:g} <= {key} <= {self.highest:g} ({self.unit})"
            holds(rule, self.lowest <= level <= self.highest, **{key: f"{level:g}"})
        if len(set(levels)) < len(levels):
            raise ValueError(f"`{key}` are different levels, but got {key}={list(levels)}")


PERTURBATIONS = {
    "stain": Perturbation(
        change=shift_stains,
        unit="factor of haematoxylin, divisor of eosin",
        unchanged=1,
        lowest=0.25,
        highest=4,
        coloured=True,
    ),
    "scanner": Perturbation(
        change=shift_scanner,
        unit="exponent of red, inverse of that of blue",
        unchanged=1,
        lowest=0.25,
        highest=4,
        coloured=True,
    ),
    "blur": Perturbation(change=blur_image, unit="sigma, pixels", unchanged=0, lowest=0, highest=50),
    "jpeg": Perturbation(change=compress_jpeg, unit="quality", unchanged=100, lowest=1, highest=95),
    "brightness": Perturbation(change=change_brightness, unit="factor", unchanged=1, lowest=0.1, highest=10),
    "contrast": Perturbation(change=change_contrast, unit="factor", unchanged=1, lowest=0.1, highest=10),
    "rotation": Perturbation(change=rotate_image, unit="degrees", unchanged=0, lowest=-180, highest=180),
    "scale": Perturbation(change=magnify_image, unit="factor", unchanged=1, lowest=0.5, highest=2),
}
"""All kinds, by name."""


def perturb_image(image: Image, name: str, level: float) -> Image:
    """Return an image after the perturbation of a name at a level; `ValueError` where there is none of this name."""
    one_of(PERTURBATIONS, perturbation=name)
    return PERTURBATIONS[name](image, level)


def is_grey(image: Image) -> bool:
    """Return whether red, green and blue are the same everywhere."""
    return bool((image == image[..., :1]).all())
