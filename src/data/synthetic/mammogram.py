"""Drawn mammograms: crops around a lesion, as seen in the cranio-caudal and the medio-lateral oblique view.

All is drawn as brightness on a film, about 0 to 1, and lengths as shares of the image's side.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, UInt8

Map = Float32[np.ndarray, "side side"]

ANGLES = {"cc": 0.0, "mlo": 0.7}  # of ducts, in radians
ROUGH, SMOOTH = 1.5, 2.3  # amplitudes fall with frequency to this power; 1.5 as in mammograms (Burgess 1999)
STRETCH = 3.5  # how much longer than wide fibres are
FIBRES = ((0.04, 0.1, 0.08), (0.12, 0.25, 0.07), (0.3, 0.4, 0.06), (0.03, 0.8, 0.06))  # width, turn, brightness
SHIFT = 4  # OpenCV's fixed point: 1/16 pixel
STEPS = 8  # pieces of a spicule
GLANDULAR = {"1": 1.6, "2": 0.7, "3": 0.0, "4": -0.7}  # by density, where gland starts on noise of unit variance


@dataclass(frozen=True, kw_only=True)
class Breast:
    """What the crops of one breast share: density (1 fat to 4 dense), brightness of the film and its contrast."""

    density: str
    brightness: float
    contrast: float


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """What both views of a lesion share.

    The radius, how much brightness it adds to the whole image on average, the width of its edge, how far its outline
    wanders, how many spicules leave it, how far they reach (in radii) and how bright they are beside the core.
    """

    radius: float
    weight: float
    edge: float
    rough: float
    spicules: int
    reach: float
    strength: float


def make_breast(density: str, rng: np.random.Generator) -> Breast:
    """Return a breast of the density."""
    return Breast(density=density, brightness=float(rng.normal(0, 0.05)), contrast=float(np.exp(rng.normal(0, 0.15))))


def make_lesion(margins: str, malignant: bool, rng: np.random.Generator) -> Lesion:
    """Return a lesion with these margins (CIRCUMSCRIBED, OBSCURED, ILL_DEFINED, SPICULATED).

    Size, weight and (but for circumscribed ones) the edge are drawn alike for both classes.
    """
    radius, spiculated = float(rng.uniform(0.12, 0.22)), margins == "SPICULATED"
    return Lesion(
        radius=radius,
        weight=float(rng.uniform(0.12, 0.24) * np.sqrt(np.pi) * radius),
        edge=float(rng.uniform(0.010, 0.018) if margins == "CIRCUMSCRIBED" else rng.uniform(0.022, 0.045)),
        rough=float(rng.uniform(0.07, 0.13) if malignant else rng.uniform(0.01, 0.035)),
        spicules=int(rng.integers(16, 30) if spiculated else rng.integers(6, 12)) if malignant else 0,
        reach=float(rng.uniform(2.0, 3.0) if spiculated else rng.uniform(1.6, 2.2)),
        strength=float(rng.uniform(0.7, 1.0) if spiculated else rng.uniform(0.45, 0.7)),
    )


def draw_mammogram(
    drawn: Lesion, around: Breast, view: str, obscured: bool, side: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "{side} {side} 3"]:
    """A view (cc or mlo) of a lesion, `side` pixels square; with `obscured`, gland lies over a part of its edge."""
    tissue = _tissue(around, ANGLES[view] + rng.normal(0, 0.25), side, rng)
    shape = _shape(drawn, side, rng)
    if obscured:
        shape *= 1 - 0.7 * np.clip(_noise(side, SMOOTH, rng), 0, 1)
    film = tissue + shape * np.float32(drawn.weight * around.contrast / np.sqrt(np.square(shape).mean()))
    film = cv2.GaussianBlur(film, (0, 0), 0.6 * side / 128).astype(np.float32)
    film += rng.standard_normal(film.shape, np.float32) * np.float32(0.012)
    grey = np.round(np.clip(film, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _tissue(around: Breast, angle: float, side: int, rng: np.random.Generator) -> Map:
    """Fat with gland, as much as the density says, and ducts and ligaments that run about along `angle`."""
    gland = 1 / (1 + np.exp(-2.5 * (_noise(side, SMOOTH, rng) - GLANDULAR[around.density])))
    texture = 0.12 * gland + 0.025 * _noise(side, ROUGH, rng)
    for width, turn, strength in FIBRES:
        fibres = np.exp(-np.abs(_noise(side, SMOOTH, rng, angle + rng.normal(0, turn))) / width)
        texture += strength * fibres * (0.4 + gland) * np.clip(0.7 + 0.6 * _noise(side, SMOOTH, rng), 0.1, 1.6)
    level = 0.36 + around.brightness + rng.normal(0, 0.03)
    return np.asarray(level + around.contrast * (texture - texture.mean()), np.float32)


def _noise(side: int, slope: float, rng: np.random.Generator, angle: float | None = None) -> Map:
    """Noise of unit variance whose amplitudes fall with frequency; with an angle, drawn out along it."""
    full = side * 3 // 2  # more than is shown, since it repeats itself
    y, x = np.fft.fftfreq(full)[:, None], np.fft.rfftfreq(full)[None]
    if angle is not None:
        x, y = STRETCH * (np.cos(angle) * x + np.sin(angle) * y), np.cos(angle) * y - np.sin(angle) * x
    amplitude = np.maximum(np.hypot(x, y), 1 / full).astype(np.float32) ** np.float32(-slope)
    amplitude[0, 0] = 0
    real, imaginary = rng.standard_normal((2, *amplitude.shape), np.float32)
    noise = np.fft.irfft2(amplitude * (real + 1j * imaginary), (full, full))[:side, :side]
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def _shape(drawn: Lesion, side: int, rng: np.random.Generator) -> Map:
    """The lesion alone, about 1 in its middle: a ball's shadow with a soft and wandering edge, and its spicules."""
    centre = 0.5 + rng.normal(0, 0.03, 2)
    y, x = (np.mgrid[:side, :side] + 0.5) / side - centre[:, None, None]
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    outline = drawn.radius * _outline(angle, drawn.rough, rng)
    edge = 1 / (1 + np.exp(2.2 * (distance - outline) / drawn.edge))
    core = edge * (1 - 0.4 * np.square(np.minimum(distance / outline, 1)))
    return np.asarray(np.maximum(core, _spicules(drawn, centre, side, rng)), np.float32)


