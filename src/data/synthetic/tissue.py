"""Drawn tissue: images that look like breast tissue stained with haematoxylin and eosin.

All is drawn as concentrations of the two stains, and turned into light at the end: I = 240 exp(-C S).
"""

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, UInt8

Map = npt.NDArray[np.float32]
Canvas = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

WHITE = 240.0
UNIT = 100.0  # a canvas is 8-bit, for anti-aliasing: 100 is a concentration of 1
STREAKS = 512  # side of the tile of fibres
SHIFT = 4  # OpenCV's fixed point: 1/16 pixel
HAEMATOXYLIN = (0.60, 0.71, 0.37)
EOSIN = (0.25, 0.85, 0.47)
SPREAD = 0.06  # a slide's stain vectors' components are within this of the two above
STRENGTH = 0.3  # a slide's log concentrations are within this
LEVEL = (0.26, 0.60)  # an image's mean concentrations are drawn towards these, so that mean colour tells little


@dataclass(frozen=True, kw_only=True)
class Slide:
    """How one slide is stained: unit optical density vectors of haematoxylin and eosin, and how strong each is."""

    stains: Float32[np.ndarray, "2 3"]
    strength: Float32[np.ndarray, "2"]


@dataclass(frozen=True, kw_only=True)
class Nuclei:
    """A kind of nucleus: radius in pixels, relative spread, length over width, haematoxylin, share of irregular."""

    radius: float
    spread: float
    stretch: float
    haematoxylin: float
    irregular: float = 0.0


QUIET = Nuclei(radius=5.0, spread=0.08, stretch=1.5, haematoxylin=1.25)
BUSY = Nuclei(radius=5.4, spread=0.12, stretch=1.35, haematoxylin=1.25)
GRADED = Nuclei(radius=6.6, spread=0.18, stretch=1.2, haematoxylin=1.3, irregular=0.25)
WILD = Nuclei(radius=7.2, spread=0.28, stretch=1.3, haematoxylin=1.4, irregular=0.5)
FLAT = Nuclei(radius=3.4, spread=0.15, stretch=2.2, haematoxylin=1.4)
SPINDLE = Nuclei(radius=3.9, spread=0.2, stretch=3.4, haematoxylin=1.2)
LYMPHOCYTE = Nuclei(radius=3.7, spread=0.08, stretch=1.05, haematoxylin=1.75)


class Sheet:
    """An image being drawn: canvases of haematoxylin and eosin, the scale of pixels, and the generator of all draws."""

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self.shape = (height, width)
        self.rng = rng
        self.scale = float(np.clip(np.sqrt(width * height / (768 * 576)), 0.4, 1.0))
        self.haematoxylin: Canvas = np.full(self.shape, 6, np.uint8)
        self.eosin: Canvas = np.zeros(self.shape, np.uint8)
        self.free: Canvas = np.full(self.shape, 255, np.uint8)  # where stroma may still get nuclei


