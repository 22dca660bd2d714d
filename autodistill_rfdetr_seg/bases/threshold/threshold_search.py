"""The way from pixels to objects, for `ThresholdBase`: of a whole image, or of a part of one.

Pixels go through four steps: a *signal* for each prompt (0 on the ground, 1 on an object, whatever the lighting), a
mask where the signal is above its threshold, the mask parted into objects (`part`), and a score for each (`measure`).
Ground and thresholds are learned from the whole image first, of a part as well: a part may be all object or all ground.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...core.masks import BoolMask, fill_holes
from .threshold_objects import FoundObject, measure, part, to_detections
from .threshold_signals import Colors, Floats, Lightness, Places, Prompt, Seeds, to_lab

if TYPE_CHECKING:
    import supervision as sv

# Depth of a dip in the signal that is the seam between two touching objects. Lightness shows seams well; in a colored
# part threads, bevels and scratches look the same, so only a deep one counts there.
LIGHTNESS_SEAM = 0.06
COLOR_SEAM = 0.25
# Pixels looked at around a part of an image, so that what is at its edge is parted there as in the middle. With none, 7
# of 1851 labels of real images (`benchmarks/tiles.py`) have no partner between untiled and tiled, with these 1.
AROUND = 64
# Of a large image about so many pixels are learned from, read in strips of so many pixels each (plus `_REACH` rows
# above and below, which is how far `to_lab` and `Seeds.from_pixels` look): memory does not grow with the image.
_SAMPLED = 2**22
_STRIP = 2**21
_REACH = 8


@dataclass(frozen=True, slots=True)
class Learned:
    """What a whole image says of the prompts: the colors, and by prompt index `bright` and `dark`, None if absent."""

    colors: Colors | None
    lightness: Mapping[int, Lightness | None]


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for, with the options of `ThresholdBase`."""

    prompts: Sequence[Prompt]
    tolerance: float
    min_area: float | None
    max_area: float
    opening: int
    split: float

    @property
    def colors(self) -> dict[int, Prompt]:
        """The prompts that are colors, by index."""
        return {index: prompt for index, prompt in enumerate(self.prompts) if prompt.lab is not None}

    def whole(self, bgr: npt.NDArray[np.uint8]) -> sv.Detections:
        """The objects in an image, HWC uint8 BGR."""
        height, width = bgr.shape[:2]
        lab, places = to_lab(bgr), Places.of_image(height, width)
        seeds = self.seeds(lab)
        learned = self.learn(lab, seeds, places)
        return to_detections(self.find(lab, seeds, places, learned, height * width), height, width)

    def seeds(self, lab: Floats) -> Seeds | None:
        """What pixels (H, W, 3) say of the colors; None where none is asked for."""
        return Seeds.from_pixels(lab, self.colors, self.tolerance) if self.colors else None

    def learn(self, lab: Floats, seeds: Seeds | None, places: Places) -> Learned:
        """What an image says of the prompts, from pixels spread over it."""
        colors = None if seeds is None else Colors.learn(lab, seeds, self.colors, places)
        lightness = {
            index: Lightness.learn(prompt.sign * lab[..., 0], prompt.tolerance, places)
            for index, prompt in enumerate(self.prompts)
            if prompt.lab is None
        }
        return Learned(colors, lightness)

    def find(
        self, lab: Floats, seeds: Seeds | None, places: Places, learned: Learned, pixels: int
    ) -> list[FoundObject]:
        """The objects in (H, W, 3) pixels of an image of `pixels` pixels, best first."""
        found: list[FoundObject] = []
        for index, signal, mask in self._signals(lab, seeds, places, learned):
            found.extend(self._objects(index, signal, mask, pixels))
        return sorted(found, key=lambda o: (-o.score, o.prompt, o.top, o.left))

    def _signals(
        self, lab: Floats, seeds: Seeds | None, places: Places, learned: Learned
    ) -> Iterator[tuple[int, Floats, BoolMask]]:
        """Of each prompt that finds something: its index, its signal and its mask."""
        taken = np.zeros(lab.shape[:2], dtype=bool)
        if learned.colors is not None and seeds is not None:
            for index, signal, mask in learned.colors.signals(lab, seeds, places):
                taken |= mask
                yield index, signal, mask
        for index, lightness in learned.lightness.items():
            if lightness is not None:
                signal, mask = lightness.signal(self.prompts[index].sign * lab[..., 0], places)
                yield index, signal, mask & ~taken

    def _objects(self, prompt: int, signal: Floats, mask: BoolMask, pixels: int) -> list[FoundObject]:
        import cv2
        from skimage.measure import regionprops

        smallest = max(16.0, 5e-5 * pixels) if self.min_area is None else _limit(self.min_area, pixels)
        largest = self.max_area * pixels if self.max_area <= 1 else self.max_area
        if self.opening > 1:
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (self.opening, self.opening))
            mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc).astype(bool)
        mask = fill_holes(mask, smallest)
        seam = LIGHTNESS_SEAM if self.prompts[prompt].lab is None else COLOR_SEAM
        labels = part(signal, mask, self.split, seam, 2 * smallest)
        found = []
        for region in regionprops(labels):
            one = measure(prompt, labels, region.label, region.slice, signal)
            if smallest <= one.area <= largest:
                found.append(one)
        # Crumbs beside large objects are mostly pieces of something. The area an average object pixel lives in is not
        # moved by how many crumbs there are.
        typical = sum(o.area**2 for o in found) / max(sum(o.area for o in found), 1)
        return [replace(o, score=o.score * o.area / (o.area + 0.2 * typical)) for o in found]


