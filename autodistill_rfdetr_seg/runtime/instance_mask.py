"""The mask of one instance, kept small: as the model's logits around the instance, or as a crop."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .bilinear import resize, sample_matrix, samples

Array = np.ndarray[Any, Any]
# Pixels that are computed at once: they stay in the processor's cache.
_BLOCK = 1 << 15


class Crop(NamedTuple):
    """A rectangle of a mask: `pixels` (rows, columns) bool, its first one at (`top`, `left`); outside is no mask."""

    top: int
    left: int
    pixels: Array

    @property
    def bottom(self) -> int:
        """The row below the last one."""
        return self.top + int(self.pixels.shape[0])

    @property
    def right(self) -> int:
        """The column after the last one."""
        return self.left + int(self.pixels.shape[1])


def shared_pixels(first: Crop, second: Crop) -> int:
    """The number of pixels inside both of two masks of one image."""
    top, left = max(first.top, second.top), max(first.left, second.left)
    bottom, right = min(first.bottom, second.bottom), min(first.right, second.right)
    if top >= bottom or left >= right:
        return 0
    one, two = (
        crop.pixels[top - crop.top : bottom - crop.top, left - crop.left : right - crop.left]
        for crop in (first, second)
    )
    return int(np.count_nonzero(one & two))


class Mask:
    """A mask of an image of `height` x `width` pixels.

    `box` is top, left, bottom and right (exclusive) of what may be inside; the mask may be smaller. Pixels are computed
    whenever they are asked for, and not kept: 100 masks of a large image take a megabyte.
    """

    __slots__ = ("_crop", "_first", "_grid", "_logits", "_offset", "_size", "box", "height", "width")

    def __init__(self, height: int, width: int, crop: Crop | None = None) -> None:
        self.height, self.width = height, width
        self._crop = crop or Crop(0, 0, np.zeros((0, 0), dtype=bool))
        self.box = (self._crop.top, self._crop.left, self._crop.bottom, self._crop.right)
        self._logits: Array | None = None
        # The shape of the model's mask logits, and the place in them of the part that is kept; the size of the image
        # that they are of, and where that image, a tile, begins in the whole one.
        self._grid, self._first = (0, 0), (0, 0)
        self._size, self._offset = (height, width), (0, 0)

    @classmethod
    def from_pixels(cls, mask: Array) -> "Mask":
        """The mask of an array (height, width) bool."""
        height, width = mask.shape
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return cls(height, width)
        top, left = int(rows[0]), int(columns[0])
        return cls(height, width, Crop(top, left, mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.height, self.width

    def moved(self, top: int, left: int, height: int, width: int) -> "Mask":
        """The mask of a tile as a mask of the whole image, in which the tile begins at (`top`, `left`)."""
        crop = Crop(self._crop.top + top, self._crop.left + left, self._crop.pixels)
        mask = Mask(height, width, crop)
        mask._logits, mask._grid, mask._first, mask._size = self._logits, self._grid, self._first, self._size
        mask._offset = (self._offset[0] + top, self._offset[1] + left)
        mask.box = (self.box[0] + top, self.box[1] + left, self.box[2] + top, self.box[3] + left)
        return mask

    @property
    def cell(self) -> float:
        """Pixels that one of the model's mask logits is for, along the longer side; 1 where pixels are known."""
        if self._logits is None:
            return 1.0
        return max(size / known for size, known in zip(self._size, self._grid, strict=True))

    def grid(self) -> tuple[tuple[Any, ...], Crop] | None:
        """The mask in the model's own resolution, and what must be equal for two of these to be compared; None where
        pixels are all that is known."""
        if self._logits is None:
            return None
        return (self._grid, self._size, self._offset), Crop(*self._first, self._logits > 0)

    def crop(self) -> Crop:
        """The pixels of the mask within `box`."""
        if self._logits is None:
            return self._crop
        top, left, bottom, right = self.box
        pixels = np.empty((bottom - top, right - left), dtype=bool)
        self._fill(pixels, top, left)
        return Crop(top, left, pixels)

    def dense(self, out: Array | None = None) -> Array:
        """The mask as (height, width) bool; `out` is such an array, all False, to write it into."""
        mask = np.zeros(self.shape, dtype=bool) if out is None else out
        top, left, bottom, right = self.box
        if self._logits is None:
            mask[top:bottom, left:right] = self._crop.pixels
        else:
            self._fill(mask[top:bottom, left:right], top, left)
        return mask

    def area(self) -> int:
        """The number of pixels inside."""
        return int(np.count_nonzero(self.crop().pixels))

    def _fill(self, pixels: Array, top: int, left: int) -> None:
        """Writes the mask, from (`top`, `left`) of the image on, into `pixels`.

        Bilinear resizing is a product with one matrix on each side, which has two numbers in each row. Here only the
        rows and columns around the mask are multiplied, a block of rows at a time.
        """
        logits = self._logits
        assert logits is not None
        height, width = pixels.shape
        if not pixels.size:
            return
        top, left = top - self._offset[0], left - self._offset[1]
        if not np.isfinite(logits).all():  # would spread along the row and the column in a product
            pixels[:] = self._fill_slowly(top, left, height, width)
            return
        (row, column), (rows, columns) = self._first, logits.shape
        across = sample_matrix(self._grid[1], self._size[1])[left : left + width, column : column + columns]
        down = sample_matrix(self._grid[0], self._size[0])[top : top + height, row : row + rows]
        low = samples(self._grid[0], self._size[0]).low[top : top + height] - row
        lines = logits @ across.T
        step = max(_BLOCK // width, 1)
        buffer = np.empty((min(step, height), width), dtype=np.float32)
        for start in range(0, height, step):
            stop = min(start + step, height)
            first, last = max(int(low[start]), 0), int(low[stop - 1]) + 2
            values = np.matmul(down[start:stop, first:last], lines[first:last], out=buffer[: stop - start])
            np.greater(values, 0, out=pixels[start:stop])

    def _fill_slowly(self, top: int, left: int, height: int, width: int) -> Array:
        assert self._logits is not None
        whole = np.full(self._grid, -1, dtype=np.float32)
        (row, column), (rows, columns) = self._first, self._logits.shape
        whole[row : row + rows, column : column + columns] = self._logits
        inside: Array = resize(whole, *self._size)[top : top + height, left : left + width] > 0
        return inside


def masks_from_logits(logits: Array, height: int, width: int) -> list[Mask]:
    """The masks that are inside where each of `logits` (N, h, w), resized to the image, is above 0."""
    if not len(logits):
        return []
    grid = logits.shape[1:]
    inside = logits > 0
    parts, boxes = [], []
    for axis, known, size in ((2, grid[0], height), (1, grid[1], width)):
        any_inside: Array = np.any(inside, axis=axis)
        # With one place more at each side, which the pixels at the border of the mask depend on.
        start = np.maximum(any_inside.argmax(axis=1) - 1, 0)
        stop = np.minimum(known - any_inside[:, ::-1].argmax(axis=1) + 1, known)
        parts.append((start, stop))
        # The first and the last kept place are at most 0, unless they are the axis's own ends.
        low = samples(known, size).low
        first = np.where(start == 0, 0, np.searchsorted(low, start))
        last = np.where(stop == known, size, np.searchsorted(low, stop - 2, "right"))
        boxes.append((first, np.maximum(first, last)))
    (row, row_end), (column, column_end) = ((one.tolist(), two.tolist()) for one, two in parts)
    (top, bottom), (left, right) = ((one.tolist(), two.tolist()) for one, two in boxes)
    masks = []
    for at, nonempty in enumerate(np.any(inside, axis=(1, 2)).tolist()):
        mask = Mask(height, width)
        if nonempty:
            mask._first, mask._grid = (row[at], column[at]), (grid[0], grid[1])
            # A copy, so that the model's whole output is not kept.
            mask._logits = np.array(logits[at, row[at] : row_end[at], column[at] : column_end[at]], dtype=np.float32)
            mask.box = (top[at], left[at], bottom[at], right[at])
        masks.append(mask)
    return masks


def dense_stack(masks: Sequence[Mask], height: int, width: int) -> Array:
    """Masks as one array (N, height, width) bool."""
    stack = np.zeros((len(masks), height, width), dtype=bool)
    for place, mask in zip(stack, masks, strict=True):
        mask.dense(place)
    return stack