def make_slide(rng: np.random.Generator) -> Slide:
    """Return a slide's staining."""
    vectors = np.array([HAEMATOXYLIN, EOSIN]) + rng.uniform(-SPREAD, SPREAD, (2, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    strength = np.exp(rng.uniform(-STRENGTH, STRENGTH, 2))
    return Slide(stains=vectors.astype(np.float32), strength=strength.astype(np.float32))


def draw_tissue(
    label: str, stained: Slide, width: int, height: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """Return an image of Normal, Benign, InSitu or Invasive tissue on the slide."""
    sheet = Sheet(width, height, rng)
    angle = _stroma(sheet)
    {"Normal": _normal, "Benign": _benign, "InSitu": _in_situ, "Invasive": _invasive}[label](sheet)
    _stromal_nuclei(sheet, angle)
    return _light(_concentrations(sheet), stained, rng)


def _concentrations(sheet: Sheet) -> Float32[np.ndarray, "2 height width"]:
    """The canvases as concentrations: grained, blurred as by a lens, of uneven thickness, brought near `LEVEL`."""
    maps = np.stack([sheet.haematoxylin, sheet.eosin]).astype(np.float32) / np.float32(UNIT)
    maps[0] *= 1 + 0.22 * _noise(sheet, 2.0)
    maps[1] *= 1 + 0.10 * _noise(sheet, 2.5)
    maps = np.stack([cv2.GaussianBlur(each, (0, 0), 0.75) for each in maps])
    maps *= 1 + 0.07 * _noise(sheet, 160.0)
    means = maps.mean(axis=(1, 2))
    maps *= ((np.array(LEVEL) / means) ** 0.5 * np.exp(sheet.rng.normal(0, 0.08, 2)))[:, None, None]
    return np.asarray(np.maximum(maps, 0), np.float32)


def _light(maps: Map, stained: Slide, rng: np.random.Generator) -> Canvas:
    """Light through the stains, with a camera's noise. No matrix product: its threads would cost more than it."""
    haematoxylin, eosin = stained.stains * stained.strength[:, None]
    density = maps[0, ..., None] * haematoxylin + maps[1, ..., None] * eosin
    light = np.float32(WHITE) * np.exp(-density)
    light += rng.standard_normal(light.shape, dtype=np.float32) * np.float32(1.5)
    return np.asarray(np.clip(np.round(light), 0, 255), np.uint8)


def _noise(sheet: Sheet, size: float) -> Map:
    """Smooth noise of about unit variance, with spots of about `size` pixels."""
    height, width = sheet.shape
    size = max(size * sheet.scale, 1.0)
    shape = (int(height / size) + 4, int(width / size) + 4)
    coarse = sheet.rng.standard_normal(shape, dtype=np.float32)
    zoomed = cv2.resize(coarse, None, fx=size, fy=size, interpolation=cv2.INTER_CUBIC)
    edge = int(1.5 * size)
    return zoomed[edge : edge + height, edge : edge + width].astype(np.float32) * np.float32(1.2)


def _stroma(sheet: Sheet) -> float:
    """Wavy collagen fibres with clefts between them; the fibres' angle in degrees."""
    height, width = sheet.shape
    angle = float(sheet.rng.uniform(0, 180))
    fine, coarse = _streaks(sheet, 14, 1.1), _streaks(sheet, 40, 4.5)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cosine, sine = np.float32(np.cos(np.radians(angle))), np.float32(np.sin(np.radians(angle)))
    bend = np.float32(16 * sheet.scale)
    across = (-sine * x + cosine * y + bend * _noise(sheet, 80)) % STREAKS
    along = (cosine * x + sine * y + bend * _noise(sheet, 130)) % STREAKS
    sample = partial(cv2.remap, map1=along, map2=across, interpolation=cv2.INTER_LINEAR)
    fibres, bundles = sample(fine), sample(coarse)
    body = 0.62 + 0.13 * fibres + 0.09 * bundles + 0.06 * _noise(sheet, 3.0)
    clefts = np.clip((bundles + 0.4 * fibres - sheet.rng.uniform(1.0, 1.8)) * 1.8, 0, 1)
    sheet.eosin[:] = np.clip(body * (1 - 0.93 * clefts) * UNIT, 3, 255)
    return angle


def _streaks(sheet: Sheet, along: float, across: float) -> Map:
    """Horizontal streaks of unit variance, `STREAKS` + 1 pixels square, that repeat without a seam."""
    white = sheet.rng.standard_normal((STREAKS, STREAKS), dtype=np.float32)
    edge = int(4 * along)
    sigmas = along * sheet.scale, max(across * sheet.scale, 0.5)
    blurred = cv2.GaussianBlur(np.pad(white, edge, mode="wrap"), (0, 0), sigmaX=sigmas[0], sigmaY=sigmas[1])
    inner = blurred[edge : edge + STREAKS + 1, edge : edge + STREAKS + 1]
    return np.asarray(inner / inner.std(), np.float32)


def _blob(centre: Points, radius: float, rough: float, stretch: float, rng: np.random.Generator) -> Points:
    """Return a closed contour, points x 2: an ellipse at a random angle whose radius wanders by `rough`."""
    phi = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    orders = np.arange(2, 8)
    waves = rng.normal(0, rough, len(orders)) / orders**0.7
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    length = radius * np.clip(1 + (waves * np.cos(np.outer(phi, orders) + phases)).sum(axis=1), 0.35, 1.7)
    points = np.stack([length * np.cos(phi) * stretch**0.5, length * np.sin(phi) / stretch**0.5], axis=1)
    return centre + points @ _rotation(rng.uniform(0, np.pi))


def _rotation(angle: float) -> Points:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _fill(canvas: Canvas, contour: Points, value: float) -> None:
    fixed = np.round(contour * 2**SHIFT).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], float(np.clip(value * UNIT, 0, 255)), cv2.LINE_AA, SHIFT)


def _line(canvas: Canvas, contour: Points, value: float, thickness: int) -> None:
    fixed = np.round(contour * 2**SHIFT).astype(np.int32)
    cv2.polylines(canvas, [fixed], True, float(value * UNIT), thickness, cv2.LINE_AA, SHIFT)


def _body(sheet: Sheet, contour: Points, haematoxylin: float, eosin: float) -> None:
    _fill(sheet.haematoxylin, contour, haematoxylin)
    _fill(sheet.eosin, contour, eosin)
    fixed = np.round(contour).astype(np.int32)
    cv2.fillPoly(sheet.free, [fixed], 0.0)


def _centres(sheet: Sheet, count: int, distance: float) -> Points:
    """Up to `count` points (x, y) at least `distance` pixels apart, a little over the image's edge too."""
    height, width = sheet.shape
    margin = distance * 0.2
    tries = sheet.rng.uniform((-margin, -margin), (width + margin, height + margin), (count * 12, 2))
    kept: list[Points] = []
    for point in tries:
        if len(kept) < count and all(np.hypot(*(point - other)) >= distance for other in kept):
            kept.append(point)
    return np.array(kept).reshape(-1, 2)


def _count(sheet: Sheet, low: float, high: float) -> int:
    """Return a number of things for the image's area; `low` and `high` are for 768 x 576 pixels at full scale."""
    height, width = sheet.shape
    area = height * width / (768 * 576 * sheet.scale**2)
    return max(1, round(sheet.rng.uniform(low, high) * area))


def _nucleus(sheet: Sheet, point: Points, angle: float, kind: Nuclei) -> None:
    """One nucleus: a dark rim, paler chromatin, a nucleolus or a second lobe where it is irregular."""
    rng = sheet.rng
    radius = kind.radius * sheet.scale * np.exp(rng.normal(0, kind.spread))
    stretch = kind.stretch * np.exp(rng.normal(0, 0.12))
    axes = np.array([radius * stretch**0.5, radius / stretch**0.5])
    tone = kind.haematoxylin * np.exp(rng.normal(0, 0.13))
    _ellipse(sheet.haematoxylin, point, axes, angle, tone)
    _ellipse(sheet.eosin, point, axes, angle, 0.30)
    irregular = rng.random() < kind.irregular
    if irregular:
        lobe = point + rng.normal(0, 0.45, 2) * radius
        _ellipse(sheet.haematoxylin, lobe, axes * rng.uniform(0.6, 0.9), angle + rng.uniform(20, 90), tone)
    _ellipse(sheet.haematoxylin, point, axes * 0.68, angle, tone * (0.62 if irregular else 0.82))
    if irregular:
        _ellipse(sheet.haematoxylin, point + rng.normal(0, 0.15, 2) * radius, axes * 0.2, angle, tone * 1.25)


def _ellipse(canvas: Canvas, point: Points, axes: Points, angle: float, value: float) -> None:
    x, y = (round(number * 2**SHIFT) for number in point.tolist())
    a, b = (max(round(number * 2**SHIFT), 8) for number in axes.tolist())
    shade = min(max(float(value) * UNIT, 0.0), 255.0)
    cv2.ellipse(canvas, (x, y), (a, b), angle, 0, 360, shade, -1, cv2.LINE_AA, SHIFT)


def _rim(sheet: Sheet, contour: Points, depth: float, spacing: float, kind: Nuclei, across: bool) -> None:
    """Nuclei along a contour, `depth` pixels inside it, their long axis across or along it."""
    following = np.roll(contour, -1, axis=0)
    lengths = np.hypot(*(following - contour).T)
    total = lengths.sum()
    spacing = spacing * sheet.scale
    along = np.cumsum(sheet.rng.uniform(0.8, 1.2, max(int(total / spacing), 3)) * spacing)
    index = np.searchsorted(np.cumsum(lengths), along[along < total])
    index = index[index < len(contour)]
    tangents = (following - contour)[index]
    angles = np.degrees(np.arctan2(tangents[:, 1], tangents[:, 0]))
    normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1) / (lengths[index, None] + 1e-9)
    inside = np.sign(((contour.mean(axis=0) - contour[index]) * normals).sum(axis=1, keepdims=True))
    fraction = sheet.rng.random((len(index), 1))
    points = contour[index] + fraction * tangents + inside * normals * depth * sheet.scale
    points += sheet.rng.normal(0, 0.7 * sheet.scale, points.shape)
    for point, angle in zip(points, angles + sheet.rng.normal(0, 8, len(angles)), strict=True):
        _nucleus(sheet, point, float(angle + (90 if across else 0)), kind)


