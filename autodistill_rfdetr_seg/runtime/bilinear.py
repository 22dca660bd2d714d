"""Bilinear resizing between pixel centers, without smoothing: torch's `interpolate(mode="bilinear")`, which rfdetr uses
for images and masks."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Samples(NamedTuple):
    """For each place of an axis of another length: the two known places around it, and the weight of the second one."""

    low: Array
    high: Array
    weight: Array


@lru_cache(maxsize=64)
def samples(known: int, size: int) -> Samples:
    """Where an axis of `known` places is read to make one of `size` places; (size,) int64, int64 and float32."""
    # torch rounds the ratio to float32, and the place once more: processors multiply and subtract in one step.
    ratio = np.float64(np.float32(known / size))
    at = np.clip(((np.arange(size) + 0.5) * ratio - 0.5).astype(np.float32), 0, known - 1)
    low = at.astype(np.int64)
    return Samples(low, np.minimum(low + 1, known - 1), (at - low).astype(np.float32))


@lru_cache(maxsize=16)
def sample_matrix(known: int, size: int) -> Array:
    """The same as a matrix (size, known) float32 that is multiplied with the known places."""
    low, high, weight = samples(known, size)
    matrix = np.zeros((size, known), dtype=np.float32)
    places = np.arange(size)
    matrix[places, low] = 1 - weight
    matrix[places, high] += weight
    return matrix


def resize(planes: Array, height: int, width: int) -> Array:
    """An array (..., H, W) float32 in another size."""
    for axis, size in ((-1, width), (-2, height)):
        low, high, weight = samples(planes.shape[axis], size)
        weight = weight.reshape((-1, 1) if axis == -2 else (-1,))
        planes = _mix(planes.take(low, axis), planes.take(high, axis), weight)
    return planes


def resize_pixels(image: Array, height: int, width: int) -> Array:
    """An image (H, W, 3) uint8 in another size, (3, height, width) float32 in 0..255.

    Only the pixels that are read are converted, so a large image is never copied as floats.
    """
    rows, columns = samples(image.shape[0], height), samples(image.shape[1], width)
    channels = np.arange(3)[:, None]
    lines = []
    for row in (rows.low, rows.high):
        # The bytes of the rows that are read, as (height, W * 3).
        line = image.take(row, axis=0).reshape(height, -1)
        left, right = (
            line.take((3 * column + channels).ravel(), axis=1).reshape(height, 3, width).astype(np.float32)
            for column in (columns.low, columns.high)
        )
        lines.append(_mix(left, right, columns.weight))
    mixed = _mix(lines[0], lines[1], rows.weight[:, None, None])
    return mixed.transpose(1, 0, 2)


def _mix(first: Array, second: Array, weight: Array) -> Array:
    """`first * (1 - weight) + second * weight`, in place of the first two."""
    first *= 1 - weight
    second *= weight
    first += second
    return first
