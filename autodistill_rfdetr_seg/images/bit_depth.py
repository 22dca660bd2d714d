"""Scales pixels of more than 8 bits to 8, by the range that the data uses: cameras of 10 to 14 bits write 16-bit
files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_DEPTHS = (8, 10, 12, 14, 16)


def bits(highest: float) -> int | None:
    """The smallest of 8, 10, 12, 14 and 16 bits that hold the whole number `highest`; None if 16 are too few."""
    return next((depth for depth in _DEPTHS if highest < 2**depth), None)


def to_8_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Values of any shape as uint8.

    Whole numbers of 0 or more are scaled from the smallest of 8, 10, 12, 14 and 16 bits that holds their maximum: 8-bit
    values do not change, and of 16 bits the high ones are kept. Floats in 0..1 are multiplied by 255. All others are
    scaled from their own range. NaN becomes 0, infinity the end of the range.
    """
    if not values.size:
        return np.zeros(values.shape, np.uint8)
    whole = values.dtype.kind in "ui"
    known = values if whole else values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if whole and low >= 0 and (depth := bits(high)) is not None:
        return np.asarray(values.astype(np.uint32) * 255 // (2**depth - 1), dtype=np.uint8)
    if not whole and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    with np.errstate(invalid="ignore"):
        scaled = (values.astype(np.float64) - low) * 255 / ((high - low) or 1.0)
    ends = np.nan_to_num(scaled, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(ends).astype(np.uint8)