def _packed(sheet: Sheet, contour: Points, spacing: float, kind: Nuclei, holes: list[Points]) -> None:
    """Nuclei on a jittered grid all over a contour, but not in its holes."""
    step = spacing * sheet.scale
    low, high = contour.min(axis=0), contour.max(axis=0)
    rows = np.arange(low[1], high[1], step * 0.87)
    columns = np.arange(low[0], high[0], step)
    grid = np.array([(x + step / 2 * (row % 2), y) for row, y in enumerate(rows) for x in columns]).reshape(-1, 2)
    for point in grid + sheet.rng.normal(0, 0.2 * step, grid.shape):
        if _depth(contour, point) > 0.35 * step and all(_depth(hole, point) < -0.4 * step for hole in holes):
            _nucleus(sheet, point, float(sheet.rng.uniform(0, 180)), kind)


def _depth(contour: Points, point: Points) -> float:
    """Return how far inside a contour the point is, in pixels; negative outside."""
    return float(cv2.pointPolygonTest(contour.astype(np.float32), (float(point[0]), float(point[1])), True))


def _lumen(sheet: Sheet, contour: Points) -> None:
    """An open space, at times with some secretion."""
    _body(sheet, contour, 0.02, 0.03)
    if sheet.rng.random() < 0.35:
        inner = contour.mean(axis=0) + (contour - contour.mean(axis=0)) * sheet.rng.uniform(0.3, 0.7)
        _fill(sheet.eosin, inner, sheet.rng.uniform(0.15, 0.4))


