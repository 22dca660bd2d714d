"""Reads the box that an annotation states, and compares it with that of its mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .parts import Box
from .values import number_of

FloatArray = npt.NDArray[np.float64]

# An edge may be off by 2 pixels and 5 % of the longer side: a sliver of a polygon has no pixel.
_SLACK = (2.0, 0.05)


def stated_box(stated: object) -> Box | None:
    """The box [x, y, width, height] in pixels that a JSON value is; None if it is not a box."""
    numbers = [number_of(side) for side in stated] if isinstance(stated, list) and len(stated) == 4 else []
    x, y, width, height = numbers or (None, None, None, None)
    if x is None or y is None or width is None or height is None or width < 0 or height < 0:
        return None
    return (x, y, width, height)


def is_far(stated_xywh: Box, drawn_xywh: Box) -> bool:
    """Whether a stated box differs from the mask's."""
    return bool(are_far(np.array([stated_xywh]), np.array([drawn_xywh]))[0])


def are_far(stated_xywh: FloatArray, drawn_xywh: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether each stated box differs from the mask's, (N,) for two arrays (N, 4)."""
    pixels, share = _SLACK
    slack = pixels + share * drawn_xywh[:, 2:].max(axis=1)
    near, far = (np.abs(stated - drawn).max(axis=1) for stated, drawn in _edges(stated_xywh, drawn_xywh))
    found: npt.NDArray[np.bool_] = np.maximum(near, far) > slack
    return found


def _edges(stated: FloatArray, drawn: FloatArray) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """The left and top edges of both boxes, and the right and bottom ones, each (N, 2)."""
    return (stated[:, :2], drawn[:, :2]), (stated[:, :2] + stated[:, 2:], drawn[:, :2] + drawn[:, 2:])
