"""The forms in which tools write a `segmentation`, and the one that the format has.

The format knows a list of polygons, each a flat list of x and y, and an RLE with `size` and `counts`.
"""

from __future__ import annotations

from typing import Any

from . import kinds
from .problem import Kind
from .values import number_of

_NUMBERS = {int, float}


def plain_form(segmentation: Any) -> tuple[Any, set[Kind]]:
    """The segmentation in the format's own form where another one is plainly meant, and what was put right.

    Polygons may be flat (one alone), lists of [x, y] points, or hold numbers as text; parts of fewer than 3 points are
    left out beside sound ones; an RLE may stand in a list, and hold whole numbers as floats. What is none of these
    comes back as it is: `segmentation.parse` says what is wrong with it.
    """
    if isinstance(segmentation, list):
        return _polygons(segmentation)
    if isinstance(segmentation, dict):
        return _rle(segmentation)
    return segmentation, set()


def is_missing(segmentation: Any) -> bool:
    """Whether there is no mask at all: none of the forms that tools write for that is anything else."""
    return segmentation is None or segmentation in ([], [[]], {}, "")


def _polygons(parts: list[Any]) -> tuple[Any, set[Kind]]:
    if all(isinstance(part, list) and len(part) >= 6 and set(map(type, part)) <= _NUMBERS for part in parts):
        return parts, set()
    if len(parts) == 1 and isinstance(parts[0], dict):
        rle, _ = _rle(parts[0])
        return rle, {kinds.MASK_FORM}
    changed = parts
    if parts and all(_is_number(value) for value in parts):
        changed = [parts]
    elif len(parts) >= 3 and all(_is_point(part) for part in parts):
        changed = [[value for point in parts for value in point]]
    changed = [_flat(part) if isinstance(part, list) else part for part in changed]
    told = {kinds.MASK_FORM} if changed != parts or _has_text(parts) else set()
    areas = [part for part in changed if not isinstance(part, list) or len(part) >= 6 or len(part) % 2]
    if areas and len(areas) < len(changed):
        changed, told = areas, told | {kinds.MASK_PART}
    return changed, told


def _flat(part: list[Any]) -> list[Any]:
    """A polygon as a flat list of numbers, of whatever it can be made of one."""
    if part and all(_is_point(point) for point in part):
        part = [value for point in part for value in point]
    if any(isinstance(value, str) for value in part) and all(_is_number(value) for value in part):
        return [number_of(value) for value in part]
    return part


def _has_text(parts: list[Any]) -> bool:
    return any(isinstance(value, str) for part in parts if isinstance(part, list) for value in part)


def _is_number(value: Any) -> bool:
    return number_of(value) is not None


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _rle(rle: dict[str, Any]) -> tuple[Any, set[Kind]]:
    lists = {key: values for key in ("size", "counts") if isinstance(values := rle.get(key), list)}
    if not any(isinstance(value, float) for values in lists.values() for value in values):
        return rle, set()
    whole = {
        key: [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
        for key, values in lists.items()
    }
    return {**rle, **whole}, {kinds.MASK_FORM}