def _shrunk(contour: Points, depth: float) -> Points:
    """Return the contour moved inside by about `depth` pixels, towards its middle."""
    centre = contour.mean(axis=0)
    arms = contour - centre
    length = np.hypot(*arms.T)[:, None]
    return np.asarray(centre + arms * np.maximum(1 - depth / (length + 1e-9), 0.12))


def _gland(sheet: Sheet, contour: Points, thickness: float, kind: Nuclei) -> None:
    """Epithelium around a lumen: a rim of nuclei across it, flat ones of the myoepithelium outside."""
    scale = sheet.scale
    _body(sheet, _shrunk(contour, -2.5 * scale), 0.04, 0.12)  # it retracts a little from the stroma
    _body(sheet, contour, 0.22, 0.50)
    _lumen(sheet, _shrunk(contour, thickness * scale))
    _rim(sheet, contour, 2.0, 17.0, FLAT, across=False)
    _rim(sheet, contour, min(thickness * 0.52, 11.0), 10.5, kind, across=True)


def _normal(sheet: Sheet) -> None:
    """A few round glands, one rim of nuclei, open lumina."""
    rng, scale = sheet.rng, sheet.scale
    for centre in _centres(sheet, _count(sheet, 5, 9), 135 * scale):
        contour = _blob(centre, rng.uniform(36, 58) * scale, 0.035, rng.uniform(1.0, 1.35), rng)
        _gland(sheet, contour, rng.uniform(18, 22), QUIET)


def _benign(sheet: Sheet) -> None:
    """Many crowded, irregular glands; some rims are doubled, lumina are slits."""
    rng, scale = sheet.rng, sheet.scale
    for centre in _centres(sheet, _count(sheet, 26, 40), 74 * scale):
        contour = _blob(centre, rng.uniform(28, 50) * scale, 0.14, rng.uniform(1.0, 2.2), rng)
        thickness = rng.uniform(18, 28)
        _gland(sheet, contour, thickness, BUSY)
        if rng.random() < 0.4:
            _rim(sheet, contour, thickness * 0.9, 11.0, BUSY, across=True)


