"""What `ThresholdBase` looks for: for each prompt a signal, 0 on the ground and 1 on an object, in any light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from ...core.masks import BoolMask

Floats = npt.NDArray[np.float32]
# Lightness says little about a saturated object's color (shading, uneven lamps), all about a gray one's.
LIGHTNESS_WEIGHT = 0.35
SATURATED = 20.0
# The least step between objects and ground that is taken for more than a shade of the ground, in Lab units.
MIN_CONTRAST = 10.0
# Means of the two Otsu classes apart, in standard deviations within them: Gaussian noise 2.6, an even ramp 3.5.
MIN_SEPARATION = 2.8
_WEIGHTS = np.array([LIGHTNESS_WEIGHT, 1, 1], np.float32)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed prompt: `lab` is its color (L 0..100, a, b), None for `bright` (`sign` 1) and `dark` (-1)."""

    sign: int = 0
    lab: tuple[float, float, float] | None = None
    tolerance: float | None = None


def to_lab(bgr: npt.NDArray[np.uint8]) -> Floats:
    """Lab (L 0..100) of an HWC uint8 BGR image, smoothed a little; looks 4 pixels around each."""
    import cv2

    # The median takes single wrong pixels away and leaves edges where they are.
    smooth = cv2.medianBlur(np.ascontiguousarray(bgr), 3).astype(np.float32) / 255
    lab: Floats = cv2.GaussianBlur(cv2.cvtColor(smooth, cv2.COLOR_BGR2Lab), (0, 0), 0.6)
    return lab


@dataclass(frozen=True, slots=True)
class Places:
    """Where pixels lie in their image: the coordinates of their rows and columns, -1 at the image's first and 1 at its
    last, each as its powers 0, 1, 2: `rows` (H, 3), `columns` (W, 3)."""

    rows: Floats
    columns: Floats

    @classmethod
    def of_image(cls, height: int, width: int) -> Places:
        """Those of a whole image."""
        rows, columns = (
            np.vander(np.linspace(-1, 1, n, dtype=np.float32), 3, increasing=True) for n in (height, width)
        )
        return cls(rows, columns)

    def part(self, rows: slice, columns: slice) -> Places:
        """Those of some of the pixels."""
        return Places(self.rows[rows], self.columns[columns])


