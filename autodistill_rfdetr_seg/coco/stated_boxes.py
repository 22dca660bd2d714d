"""Reads the box that an annotation states, and compares it with that of its mask."""

from __future__ import annotations

from .parts import Box
from .values import number_of

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
    pixels, share = _SLACK
    (x, y, width, height), (x2, y2, width2, height2) = stated_xywh, drawn_xywh
    edges = ((x, x2), (y, y2), (x + width, x2 + width2), (y + height, y2 + height2))
    return max(abs(one - two) for one, two in edges) > pixels + share * max(width2, height2)
