"""The demo's images: drawn scenes with exact masks.

Colored washers, bolts and nuts on a worn conveyor belt, in uneven light, touching and overlapping, among pebbles, which
have no class. Each part is a signed distance field: its coverage gives the anti-aliased edge, its slope the shading,
and its negative side the exact mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import coco
from ..core import masks
from ..core.masks import BoolMask
from ..core.types import Classes, ImageLabels, Instance
from ..images.image_opening import open_image
from ..images.rgb_image import RgbImage, write_png
from ..system.files import link_or_copy, replacing_folder

ONTOLOGY = {"red": "washer", "green": "bolt", "blue": "nut"}
# RGB in 0..1, and the radius (of a bolt: about half its length) as a fraction of the image.
_COLORS = {"washer": (0.76, 0.10, 0.08), "bolt": (0.07, 0.56, 0.18), "nut": (0.08, 0.22, 0.74)}
_RADII = {"washer": (0.13, 0.17), "bolt": (0.15, 0.18), "nut": (0.13, 0.17)}
# The hole of a washer and a nut, in radii. Small: a target trained for minutes cannot segment a thin ring.
_BORE = 0.16
_MOST_PARTS = 3
# With this probability a part is of any class, else of one that the scene lacks: a target trained for minutes from
# random weights learns colors, and hardly learns to separate two parts of one color.
_ANY_CLASS = 0.5
# Every eleventh scene has no parts: a model must also learn the background.
_NEGATIVE_EVERY = 11
# A part is not placed where less than this fraction of it, or of a part under it, would be visible.
_LEAST_VISIBLE = 0.72
# Parts of different classes touch and overlap freely. Two of the same class are closer than _APART (a fraction of the
# image) only with probability _MEET: the base cannot separate them by color.
_APART, _MEET = 0.07, 0.1
_TURN = 2 * np.pi

Floats = npt.NDArray[np.floating[Any]]
Float = float | np.floating[Any]


@dataclass(frozen=True)
class Scene:
    """`image` is HWC uint8 RGB; `parts` are the class names and masks (HW bool, visible pixels, disjoint)."""

    image: RgbImage
    parts: tuple[tuple[str, BoolMask], ...]


def write_scenes(folder: Path, count: int = 120, size: int = 256, seed: int = 0) -> Path:
    """Draws `folder/images/scene_0000.png` … and `folder/gold`, the same images with the exact masks as COCO.

    The same arguments give the same pixels on the same machine; what OpenCV computes differs in the last bit between
    processors. The old content of `folder` is replaced.

    Returns:
        `folder`.
    """
    classes = Classes.from_ontology(ONTOLOGY)
    with replacing_folder(folder) as new:
        images, gold = new / "images", new / "gold"
        images.mkdir()
        gold.mkdir()

        def entries() -> Iterator[tuple[str, ImageLabels]]:
            for index in range(count):
                name = f"scene_{index:04d}.png"
                scene = draw_scene(index, size, seed)
                write_png(images / name, scene.image)
                link_or_copy(images / name, gold / name)
                instances = (Instance(classes.names.index(n), masks.encode(m), 1.0) for n, m in scene.parts)
                yield name, ImageLabels(open_image(images / name, name).record, tuple(instances), source="drawn")

        coco.write(gold / coco.ANNOTATIONS, entries(), classes, {"description": "exact masks of drawn scenes"})
    return folder


def draw_scene(index: int, size: int = 256, seed: int = 0) -> Scene:
    """Scene number `index` of the set `seed`, `size` pixels square."""
    rng = np.random.default_rng([seed, index])
    belt = _Belt(rng, size)
    for _ in range(int(rng.integers(1, 5))):
        belt.drop_pebble()
    wanted = 0 if index % _NEGATIVE_EVERY == 4 else int(rng.integers(2, _MOST_PARTS + 1))
    for _ in range(6 * wanted):
        if len(belt.names) < wanted:
            belt.lay_part()
    visible = tuple((name, belt.owner == number) for number, name in enumerate(belt.names, start=1))
    return Scene(belt.photograph(), visible)


class _Belt:
    """The belt while parts are placed on it: its color (H, W, 3), the part of each pixel (0: none), and its lamp."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.y, self.x = np.mgrid[0:size, 0:size].astype(np.float32)
        angle = rng.uniform(0, _TURN)
        self.light = np.array([0.62 * np.cos(angle), 0.62 * np.sin(angle), 0.78], dtype=np.float32)
        self.color = self._rubber()
        self.owner: npt.NDArray[np.signedinteger[Any]] = np.zeros((size, size), dtype=np.int32)
        self.names: list[str] = []
        self._full: list[int] = []
        self._places: list[tuple[float, float]] = []

    def drop_pebble(self) -> None:
        """Places a gray pebble: an object without a class."""
        rng = self.rng
        place = (rng.uniform(0, self.size), rng.uniform(0, self.size))
        radius = rng.uniform(0.015, 0.045) * self.size
        u, v = self._local(place, rng.uniform(0, _TURN))
        u = u / np.float32(rng.uniform(1.0, 1.7))
        angle, distance = np.arctan2(v, u), np.hypot(u, v)
        edge = 1 + sum(rng.uniform(-0.07, 0.07) * np.cos(k * angle + rng.uniform(0, _TURN)) for k in (2, 3, 4))
        dome = 0.8 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
        gray = rng.uniform(0.28, 0.62) * np.array([1.0, rng.uniform(0.92, 1.0), rng.uniform(0.82, 0.98)])
        self._paint(distance - radius * edge, dome, 0.012 * self.size, gray.astype(np.float32), 0.05)

    def lay_part(self) -> None:
        """Places one part, often next to another; none if too little of it, or of one under it, would be visible."""
        rng, size = self.rng, self.size
        classes = tuple(_COLORS)
        if rng.random() > _ANY_CLASS:
            classes = tuple(name for name in classes if name not in self.names) or classes
        name = classes[int(rng.integers(len(classes)))]
        radius = rng.uniform(*_RADII[name]) * size
        place = (rng.uniform(0.08, 0.92) * size, rng.uniform(0.08, 0.92) * size)
        if self._places and rng.random() < 0.3:
            near, angle = self._places[int(rng.integers(len(self._places)))], rng.uniform(0, _TURN)
            far = rng.uniform(1.3, 2.0) * radius
            place = (near[0] + far * np.cos(angle), near[1] + far * np.sin(angle))
        u, v = self._local(place, rng.uniform(0, _TURN))
        color = np.array(_COLORS[name]) * rng.uniform(0.85, 1.15) + rng.uniform(-0.03, 0.03, 3)
        wear = 1 + 0.07 * self._noise(14) + 0.05 * self._noise(4)
        gloss = rng.uniform(0.15, 0.5)
        distance, relief = _SHAPES[name](u, v, np.float32(radius))
        inside = distance <= 0
        same = [number for number, other in enumerate(self.names, start=1) if other == name]
        meets = bool(np.isin(self.owner[distance < _APART * size], same).any()) and rng.random() > _MEET
        owner = np.where(inside, len(self.names) + 1, self.owner)
        full = [*self._full, int(inside.sum())]
        seen = np.bincount(owner.ravel(), minlength=len(full) + 1)[1:]
        outside = not all(0.08 * size <= at <= 0.92 * size for at in place)
        if outside or meets or (seen < _LEAST_VISIBLE * np.array(full)).any():
            return
        self.owner = owner
        self.names.append(name)
        self._full = full
        self._places.append(place)
        self._paint(distance, relief, 0.16 * radius, np.float32(np.clip(color, 0.02, 1)) * wear[..., None], gloss)

    def photograph(self) -> RgbImage:
        """The image of a camera: light that falls off, a slightly blurred lens, a slightly noisy sensor."""
        import cv2

        rng, size = self.rng, self.size
        center = rng.uniform(0.3, 0.7, 2) * size
        fall = 1 - 0.38 * ((self.x - center[0]) ** 2 + (self.y - center[1]) ** 2) / (0.7 * size) ** 2
        slant = (self.x / size - 0.5) * self.light[0] + (self.y / size - 0.5) * self.light[1]
        lamp = rng.uniform(0.95, 1.2) * np.clip(fall * (1 + 0.22 * slant), 0.35, 1.2)
        white = np.array([1.0, rng.uniform(0.97, 1.0), rng.uniform(0.92, 1.0)])
        seen = cv2.GaussianBlur(np.float32(self.color * lamp[..., None] * white), (0, 0), 0.6)
        seen = seen + rng.normal(0, 0.014, seen.shape) * (0.6 + seen)
        image: RgbImage = (np.clip(seen, 0, 1) * 255 + 0.5).astype(np.uint8)
        return image

    def _rubber(self) -> Floats:
        import cv2

        rng, shape = self.rng, (self.size, self.size)
        step = np.float32(_TURN / rng.uniform(5.0, 7.5))
        weave = np.sin((self.x + self.y) * step) * np.sin((self.x - self.y) * step)
        scratches = cv2.GaussianBlur(np.float32(rng.normal(0, 1, shape)), (0, 0), sigmaX=22, sigmaY=0.8)
        value = 0.33 + 0.03 * weave + 0.03 * np.float32(rng.normal(0, 1, shape)) + 0.15 * scratches
        value = value + 0.04 * self._noise(60) + 0.02 * self._noise(9)
        tint = np.array([1.0, 1.0, 0.97]) + rng.uniform(-0.03, 0.03, 3)
        rubber: Floats = (value[..., None] * tint).astype(np.float32)
        return rubber

    def _noise(self, cell: int) -> Floats:
        """Smooth noise, HW, about -1..1, with features of `cell` pixels."""
        import cv2

        coarse = self.rng.uniform(-1, 1, (self.size // cell + 2,) * 2).astype(np.float32)
        smooth: Floats = cv2.resize(coarse, (self.size, self.size), interpolation=cv2.INTER_CUBIC)
        return smooth

    def _local(self, place: tuple[float, float], angle: float) -> tuple[Floats, Floats]:
        """The coordinates of each pixel relative to a part at `place` that is turned by `angle`."""
        x, y = self.x - np.float32(place[0]), self.y - np.float32(place[1])
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return x * cos + y * sin, y * cos - x * sin

    def _paint(self, distance: Floats, relief: Floats, bevel: float, color: Floats, gloss: float) -> None:
        """Paints a part with a rounded rim of `bevel` pixels and `relief` on top, and its shadow."""
        import cv2

        cover = np.clip(0.5 - distance, 0, 1).astype(np.float32)
        # Only the part and a margin for its shadow change.
        y, x = np.nonzero(cover)
        window = (slice(max(y.min() - 24, 0), y.max() + 25), slice(max(x.min() - 24, 0), x.max() + 25))
        cover, distance, relief = cover[window], distance[window], relief[window]
        color = np.broadcast_to(color, self.color.shape)[window]
        away = np.array([[1, 0, -7 * self.light[0]], [0, 1, -7 * self.light[1]]], dtype=np.float32)
        shadow = cv2.GaussianBlur(cv2.warpAffine(cover, away, cover.shape[::-1]), (0, 0), 3.2)
        contact = cv2.GaussianBlur(cover, (0, 0), 1.8)
        under = self.color[window] * ((1 - 0.45 * shadow) * (1 - 0.35 * contact))[..., None]
        rim = np.clip(1 + distance / bevel, 0, 1)
        slope_y, slope_x = np.gradient(bevel * np.sqrt(1 - rim**2) + relief)
        normal = np.stack([-slope_x, -slope_y, np.ones_like(slope_x)], axis=-1)
        normal /= np.sqrt(slope_x**2 + slope_y**2 + 1)[..., None]
        half = self.light + np.array([0, 0, 1])
        shine = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 28
        lit = color * (0.30 + 0.85 * np.clip(normal @ self.light, 0, 1))[..., None] + (gloss * shine)[..., None]
        self.color[window] = under + (lit - under) * cover[..., None]


def _washer(u: Floats, v: Floats, radius: np.float32) -> tuple[Floats, Floats]:
    """Signed distance (negative inside) and relief, both in pixels, of a ring with a groove."""
    r = np.hypot(u, v)
    relief = 0.35 * np.cos((r - _BORE * radius) * np.float32(_TURN / 0.29) / radius)
    return np.maximum(r - radius, _BORE * radius - r), relief


def _nut(u: Floats, v: Floats, radius: np.float32) -> tuple[Floats, Floats]:
    """As `_washer`, of a hexagon with chamfered corners and a round hole."""
    r = np.hypot(u, v)
    sides = [np.abs(u), np.abs(0.5 * u + np.float32(0.75**0.5) * v), np.abs(0.5 * u - np.float32(0.75**0.5) * v)]
    body = np.maximum(np.maximum.reduce(sides) - 0.9 * radius, r - 0.99 * radius)
    relief = -0.35 * np.maximum(r - 0.8 * radius, 0) - 1.2 * np.exp(-(((r - 1.8 * _BORE * radius) / 1.6) ** 2))
    return np.maximum(body, _BORE * radius - r), relief


def _bolt(u: Floats, v: Floats, radius: np.float32) -> tuple[Floats, Floats]:
    """As `_washer`, of a bolt from the side: a hexagonal head and a threaded round shank."""
    length, half = 1.05 * radius, 0.54 * radius
    head = _box(u + (length - 0.3 * radius), v, 0.3 * radius, 0.8 * radius, 0.1 * radius)
    shank = _box(u - 0.12 * radius, v, length - 0.12 * radius, half, 0.1 * radius)
    thread = np.sin(u * np.float32(_TURN / 4.2) + 0.12 * v) * (u > -0.45 * radius)
    facets = 0.7 * half - 0.8 * np.exp(-(((np.abs(v) - 0.25 * radius) / 1.6) ** 2))
    round_shank = 0.7 * np.sqrt(np.maximum(half**2 - v**2, 0)) + 0.35 * thread
    relief = np.where(u > 0.56 * radius - length, round_shank, facets)
    return np.minimum(head, shank + 0.35 * thread), relief


def _box(u: Floats, v: Floats, half_u: Float, half_v: Float, corner: Float) -> Floats:
    """Signed distance to a rectangle with rounded corners."""
    a, b = np.abs(u) - np.float32(half_u - corner), np.abs(v) - np.float32(half_v - corner)
    outside: Floats = np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0) - corner
    return outside


_SHAPES = {"washer": _washer, "bolt": _bolt, "nut": _nut}
