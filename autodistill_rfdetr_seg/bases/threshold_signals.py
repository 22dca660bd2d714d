"""What `ThresholdBase` looks for: for each prompt a signal, 0 on the ground and 1 on an object, in any light."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..masks import BoolMask

Floats = npt.NDArray[np.float32]
# Lightness says little about a saturated object's colour (shading, uneven lamps), all about a grey one's.
LIGHTNESS_WEIGHT = 0.35
SATURATED = 20.0
# The least step between objects and ground that is taken for more than a shade of the ground, in Lab units.
MIN_CONTRAST = 10.0
# Means of the two Otsu classes apart, in standard deviations within them: Gaussian noise 2.6, an even ramp 3.5.
MIN_SEPARATION = 2.8


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed prompt: `lab` is its colour (L 0..100, a, b), None for `bright` (`sign` 1) and `dark` (-1)."""

    sign: int = 0
    lab: tuple[float, float, float] | None = None
    tolerance: float | None = None


def _ground(values: Floats, keep: BoolMask) -> Floats:
    """The ground under the objects: a quadratic surface through the channels of `values` (H, W, C) where `keep`."""
    height, width = keep.shape
    step = max(1, min(height, width) // 96)
    rows, columns = (np.vander(np.linspace(-1, 1, n, dtype=np.float32), 3, increasing=True) for n in keep.shape)
    i, j = np.nonzero(keep[::step, ::step])
    if i.size < 50:
        i, j = np.nonzero(np.ones_like(keep[::step, ::step]))
    i, j = i * step, j * step
    terms = [(p, q) for p in range(3) for q in range(3 - p)]
    design = np.stack([rows[i, p] * columns[j, q] for p, q in terms], axis=1)
    solution = np.linalg.lstsq(design, values[i, j], rcond=None)[0]
    powers = np.zeros((3, 3, values.shape[2]), dtype=np.float32)
    for (p, q), weights in zip(terms, solution, strict=True):
        powers[p, q] = weights
    surface: Floats = np.stack([rows @ powers[..., c] @ columns.T for c in range(values.shape[2])], axis=2)
    return surface


def lightness_signal(lightness: Floats, tolerance: float | None) -> tuple[Floats, BoolMask] | None:
    """Signal and mask of what is lighter than the ground; None where there is nothing but ground."""
    from skimage.filters import threshold_otsu

    level, mask = lightness, np.zeros(lightness.shape, dtype=bool)
    cut = 0.0
    for _ in range(3):
        level = lightness - _ground(lightness[..., None], ~mask)[..., 0]
        if np.ptp(level) < MIN_CONTRAST:
            return None
        cut = float(threshold_otsu(level))
        mask = level > cut
    low, high = float(level[~mask].mean()), float(level[mask].mean())
    spread = float(np.sqrt((level[mask].var() * mask.sum() + level[~mask].var() * (~mask).sum()) / mask.size))
    if tolerance is not None:
        cut = low + tolerance
        mask = level > cut
    elif high - low < max(MIN_CONTRAST, MIN_SEPARATION * spread):
        return None
    # 0 on the ground, 1 on an object, 0.5 at the threshold.
    return ((level - cut) / max(high - low, 1.0) + 0.5).astype(np.float32), mask


def _distance(lab: Floats, colour: tuple[float, float, float]) -> Floats:
    """Delta E of `lab` (H, W, 3) to a colour under any light.

    Light that grows or fades moves a colour along the ray from (L, a, b) = (-16, 0, 0) through it (L* + 16, a*, b* all
    scale by the cube root of the intensity, CIE 15), so a saturated colour is a stretch of its ray, down to a chroma of
    30 at most, with lightness weighted low. A grey has no such ray and is a point.
    """
    lightness, a, b = colour
    if not _saturated(colour):
        away: Floats = np.sqrt(((lab - np.array(colour, np.float32)) ** 2).sum(axis=2))
        return away
    ray = np.array([LIGHTNESS_WEIGHT * (lightness + 16), a, b], dtype=np.float32)
    point = (lab + np.array([16, 0, 0], np.float32)) * np.array([LIGHTNESS_WEIGHT, 1, 1], np.float32)
    along = np.clip(point @ ray / float(ray @ ray), min(0.5, 30 / float(np.hypot(a, b))), 1.5)
    away = np.sqrt(((point - along[..., None] * ray) ** 2).sum(axis=2))
    return away


def _saturated(colour: tuple[float, float, float] | None) -> bool:
    return colour is not None and float(np.hypot(colour[1], colour[2])) >= SATURATED


def colour_signals(
    lab: Floats, prompts: Mapping[int, Prompt], tolerance: float
) -> Iterator[tuple[int, Floats, BoolMask]]:
    """Index, signal and mask of each colour; a mask's edge lies half way between the found colour and the ground."""
    if not prompts:
        return
    import cv2

    distances = np.stack([_distance(lab, p.lab) for p in prompts.values() if p.lab is not None])
    nearest = distances.argmin(axis=0)
    limits = [p.tolerance or tolerance for p in prompts.values()]
    # Grey is nobody's red: a pixel nearer to the grey axis than to a saturated colour is not of that colour.
    greyness = np.hypot(lab[..., 1], lab[..., 2])
    seeds = [
        (nearest == k) & (distances[k] < limits[k]) & ((distances[k] < greyness) | (not _saturated(p.lab)))
        for k, p in enumerate(prompts.values())
    ]
    objects = np.any(seeds, axis=0).astype(np.uint8)
    ground = _ground(lab, ~cv2.dilate(objects, np.ones((7, 7), np.uint8)).astype(bool))
    weights = np.array([LIGHTNESS_WEIGHT, 1, 1], np.float32)
    for k, index in enumerate(prompts):
        core = cv2.erode(seeds[k].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        if not core.any():
            continue
        step = (np.median(lab[core] - ground[core], axis=0)) * weights
        size = float(np.linalg.norm(step))
        if size < MIN_CONTRAST:
            continue
        signal = ((lab - ground) * weights) @ (step / size**2).astype(np.float32)
        yield index, signal, (signal > 0.5) & (nearest == k) & (distances[k] < 2 * limits[k])