class WithinImage:
    """A search bound to one whole image, HWC uint8 BGR."""

    def __init__(self, search: Search, image: npt.NDArray[np.uint8]) -> None:
        self._search, self._image = search, image
        self._places = Places.of_image(*image.shape[:2])
        self._learned = search.learn(*self._sample())

    def predict(self, window: tuple[int, int, int, int]) -> sv.Detections:
        """As `ThresholdBase.predict`, of the part (top, left, bottom, right; the last two exclusive) and in its pixels.

        An object that reaches out of the part is cut, and scored by what is seen of it with `AROUND` pixels around.
        """
        height, width = self._image.shape[:2]
        top, left, bottom, right = window
        rows, columns = (
            slice(max(start - AROUND, 0), min(stop + AROUND, length))
            for start, stop, length in ((top, bottom, height), (left, right, width))
        )
        search = self._search
        lab = to_lab(self._image[rows, columns])
        places = self._places.part(rows, columns)
        found = search.find(lab, search.seeds(lab), places, self._learned, height * width)
        down, across = rows.start - top, columns.start - left
        shown = (_cut(o, o.top + down, o.left + across, bottom - top, right - left) for o in found)
        return to_detections([o for o in shown if o is not None], bottom - top, right - left)

    def _sample(self) -> tuple[Floats, Seeds | None, Places]:
        """Lab, seeds and places of pixels spread evenly over the image, all where it is small; read strip by strip."""
        height, width = self._image.shape[:2]
        step = math.ceil(math.sqrt(height * width / _SAMPLED))
        tall = step * max(1, _STRIP // width // step)
        strips: list[tuple[Floats, Seeds | None]] = []
        for top in range(0, height, tall):
            above = min(top, _REACH)
            lab = to_lab(self._image[top - above : top + tall + _REACH])
            seeds = self._search.seeds(lab)
            kept = (slice(above, above + tall, step), slice(None, None, step))
            strips.append((lab[kept].copy(), None if seeds is None else seeds.part(*kept)))
        places = self._places.part(slice(None, None, step), slice(None, None, step))
        seen = [seeds for _, seeds in strips if seeds is not None]
        return np.concatenate([lab for lab, _ in strips]), Seeds.stacked(seen) if seen else None, places


def _cut(one: FoundObject, top: int, left: int, height: int, width: int) -> FoundObject | None:
    """What a frame of `height` x `width` pixels shows of an object that begins at (`top`, `left`) of it."""
    mask = one.mask[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    if mask.shape == one.mask.shape:
        return replace(one, top=top, left=left)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    top, left = max(top, 0) + int(rows[0]), max(left, 0) + int(columns[0])
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return replace(one, top=top, left=left, mask=mask)


def _limit(value: float, pixels: int) -> float:
    return value * pixels if value < 1 else value
