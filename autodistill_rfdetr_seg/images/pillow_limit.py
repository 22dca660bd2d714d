"""Pillow's own limit of pixels, raised for a while.

Pillow refuses an image of more than twice `PIL.Image.MAX_IMAGE_PIXELS` pixels, a global of the process that it looks at
when it opens a file. Each reader here has a limit of its own and checks it; where that is the larger one, Pillow's is
raised until the block ends.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Raised:
    """The limits that blocks in progress need, and the one that Pillow had before the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needed: list[int] = []
        self._before: int | None = None
        self._set: int | None = None

    def add(self, pixels: int) -> None:
        with self._lock:
            self._needed.append(pixels)
            self._apply()

    def remove(self, pixels: int) -> None:
        with self._lock:
            self._needed.remove(pixels)
            self._apply()

    def _apply(self) -> None:
        from PIL import Image

        if self._set is None or self._set != Image.MAX_IMAGE_PIXELS:
            # The first block, or someone else has set it meanwhile: theirs is restored in the end.
            self._before = Image.MAX_IMAGE_PIXELS
        if self._before is not None:
            Image.MAX_IMAGE_PIXELS = max([self._before, *self._needed])
        self._set = Image.MAX_IMAGE_PIXELS if self._needed else None


_raised = _Raised()


@contextmanager
def pillow_accepts(max_megapixels: float) -> Iterator[None]:
    """While the block lasts, Pillow opens images of up to `max_megapixels` million pixels in this process.

    Blocks may overlap, in several threads too: the largest limit holds. When the last one ends, Pillow has the limit
    that it had before. Nothing is changed where that is large enough.
    """
    # Pillow refuses what has more than twice its limit.
    needed = int(min(max_megapixels * 1e6, sys.maxsize)) // 2 + 1
    _raised.add(needed)
    try:
        yield
    finally:
        _raised.remove(needed)
