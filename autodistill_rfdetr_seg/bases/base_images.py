"""Images as autodistill passes them to a base (array, path or PIL image), as one kind of array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UsageError
from ..images.image_decoding import rgb_of
from ..images.image_opening import open_rgb
from .contract import BgrImage


def bgr_of(given: Any) -> BgrImage:
    """An HWC uint8 BGR array from an array, a path or a PIL image; EXIF orientation is applied.

    Raises:
        UsageError: an array of another shape or dtype.
        DataError: the file, or the PIL image's, cannot be read or is not an image.
    """
    if isinstance(given, str | Path):
        return np.ascontiguousarray(open_rgb(Path(given))[:, :, ::-1])
    if isinstance(given, np.ndarray):
        if given.ndim != 3 or given.shape[2] != 3 or given.dtype != np.uint8:
            raise UsageError(
                f"The image is {given.dtype} of shape {given.shape}, not uint8 (height, width, 3).",
                "Give an HWC uint8 BGR array, a path or a PIL image.",
            )
        return np.ascontiguousarray(given)
    return np.ascontiguousarray(rgb_of(given, turn=True)[:, :, ::-1])