def _fit_ground(values: Floats, keep: BoolMask, places: Places) -> Floats:
    """The ground under the objects: a quadratic surface through the channels of `values` (H, W, C) where `keep`, as the
    weights (3, 3, C) of the powers of row and column."""
    step = max(1, min(keep.shape) // 96)
    i, j = np.nonzero(keep[::step, ::step])
    if i.size < 50:
        i, j = np.nonzero(np.ones_like(keep[::step, ::step]))
    i, j = i * step, j * step
    terms = [(p, q) for p in range(3) for q in range(3 - p)]
    design = np.stack([places.rows[i, p] * places.columns[j, q] for p, q in terms], axis=1)
    solution = np.linalg.lstsq(design, values[i, j], rcond=None)[0]
    powers = np.zeros((3, 3, values.shape[2]), dtype=np.float32)
    for (p, q), weights in zip(terms, solution, strict=True):
        powers[p, q] = weights
    return powers


def _ground(powers: Floats, places: Places) -> Floats:
    """The surface of `_fit_ground` at some places, (H, W, C)."""
    surface: Floats = np.stack(
        [places.rows @ powers[..., c] @ places.columns.T for c in range(powers.shape[2])], axis=2
    )
    return surface


@dataclass(frozen=True, slots=True)
class Lightness:
    """What an image says of `bright` or `dark`: its ground, the level above it where objects begin, their contrast."""

    powers: Floats
    cut: float
    contrast: float

    @classmethod
    def learn(cls, lightness: Floats, tolerance: float | None, places: Places) -> Lightness | None:
        """From pixels (H, W) spread over an image; None where there is nothing but ground."""
        from skimage.filters import threshold_otsu

        level, mask = lightness, np.zeros(lightness.shape, dtype=bool)
        cut = 0.0
        for _ in range(3):
            powers = _fit_ground(lightness[..., None], ~mask, places)
            level = lightness - _ground(powers, places)[..., 0]
            if np.ptp(level) < MIN_CONTRAST:
                return None
            cut = float(threshold_otsu(level))
            mask = level > cut
        low, high = float(level[~mask].mean()), float(level[mask].mean())
        spread = float(np.sqrt((level[mask].var() * mask.sum() + level[~mask].var() * (~mask).sum()) / mask.size))
        if tolerance is None and high - low < max(MIN_CONTRAST, MIN_SEPARATION * spread):
            return None
        return cls(powers, cut if tolerance is None else low + tolerance, max(high - low, 1.0))

    def signal(self, lightness: Floats, places: Places) -> tuple[Floats, BoolMask]:
        """Signal and mask of what is lighter than the ground."""
        level = lightness - _ground(self.powers, places)[..., 0]
        # 0 on the ground, 1 on an object, 0.5 at the threshold.
        return ((level - self.cut) / self.contrast + 0.5).astype(np.float32), level > self.cut


def _distance(lab: Floats, color: tuple[float, float, float]) -> Floats:
    """Delta E of `lab` (H, W, 3) to a color under any light.

    Light that grows or fades moves a color along the ray from (L, a, b) = (-16, 0, 0) through it (L* + 16, a*, b* all
    scale by the cube root of the intensity, CIE 15), so a saturated color is a stretch of its ray, down to a chroma of
    30 at most, with lightness weighted low. A gray has no such ray and is a point.
    """
    lightness, a, b = color
    if not _saturated(color):
        away: Floats = np.sqrt(((lab - np.array(color, np.float32)) ** 2).sum(axis=2))
        return away
    ray = np.array([LIGHTNESS_WEIGHT * (lightness + 16), a, b], dtype=np.float32)
    point = (lab + np.array([16, 0, 0], np.float32)) * _WEIGHTS
    along = np.clip(point @ ray / float(ray @ ray), min(0.5, 30 / float(np.hypot(a, b))), 1.5)
    away = np.sqrt(((point - along[..., None] * ray) ** 2).sum(axis=2))
    return away


def _saturated(color: tuple[float, float, float] | None) -> bool:
    return color is not None and float(np.hypot(color[1], color[2])) >= SATURATED


@dataclass(frozen=True, slots=True)
class Seeds:
    """What pixels say of the colors asked for, each (H, W): the index of the prompt whose color is `nearest`, whether
    it is `near` enough for an object's rim, the `cores` of what is surely of it, and what is `clear` of all that is."""

    nearest: npt.NDArray[np.int64]
    near: BoolMask
    cores: BoolMask
    clear: BoolMask

    @classmethod
    def from_pixels(cls, lab: Floats, prompts: Mapping[int, Prompt], tolerance: float) -> Seeds:
        """Those of (H, W, 3) pixels; looks 3 pixels around each."""
        import cv2

        distances = np.stack([_distance(lab, p.lab) for p in prompts.values() if p.lab is not None])
        at = distances.argmin(axis=0)
        least = np.take_along_axis(distances, at[None], axis=0)[0]
        limits = np.array([p.tolerance or tolerance for p in prompts.values()], np.float32)[at]
        # Gray is nobody's red: a pixel nearer to the gray axis than to a saturated color is not of that color.
        grays = np.array([not _saturated(p.lab) for p in prompts.values()])[at]
        sure = (least < limits) & ((least < np.hypot(lab[..., 1], lab[..., 2])) | grays)
        cores = np.zeros(at.shape, dtype=bool)
        for k in range(len(prompts)):
            cores |= cv2.erode((sure & (at == k)).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        clear = ~cv2.dilate(sure.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
        return cls(np.array(list(prompts))[at], least < 2 * limits, cores, clear)

    def part(self, rows: slice, columns: slice) -> Seeds:
        """Those of some of the pixels, copied."""
        return Seeds(*(getattr(self, field.name)[rows, columns].copy() for field in fields(self)))

    @classmethod
    def stacked(cls, strips: Sequence[Seeds]) -> Seeds:
        """Those of strips, from the top down, as one."""
        return cls(*(np.concatenate([getattr(strip, field.name) for strip in strips]) for field in fields(cls)))


@dataclass(frozen=True, slots=True)
class Colors:
    """What an image says of the colors asked for: its ground, and by the index of each prompt that is there, the step
    from ground to object over its squared length, (3,)."""

    powers: Floats
    steps: Mapping[int, Floats]

    @classmethod
    def learn(cls, lab: Floats, seeds: Seeds, prompts: Iterable[int], places: Places) -> Colors:
        """From pixels (H, W, 3) spread over an image and what they say of the `prompts`."""
        powers = _fit_ground(lab, seeds.clear, places)
        ground = _ground(powers, places)
        steps: dict[int, Floats] = {}
        for index in prompts:
            core = seeds.cores & (seeds.nearest == index)
            if not core.any():
                continue
            step = (np.median(lab[core] - ground[core], axis=0)) * _WEIGHTS
            size = float(np.linalg.norm(step))
            if size >= MIN_CONTRAST:
                steps[index] = (step / size**2).astype(np.float32)
        return cls(powers, steps)

    def signals(self, lab: Floats, seeds: Seeds, places: Places) -> Iterator[tuple[int, Floats, BoolMask]]:
        """Index, signal and mask of each color; a mask's edge lies half way from the ground to the found color."""
        if not self.steps:
            return
        above: Floats = (lab - _ground(self.powers, places)) * _WEIGHTS
        for index, step in self.steps.items():
            signal: Floats = above @ step
            yield index, signal, (signal > 0.5) & (seeds.nearest == index) & seeds.near
