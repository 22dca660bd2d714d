"""The pixels of an image as an array, and writing them to a file."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

# (height, width, 3) uint8, channels in the order red, green, blue.
RgbImage = npt.NDArray[np.uint8]


def write_png(file: Path | IO[bytes], pixels: RgbImage) -> None:
    """Writes HWC uint8 RGB as a PNG file, without loss."""
    from PIL import Image

    Image.fromarray(pixels).save(file, format="PNG", compress_level=1)