def _in_situ(sheet: Sheet) -> None:
    """Ducts filled with cells within a sharp border; punched-out spaces or necrosis in some."""
    rng, scale = sheet.rng, sheet.scale
    for centre in _centres(sheet, _count(sheet, 4, 6), 225 * scale):
        contour = _blob(centre, rng.uniform(85, 118) * scale, 0.05, rng.uniform(1.0, 1.5), rng)
        _body(sheet, _shrunk(contour, -3 * scale), 0.04, 0.10)
        _body(sheet, contour, 0.30, 0.52)
        _line(sheet.eosin, contour, 0.95, max(round(3 * scale), 1))
        holes = [] if rng.random() < 0.35 else _spaces(sheet, contour)
        _packed(sheet, _shrunk(contour, 2 * scale), 14.0, GRADED, holes)


def _spaces(sheet: Sheet, contour: Points) -> list[Points]:
    rng, scale = sheet.rng, sheet.scale
    middle = contour.mean(axis=0)
    if rng.random() < 0.5:
        necrosis = _blob(middle, rng.uniform(28, 42) * scale, 0.10, 1.2, rng)
        _body(sheet, necrosis, 0.10, 0.80)
        for point in middle + rng.normal(0, 14 * scale, (25, 2)):
            _ellipse(sheet.haematoxylin, point, np.full(2, rng.uniform(0.8, 2.2) * scale), 0.0, 1.5)
        return [necrosis]
    points = middle + rng.normal(0, 38 * scale, (9, 2))
    points = points[[_depth(contour, point) > 28 * scale for point in points]]
    holes = [_blob(point, rng.uniform(9, 17) * scale, 0.04, 1.2, rng) for point in points]
    for hole in holes:
        _lumen(sheet, hole)
    return holes


def _invasive(sheet: Sheet) -> None:
    """No glands: cords, small nests and single cells of large, unequal nuclei all over the stroma."""
    rng, scale = sheet.rng, sheet.scale
    for centre in _centres(sheet, _count(sheet, 16, 26), 62 * scale):
        nest = _blob(centre, rng.uniform(18, 42) * scale, 0.2, rng.uniform(1.2, 3.0), rng)
        _body(sheet, nest, 0.24, 0.58)
        _packed(sheet, nest, 15.0, WILD, [])
    height, width = sheet.shape
    for _ in range(_count(sheet, 28, 45)):
        _cord(sheet, rng.uniform((0, 0), (width, height)), int(rng.integers(4, 16)))


def _cord(sheet: Sheet, point: Points, count: int) -> None:
    """Cells in single file along a winding path."""
    rng, scale = sheet.rng, sheet.scale
    direction = rng.uniform(0, 2 * np.pi)
    for _ in range(count):
        _body(sheet, _blob(point, 11 * scale, 0.08, 1.3, rng), 0.18, 0.55)
        _nucleus(sheet, point, float(np.degrees(direction) + rng.normal(0, 25)), WILD)
        direction += rng.normal(0, 0.35)
        point = point + np.array([np.cos(direction), np.sin(direction)]) * 15 * scale


def _stromal_nuclei(sheet: Sheet, angle: float) -> None:
    """Fibroblasts along the fibres, and lymphocytes in clusters, as many in any class."""
    rng = sheet.rng
    height, width = sheet.shape
    spindles = rng.uniform((0, 0), (width, height), (_count(sheet, 60, 240), 2))
    clusters = rng.uniform((0, 0), (width, height), (_count(sheet, 1, 4), 2))
    around = [centre + rng.normal(0, 38 * sheet.scale, (int(rng.integers(5, 90)), 2)) for centre in clusters]
    for points, kind in ((spindles, SPINDLE), (np.concatenate(around), LYMPHOCYTE)):
        for point in points:
            x, y = int(point[0]), int(point[1])
            if 0 <= x < width and 0 <= y < height and sheet.free[y, x]:
                _nucleus(sheet, point, float(angle + rng.normal(0, 16)), kind)