def _outline(angle: npt.NDArray[np.float64], rough: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the radius at each angle, 1 on average: an ellipse, with waves of about `rough`."""
    stretch, turn = np.exp(rng.uniform(0, 0.3)), angle - rng.uniform(0, np.pi)
    ellipse = np.sqrt(stretch) / np.hypot(np.cos(turn), stretch * np.sin(turn))
    orders = np.arange(2, 9)[:, None, None]
    heights, phases = rng.normal(0, rough, orders.shape) / orders**0.5, rng.uniform(0, 2 * np.pi, orders.shape)
    return np.asarray(ellipse * np.maximum(1 + (heights * np.cos(orders * angle + phases)).sum(axis=0), 0.4))


def _spicules(drawn: Lesion, centre: npt.NDArray[np.float64], side: int, rng: np.random.Generator) -> Map:
    """Thin lines that leave the core on all sides, slightly bent, fainter and thinner outwards."""
    canvas = np.zeros((side, side), np.uint8)
    count = drawn.spicules
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 3 / max(count, 1), count)
    reach = drawn.radius * (1 + (drawn.reach - 1) * rng.uniform(0.2, 1.2, count))
    bend = rng.normal(0, 0.22, count)
    along = np.linspace(0, 1, STEPS + 1)[:, None]  # steps x spicules from here on
    length = drawn.radius * 0.6 + along * (reach - drawn.radius * 0.6)
    turned = angles + bend * along**2
    points = centre[::-1] + length[..., None] * np.stack([np.cos(turned), np.sin(turned)], axis=-1)
    fixed = np.round((points * side - 0.5) * 2**SHIFT).astype(np.int32)
    for step in reversed(range(STEPS)):  # the bright beginnings over the faint ends
        grey = 255 * drawn.strength * (1 - step / STEPS) ** 0.7
        thickness = max(round(side / 128 * (2 if step < STEPS / 4 else 1)), 1)
        pieces = list(np.ascontiguousarray(fixed[step : step + 2].transpose(1, 0, 2)))
        cv2.polylines(canvas, pieces, False, grey, thickness, cv2.LINE_AA, SHIFT)
    return np.asarray(canvas, np.float32) / 255
